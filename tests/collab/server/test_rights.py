"""Rights that change while documents are open, though the hook that decides takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pycrdt
import pytest
from websockets.asyncio.client import connect

from collab import Access, Collab, Hooks, Identity, Request, RoomKey, Settings
from collab.access.rules import parse_rules
from collab.errors import CollabError, PermissionDenied
from collab.rooms.live.framing import YjsFraming
from collab.rooms.live.room import Room
from collab.rooms.live.session import Session
from collab.storage.memory import MemoryStorage
from collab.wire import hocuspocus, yjs
from tests.collab.serving import serving

KEY = RoomKey("default", "documents", "d")


class Slow(Hooks):
    """The answer about users whose name begins with ``slow`` comes once ``answers`` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.may_not: set[str | None] = set()
        self.has = Access.WRITE
        self.asked = 0

    async def authorize(self, identity: Identity, key: RoomKey) -> Access:
        if (identity.user_id or "").startswith("stale"):  # reads, and is slow to say what it has read
            found, answers = self.has, self.answers
            self.asked += 1
            await answers.wait()
            return found
        if (identity.user_id or "").startswith("slow"):
            await self.answers.wait()
        return Access.NONE if identity.user_id in self.may_not else Access.WRITE


class Named(Slow):
    """A token is the name of a user."""

    async def authenticate(self, request: Request) -> Identity | None:
        return Identity("default", request.token, rules=parse_rules({"*/*": "write"}))


class Reading:
    """Counts how often reading is stopped."""

    def __init__(self) -> None:
        self.held = 0

    def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1

    def charge(self, seconds: float) -> float:
        return 0.0

    def is_busy(self) -> bool:
        return False


class Editor:
    def __init__(self, room: Room, user: str) -> None:
        self.closed: CollabError | None = None
        self.reading = Reading()
        identity = Identity("default", user, rules=parse_rules({"*/*": "write"}))
        self.session = Session(
            identity, Access.WRITE, YjsFraming(), ready=lambda: None, close=self._close, outbox_bytes=1 << 20
        )
        self.session.throttle = self.reading
        room.join(self.session)
        room.receive(self.session, yjs.SyncStep1(b"\0"), 0.0)
        self.session.drain()

    def _close(self, error: CollabError) -> None:
        self.closed = error


@asynccontextmanager
async def opened(hooks: Slow) -> AsyncIterator[tuple[Collab, Room]]:
    collab = Collab(Settings(content_event_seconds=0), hooks=hooks, storage=MemoryStorage())
    async with collab.lifespan(), collab._registry.hold(KEY) as room:
        yield collab, room
        for session in list(room.sessions):
            room.leave(session, 0.0)


async def write(collab: Collab, text: str) -> None:
    async with collab.room("d").edit() as doc:
        doc.get("t", type=pycrdt.Text).insert(0, text)


async def test_a17_a_slow_answer_delays_no_other() -> None:
    hooks = Slow()
    async with opened(hooks) as (collab, room):
        slow = [Editor(room, f"slow{number}") for number in range(20)]
        fast = Editor(room, "fast")
        hooks.answers.clear()
        hooks.may_not = {"fast", "slow7"}
        changing = asyncio.create_task(collab.permissions_changed())
        while fast.closed is None:
            await asyncio.sleep(0)
        assert isinstance(fast.closed, PermissionDenied)
        assert not changing.done()
        hooks.answers.set()
        await changing
        assert [isinstance(editor.closed, PermissionDenied) for editor in slow] == [n == 7 for n in range(20)]


async def test_a17_until_its_check_is_done_a_session_gets_nothing_and_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("collab.server.rights.HOLD_SECONDS", 0.05)
    monkeypatch.setattr("collab.server.rights._AT_ONCE", 2)
    hooks = Slow()
    async with opened(hooks) as (collab, room):
        editors = [Editor(room, f"slow{number}") for number in range(4)]
        hooks.answers.clear()
        hooks.may_not = {"slow3"}
        changing = [asyncio.create_task(collab.permissions_changed()) for _ in range(2)]
        while not all(editor.reading.held for editor in editors):
            await asyncio.sleep(0)
        await write(collab, "secret")
        room.relay_all(1e9)
        assert [editor.session.drain() for editor in editors] == [[]] * 4
        hooks.answers.set()
        await asyncio.gather(*changing)
        assert [editor.reading.held for editor in editors] == [0] * 4
        assert [editor.closed is None for editor in editors] == [True, True, True, False]
        assert all(editor.session.drain() for editor in editors[:3])


async def test_a17_an_answer_that_comes_late_does_not_undo_a_later_one() -> None:
    hooks = Slow()
    async with opened(hooks) as (collab, room):
        editor = Editor(room, "stale")
        first = hooks.answers = asyncio.Event()
        granting = asyncio.create_task(collab.permissions_changed())
        while not hooks.asked:
            await asyncio.sleep(0)
        hooks.has, hooks.answers = Access.READ, asyncio.Event()
        hooks.answers.set()
        await collab.permissions_changed()
        assert editor.session.access == Access.READ
        first.set()
        await granting
        assert editor.session.access == Access.READ
        assert editor.closed is None


async def test_a17_a_new_token_does_not_undo_a_change_of_rights_during_its_check() -> None:
    hooks = Named()
    collab = Collab(Settings(content_event_seconds=0), hooks=hooks, storage=MemoryStorage())
    async with serving(collab) as address, connect(f"ws://{address}/hocuspocus") as socket:
        await socket.send(hocuspocus.token("documents/d", "stale"))
        while KEY not in collab._registry.rooms or not collab._registry.rooms[KEY].sessions:
            await asyncio.sleep(0.01)
        (session,) = collab._registry.rooms[KEY].sessions
        first, asked = asyncio.Event(), hooks.asked
        hooks.answers = first
        await socket.send(hocuspocus.token("documents/d", "stale"))
        while hooks.asked == asked:
            await asyncio.sleep(0.01)
        hooks.has, hooks.answers = Access.READ, asyncio.Event()
        hooks.answers.set()
        await collab.permissions_changed()
        first.set()
        async with asyncio.timeout(40):
            while hooks.asked < asked + 3:  # it is asked again
                await asyncio.sleep(0.01)
        assert session.access == Access.READ


async def test_a17_nobody_joins_by_a_row_that_has_changed_since_it_was_admitted() -> None:
    collab = Collab(Settings(), storage=MemoryStorage())
    async with collab.lifespan():
        tasks = collab.collection("tasks")
        await tasks.create({"owner": "ann"}, id="t1")
        rules = parse_rules({"tasks/*": {"access": "write", "where": {"owner": "$userId"}}}, "ann")
        admitted = await collab.admission.admit_identity(Identity("default", "ann", rules=rules), "tasks/t1")
        await tasks.update("t1", {"n": 1})
        assert (await collab.rights.open(admitted))[1].access == Access.WRITE
        await tasks.update("t1", {"owner": "bob"})
        with pytest.raises(PermissionDenied):
            await collab.rights.open(admitted)
