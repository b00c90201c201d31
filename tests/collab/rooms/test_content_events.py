from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pycrdt import Array, Map, Text, XmlElement, XmlFragment, XmlText

from collab import Collab, RoomHandle, Settings, declaration
from collab.errors import Elsewhere, Unavailable
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.rooms import content_events as content
from collab.rooms.live.ring import RECENT_BYTES
from collab.sandbox.client import Child, SandboxError
from collab.sandbox.messages import ContentChanges
from collab.storage.base import Append, Committed, Fact, LogRow, NewContents, Storage, StorageError
from collab.storage.jobs import AllJobs
from collab.storage.memory import MemoryStorage


@pytest.mark.parametrize("waits_for", ["process", "storage"])
async def test_only_work_lets_a_document_rest(monkeypatch: pytest.MonkeyPatch, waits_for: str) -> None:
    """The first start of its process, or the first answer of the storage, takes a quarter of an hour."""
    skipped = 0.0

    def wait(what: str) -> None:
        nonlocal skipped
        if what == waits_for and not skipped:
            skipped = 900.0

    class Slow(Child):
        async def prepare(self) -> None:
            wait("process")
            await super().prepare()

    class Frozen(MemoryStorage):
        async def document_at(self, key: RoomKey, seq: int) -> Sequence[bytes]:
            wait("storage")
            return await super().document_at(key, seq)

    monkeypatch.setattr(content, "monotonic", lambda: time.monotonic() + skipped)
    monkeypatch.setattr("collab.sandbox.client.Child", Slow)
    collab = Collab(Settings(content_event_seconds=0.05), storage=Frozen())
    async with collab.lifespan(), asyncio.timeout(60):
        events: list[EntityEvent] = []
        collab.feed.subscribe(lambda project, event: events.append(event))
        for number, letter in enumerate("abc"):
            collab._content._names.clear()  # the document is read anew
            async with collab.room("d").edit(user="ann") as doc:
                doc.get("text", type=Text).insert(0, letter)
            while not any(event.changes == {"text": {"delta": [{"insert": letter}]}} for event in events):
                await asyncio.sleep(0.01)
            assert len(events) == number + 2
        assert skipped


KEY = RoomKey("default", "documents", "d")


async def test_the_first_changes_after_opening_let_no_document_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """They need the whole document, and later ones do not: after a takeover they would come late for nothing."""

    class Large(Child):
        async def changes(self, base: Sequence[bytes] | None, *arguments: Any, **names: Any) -> Any:
            found = await super().changes(base, *arguments, **names)
            if base is not None:
                self.spent += 900.0
            return found

    monkeypatch.setattr("collab.sandbox.client.Child", Large)
    collab = Collab(Settings(content_event_seconds=0.05), storage=MemoryStorage())
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        for number, letter in enumerate("ab", 1):
            await write(collab.room("d"), [letter])
            await listener.told(number)
            while KEY in collab._content._busy:
                await asyncio.sleep(0.01)
            assert collab._content._rest[KEY] - time.monotonic() < 60
        collab._content._rest.clear()
        collab._content._names.clear()  # the sandbox forgets the document: that may happen again and again
        await write(collab.room("d"), ["c"])
        await listener.told(3)
        while KEY in collab._content._busy:
            await asyncio.sleep(0.01)
        assert collab._content._rest[KEY] - time.monotonic() > 8000


async def test_a_server_that_is_stopped_at_the_moment_a_document_changes_stops() -> None:
    collab = Collab(Settings(content_event_seconds=0.05), storage=MemoryStorage())
    async with collab.lifespan():
        working = asyncio.create_task(collab._content.run(collab._registry))
        await asyncio.sleep(0.01)
        collab._content.changed(KEY)
        working.cancel()
        await asyncio.wait((working,), timeout=30)
        assert working.cancelled()


class Listener:
    """The content events of a document, and the row up to which the log is covered."""

    def __init__(self, collab: Collab) -> None:
        self.collab = collab
        self.changes: list[dict[str, Any]] = []
        collab.feed.subscribe(lambda project, event: self.changes.append(event.changes) if event.changes else None)

    async def told(self, count: int) -> list[dict[str, Any]]:
        """The first changes, if there are very many."""
        while len(self.changes) < count:
            await asyncio.sleep(0.01)
        return self.changes[:count]


class Read(MemoryStorage):
    """Counts how often a log is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        self.reads += 1
        return await super().log_after(key, seq)


async def test_what_was_just_committed_is_not_read_from_the_storage() -> None:
    storage = Read()
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        for number, letter in enumerate("abc"):
            await write(collab.room("d"), [letter])
            told = {"text": {"delta": [*([{"retain": number}] if number else []), {"insert": letter}]}}
            assert (await listener.told(number + 1))[-1] == told
    assert storage.reads == 0


async def test_turns_for_which_the_recorder_has_no_room_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_STORAGE_SECONDS", 0.05)
    collab = Collab(Settings(content_event_seconds=0.2), storage=MemoryStorage())
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        room = collab.room("d")
        for user in ("ann", "bob", "cleo"):
            async with room.edit(user=user) as doc:
                doc.get("text", type=Text).insert(0, user)
        assert not listener.changes
        monkeypatch.setattr(collab._recorder, "_max_pending_bytes", 300)  # less than two changes take
        await listener.told(3)
        await collab._recorder.flush()
        told = [[{"insert": user}] for user in ("ann", "bob", "cleo")]
        assert [change["text"]["delta"] for change in listener.changes] == told


class Picky(Child):
    """Fails on a turn with a certain word, and on more than ``most`` updates at once."""

    most = 10_000
    word = b"poison"
    asked: ClassVar[list[int]] = []

    async def changes(
        self,
        base: Sequence[bytes] | None,
        turns: Sequence[Sequence[bytes]],
        roots: Any,
        seconds: float,
        before: str = "",
        after: str = "",
        *,
        searched: bool = False,
    ) -> ContentChanges | None:
        updates = [update for turn in turns for update in turn]
        self.asked.append(len(updates))
        if len(updates) > self.most or any(self.word in update for update in updates):
            raise SandboxError("too much")
        return await super().changes(base, turns, roots, seconds, before, after, searched=searched)


async def write(room: RoomHandle, words: Sequence[str]) -> None:
    """Append each word as an update of its own."""
    for word in words:
        async with room.edit(user="ann") as doc:
            doc.get("text", type=Text).insert(len(str(doc.get("text", type=Text)).encode()), word)


async def test_many_rows_of_one_author_become_events_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_ROWS", 4)
    storage = MemoryStorage()
    collab = Collab(Settings(content_event_seconds=0), storage=storage)
    async with collab.lifespan():
        await write(collab.room("d"), list("abcdefghij"))
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        assert await listener.told(3) == [
            {"text": {"delta": [{"insert": "abcd"}]}},
            {"text": {"delta": [{"retain": 4}, {"insert": "efgh"}]}},
            {"text": {"delta": [{"retain": 8}, {"insert": "ij"}]}},
        ]
        while await storage.uncovered():
            await asyncio.sleep(0.01)


async def test_a_storage_that_fails_for_a_while_delays_content_events_and_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Away(MemoryStorage):
        failures = 3

        def fail(self) -> None:
            if self.failures:
                self.failures -= 1
                raise StorageError("away")

        async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
            self.fail()
            return await super().log_after(key, seq)

        async def uncovered(self, limit: int = 100) -> Sequence[RoomKey]:
            self.fail()
            return await super().uncovered(limit)

    monkeypatch.setattr(content, "_STORAGE_SECONDS", 0.01)
    storage = Away()
    collab = Collab(Settings(content_event_seconds=0), storage=storage)
    async with collab.lifespan():
        await write(collab.room("d"), ["a"])
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        await listener.told(1)
        assert not storage.failures
        storage.failures = 3
        await write(collab.room("d"), ["b" * RECENT_BYTES])  # too large to be kept in memory
        assert await listener.told(2) == [{"text": {"delta": [{"insert": "a"}]}}, {"text": {"truncated": True}}]
        assert not storage.failures


@pytest.mark.parametrize("error", [Unavailable("the document is being rebuilt"), SandboxError("no process starts")])
async def test_what_failed_for_the_moment_is_done_later_without_another_change(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(content, "_STORAGE_SECONDS", 0.01)
    monkeypatch.setattr(content, "_REST_SECONDS", 0.01)
    collab = Collab(Settings(content_event_seconds=0.05), storage=MemoryStorage())
    work_out, failures = collab._content._work_out, 3

    async def fail(*arguments: Any) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise error
        await work_out(*arguments)

    monkeypatch.setattr(collab._content, "_work_out", fail)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        await write(collab.room("d"), ["a"])
        assert await listener.told(1) == [{"text": {"delta": [{"insert": "a"}]}}]


async def test_a_child_that_is_frozen_once_takes_no_detail_from_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the machine pauses: the time is over when it goes on."""

    class Frozen(Child):
        frozen = False

        async def changes(self, *arguments: Any, **names: Any) -> Any:
            if self.frozen:
                return await super().changes(*arguments, **names)
            await self.prepare()
            Frozen.frozen = True
            assert self._process is not None
            self._process.send_signal(signal.SIGSTOP)
            base, turns, roots, _, *caching = arguments
            return await super().changes(base, turns, roots, 1.0, *caching, **names)

    monkeypatch.setattr("collab.sandbox.client.Child", Frozen)
    collab = Collab(Settings(content_event_seconds=0.05), storage=MemoryStorage())
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        await write(collab.room("d"), ["a"])
        assert await listener.told(1) == [{"text": {"delta": [{"insert": "a"}]}}]
        assert Frozen.frozen


async def test_a_document_that_changes_again_and_again_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, read = MemoryStorage(), []
    document_at = storage.document_at

    async def noted(key: RoomKey, seq: int) -> Sequence[bytes]:
        read.append(seq)
        return await document_at(key, seq)

    monkeypatch.setattr(storage, "document_at", noted)
    collab = Collab(Settings(content_event_seconds=0), storage=storage)
    async with collab.lifespan():
        await write(collab.room("d"), ["a"])
    collab = Collab(Settings(content_event_seconds=0.01), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        await listener.told(1)
        for number, word in enumerate("bcdef", 2):
            await write(collab.room("d"), [word])
            told = await listener.told(number)
            assert told[-1] == {"text": {"delta": [{"retain": number - 1}, {"insert": word}]}}
    assert len(read) <= 1, "only what another child has to read"


class Counted(Child):
    """Notes how many documents each request names, and may refuse to answer several at once."""

    asked: ClassVar[list[int]] = []
    refuses = False

    async def changes_of_many(self, documents: Sequence[Any], seconds: float) -> Any:
        self.asked.append(len(documents))
        if self.refuses:
            raise SandboxError("no")
        return await super().changes_of_many(documents, seconds)


@pytest.mark.parametrize("refuses", [False, True])
async def test_documents_that_change_together_are_read_in_one_request(
    monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    """If that fails, each is read by itself; either way each change is told once."""
    monkeypatch.setattr("collab.sandbox.client.Child", Counted)
    monkeypatch.setattr(Counted, "asked", [])
    monkeypatch.setattr(Counted, "refuses", refuses)
    collab = Collab(Settings(content_event_seconds=0.5), storage=MemoryStorage())
    told: dict[str, list[Any]] = {}
    collab.feed.subscribe(
        lambda project, event: told.setdefault(event.id, []).append(event.changes) if event.changes else None
    )
    names = [f"d{number}" for number in range(12)]
    async with collab.lifespan(), asyncio.timeout(120):
        for number, letter in enumerate("abc", 1):
            for name in names:
                await write(collab.room(name), [letter])
            while not all(len(told.get(name, ())) == number for name in names):
                await asyncio.sleep(0.01)
    expected = [
        {"text": {"delta": [*([{"retain": number}] if number else []), {"insert": letter}]}}
        for number, letter in enumerate("abc")
    ]
    assert [told[name] for name in names] == [expected] * len(names)
    assert max(Counted.asked) > 1


@pytest.mark.parametrize("most", [10_000, 2])
async def test_changes_that_cannot_be_computed_become_events_without_details(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(content, "_FEW_ROWS", 2)
    monkeypatch.setattr("collab.sandbox.client.Child", Picky)
    monkeypatch.setattr(Picky, "most", most)
    storage = MemoryStorage()
    collab = Collab(Settings(content_event_seconds=0), storage=storage)
    async with collab.lifespan():
        await write(collab.room("d"), ["a", "b", "c", "d", "poison", "e", "f", "g", "h"])
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        while await storage.uncovered():
            await asyncio.sleep(0.01)
        assert {"text": {"truncated": True}} in listener.changes
        inserted = "".join(
            part.get("insert", "") for change in listener.changes for part in change["text"].get("delta", ())
        )
        assert inserted.startswith("abcd")
        assert inserted.endswith("fgh")
        await collab._registry.compactor.compact(KEY)
        record = await storage.load(KEY)
        assert record is not None
        assert not record.rows


async def test_xml_in_maps_and_arrays_becomes_events_and_the_log_is_compacted() -> None:
    storage = MemoryStorage()
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        async with collab.room("d").edit(user="ann") as doc:
            body = XmlFragment([XmlElement("p", {}, [XmlText("hello")])])
            doc["cards"] = Array([Map({"body": body, "icon": b"\x01"})])
        card = {"body": "<p>hello</p>", "icon": "AQ=="}
        assert await listener.told(1) == [{"cards": {"paths": [{"path": [], "delta": [{"insert": [card]}]}]}}]
        async with collab.room("d").edit(user="ann") as doc:
            text = doc.get("cards", type=Array)[0]["body"].children[0].children[0]
            text.insert(5, "!")
        (_, change) = await listener.told(2)
        delta = [{"retain": 5}, {"insert": "!"}]
        assert change == {"cards": {"paths": [{"path": [0, "body", 0, 0], "delta": delta}]}}
        assert await collab.room("d").json() == {"cards": [{"body": "<p>hello!</p>", "icon": "AQ=="}]}
        while await storage.uncovered():
            await asyncio.sleep(0.01)
        await collab._registry.compactor.compact(KEY)
        record = await storage.load(KEY)
        assert record is not None
        assert not record.rows


async def test_large_rows_become_events_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_BYTES", 1)
    storage = MemoryStorage()
    collab = Collab(Settings(content_event_seconds=0), storage=storage)
    async with collab.lifespan():
        await write(collab.room("d"), list("ab"))
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        assert await listener.told(2) == [
            {"text": {"delta": [{"insert": "a"}]}},
            {"text": {"delta": [{"retain": 1}, {"insert": "b"}]}},
        ]


class Broken(MemoryStorage):
    """Cannot read the log of one document."""

    broken: RoomKey | None = None

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        if key == self.broken:
            raise Unavailable("the log cannot be read")
        return await super().log_after(key, seq)


async def test_a_document_whose_changes_cannot_be_read_does_not_hold_up_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = Broken()
    collab = Collab(Settings(content_event_seconds=0), storage=storage)
    async with collab.lifespan():
        for name in ("d", "e"):
            await write(collab.room(name), ["a"])
    storage.broken = KEY
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        assert await listener.told(1) == [{"text": {"delta": [{"insert": "a"}]}}]
        await write(collab.room("d"), ["b"])  # while the server runs, too
        while caplog.text.count("the content changes of default/documents/d could not be computed") < 2:
            await asyncio.sleep(0.01)
    storage.broken = None
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        assert await listener.told(1) == [{"text": {"delta": [{"insert": "ab"}]}}]


async def test_rows_that_change_fields_alone_are_not_kept_in_memory() -> None:
    """Their events are in their commits."""
    collab = Collab(Settings(content_event_seconds=0.05), storage=MemoryStorage())
    async with collab.lifespan(), asyncio.timeout(60):
        documents = collab.collection("documents")
        await documents.create({"n": 0}, id="d")
        for number in range(5):
            await documents.update("d", {"n": number + 1})
        assert collab._registry.rooms[KEY].recent.take_after(0) is None


async def test_a_change_that_is_committed_while_the_log_is_read_becomes_an_event() -> None:
    reading, read = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStorage):
        async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
            rows = await super().log_after(key, seq)
            if not rows and not reading.is_set():
                reading.set()
                await read.wait()
            return rows

    storage = Slow(history_seconds=0)
    collab = Collab(Settings(content_event_seconds=0, history_days=0), storage=storage)
    async with collab.lifespan():
        await write(collab.room("d"), ["a"])
        await collab._registry.compactor.compact(KEY)  # no row is left
    collab = Collab(Settings(content_event_seconds=0.05, history_days=0), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        await reading.wait()
        await write(collab.room("d"), ["b"])
        read.set()
        assert await listener.told(1) == [{"text": {"delta": [{"retain": 1}, {"insert": "b"}]}}]


async def test_content_whose_log_is_gone_already_needs_no_event() -> None:
    storage = MemoryStorage(history_seconds=0)
    collab = Collab(Settings(content_event_seconds=0, history_days=0), storage=storage)
    async with collab.lifespan():
        await write(collab.room("d"), ["a"])
        await collab._registry.compactor.compact(KEY)
        assert await storage.uncovered() == [KEY]
    collab = Collab(Settings(content_event_seconds=0.05, history_days=0), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        while await storage.uncovered():
            await asyncio.sleep(0.01)
        assert not listener.changes


async def test_what_another_node_has_left_is_processed_later_and_what_it_has_open_is_not_touched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The document is another node's at first; then that is dead."""

    class Shared(AllJobs):
        shared = True

    monkeypatch.setattr(content, "_LOOK_SECONDS", 0.02)
    storage = MemoryStorage()
    before = Collab(Settings(content_event_seconds=0), storage=storage)
    async with before.lifespan():
        await write(before.room("d"), ["word"])
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    collab._content._jobs = Shared()
    hold, asked = collab._registry.hold, 0

    def elsewhere(key: RoomKey, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise Elsewhere(nid=7)
        return hold(key, **options)

    monkeypatch.setattr(collab._registry, "hold", elsewhere)
    async with collab.lifespan(), asyncio.timeout(60):
        assert await Listener(collab).told(1) == [{"text": {"delta": [{"insert": "word"}]}}]
        assert asked >= 4
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


CARDS = {"cards": declaration(mapped={"in": "boards", "root": "cards"})}
BOARD, OTHER = RoomKey("default", "boards", "b"), RoomKey("default", "documents", "other")


async def until_covered(storage: Storage) -> None:
    async with asyncio.timeout(30):
        while await storage.uncovered():
            await asyncio.sleep(0.01)


async def test_a_row_of_fields_that_is_committed_while_content_is_computed_is_covered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computing, may_end = asyncio.Event(), asyncio.Event()

    class Held(Child):
        async def changes(self, *asked: Any, **named: Any) -> Any:
            computing.set()
            await may_end.wait()
            return await super().changes(*asked, **named)

    monkeypatch.setattr("collab.sandbox.client.Child", Held)
    storage = MemoryStorage()
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    async with collab.lifespan():
        documents = collab.collection("documents")
        await documents.create({"n": 1}, id="d")
        await write(collab.room("d"), ["a"])
        await computing.wait()
        await documents.update("d", {"n": 2})
        may_end.set()
        await until_covered(storage)
        row = await storage.entity(KEY)
        assert row is not None
        assert row.content_seq == 3


async def test_rows_without_an_event_of_their_document_are_covered(tmp_path: Path) -> None:
    """Entities in it that are written, and fields that are set to what they are. Its log is compacted up to them."""
    settings = Settings(data=str(tmp_path), content_event_seconds=0.05, collections=CARDS, open=True)
    collab = Collab(settings)
    async with collab.lifespan():
        storage = collab._storage
        await collab.collection("boards").create({"title": "x"}, id="b")
        for number in range(3):
            await collab.collection("cards").create({"n": number}, id=f"b:c{number}")
        async with collab.room("boards/b").edit() as doc:
            doc.get("fields", type=Map)["title"] = "x"
        await until_covered(storage)
        row = await storage.entity(BOARD)
        assert row is not None
        assert (row.version, row.content_seq) == (1, 5)
        await collab._registry.compactor.compact(BOARD)
        record = await storage.load(BOARD)
        assert record is not None
        assert record.rows == []


async def test_rows_are_not_covered_before_their_event_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(MemoryStorage):
        may_commit, waits = asyncio.Event(), asyncio.Event()
        covered: ClassVar[list[int]] = []

        async def commit(self, batch: Sequence[Append], facts: Sequence[Fact] = (), **named: Any) -> Committed:
            if any(fact.entity.key == OTHER for fact in facts):
                self.waits.set()
                await self.may_commit.wait()
            return await super().commit(batch, facts, **named)

        async def cover(self, key: RoomKey, seq: int, contents: NewContents | None = None) -> None:
            self.covered.append(seq)
            await super().cover(key, seq, contents)

    creating: asyncio.Task[Any] | None = None

    class Held(Child):
        async def changes(self, *asked: Any, **named: Any) -> Any:
            nonlocal creating
            creating = asyncio.create_task(collab.collection("documents").create({"n": 1}, id=OTHER.id))
            await storage.waits.wait()
            return await super().changes(*asked, **named)

    monkeypatch.setattr("collab.sandbox.client.Child", Held)
    storage = Slow()
    collab = Collab(Settings(content_event_seconds=0.05), storage=storage)
    listener = Listener(collab)
    async with collab.lifespan(), asyncio.timeout(60):
        await collab.collection("documents").create({"n": 1}, id="d")
        await write(collab.room("d"), ["a"])
        rooms, work = collab._registry.rooms, collab._content
        while rooms[KEY].bridge.covered < 2 or KEY in work._busy:  # its event waits for its commit
            await asyncio.sleep(0.01)
        work.changed(KEY)
        while KEY not in work._busy:
            await asyncio.sleep(0.001)
        storage.may_commit.set()
        assert {"text": {"delta": [{"insert": "a"}]}} in await listener.told(3)
        assert creating is not None
        await creating
        assert await storage.uncovered() == []
        assert storage.covered == []
