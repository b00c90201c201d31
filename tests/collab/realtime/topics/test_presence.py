from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from collab import Collab, Settings
from collab.access.configuration import ApiKey
from collab.access.identity import Identity
from collab.access.rules import Access, parse_rules
from collab.errors import CollabError, InvalidName, InvalidRequest, PermissionDenied, RateLimitExceeded, TooLarge
from collab.names import RoomKey
from collab.realtime.topics import presence
from collab.realtime.topics.presence import PresenceRooms
from collab.records.reads import Caller
from collab.rooms.registry import Registry
from collab.wire import yjs
from collab.wire.realtime.encoding import encode
from collab.wire.realtime.messages import People
from tests.collab.realtime.virtual_time import VirtualTime
from tests.collab.rooms.live.simulation import Client
from tests.collab.rooms.registry_world import Panicking, opened
from tests.collab.serving import Editor, editor, serving
from tests.presence.room import Peer, states

ALL = parse_rules({"*/*": "write"})
KEY = RoomKey("default", "documents", "d")


async def access(caller: Caller, key: RoomKey) -> Access:
    return caller.identity.access_to(key)


def caller(user_id: str | None, name: str | None = None, *, session: str = "", rules: Any = ALL, **more: Any) -> Caller:
    return Caller(Identity("default", user_id, name, rules=rules, **more), session or f"session of {user_id}")


class Widget:
    """A list of people, kept as clients keep it."""

    def __init__(self) -> None:
        self.changes: list[People] = []
        self.people: dict[str, Any] = {}
        self.count = 0

    def __call__(self, change: People) -> None:
        self.changes.append(change)
        if change.complete:
            self.people.clear()
        for key in change.left:
            del self.people[key]
        for person in change.people:
            self.people[person.key] = person
        self.count = change.count

    @property
    def states(self) -> dict[str, Any]:
        return {person.user_id: person.state for person in self.people.values()}


class Place:
    """Presence over rooms without sockets, in a time of its own."""

    def __init__(self, registry: Registry, **options: Any) -> None:
        self.registry = registry
        self.time = VirtualTime(monotonic())
        self.rooms = PresenceRooms(registry, access, clock=self.time.clock, later=self.time.later, **options)

    async def watch(self, who: Caller | None = None, room: str = "d") -> tuple[Widget, Callable[[], None]]:
        widget = Widget()
        return widget, await self.rooms.subscribe(who or caller("widget"), room, widget)


@asynccontextmanager
async def place(data: Path, **options: Any) -> AsyncIterator[Place]:
    async with opened(data) as (registry, _):
        yield Place(registry, **options)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(40):
        while not condition():
            await anyio.sleep(0.01)


# beside real editors


@asynccontextmanager
async def server(data: Path) -> AsyncIterator[tuple[str, PresenceRooms]]:
    keys = [
        ApiKey(key=f"the-key-of-{user:0>8}", user_id=user, name=user.title(), rules={"*/*": "write"})
        for user in ("ada", "bob")
    ]
    app = Collab(Settings(data=str(data), keys=keys))
    async with serving(app) as address:
        yield address, PresenceRooms(app._registry, access)


def as_user(user: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer the-key-of-{user:0>8}"}}


async def seen(client: Editor, peer: Peer, wanted: Callable[[dict[int, Any]], bool]) -> dict[int, Any]:
    """Live on until what the editor sees of others is as wanted."""

    def others() -> dict[int, Any]:
        for payload in client.presence:
            peer.apply(payload)
        client.presence.clear()
        return {number: state for number, state in peer.states.items() if number != peer.client}

    if not wanted(others()):
        await client.until(lambda message: isinstance(message, yjs.AwarenessUpdate) and wanted(others()))
    return others()


async def test_p7_an_application_is_seen_by_an_editor_and_the_other_way_round(tmp_path: Path) -> None:
    async with server(tmp_path) as (address, rooms), editor(address, **as_user("bob")) as bob:
        widget, peer, ada = Widget(), Peer(7), caller("ada", "Ada")
        await rooms.subscribe(ada, "d", widget)
        assert widget.changes == [People(subs=(), count=0, people=[], complete=True)]
        await bob.socket.send(yjs.awareness(peer.set({"cursor": {"anchor": 3}})))
        await until(lambda: widget.count == 1)
        assert widget.states == {"bob": {"cursor": {"anchor": 3}, "user": {"id": "bob", "name": "Bob"}}}

        await rooms.join(ada, "d", {"cursor": {"line": 10, "column": 5}})
        await seen(bob, peer, bool)
        await rooms.update(ada, "d", {"cursor": {"line": 11, "column": 5}})
        found = await seen(bob, peer, lambda others: next(iter(others.values()))["cursor"]["line"] == 11)
        assert [*found.values()] == [{"cursor": {"line": 11, "column": 5}, "user": {"id": "ada", "name": "Ada"}}]
        await until(lambda: widget.count == 2)

        rooms.leave(ada, "d")
        await seen(bob, peer, lambda others: not others)
        await until(lambda: widget.count == 1)
        await bob.socket.close()
        await until(lambda: widget.count == 0)
        assert not widget.people


async def test_p7_an_editor_that_comes_later_sees_who_is_there(tmp_path: Path) -> None:
    async with server(tmp_path) as (address, rooms):
        await rooms.join(caller("ada", "Ada"), "d", {"colour": "red"})
        async with editor(address, **as_user("bob")) as bob:
            found = await seen(bob, Peer(7), bool)
            assert [state["colour"] for state in found.values()] == ["red"]
        rooms.leave_all(caller("ada"))


async def test_p10_the_tabs_of_a_user_are_one_person_whatever_they_speak(tmp_path: Path) -> None:
    async with server(tmp_path) as (address, rooms), editor(address, **as_user("ada")) as tab:
        widget, peer, ada = Widget(), Peer(7), caller("ada", "Ada")
        await rooms.subscribe(ada, "d", widget)
        await tab.socket.send(yjs.awareness(peer.set({"cursor": 1})))
        await until(lambda: widget.count == 1)
        await rooms.join(ada, "d", {"cursor": 2})
        await until(lambda: len(widget.changes) == 3)
        [person] = widget.people.values()
        assert (person.user_id, person.name) == ("ada", "Ada")
        assert [state["cursor"] for state in person.states] == [2, 1]
        assert person.state == person.states[0]
        assert widget.count == 1
        rooms.leave_all(ada)


# joining


async def test_p8_joining_again_replaces_the_state_and_updating_changes_members(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, _ = await here.watch()
        ada = caller("ada")
        await here.rooms.join(ada, "d", {"a": 1, "b": 1})
        await here.rooms.update(ada, "documents/d", {"b": 2, "c": None})
        here.time.pass_by(0.1)
        assert widget.states == {"ada": {"a": 1, "b": 2, "c": None, "user": {"id": "ada"}}}
        await here.rooms.join(ada, "d", {"z": 1})
        here.time.pass_by(0.1)
        assert widget.states == {"ada": {"z": 1, "user": {"id": "ada"}}}
        assert widget.count == 1


async def test_p8_who_somebody_is_comes_from_the_credential(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, _ = await here.watch()
        await here.rooms.join(caller("ada", "Ada"), "d", {"userId": "eve", "user": {"id": "eve", "name": "Eve"}})
        await here.rooms.join(caller(None, verified=False), "d", {"userId": "zoe", "user": {"name": "Zoe"}})
        here.time.pass_by(0.1)
        first, second = widget.people.values()
        assert (first.user_id, first.name) == ("ada", "Ada")
        assert first.state == {"userId": "ada", "user": {"id": "ada", "name": "Ada"}}
        assert (second.user_id, second.name, second.state["userId"]) == (None, "Zoe", "zoe")


async def test_p8_a_state_is_changed_only_where_its_owner_has_joined(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        with pytest.raises(InvalidRequest):
            await here.rooms.update(caller("ada"), "d", {"a": 1})
        here.rooms.leave(caller("ada"), "d")
        here.rooms.leave_all(caller("ada"))
        assert not here.registry.rooms


@pytest.mark.parametrize("state", [{"a": 1j}, {"a": "\ud800"}, {1j: 1}], ids=repr)
async def test_p9_a_state_is_json(tmp_path: Path, state: Any) -> None:
    async with place(tmp_path) as here:
        with pytest.raises(InvalidRequest):
            await here.rooms.join(caller("ada"), "d", state)


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


async def test_p9_a_state_is_only_so_deep_and_so_large(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ada = caller("ada")
        for state, error in (({"a": nested(100)}, InvalidRequest), ({"a": "x" * 65_536}, TooLarge)):
            with pytest.raises(error):
                await here.rooms.join(ada, "d", state)
        assert not here.registry.rooms
        await here.rooms.join(ada, "d", {"a": "x" * 65_440})
        with pytest.raises(TooLarge):
            await here.rooms.update(ada, "d", {"b": "x" * 100})


async def test_p11_rights_to_read_are_enough_to_see_and_to_be_seen_and_are_needed_for_both(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        reader = caller("ada", rules=parse_rules({"documents/d": "read"}))
        widget, _ = await here.watch(reader)
        await here.rooms.join(reader, "d", {})
        here.time.pass_by(0.1)
        assert widget.count == 1
        with pytest.raises(PermissionDenied):
            await here.rooms.subscribe(reader, "secret", widget)
        with pytest.raises(PermissionDenied):
            await here.rooms.join(reader, "secret", {})
        with pytest.raises(InvalidName):
            await here.rooms.join(reader, "a/b/c", {})
        assert set(here.registry.rooms) == {KEY}


async def test_p11_who_loses_the_right_is_seen_no_more(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, _ = await here.watch()
        await here.rooms.join(caller("ada"), "d", {})
        await here.rooms.recheck(caller("ada"))
        here.time.pass_by(0.1)
        assert widget.count == 1
        await here.rooms.recheck(caller("ada", rules=()))
        here.time.pass_by(0.1)
        assert widget.count == 0


async def test_p12_a_session_is_seen_in_so_many_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MOST_JOINED", 2)
    async with place(tmp_path) as here:
        ada = caller("ada")
        for room in ("a", "b", "a"):
            await here.rooms.join(ada, room, {})
        with pytest.raises(RateLimitExceeded):
            await here.rooms.join(ada, "c", {})
        here.rooms.leave(ada, "a")
        await here.rooms.join(ada, "c", {})


async def test_p9_whatever_numbers_an_editor_shows_can_be_sent_in_all_formats(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, _ = await here.watch()
        shown = Client(await here.registry.open(KEY), "bob")
        numbers = [1, 2**63, -(2**63), 2**64, -(2**80), 10**400, 0.5]
        shown.say(yjs.AwarenessUpdate(Peer(7).set({"n": numbers})), here.time.now)
        here.time.pass_by(0.1)
        assert widget.states["bob"]["n"] == [1, 2**63, -(2**63), 2.0**64, -(2.0**80), None, 0.5]
        assert encode(widget.changes[-1], "msgpack")
        assert encode(widget.changes[-1], "json")


# leaving


async def test_p13_a_session_that_ends_is_gone_everywhere_and_keeps_no_room_open(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ada = caller("ada")
        for room in ("a", "b"):
            await here.rooms.join(ada, room, {})
        rooms = list(here.registry.rooms.values())
        assert [room.holds for room in rooms] == [1, 1]
        here.rooms.leave_all(ada)
        assert [room.holds for room in rooms] == [0, 0]
        assert not any(room.presence.awareness.states for room in rooms)
        assert not here.time.waiting


async def test_p13_a_session_that_ends_while_it_joins_leaves_nothing_behind(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ada = caller("ada")
        joining = asyncio.create_task(here.rooms.join(ada, "d", {}))
        await anyio.lowlevel.checkpoint()
        with pytest.raises(InvalidRequest):
            await here.rooms.join(ada, "d", {})
        here.rooms.leave_all(ada)
        await joining
        [room] = here.registry.rooms.values()
        assert room.holds == 0
        assert not room.presence.awareness.states
        assert not here.time.waiting


async def test_p13_two_sessions_of_a_user_come_and_go_by_themselves(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, _ = await here.watch()
        one, two = caller("ada", session="1"), caller("ada", session="2")
        await here.rooms.join(one, "d", {"n": 1})
        await here.rooms.join(two, "d", {"n": 2})
        here.rooms.leave_all(one)
        here.time.pass_by(0.1)
        assert widget.states == {"ada": {"n": 2, "user": {"id": "ada"}}}


async def test_p14_who_has_joined_is_kept_alive_while_the_session_lives(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, _ = await here.watch()
        await here.rooms.join(caller("ada"), "d", {"n": 1})
        room = here.registry.rooms[KEY]
        silent = Client(room, "bob")
        silent.say(yjs.AwarenessUpdate(Peer(7).set({})), here.time.now)
        for _ in range(10):
            here.time.pass_by(10)
            room.expire(here.time.now)
        assert widget.states["ada"] == {"n": 1, "user": {"id": "ada"}}
        # others are told, for they forget who is silent themselves
        room.relay_all(here.time.now)
        told = [message for message in silent.listen() if isinstance(message, yjs.AwarenessUpdate)]
        assert any(state and state["n"] == 1 for message in told for state in states(message.payload).values())


async def test_p14_a_client_id_that_is_taken_is_not_taken_again(tmp_path: Path) -> None:
    numbers = iter([7, 7, 8])
    async with place(tmp_path, new_client=lambda: next(numbers)) as here:
        await here.rooms.join(caller("ada"), "d", {})
        await here.rooms.join(caller("bob"), "d", {})
        assert set(here.registry.rooms[KEY].presence.awareness.states) == {7, 8}


# listening


async def test_p15_changes_are_gathered_and_only_what_changed_is_told(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, _ = await here.watch()
        for user in ("ada", "bob", "eve"):
            await here.rooms.join(caller(user), "d", {"n": 0})
        here.time.pass_by(0.09)
        assert len(widget.changes) == 1
        here.time.pass_by(0.01)
        assert [len(change.people) for change in widget.changes] == [0, 3]
        for n in range(5):
            await here.rooms.update(caller("bob"), "d", {"n": n})
        here.rooms.leave(caller("eve"), "d")
        here.time.pass_by(0.1)
        assert len(widget.changes) == 3
        last = widget.changes[-1]
        assert [(person.user_id, person.state["n"]) for person in last.people] == [("bob", 4)]
        assert (last.left, last.count, last.complete) == (("user:eve",), 2, False)


async def test_p15_what_comes_back_to_what_it_was_is_not_told(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, _ = await here.watch()
        await here.rooms.join(caller("ada"), "d", {})
        here.rooms.leave(caller("ada"), "d")
        here.time.pass_by(1)
        assert len(widget.changes) == 1


async def test_p15_who_subscribes_between_two_tellings_ends_up_with_the_same_people(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        one, _ = await here.watch()
        await here.rooms.join(caller("ada"), "d", {})
        here.time.pass_by(0.1)
        await here.rooms.join(caller("bob"), "d", {})
        here.rooms.leave(caller("ada"), "d")
        two, _ = await here.watch()
        assert [person.user_id for person in two.people.values()] == ["ada"]
        here.time.pass_by(0.1)
        assert one.people == two.people
        assert [person.user_id for person in two.people.values()] == ["bob"]


async def test_p16_of_a_crowd_the_number_and_those_who_came_first_are_told(tmp_path: Path) -> None:
    async with place(tmp_path, sample=2) as here:
        widget, _ = await here.watch()
        for user in ("ada", "bob", "eve", "zoe"):
            await here.rooms.join(caller(user), "d", {})
        here.time.pass_by(0.1)
        assert (widget.count, list(widget.people)) == (4, ["user:ada", "user:bob"])
        here.rooms.leave(caller("zoe"), "d")
        here.time.pass_by(0.1)
        assert widget.changes[-1] == People(subs=(), count=3, people=[])
        here.rooms.leave(caller("ada"), "d")
        here.time.pass_by(0.1)
        assert (widget.count, list(widget.people)) == (2, ["user:bob", "user:eve"])


async def test_a_subscription_that_was_closed_hears_nothing_and_keeps_no_room_open(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        one, close_one = await here.watch()
        two, close_two = await here.watch()
        room = here.registry.rooms[KEY]
        assert room.holds == 1
        close_one()
        close_one()
        await here.rooms.join(caller("ada"), "d", {})
        here.time.pass_by(0.1)
        assert (len(one.changes), len(two.changes)) == (1, 2)
        here.rooms.leave_all(caller("ada"))
        close_two()
        assert room.holds == 0
        assert not room.presence.watchers
        assert not here.time.waiting


async def test_those_who_subscribe_at_once_share_the_room(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        watched = await asyncio.gather(*(here.watch() for _ in range(5)))
        room = here.registry.rooms[KEY]
        assert room.holds == 1
        await here.rooms.join(caller("ada"), "d", {})
        here.time.pass_by(0.1)
        assert [widget.count for widget, _ in watched] == [1] * 5
        for _, close in watched:
            close()
        here.rooms.leave_all(caller("ada"))
        assert room.holds == 0


async def test_p17_presence_outlives_the_rebuilding_of_a_document(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        widget, close = await here.watch()
        ada = caller("ada")
        await here.rooms.join(ada, "d", {"n": 1})
        room = here.registry.rooms[KEY]
        bad = Client(room, "bad")
        bad.sync()
        room.doc = Panicking(room.doc)  # type: ignore[assignment]
        with pytest.raises(InvalidRequest):
            bad.type("boom", now=monotonic())
        room.leave(bad.session, monotonic())
        await until(lambda: room.successor is not None)
        successor = room.successor
        assert successor is not None
        await here.rooms.update(ada, "d", {"n": 2})
        here.time.pass_by(0.1)
        assert [state.value["n"] for state in successor.presence.awareness.states.values()] == [2]
        assert widget.states["ada"]["n"] == 2
        here.rooms.leave_all(ada)
        here.time.pass_by(0.1)
        assert widget.count == 0
        close()
        assert successor.holds == 0
        assert not successor.presence.watchers


# rights that depend on rows


class Row:
    """Somebody's rights on rooms: they change, and looking them up takes time."""

    def __init__(self) -> None:
        self.readers = {"ada", "bob"}
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def access(self, who: Caller, key: RoomKey) -> Access:
        self.asked += 1
        await self.answers.wait()
        return Access.READ if who.identity.user_id in self.readers else Access.NONE

    def depends(self, identity: Identity, key: RoomKey) -> bool:
        return identity.user_id != "admin"


@asynccontextmanager
async def guarded(data: Path) -> AsyncIterator[tuple[Place, Row]]:
    async with opened(data) as (registry, _):
        here, row = Place(registry), Row()
        here.rooms = PresenceRooms(registry, row.access, row.depends, clock=here.time.clock, later=here.time.later)
        yield here, row


async def test_p11_who_may_not_see_a_room_any_more_is_seen_and_told_no_more(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (here, row):
        bob, _ = await here.watch(caller("bob"))
        ends: list[CollabError] = []
        ada = Widget()
        await here.rooms.subscribe(caller("ada"), "d", ada, ends.append)
        for who in ("ada", "bob"):
            await here.rooms.join(caller(who), "d", {"of": who})
        here.time.pass_by(0.2)
        assert set(bob.states) == set(ada.states) == {"ada", "bob"}
        row.readers = {"bob"}
        assert here.rooms.concerns(KEY)
        await here.rooms.row_changed(KEY)
        here.time.pass_by(0.2)
        assert set(bob.states) == {"bob"}
        assert [error.code for error in ends] == ["PERMISSION_DENIED"]
        await here.rooms.update(caller("bob"), "d", {"of": "secret"})
        here.time.pass_by(0.2)
        assert set(ada.states) == {"ada", "bob"}, "nothing is told any more"
        assert bob.states == {"bob": {"of": "secret", "user": {"id": "bob"}}}
        with pytest.raises(InvalidRequest):
            await here.rooms.update(caller("ada"), "d", {"of": "ada"})
        with pytest.raises(PermissionDenied):
            await here.rooms.join(caller("ada"), "d", {})


async def test_p11_a_room_that_goes_out_of_sight_while_it_is_entered_is_not_entered(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (here, row):
        row.answers.clear()
        row.readers = set()
        joining = asyncio.ensure_future(here.rooms.join(caller("ada"), "d", {}))
        watching = asyncio.ensure_future(here.watch(caller("ada")))
        await until(lambda: row.asked == 2)
        row.answers.set()
        for work in (joining, watching):
            with pytest.raises(PermissionDenied):
                await work
        assert not here.rooms.concerns(KEY)


async def test_p11_who_reads_all_rows_is_not_asked_again(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (here, row):
        row.readers = {"admin"}
        _, end = await here.watch(caller("admin"))
        await here.rooms.join(caller("admin"), "d", {})
        asked = row.asked
        assert not here.rooms.concerns(KEY)
        await here.rooms.row_changed(KEY)
        assert row.asked == asked
        end()
        here.rooms.leave_all(caller("admin"))
        assert not here.registry.rooms[KEY].holds
