"""Large edits, piece by piece."""

from __future__ import annotations

import asyncio
import threading
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import pycrdt
import pytest

from collab import Collab, Settings
from collab.errors import CollabError, InvalidRequest, TooLarge, Unavailable
from collab.gate import gate, pieces, revision, structs
from collab.gate.document_index import Dying
from collab.gate.encode import encode_update
from collab.gate.limits import AT_ONCE_BYTES, StepLimit
from collab.gate.struct_content import ANY
from collab.gate.structs import Struct
from collab.rooms.large import made_ready
from collab.rooms.live.compaction import LogSize
from collab.rooms.live.framing import HocuspocusFraming
from collab.rooms.live.pacing import Portion
from collab.storage.memory import MemoryStorage
from collab.wire import hocuspocus, yjs
from presence.lib0 import encode_uint
from tests.collab.rooms.live.simulation import KEY, Client, Ring, room_of
from tests.collab.rooms.registry_world import opened
from tests.fuzz.encode import STRING, block, frame, item, string


def prepends(count: int) -> bytes:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc.get("t", type=pycrdt.Text)
    for _ in range(count):
        text.insert(0, "ab")
    return doc.get_update()


def test_e17_an_edit_of_many_parts_is_applied_and_recorded_in_pieces_and_acknowledged_once() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", framing=HocuspocusFraming("d"))
    client.say(yjs.SyncStep1(b"\0"))
    room.drain(client.session)
    client.say(yjs.SyncStep2(prepends(3000)))
    assert len(ring.log) > 100
    frames = room.drain(client.session)
    assert hocuspocus.sync_status("d", True) not in frames
    ring.commit()
    assert room.drain(client.session).count(hocuspocus.sync_status("d", True)) == 1
    assert len(str(room.doc.get("t", type=pycrdt.Text))) == 6000


def test_deletions_in_any_order_are_applied_in_one() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", client_id=7)
    client.sync()
    client.type("x" * 10_000)
    client.say(yjs.Update(encode_update(b"", (), [(7, n, 1) for n in range(9_999, 0, -2)])))
    clocks = [room.gate.check(update).deletes for update, _ in ring.log]
    flat = [delete for deletes in clocks for delete in deletes]
    assert flat == sorted(flat)
    assert len(str(room.doc.get("t", type=pycrdt.Text))) == 5_000


def test_messages_of_a_session_wait_behind_its_large_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a")
    client.sync()
    held: list[tuple[Any, ...]] = []
    monkeypatch.setattr(ring, "take_apart", lambda *edit, **how: held.append((edit, how)))
    before = client.doc.get_state()
    for _ in range(2000):
        client.text.insert(0, "x")
    client.say(yjs.Update(client.doc.get_update(before)))
    client.type("!")  # continues what is not taken in yet
    assert ring.log == []
    monkeypatch.undo()
    (edit, how) = held[0]
    ring.take_apart(*edit, **how)
    assert str(room.doc.get("t", type=pycrdt.Text)) == str(client.text)
    assert room.drain(client.session) == []  # nobody was asked to synchronise


def test_a_portion_follows_the_cost_of_its_parts() -> None:
    portion = Portion(1024, 0.005)
    portion.took(0.02, 1024)
    assert portion.parts == 256
    portion.took(0.011, 256)
    assert portion.parts == 116
    portion.took(1.0, 100)
    assert portion.parts == 1
    portion.took(0.001, 0)
    assert portion.parts == 1
    for _ in range(20):
        portion.took(0.001, portion.parts)
    assert portion.parts == 4096


def test_who_has_used_more_than_their_share_begins_with_few_parts_in_any_document() -> None:
    portion = Portion()
    assert portion.of(1, busy=True) < portion.of(1, busy=False) == StepLimit(128, 128)
    rising = portion.sizes(1, busy=True)
    assert [next(rising).parts for _ in range(4)] == [16, 64, 128, 128]
    portion.took(1.0, 16)
    assert portion.of(1, busy=True) == portion.of(1, busy=False) == StepLimit(1, 1)
    assert next(rising).parts == 1


def test_a_portion_has_fewer_passes_through_a_larger_document_whatever_parts_have_taken() -> None:
    portion = Portion(4096)
    sizes = (1_000, 100_000, 1_000_000, 100_000_000)
    assert [portion.of(size, busy=False).scans for size in sizes] == [4096, 100, 10, 1]
    assert {portion.of(size, busy=False).parts for size in sizes} == {4096}
    assert portion.of(1_000_000, busy=True) == StepLimit(16, 10)
    rising = portion.sizes(1_000_000, busy=True)
    assert [next(rising) for _ in range(3)] == [StepLimit(16, 10), StepLimit(64, 10), StepLimit(256, 10)]


@pytest.mark.parametrize("together", [False, True])
def test_deletions_that_each_split_a_long_list_of_values_are_taken_in_by_pieces(together: bool) -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", client_id=7)
    client.sync()
    length = 500_000
    values = encode_uint(length) + b"\x7e" * length
    structs: list[Struct] = [(7, 0, length, ANY, None, None, "list", None, 0, len(values))]
    deletes = [(7, n, 1) for n in range(100, 200, 2)]
    for update in (
        [encode_update(values, structs, deletes)]
        if together
        else [encode_update(values, structs, ()), encode_update(b"", (), deletes)]
    ):
        client.say(yjs.Update(update))
    assert len(ring.log) >= 4
    assert len(room.doc.get("list", type=pycrdt.Array)) == length - 50


@pytest.mark.parametrize(("size", "counted"), [(1_000, False), (200_000, True)])
def test_a_short_edit_counts_in_full_if_the_document_is_large(
    size: int, counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", client_id=7)
    client.sync()
    client.type("x" * size)
    minutes = count(0.0, 60.0)
    for clock in ("thread_time", "perf_counter"):
        monkeypatch.setattr(f"collab.rooms.live.applying.{clock}", lambda: next(minutes))
    client.say(yjs.Update(encode_update(b"", (), [(7, 1, 1), (7, 3, 1)])))
    assert (room.log.seconds >= 60) == counted
    assert room.log.seconds < 61 * counted + 1


class BusyThrottle:
    """The throttle of a caller who has used more than their share."""

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def charge(self, seconds: float) -> float:
        return 0.0

    def is_busy(self) -> bool:
        return True


@pytest.mark.parametrize("busy", [True, False])
def test_what_a_busy_caller_writes_is_taken_in_by_pieces(busy: bool) -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", client_id=7)
    client.sync()
    client.type("x" * 400)
    if busy:
        client.session.throttle = BusyThrottle()
    client.say(yjs.Update(encode_update(b"", (), [(7, n, 1) for n in range(0, 200, 2)])))
    assert (len(ring.log) > 2) == busy
    assert len(str(room.doc.get("t", type=pycrdt.Text))) == 300


def test_a_document_whose_snapshot_takes_too_long_to_load_takes_no_more_edits() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a")
    client.sync()
    client.type("hello")
    room.log.snapshot_seconds = 3.0
    with pytest.raises(TooLarge, match="too long to load"):
        client.type(" world")
    assert len(ring.log) == 1


def test_edits_wait_while_the_log_of_a_document_takes_too_long_to_load() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a")
    client.sync()
    client.type("hello")
    room.log.seconds = 3.0
    with pytest.raises(Unavailable, match="compacted first"):
        client.type(" world")
    assert len(ring.log) == 1
    room.log.compacted(LogSize(40, 1, room.log.bytes, 0.001, 3.0))
    other = Client(room, "b")
    other.sync()
    other.type("!")
    assert len(ring.log) == 2


def test_a_malformed_large_edit_changes_nothing() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a")
    client.sync()
    with pytest.raises(CollabError):
        client.say(yjs.Update(prepends(3000)[:-1] + b"\1"))
    assert ring.log == []


@pytest.mark.parametrize("live", [True, False])
async def test_a_large_edit_stops_where_its_room_breaks_and_is_acknowledged_with_the_rest(
    tmp_path: Path, live: bool
) -> None:
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        client = Client(room, "a", framing=HocuspocusFraming("d"))
        client.doc.apply_update(prepends(3000))
        whole = client.doc.get_update()
        client.say(yjs.SyncStep1(b"\0"), monotonic())
        if live:
            client.say(yjs.SyncStep2(b"\0\0"), monotonic())
        await registry._recorder.flush()
        room.drain(client.session)
        client.say(yjs.Update(whole) if live else yjs.SyncStep2(whole), monotonic())
        assert client.session.waiting is not None
        while not room.log.rows:
            await asyncio.sleep(0)
        rows = room.log.rows
        room.broken = True
        registry.broken(room, RuntimeError("a fault"), None)
        with anyio.fail_after(60):
            while room.successor is None or client.session.waiting is not None:
                await asyncio.sleep(0.005)
        assert room.log.rows == rows
        client.room = room.successor
        saved = 0
        with anyio.fail_after(60):
            while not saved:
                await asyncio.sleep(0.005)
                for frame in client.room.drain(client.session):
                    _, message = hocuspocus.decode(frame)
                    saved += frame == hocuspocus.sync_status("d", True)
                    if isinstance(message, yjs.SyncStep1):
                        missing = client.doc.get_update(message.state_vector)
                        client.say(yjs.SyncStep2(missing), monotonic())
        assert saved == 1
        record = await storage.load(KEY)
        assert record is not None
        logged: pycrdt.Doc[Any] = pycrdt.Doc()
        for row in record.rows:
            logged.apply_update(row.update)
        assert str(logged.get("t", type=pycrdt.Text)) == str(client)


def test_the_author_of_a_large_edit_is_asked_once_for_what_all_its_pieces_leave_out() -> None:
    ring = Ring()
    room = room_of(ring)
    author = Client(room, "a", framing=HocuspocusFraming("d"))
    author.say(yjs.SyncStep1(b"\0"))
    author.say(yjs.SyncStep2(b"\0\0"))
    room.drain(author.session)
    other: pycrdt.Doc[Any] = pycrdt.Doc(client_id=5)
    missing = other.get("t", type=pycrdt.Text)
    missing += "xy"
    early = frame(
        [block(client, 0, [item(STRING, string("early "), origin=(5, client - 7))]) for client in (8, 7)],
    )
    author.say(yjs.Update(pycrdt.merge_updates(prepends(3000), early)))
    frames = room.drain(author.session)
    asked = [hocuspocus.decode(sent)[1] for sent in frames]
    assert sum(isinstance(message, yjs.SyncStep1) for message in asked) == 1
    assert hocuspocus.sync_status("d", True) not in frames
    author.say(yjs.SyncStep2(pycrdt.merge_updates(other.get_update(), early)))
    ring.commit()
    assert room.drain(author.session).count(hocuspocus.sync_status("d", True)) == 1
    assert str(room.doc.get("t", type=pycrdt.Text)).count("early ") == 2


@pytest.fixture
def _no_large_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading many bytes in the event loop is an error."""
    loop, read = threading.get_ident(), structs.read

    def elsewhere(update: bytes, limit: int) -> structs.Parts:
        assert len(update) <= AT_ONCE_BYTES or threading.get_ident() != loop
        return read(update, limit)

    for module in (gate, pieces):
        monkeypatch.setattr(module, "read", elsewhere)


LONG = "x" * (AT_ONCE_BYTES + 1)
ONE_STRUCT = frame([block(7, 0, [item(STRING, string(LONG), parent="t")])])
TOO_DEEP = bytes((117, 1)) * 200 + b"\x7e"
PARTLY_REFUSED = frame(
    [block(7, 0, [item(ANY, encode_uint(3) + b"\x77" + string(LONG) + TOO_DEEP + b"\x77" + string("end"), parent="a")])]
)


@pytest.mark.usefixtures("_no_large_reads")
async def test_a_session_may_write_a_struct_of_many_bytes_and_the_loop_does_not_read_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        client = Client(room, "a", framing=HocuspocusFraming("d"))
        client.say(yjs.SyncStep1(b"\0"))
        client.say(yjs.SyncStep2(ONE_STRUCT))
        with anyio.fail_after(40):
            while hocuspocus.sync_status("d", True) not in room.drain(client.session):
                await anyio.sleep(0.01)
        assert str(room.doc.get("t", type=pycrdt.Text)) == LONG


@pytest.mark.usefixtures("_no_large_reads")
async def test_an_application_may_write_a_struct_of_many_bytes_and_the_loop_does_not_read_it() -> None:
    collab = Collab(Settings(), storage=MemoryStorage())
    async with collab.lifespan():
        await collab.room("d").apply(ONE_STRUCT)
        assert await collab.room("d").text() == LONG


@pytest.mark.usefixtures("_no_large_reads")
async def test_the_loop_does_not_rewrite_a_struct_of_many_bytes_that_is_partly_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        client = Client(room, "a", framing=HocuspocusFraming("d"))
        client.say(yjs.SyncStep1(b"\0"))
        client.say(yjs.SyncStep2(PARTLY_REFUSED))
        with anyio.fail_after(40):
            while hocuspocus.sync_status("d", True) not in room.drain(client.session):
                await anyio.sleep(0.01)
        assert room.doc.get("a", type=pycrdt.Array).to_py() == [LONG, "end"]


@pytest.mark.usefixtures("_no_large_reads")
async def test_what_is_left_of_a_large_piece_that_waits_for_others_is_rewritten_again_when_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session brings them while a thread rewrites."""
    late = item(STRING, string("late"), origin=(5, 0))
    large = frame([block(8, 0, [late]), block(7, 0, [item(STRING, string(LONG), parent="t")])])
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        author, other = Client(room, "a"), Client(room, "b")
        author.sync()
        other.sync()
        rewrite, loop, calls = revision.rewrite, asyncio.get_running_loop(), count()

        def slow(*what: Any) -> Any:
            if not next(calls):
                asyncio.run_coroutine_threadsafe(come(), loop).result()
            return rewrite(*what)

        async def come() -> None:
            other.say(yjs.Update(frame([block(5, 0, [item(STRING, string("a"), parent="u")])])))

        monkeypatch.setattr("collab.gate.gate.rewrite", slow)
        author.say(yjs.Update(large))
        with anyio.fail_after(40):
            while room.gate.state.get(7, 0) < len(LONG):
                await anyio.sleep(0.01)
        assert next(calls)
        assert (str(room.doc.get("t", type=pycrdt.Text)), str(room.doc.get("u", type=pycrdt.Text))) == (LONG, "alate")


async def test_a_large_piece_of_which_others_change_what_it_depends_on_all_the_time_is_refused(tmp_path: Path) -> None:
    update = frame([block(7, 0, [item(STRING, string(LONG), parent="t")])])
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        piece = pieces.UpdatePiece(update, [], Dying([]))
        room.gate.rewriting = lambda piece: lambda: piece  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="too fast"):
            await made_ready(room, piece, None, lambda seconds: None)


@pytest.mark.usefixtures("_no_large_reads")
async def test_an_application_is_told_of_a_large_struct_that_is_partly_refused() -> None:
    collab = Collab(Settings(), storage=MemoryStorage())
    async with collab.lifespan():
        with pytest.raises(InvalidRequest, match="contains"):
            await collab.room("d").apply(PARTLY_REFUSED)
