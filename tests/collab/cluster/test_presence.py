"""Who joins a room of another node is present there, and again at the next owner when that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
import pytest

from collab import Identity
from collab.access.rules import parse_rules
from collab.cluster.arguments import CallerNamed, GuestAsked, decode_value, encode_value
from collab.cluster.presence import RoutedPresence
from collab.errors import (
    CollabError,
    EntityDeleted,
    InvalidName,
    InvalidRequest,
    PermissionDenied,
    RateLimitExceeded,
    TooLarge,
    Unavailable,
)
from collab.names import RoomKey
from collab.realtime.topics.presence import PresenceRooms
from collab.records.reads import Caller
from collab.wire.realtime.messages import People
from collab.wire.realtime.values import Present
from tests.collab.cluster.entries import Realtime
from tests.collab.cluster.nodes_world import Node, World, cluster, until
from tests.collab.realtime.topics import test_presence

OPEN = {"*/*": "write"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with cluster(3, presence_bytes=1024) as found:
        assert await found.nodes[1].owns("d")
        yield found


class Widget(test_presence.Widget):
    """A list of people, by user."""

    @property
    def states(self) -> dict[str, Any]:
        # the server adds who they are
        return {user: {name: state[name] for name in state if name != "user"} for user, state in super().states.items()}


def caller(user: str, rules: dict[str, Any] | None = None) -> Caller:
    return Caller(Identity("default", user, rules=parse_rules(rules or OPEN, user)), f"session of {user}")


def rooms(node: Node) -> PresenceRooms:
    return node.collab.hub.presence


async def watch(node: Node, who: Caller | None = None, room: str = "d") -> tuple[Widget, Callable[[], None]]:
    widget = Widget()
    return widget, await rooms(node).subscribe(who or caller("widget"), room, widget)


def present(node: Node, room: str = "d") -> dict[str | None, Any]:
    """Who is in the room that a node has open."""
    found = [one for key, one in node.collab._registry.rooms.items() if key.id == room]
    return {
        state.user.id: state
        for one in found
        for state in one.presence.awareness.states.values()
        if state.user is not None
    }


async def test_sessions_of_all_nodes_see_each_other(world: World) -> None:
    edge, owner, third = world.nodes
    widgets = [(await watch(node))[0] for node in world.nodes]
    await rooms(edge).join(caller("ann"), "d", {"cursor": 1})
    await rooms(owner).join(caller("bob"), "d", {"cursor": 2})
    await rooms(third).join(caller("cyn"), "d", {"cursor": 3})
    wanted = {"ann": {"cursor": 1}, "bob": {"cursor": 2}, "cyn": {"cursor": 3}}
    await until(lambda: all(widget.states == wanted for widget in widgets))
    await rooms(edge).update(caller("ann"), "d", {"cursor": 4, "color": "red"})
    await rooms(edge).update(caller("ann"), "d", {"cursor": 5})
    await until(lambda: all(widget.states["ann"] == {"cursor": 5, "color": "red"} for widget in widgets))
    await rooms(edge).join(caller("ann"), "d", {"size": 1})
    await until(lambda: all(widget.states["ann"] == {"size": 1} for widget in widgets))
    for node in world.nodes:
        found = await rooms(node).present(RoomKey("default", "documents", "d"))
        assert (found.count, {person.user_id for person in found.people}) == (3, {"ann", "bob", "cyn"})
    late, _ = await watch(edge)
    assert late.states == widgets[0].states
    rooms(edge).leave(caller("ann"), "d")
    rooms(third).leave_all(caller("cyn"))
    await until(lambda: all(widget.states == {"bob": {"cursor": 2}} for widget in widgets))
    assert [node.has_open("d") for node in world.nodes] == [False, True, False]


async def test_asking_who_is_in_a_room_that_is_open_nowhere_opens_it_nowhere(world: World) -> None:
    edge, owner, _ = world.nodes
    key = RoomKey("default", "documents", "nobody")
    assert await rooms(edge).present(key) == Present(count=0, people=[])
    assert not any(node.has_open("nobody") for node in world.nodes)
    assert await edge.storage.owner(key) is None
    await rooms(owner).join(caller("ann"), "nobody", {})
    assert (await rooms(edge).present(key)).count == 1


async def test_all_subscribers_of_a_node_share_one_stream(world: World) -> None:
    edge, owner, _ = world.nodes
    ends = [(await watch(edge))[1] for _ in range(5)]
    assert served(owner) == 1
    for end in ends:
        end()
    await until(lambda: served(owner) == 0)
    assert not owner.collab._registry.rooms[next(iter(owner.collab._registry.rooms))].holds


def served(node: Node) -> int:
    desk = node.collab.sockets.desk
    assert desk is not None
    return sum(len(answering) for answering in desk._open)


async def test_who_leaves_while_joining_is_not_there(world: World) -> None:
    edge, owner, _ = world.nodes
    for turns in range(1, 40):
        joining = asyncio.create_task(rooms(edge).join(caller("ann"), "d", {}))
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns < 3:
            with pytest.raises(InvalidRequest, match="already joining"):
                await rooms(edge).join(caller("ann"), "d", {})
        rooms(edge).leave_all(caller("ann"))
        await joining
    await rooms(edge).join(caller("bob"), "d", {})
    await until(lambda: present(owner).keys() == {"bob"})
    routed = rooms(edge)
    assert isinstance(routed, RoutedPresence)
    assert not routed._guests
    assert routed._away.keys() == {"session of bob"}


async def test_a_join_that_is_cancelled_leaves_nobody(world: World) -> None:
    edge, owner, _ = world.nodes
    for turns in range(1, 40):
        joining = asyncio.create_task(rooms(edge).join(caller("ann"), "d", {}))
        for _ in range(turns):
            await asyncio.sleep(0)
        joining.cancel()
        with suppress(asyncio.CancelledError):
            await joining
            rooms(edge).leave(caller("ann"), "d")
    await until(lambda: not present(owner) and not served(owner))


# what fails, fails as at the owner


ERRORS: list[tuple[type[CollabError], Callable[[PresenceRooms], Awaitable[Any]]]] = [
    (InvalidName, lambda rooms: rooms.join(caller("ann"), "a/b/c", {})),
    (InvalidRequest, lambda rooms: rooms.join(caller("ann"), "d", {"x": object()})),
    (TooLarge, lambda rooms: rooms.join(caller("ann"), "d", {"x": "x" * 1024})),
    (PermissionDenied, lambda rooms: rooms.join(caller("ann", {"tasks/*": "read"}), "d", {})),
    (PermissionDenied, lambda rooms: rooms.subscribe(caller("ann", {"tasks/*": "read"}), "d", lambda people: None)),
    (InvalidRequest, lambda rooms: rooms.update(caller("ann"), "d", {})),
    (EntityDeleted, lambda rooms: rooms.join(caller("ann"), "gone", {})),
    (EntityDeleted, lambda rooms: rooms.subscribe(caller("ann"), "gone", lambda people: None)),
]


@pytest.mark.parametrize(("kind", "attempt"), ERRORS)
async def test_an_error_is_the_same_as_at_the_owner(
    world: World, kind: type[CollabError], attempt: Callable[[PresenceRooms], Awaitable[Any]]
) -> None:
    edge, owner, _ = world.nodes
    assert await owner.owns("gone")
    await owner.collab.collection("documents").create({}, id="gone")
    await owner.collab.collection("documents").delete("gone")
    errors = []
    for node in (edge, owner):
        with pytest.raises(CollabError) as met:
            await attempt(rooms(node))
        errors.append((type(met.value), met.value.message, met.value.details))
    assert errors[0] == errors[1]
    assert errors[0][0] is kind
    await until(lambda: not served(owner) and not present(owner))


async def test_a_session_joins_at_most_a_hundred_rooms_wherever_they_are(world: World) -> None:
    edge, owner, _ = world.nodes
    for number in range(100):
        if number % 2:
            assert await owner.owns(f"d{number}")
        await rooms(edge).join(caller("ann"), f"d{number}", {})
    for room in ("d", "d100"):
        with pytest.raises(RateLimitExceeded):
            await rooms(edge).join(caller("ann"), room, {})
    rooms(edge).leave(caller("ann"), "d1")
    await rooms(edge).join(caller("ann"), "d", {})


SCRIPT: list[tuple[str, dict[str, Any]]] = [
    ("updatePresence", {"room": "d", "state": {"n": 1}}),
    ("joinPresence", {"room": "d", "state": {"n": 1}}),
    ("joinPresence", {"room": "d", "state": {"n": 2}}),
    ("updatePresence", {"room": "d", "state": {"m": 3}}),
    ("updatePresence", {"room": "d", "state": {"m": "x" * 1024}}),
    ("leavePresence", {"room": "d"}),
    ("leavePresence", {"room": "d"}),
    ("updatePresence", {"room": "d", "state": {}}),
]


async def test_sessions_are_told_the_same_as_at_the_owner() -> None:
    async with cluster(2, presence_bytes=1024, jwt_secret="s" * 32) as world:
        assert await world.nodes[1].owns("d")
        told = []
        for node in world.nodes:
            session = await Realtime.open(node, "ann", OPEN)
            target = {"kind": "presence", "room": "d"}
            heard = [await session.call("subscribe", subscriptions=[{"sub": 1, "target": target}])]
            for kind, what in SCRIPT:
                heard.append(await session.call(kind, **what))
                if heard[-1] is None and kind != "leavePresence":
                    people = await session.until(
                        lambda message: message["type"] == "presence" and bool(message["people"])
                    )
                    heard.append([person["state"] for person in people["people"]])
            told.append(heard)
            await session.close()
            await until(lambda: not present(world.nodes[1]))
        assert told[0] == told[1]
        user = {"user": {"id": "ann"}}
        assert [one for one in told[0] if isinstance(one, list)][1:] == [
            [{"n": 1, **user}],
            [{"n": 2, **user}],
            [{"n": 2, "m": 3, **user}],
        ]


# rights that change


async def test_who_loses_the_right_is_removed_wherever_he_is(world: World) -> None:
    edge, owner, _ = world.nodes
    assert await owner.owns("tasks/t1")
    rules = {"tasks/*": {"access": "read", "where": {"team": "red"}}}
    await owner.collab.collection("tasks").create({"team": "red"}, id="t1")
    ended: list[CollabError] = []
    widget = Widget()
    await rooms(edge).subscribe(caller("bob", rules), "tasks/t1", widget, ended.append)
    await rooms(edge).join(caller("ann", rules), "tasks/t1", {"n": 1})
    await until(lambda: widget.states == {"ann": {"n": 1}})
    stop = await edge.collab.hub.feed.follow("default")
    await edge.collab.collection("tasks").update("t1", {"team": "blue"})
    await until(lambda: ended and not present(owner, "t1"))
    assert isinstance(ended[0], PermissionDenied)
    with pytest.raises(InvalidRequest, match="join the room before"):
        await rooms(edge).update(caller("ann", rules), "tasks/t1", {"n": 2})
    with pytest.raises(PermissionDenied):
        await rooms(edge).join(caller("ann", rules), "tasks/t1", {"n": 2})
    stop()


async def test_a_session_whose_identity_changes_is_checked_at_the_owner(world: World) -> None:
    edge, owner, _ = world.nodes
    await rooms(edge).join(caller("ann"), "d", {"n": 1})
    await rooms(edge).recheck(caller("ann"))
    assert present(owner).keys() == {"ann"}
    await rooms(edge).recheck(caller("ann", {"tasks/*": "read"}))
    await until(lambda: not present(owner))


# what is lost


async def test_when_a_link_breaks_its_guests_are_gone_and_come_again(world: World) -> None:
    edge, owner, third = world.nodes
    widget, _ = await watch(owner)
    far, _ = await watch(edge)
    await rooms(edge).join(caller("ann"), "d", {"n": 1})
    await rooms(third).join(caller("cyn"), "d", {"n": 1})
    await until(lambda: far.states.keys() == {"ann", "cyn"})
    owner.road.cut()
    await until(lambda: widget.states == {})
    await rooms(edge).update(caller("ann"), "d", {"n": 2})
    owner.road.mend()
    await until(lambda: widget.states == far.states == {"ann": {"n": 2}, "cyn": {"n": 1}})
    assert far.changes[-1].complete or any(change.complete for change in far.changes[1:])
    rooms(edge).leave(caller("ann"), "d")
    await until(lambda: widget.states == far.states == {"cyn": {"n": 1}})


async def test_who_came_again_stays_when_the_owner_notices_that_the_first_link_broke(world: World) -> None:
    edge, owner, _ = world.nodes
    asked = encode_value(GuestAsked(CallerNamed.of(caller("ann")), RoomKey("default", "documents", "d"), b'{"n": 1}'))
    links, nid = edge.cluster._links, owner.storage.nid
    assert links is not None
    async with AsyncExitStack() as later:
        async with links.stream(nid, "presence.guest", asked) as first:
            await anext(first)
            await anext(await later.enter_async_context(links.stream(nid, "presence.guest", asked)))
            assert served(owner) == 2
        await until(lambda: served(owner) == 1)
        assert present(owner).keys() == {"ann"}
    await until(lambda: not present(owner))


async def test_who_leaves_while_the_link_is_broken_does_not_come_again(world: World) -> None:
    edge, owner, _ = world.nodes
    await rooms(edge).join(caller("ann"), "d", {})
    await rooms(edge).join(caller("bob"), "d", {})
    owner.road.cut()
    await until(lambda: not present(owner))
    rooms(edge).leave(caller("ann"), "d")
    owner.road.mend()
    await until(lambda: present(owner).keys() == {"bob"})


async def test_when_the_owner_is_lost_all_meet_again_at_the_next_one(world: World) -> None:
    edge, owner, third = world.nodes
    far, _ = await watch(edge)
    other, _ = await watch(third)
    await rooms(edge).join(caller("ann"), "d", {"n": 1})
    await rooms(third).join(caller("cyn"), "d", {"n": 1})
    await rooms(owner).join(caller("bob"), "d", {"n": 1})
    await until(lambda: far.states == other.states == {user: {"n": 1} for user in ("ann", "bob", "cyn")})
    await world.kill(owner)
    await rooms(edge).update(caller("ann"), "d", {"n": 2})
    await until(lambda: far.states == other.states == {"ann": {"n": 2}, "cyn": {"n": 1}})
    assert sorted(node.has_open("d") for node in (edge, third)) == [False, True]
    await rooms(edge).update(caller("ann"), "d", {"n": 3})
    await rooms(third).join(caller("cyn"), "d", {"n": 3})
    await until(lambda: far.states == other.states == {"ann": {"n": 3}, "cyn": {"n": 3}})
    rooms(edge).leave(caller("ann"), "d")
    rooms(third).leave_all(caller("cyn"))
    await until(lambda: far.states == other.states == {})


async def test_an_edge_that_is_declared_dead_has_nobody_present(world: World) -> None:
    edge, owner, _ = world.nodes
    await rooms(edge).join(caller("ann"), "d", {})
    await rooms(owner).join(caller("bob"), "d", {})
    assert present(owner).keys() == {"ann", "bob"}
    await world.declare_dead(edge)
    await until(lambda: present(owner).keys() == {"bob"})


async def test_a_session_that_ends_takes_its_presence_with_it() -> None:
    async with cluster(2, jwt_secret="s" * 32) as world:
        edge, owner = world.nodes
        assert await owner.owns("d")
        session = await Realtime.open(edge, "ann", OPEN)
        assert await session.call("joinPresence", room="d", state={}) is None
        assert present(owner).keys() == {"ann"}
        await session.close()
        await until(lambda: not present(owner))


async def test_a_server_that_stops_takes_its_guests_along(world: World) -> None:
    edge, owner, _ = world.nodes
    await rooms(edge).join(caller("ann"), "d", {})
    await edge.stop()
    await until(lambda: not present(owner))


async def test_a_room_whose_owner_cannot_be_reached_is_unavailable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.cluster.calls.FIND_SECONDS", 0.1)
    edge, owner, _ = world.nodes
    owner.road.cut()
    with anyio.fail_after(20):
        with pytest.raises(Unavailable):
            await rooms(edge).join(caller("ann"), "d", {})
        with pytest.raises(Unavailable):
            await watch(edge)
    owner.road.mend()
    await rooms(edge).join(caller("ann"), "d", {})
    assert present(owner).keys() == {"ann"}


async def test_a_slow_edge_gets_whole_lists_instead_of_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.cluster.presence._MOST_WAITING", 2)
    monkeypatch.setattr("collab.cluster.answering._QUEUED", 0)
    edge, owner, _ = world.nodes
    far, _ = await watch(edge)
    for number in range(20):
        await rooms(owner).join(caller(f"user {number}"), "d", {})
        await asyncio.sleep(0.02)
    await until(lambda: len(far.states) == 20)


def test_people_survive_the_way() -> None:
    people = People(subs=(), count=2, people=[], left=("a",), complete=False)
    assert decode_value(encode_value(people), People) == people
