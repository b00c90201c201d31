from __future__ import annotations

from collab.entities.feed import Feed
from collab.event import EntityEvent
from collab.query.parse import parse_where
from collab.query.query import EVERYTHING
from collab.realtime.matching.entity_index import ALL, EncodeOnce, EntitySubscriptions, Seen
from collab.records.entity_view import EntityView


class Follower:
    def __init__(self) -> None:
        self.heard: list[tuple[tuple[int, ...], str, str]] = []
        self.seen: list[Seen] = []

    def entity_event(self, subs: tuple[int, ...], seen: Seen) -> None:
        self.heard.append((subs, seen.event.id, seen.event.type))
        self.seen.append(seen)


class Index:
    def __init__(self) -> None:
        self.feed = Feed()
        self.index = EntitySubscriptions(self.feed)
        self._position = 0

    def publish(self, entity: str, owner: str = "ada", *, project: str = "p", collection: str = "tasks") -> None:
        self._position += 1
        data = {"id": entity, "owner": owner}
        self.feed.publish(project, EntityEvent(self._position, "created", collection, entity, 1, data, {}, None, "now"))


def test_an_event_reaches_those_it_concerns_and_nobody_else() -> None:
    server = Index()
    all_, one, other = Follower(), Follower(), Follower()
    server.index.subscribe("p", "tasks", ALL, all_, 1, EntityView(EVERYTHING))
    server.index.subscribe("p", "tasks", "t", one, 2, EntityView(EVERYTHING))
    server.index.subscribe("q", "tasks", ALL, other, 3, EntityView(EVERYTHING))
    server.publish("t")
    server.publish("u")
    server.publish("t", collection="others")
    assert all_.heard == [((1,), "t", "created"), ((1,), "u", "created")]
    assert one.heard == [((2,), "t", "created")]
    assert other.heard == []


def test_views_that_see_the_same_are_one_and_different_ones_are_told_apart() -> None:
    server = Index()
    a, b = Follower(), Follower()
    where = parse_where({"owner": "ada"})
    server.index.subscribe("p", "tasks", ALL, a, 1, EntityView(where))
    server.index.subscribe("p", "tasks", ALL, a, 2, EntityView(EVERYTHING))
    server.index.subscribe("p", "tasks", ALL, b, 1, EntityView(where))
    server.publish("t", "ada")
    server.publish("t", "bob")
    assert a.heard == [((1,), "t", "created"), ((2,), "t", "created"), ((2,), "t", "created")]
    assert b.heard == [((1,), "t", "created")]
    assert a.seen[0] is b.seen[0]


def test_everything_is_gone_with_the_last_subscription_and_closing_twice_is_once() -> None:
    server = Index()
    follower = Follower()
    closers = [
        server.index.subscribe("p", "tasks", entity, follower, sub, EntityView(EVERYTHING, fields))
        for sub, (entity, fields) in enumerate([(ALL, None), (ALL, None), ("t", None), ("t", ("a",)), (ALL, ("a",))])
    ]
    assert len(server.index) == 5
    for close in closers:
        close()
        close()
    assert len(server.index) == 0
    assert server.index._topics == {}
    server.publish("t")
    assert follower.heard == []


def test_a_follower_that_fails_does_not_keep_others_from_the_next_event() -> None:
    class Failing(Follower):
        def entity_event(self, subs: tuple[int, ...], seen: Seen) -> None:
            raise RuntimeError

    server = Index()
    follower = Follower()
    server.index.subscribe("p", "tasks", ALL, Failing(), 1, EntityView(EVERYTHING))
    server.index.subscribe("p", "tasks", ALL, follower, 1, EntityView(EVERYTHING))
    server.publish("t")
    server.publish("u")
    assert [entity for _, entity, _ in follower.heard] == ["t", "u"]


def test_the_same_value_is_encoded_once_for_each_form_and_part() -> None:
    once = EncodeOnce()
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    value = object()
    for _ in range(2):
        once.encode(value, "json", None, lambda: make("a"))
        once.encode(value, "msgpack", None, lambda: make("b"))
        once.encode(value, "json", "part", lambda: make("c"))
    assert made == ["a", "b", "c"]
    once.encode(object(), "json", None, lambda: make("d"))
    assert made[-1] == "d"
