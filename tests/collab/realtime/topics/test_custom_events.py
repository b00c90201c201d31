from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.access.identity import Identity
from collab.access.rules import parse_rules
from collab.errors import IdempotencyKeyReused, InvalidRequest, PermissionDenied, TooLarge
from collab.names import RoomKey
from collab.realtime.topics import custom_events as events
from collab.realtime.topics.channels import Channels
from collab.realtime.topics.custom_events import CustomEvents, read_event
from collab.realtime.topics.kept_in_memory import KeptInMemory

ALL = parse_rules({"*/*": "write"})
AT = "1970-01-01T00:16:40.000Z"


class Session:
    """Somebody who listens."""

    def __init__(self, user_id: str | None = None, project: str = "p", rules: Any = ALL, **more: Any) -> None:
        self.identity = Identity(project, user_id, rules=rules, **more)
        self.channels = Channels(self.identity)
        self.heard: list[dict[str, Any]] = []
        self.cursors: list[str] = []
        self.gaps = 0

    def custom(self, event: dict[str, Any], cursor: str) -> None:
        self.heard.append(event)
        self.cursors.append(cursor)

    def missed(self) -> None:
        self.gaps += 1


@pytest.fixture
def kept() -> KeptInMemory:
    return KeptInMemory(epoch="custom")


@pytest.fixture
def custom(kept: KeptInMemory) -> CustomEvents:
    return CustomEvents(kept, clock=lambda: 1000.0)


async def recent(custom: CustomEvents, session: Session, kind: str, cursor: str) -> tuple[list[dict[str, Any]], bool]:
    """What a session is told that comes back, and whether that is all."""
    resumed = await custom.resume(session, kind, cursor)
    resumed.end()
    return [sent.event for sent in resumed.events], resumed.recovered


async def test_c1_an_event_reaches_all_who_subscribed_to_its_type_in_the_project(custom: CustomEvents) -> None:
    ada, bob, other, theirs = Session("ada"), Session("bob"), Session("eve"), Session("zoe", project="q")
    for session, kind in ((ada, "typing"), (bob, "typing"), (other, "done"), (theirs, "typing")):
        custom.subscribe(session, kind)
    told = await custom.emit("p", {"type": "typing", "chatId": "c1"}, sender=ada.identity)
    assert told == {"type": "typing", "chatId": "c1", "userId": "ada", "at": AT}
    assert ada.heard == bob.heard == [told]
    assert not other.heard
    assert not theirs.heard


async def test_c2_the_user_of_an_event_is_who_the_credential_says(custom: CustomEvents) -> None:
    event = {"type": "typing", "userId": "bob", "at": "yesterday"}
    assert (await custom.emit("p", event, sender=Identity("p", "ada", rules=ALL)))["userId"] == "ada"
    assert (await custom.emit("p", event, sender=Identity("p", "ada", rules=ALL)))["at"] == AT


async def test_c2_who_speaks_for_no_user_and_the_server_itself_may_say_who(custom: CustomEvents) -> None:
    event = {"type": "typing", "userId": "bob"}
    assert (await custom.emit("p", event))["userId"] == "bob"
    assert (await custom.emit("p", event, sender=Identity("p", None, rules=ALL)))["userId"] == "bob"
    assert (await custom.emit("p", event, sender=Identity("p", "x", rules=ALL, verified=False)))["userId"] == "bob"
    assert "userId" not in await custom.emit("p", {"type": "typing"})


async def test_c3_what_is_emitted_is_not_changed_itself(custom: CustomEvents) -> None:
    event = {"type": "typing"}
    custom.emit("p", event, sender=Identity("p", "ada", rules=ALL))
    assert event == {"type": "typing"}


async def test_c4_emitting_needs_the_right_to_write_and_subscribing_to_read(custom: CustomEvents) -> None:
    rules = parse_rules({"events/news": "read", "events/typing": "write"})
    reader = Session("ada", rules=rules)
    custom.subscribe(reader, "news")
    custom.subscribe(reader, "typing")
    custom.emit("p", {"type": "typing"}, sender=reader.identity)
    with pytest.raises(PermissionDenied):
        custom.emit("p", {"type": "news"}, sender=reader.identity)
    with pytest.raises(PermissionDenied):
        custom.subscribe(reader, "secret")
    with pytest.raises(PermissionDenied):
        custom.emit("q", {"type": "typing"}, sender=reader.identity)


async def test_c5_with_channels_it_reaches_those_who_listen_to_one_of_them_once(custom: CustomEvents) -> None:
    ada, bob, eve, zoe = Session("ada"), Session("bob", channels=("team_1",)), Session("eve"), Session("zoe")
    for session in (ada, bob, eve, zoe):
        custom.subscribe(session, "done")
    eve.channels.follow(RoomKey("p", "tasks", "task_123"))
    event = {"type": "done", "channels": ["task_123", "user:ada", "team_1", "user:bob"]}
    custom.emit("p", event)
    assert len(ada.heard) == len(bob.heard) == len(eve.heard) == 1
    assert not zoe.heard


async def test_c5_channels_are_those_at_the_moment_of_the_event(custom: CustomEvents) -> None:
    ada = Session("ada")
    custom.subscribe(ada, "done")
    custom.emit("p", {"type": "done", "channels": ["team_1"]})
    ada.channels.join("team_1")
    custom.emit("p", {"type": "done", "channels": ["team_1"]})
    ada.channels.leave("team_1")
    custom.emit("p", {"type": "done", "channels": ["team_1"]})
    assert ada.cursors == ["custom.2"]


async def test_c5_an_event_for_an_empty_list_of_channels_reaches_nobody(custom: CustomEvents) -> None:
    """A list of recipients that turns out to be empty never means everybody."""
    ada, bob = Session("ada"), Session("bob", channels=("team_1",))
    for session in (ada, bob):
        custom.subscribe(session, "done")
    custom.emit("p", {"type": "done", "channels": []})
    last = await custom.emit("p", {"type": "done"})
    assert ada.heard == bob.heard == [last]
    assert await recent(custom, bob, "done", "custom.0") == ([last], True)


async def test_nothing_is_sent_after_a_subscription_was_closed(custom: CustomEvents) -> None:
    ada = Session("ada")
    close = custom.subscribe(ada, "done")
    close()
    close()
    custom.emit("p", {"type": "done"})
    assert not ada.heard


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 1},
        {"type": ""},
        {"type": "a b"},
        {"type": "x" * 129},
        {"type": "health"},
        {"type": "schema_updated"},
        {"type": "permissions_changed"},
        {"type": "t", "channels": "team"},
        {"type": "t", "channels": [1]},
        {"type": "t", "channels": [""]},
        {"type": "t", "channels": ["x" * 301]},
        {"type": "t", "channels": ["x"] * 101},
        {"type": "t", "data": math.nan},
        {"type": "t", "data": [math.inf]},
        {"type": "t", "data": b"bytes"},
        {"type": "t", "data": {1: 2}},
        {"type": "t", "data": "\ud800"},
        {"type": "t", "\ud800": 1},
        {"type": "t", "data": 2**64},
        {"type": "t", "data": 1j},
    ],
    ids=repr,
)
async def test_c3_what_is_no_event_is_refused(event: dict[Any, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read_event(event)


def nested(depth: int) -> Any:
    value: Any = "leaf"
    for _ in range(depth):
        value = [value]
    return value


async def test_c3_an_event_is_only_so_deep_and_so_large() -> None:
    read_event({"type": "t", "data": nested(31)})
    with pytest.raises(InvalidRequest):
        read_event({"type": "t", "data": nested(32)})
    with pytest.raises(InvalidRequest):
        read_event({"type": "t", "data": nested(100_000)})
    read_event({"type": "t", "data": "x" * (events.MAX_EVENT_BYTES - 100)})
    with pytest.raises(TooLarge):
        read_event({"type": "t", "data": "x" * events.MAX_EVENT_BYTES})


async def test_points_in_time_from_python_become_text() -> None:
    moment = datetime(2024, 1, 31, 12, tzinfo=UTC)
    event = read_event({"type": "t", "data": {"at": moment, "day": date(2024, 1, 31), "pair": (1, 2.5)}})
    assert event["data"] == {"at": "2024-01-31T12:00:00.000Z", "day": "2024-01-31", "pair": [1, 2.5]}
    with pytest.raises(InvalidRequest):
        read_event({"type": "t", "at_the_end": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # the alphabet of hypothesis' text leaves surrogates out for UTF-8
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
@settings(max_examples=50)
async def test_whatever_json_holds_is_told_as_it_is(value: Any) -> None:
    event = await CustomEvents().emit("p", {"type": "t", "data": value})
    assert event["data"] == value
    assert msgspec.json.decode(msgspec.json.encode(event["data"])) == value


async def test_c6_who_comes_back_is_told_what_it_missed(custom: CustomEvents) -> None:
    ada = Session("ada")
    custom.emit("p", {"type": "done", "n": 1})
    cursor = custom.cursor("p")
    for n in (2, 3):
        custom.emit("p", {"type": "done", "n": n})
        custom.emit("p", {"type": "other", "n": n})
        custom.emit("q", {"type": "done", "n": n})
        custom.emit("p", {"type": "done", "n": -n, "channels": ["user_bob"]})
    resumed = await custom.resume(ada, "done", cursor)
    assert resumed.recovered
    assert resumed.cursor == cursor, "what was missed has its own"
    assert [sent.event["n"] for sent in resumed.events] == [2, 3]
    after_first = await custom.resume(ada, "done", resumed.events[0].cursor)
    assert after_first.events == resumed.events[1:]
    assert await recent(custom, ada, "done", custom.cursor("p")) == ([], True)
    custom.emit("p", {"type": "done", "n": 4})
    assert [event["n"] for event in ada.heard] == [4, 4], "later ones come to both that are open"


async def test_c6_a_cursor_of_another_process_or_none_at_all_recovers_nothing(custom: CustomEvents) -> None:
    custom.emit("p", {"type": "done"})
    for cursor in (CustomEvents().cursor("p"), "", "x", "custom.", "custom.-1", "custom.²"):
        resumed = await custom.resume(Session(), "done", cursor)
        assert (resumed.events, resumed.recovered, resumed.cursor) == ([], False, "custom.1")
    assert await recent(custom, Session(), "done", "custom.99999") == ([], True)
    assert (await custom.resume(Session(), "done", None)).recovered


async def test_c6_resuming_asks_for_the_same_rights(custom: CustomEvents) -> None:
    with pytest.raises(PermissionDenied):
        await recent(custom, Session(rules=()), "done", custom.cursor("p"))


STEPS = st.lists(
    st.tuples(st.sampled_from(["p", "q"]), st.sampled_from(["a", "b"]), st.sampled_from([[], ["c1"], ["c2", "c1"]])),
    max_size=25,
)


@given(STEPS, st.integers(0, 25))
@settings(max_examples=60)
async def test_c6_what_is_resumed_is_what_would_have_been_sent(
    steps: list[tuple[str, str, list[str]]], cut: int
) -> None:
    custom = CustomEvents()
    here, away = Session("ada", channels=("c1",)), Session("ada", channels=("c1",))
    custom.subscribe(here, "a")
    close = custom.subscribe(away, "a")
    cursor = custom.cursor("p")
    for number, (project, kind, channels) in enumerate(steps):
        if number == cut:
            close()
            cursor = custom.cursor("p")
        custom.emit(project, {"type": kind, "channels": channels, "n": number})
    if cut < len(steps):
        missed, recovered = await recent(custom, away, "a", cursor)
        assert recovered
        away.heard += missed
    assert away.heard == here.heard


# names


async def test_c11_under_one_name_an_event_is_told_once(custom: CustomEvents) -> None:
    bob = Session("bob")
    custom.subscribe(bob, "x")
    ada, eve = (Identity("p", user, rules=ALL) for user in ("ada", "eve"))
    told = await custom.emit("p", {"type": "x", "n": 1}, sender=ada, request="r")
    assert await custom.emit("p", {"n": 1, "type": "x"}, sender=ada, request="r") == told
    with pytest.raises(IdempotencyKeyReused):
        custom.emit("p", {"type": "x", "n": 2}, sender=ada, request="r")
    for sender, project in ((eve, "p"), (None, "p"), (Identity("q", "ada", rules=ALL), "q")):
        custom.emit(project, {"type": "x", "n": 3}, sender=sender, request="r")
    custom.emit("p", {"type": "x", "n": 4}, sender=ada)
    custom.emit("p", {"type": "x", "n": 4}, sender=ada)
    assert [event["n"] for event in bob.heard] == [1, 3, 3, 4, 4]


@pytest.mark.parametrize("name", ["", "x" * 65, "é"])
async def test_c11_what_is_no_name_is_refused(custom: CustomEvents, name: str) -> None:
    with pytest.raises(InvalidRequest):
        custom.emit("p", {"type": "x"}, request=name)


async def test_c11_a_name_tells_nothing_to_who_may_not_emit_any_more(custom: CustomEvents) -> None:
    custom.emit("p", {"type": "x"}, sender=Identity("p", "ada", rules=ALL), request="r")
    with pytest.raises(PermissionDenied):
        custom.emit("p", {"type": "x"}, sender=Identity("p", "ada"), request="r")


async def test_c11_names_are_kept_for_an_hour_and_bounded(kept: KeptInMemory) -> None:
    now = [1000.0]
    custom = CustomEvents(kept, clock=lambda: now[0])
    first = await custom.emit("p", {"type": "x"}, request="r")
    now[0] += 3599
    assert await custom.emit("p", {"type": "x"}, request="r") == first
    now[0] += 2
    assert (await custom.emit("p", {"type": "x"}, request="r"))["at"] != first["at"]
    for number in range(1500):
        custom.emit("p", {"type": "x"}, request=f"r{number}")
    assert kept.names == 1000
