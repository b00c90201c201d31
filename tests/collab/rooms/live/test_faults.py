"""Whatever fails while an edit is applied, the document is never ahead of its log, and nobody else is affected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import pycrdt
import pytest

from collab.entities.entity import EntityOp
from collab.errors import CollabError, InvalidRequest, Quarantined, Unavailable
from collab.rooms.live.faults import Deferred, NotApplied, NotRecorded
from collab.rooms.live.framing import HocuspocusFraming, YjsFraming
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.storage.sqlite.storage import SqliteStorage
from collab.wire import hocuspocus, yjs
from tests.collab.rooms.live.simulation import KEY, Client, Ring, room_of
from tests.collab.rooms.registry_world import PanicError, opened, text_of

Break = Callable[[Registry, Room], None]


class Failing:
    """A wrapped object some of whose methods raise, ``times`` times."""

    def __init__(self, real: Any, error: BaseException, *methods: str, times: int = 1) -> None:
        self._real = real
        self._error = error
        self._methods = methods
        self._times = times

    def __getattr__(self, name: str) -> Any:
        if name not in self._methods:
            return getattr(self._real, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            if self._times:
                self._times -= 1
                raise self._error
            return getattr(self._real, name)(*args, **kwargs)

        return method


def _applying(error: BaseException) -> Break:
    def arrange(registry: Registry, room: Room) -> None:
        room.doc = Failing(room.doc, error, "apply_update")  # type: ignore[assignment]

    return arrange


def _remembering(error: BaseException) -> Break:
    def arrange(registry: Registry, room: Room) -> None:
        room.gate = Failing(room.gate, error, "commit")  # type: ignore[assignment]

    return arrange


def _deriving(error: BaseException) -> Break:
    def arrange(registry: Registry, room: Room) -> None:
        room.bridge = Failing(room.bridge, error, "ops")  # type: ignore[assignment]

    return arrange


def _reading(error: BaseException) -> Break:
    """The value of a field is read from the document after the update was applied."""

    def arrange(registry: Registry, room: Room) -> None:
        room.doc = Failing(room.doc, error, "get")  # type: ignore[assignment]

    return arrange


def _appending(error: BaseException) -> Break:
    def arrange(registry: Registry, room: Room) -> None:
        registry._recorder = Failing(registry._recorder, error, "append")  # type: ignore[assignment]

    return arrange


BEFORE_THE_LOG: dict[str, Break] = {
    "the document panics": _applying(PanicError("index out of bounds")),
    "the document has no memory": _applying(MemoryError()),
    "the gate fails": _remembering(OverflowError("lost")),
    "the gate has no memory": _remembering(MemoryError()),
    "entities cannot be derived": _deriving(TypeError("XmlFragment has no Python equivalent")),
    "deriving entities panics": _deriving(PanicError("poisoned")),
    "deriving entities takes too much memory": _deriving(MemoryError()),
    "a field cannot be read": _reading(TypeError("XmlFragment has no Python equivalent")),
    "the log takes no more": _appending(Unavailable("storage is too far behind")),
    "the log fails": _appending(RuntimeError("closed")),
}


def fields(client: Client) -> pycrdt.Map[Any]:
    doc: pycrdt.Doc[Any] = client.doc
    found: pycrdt.Map[Any] = doc.get("fields", type=pycrdt.Map)
    return found


async def _next(room: Room) -> Room:
    with anyio.fail_after(40):
        while room.successor is None:
            await anyio.sleep(0.01)
    return room.successor


async def _reload(registry: Registry) -> Room:
    """The room as rebuilt from the log."""
    await registry._recorder.flush()
    return await registry._open(KEY)


@pytest.mark.parametrize("step", BEFORE_THE_LOG)
async def test_e18_an_edit_that_is_not_logged_is_not_in_the_document_either(tmp_path: Path, step: str) -> None:
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        author, other = Client(room, "author", framing=HocuspocusFraming("d")), Client(room, "other")
        other.sync()
        other.type("kept", now=monotonic())
        author.doc.apply_update(room.diff())
        author.say(yjs.SyncStep1(author.doc.get_state()), monotonic())
        author.introduce(monotonic())
        room.drain(author.session)
        author.session.asked.clear()
        BEFORE_THE_LOG[step](registry, room)
        # a map with a map in it: its value is read from the document
        before = author.doc.get_state()
        fields(author)["nested"] = pycrdt.Map({"a": 1})
        failure: CollabError | None = None
        try:
            author.say(yjs.Update(author.doc.get_update(before)), monotonic())
        except CollabError as error:
            failure = error
            room.leave(author.session, monotonic())
        assert room.broken
        other.type(" and said while it was broken", now=monotonic())
        successor = await _next(room)
        assert registry.rooms[KEY] is successor
        assert other.closed is None
        assert other.session in successor.sessions
        other.room = author.room = successor
        other.listen(monotonic())
        assert text_of(successor) == str(other) == "kept and said while it was broken"
        assert successor.gate.state == (await _reload(registry)).gate.state
        if failure is None:
            # the author is still there, and asked for what it has: this time it is saved
            assert author.closed is None
            frames = [hocuspocus.decode(frame)[1] for frame in successor.drain(author.session)]
            asked = next(message for message in frames if isinstance(message, yjs.SyncStep1))
            author.say(yjs.SyncStep2(author.doc.get_update(asked.state_vector)), monotonic())
            successor.relay_all(monotonic())
            other.listen(monotonic())
            assert fields(other).to_py() == {"nested": {"a": 1}}
            await registry._recorder.flush()
            assert successor.drain(author.session).count(hocuspocus.sync_status("d", True)) == 1
        else:
            assert isinstance(failure, NotApplied)
            again = Client(successor, "author")
            again.doc = author.doc
            with pytest.raises(Quarantined):
                again.sync(monotonic())
            successor.leave(again.session, monotonic())
        assert successor.gate.state == (await _reload(registry)).gate.state
        assert room.commits.pending == successor.commits.pending == 0


async def test_e18_an_edit_that_can_never_be_recorded_is_quarantined_in_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        author, other = Client(room, "author"), Client(room, "other")
        author.sync()
        other.sync()
        registry._recorder = Failing(registry._recorder, RuntimeError("bug"), "append", times=4)  # type: ignore[assignment]
        before = author.doc.get_state()
        author.text += "x"
        author.say(yjs.Update(author.doc.get_update(before)), monotonic())
        for _ in range(2):
            room = author.room = await _next(room)
            author.listen(monotonic())  # asked again, answered again
        room = author.room = await _next(room)
        with pytest.raises(NotRecorded):
            author.listen(monotonic())
        room.leave(author.session, monotonic())
        room = other.room = await _next(room)
        assert len(await storage.list_set_aside()) == 1
        other.type("still here", now=monotonic())
        assert text_of(room) == "still here"


@asynccontextmanager
async def _two(tmp_path: Path) -> AsyncIterator[tuple[Registry, Room, Client, Client]]:
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        author, other = Client(room, "author"), Client(room, "other")
        author.sync()
        other.sync()
        yield registry, room, author, other


def _raise_and_leave(room: Room, *args: Any) -> None:
    room.listeners.clear()
    raise RuntimeError("a listener's own fault")


def _raise(*args: Any) -> None:
    raise RuntimeError("a listener's own fault")


class _Mute(YjsFraming):
    """Fails once to encode its message."""

    address = "mute"

    def __init__(self) -> None:
        self.update = Failing(yjs, RuntimeError("cannot encode"), "update").update
        self.awareness = Failing(yjs, RuntimeError("cannot encode"), "awareness").awareness


AFTER_THE_LOG: dict[str, Callable[[Room], object]] = {
    "a listener": lambda room: room.listeners.add(_raise),
    "a listener that unsubscribes": lambda room: room.listeners.add(partial(_raise_and_leave, room)),
    "a watcher of presence": lambda room: room.presence.watchers.add(_raise),
    "the relay": lambda room: Client(room, "mute", framing=_Mute()).sync(),
    "a call after the commit": lambda room: room.commits._calls.append(_raise),
}


@pytest.mark.parametrize("step", AFTER_THE_LOG)
async def test_a_failure_after_an_edit_is_recorded_does_not_undo_it(tmp_path: Path, step: str) -> None:
    async with _two(tmp_path) as (registry, room, author, other):
        AFTER_THE_LOG[step](room)
        author.type("hello", now=monotonic())
        states = b'{"user":{"name":"A"}}'
        author.say(yjs.AwarenessUpdate(bytes([1, 5, 1, len(states)]) + states), monotonic())
        author.type(" world", now=monotonic() + 1)
        assert not room.broken
        assert author.closed is other.closed is None
        room.relay_all(monotonic())
        other.listen()
        assert str(other) == text_of(room) == "hello world"
        assert text_of(await _reload(registry)) == "hello world"
        assert room.commits.pending == 0


async def test_a_document_that_could_not_be_rebuilt_is_rebuilt_for_the_next_client(tmp_path: Path) -> None:
    async with _two(tmp_path) as (registry, room, author, other):
        room.hold()  # such as a subscriber of its presence
        author.type("kept", now=monotonic())
        other.listen()
        await registry._recorder.flush()
        registry._seeding = Failing(registry._seeding, Unavailable("away"), "load")  # type: ignore[assignment]
        room.doc = Failing(room.doc, PanicError("index"), "apply_update")  # type: ignore[assignment]
        with pytest.raises(InvalidRequest):
            author.type("!", now=monotonic())
        room.leave(author.session, monotonic())
        with anyio.fail_after(40):
            while other.closed is None or KEY in registry._opening:
                await anyio.sleep(0.01)
        assert isinstance(other.closed, Unavailable)
        room.leave(other.session, monotonic())
        successor = await registry.open(KEY)
        assert room.successor is successor
        assert successor.holds == 1
        assert text_of(successor) == "kept"
        registry.release(room)
        assert successor.holds == 0


async def test_a_broken_document_without_users_is_dropped(tmp_path: Path) -> None:
    async with opened(tmp_path, idle_seconds=0.0) as (registry, _):
        room = await registry.open(KEY)
        author = Client(room, "author")
        author.sync()
        registry._seeding = Failing(registry._seeding, Unavailable("away"), "load")  # type: ignore[assignment]
        room.doc = Failing(room.doc, PanicError("index"), "apply_update")  # type: ignore[assignment]
        with pytest.raises(InvalidRequest):
            author.type("!", now=monotonic())
        room.leave(author.session, monotonic())
        with anyio.fail_after(40):
            while KEY in registry._opening:
                await anyio.sleep(0.01)
        registry._evict_if_idle(room, monotonic() + 1)
        assert KEY not in registry.rooms


async def test_joining_a_document_that_is_being_rebuilt_joins_the_new_one(tmp_path: Path) -> None:
    async with _two(tmp_path) as (registry, room, author, other):
        other.type("kept", now=monotonic())
        room.doc = Failing(room.doc, PanicError("index"), "apply_update")  # type: ignore[assignment]
        with pytest.raises(InvalidRequest):
            author.type("!", now=monotonic())
        room.leave(author.session, monotonic())
        joined = await registry.open(KEY)
        assert joined is room.successor
        assert other.session in joined.sessions


async def test_a_slow_reader_does_not_get_what_is_not_in_the_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        author, slow = Client(room, "author"), Client(room, "slow", outbox_bytes=100)
        author.sync()
        slow.sync()
        for n in range(30):
            author.type(f"{n} ", now=monotonic() + n)
        assert slow.session.outbox.is_behind
        registry._recorder = Failing(registry._recorder, RuntimeError("bug"), "append")  # type: ignore[assignment]
        author.type("not recorded", now=monotonic() + 40)
        assert slow.listen() == []
        slow.room = author.room = successor = await _next(room)
        slow.listen()
        assert str(slow) == text_of(successor)
        assert "not recorded" not in str(slow)
        author.listen(monotonic() + 50)
        successor.relay_all(monotonic() + 50)
        slow.listen()
        assert str(slow) == str(author)


async def test_a_fault_of_one_session_does_not_keep_others_from_the_rebuilt_document() -> None:
    ring = Ring()
    old = room_of(ring)
    bad, good = Client(old, "bad"), Client(old, "good")
    bad.sync()
    good.sync()
    first = good.type("hello", now=10.0)
    old.broken = True
    bad.say(yjs.AwarenessUpdate(b"\xff"), 11.0)
    good.type(" world", now=11.0)
    bad.session.outbox._reply_limit = 0
    new = room_of(ring, [first])
    new.succeed(old, 12.0)
    assert isinstance(bad.closed, CollabError)
    assert good.closed is None
    assert text_of(new) == "hello world"


def test_messages_to_a_broken_document_wait_in_bounded_memory() -> None:
    room = room_of(Ring())
    client = Client(room, "a")
    deferred = Deferred()
    with pytest.raises(Unavailable):
        for _ in range(100):
            deferred.add(client.session, yjs.Update(bytes(1 << 20)))
    assert len(deferred.messages) < 17
    with pytest.raises(Unavailable):
        for _ in range(1_000_000):
            deferred.add(client.session, yjs.QueryAwareness())


async def test_a_change_without_an_edit_that_cannot_be_recorded_is_not_waited_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        assert isinstance(storage, SqliteStorage)
        room = await registry.open(KEY)
        registry._recorder = Failing(registry._recorder, Unavailable("full"), "append")  # type: ignore[assignment]
        with pytest.raises(Unavailable):
            registry.note(room, EntityOp("delete", room.bridge.main, "a", 0.0))
        assert room.commits.pending == 0
