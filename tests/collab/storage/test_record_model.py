"""Laws of the record over random operations: all storages agree; nothing is lost, duplicated or reused."""

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from collab.errors import NotFound
from collab.names import RoomKey
from collab.storage.base import Append, Fact, IdempotencyKey, SetAside, Snapshot, Storage
from collab.storage.memory import MemoryStorage
from collab.storage.postgres.storage import PostgresStorage
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import fact
from tests.postgres import PostgresServer

KEYS = [RoomKey(project, "documents", name) for project, name in (("p", "a"), ("q", "b"), ("p", "c"))]
Kind = Literal["commit", "compact", "aside", "trim", "restart"]


class Act(NamedTuple):
    """``which`` selects one of the existing things, if the operation has a choice."""

    kind: Kind
    rows: list[int]  # keys
    facts: list[tuple[int, int]]  # key, and the row that it belongs to (modulo; too high: none)
    which: int
    at: float


ACTS = st.lists(
    st.builds(
        Act,
        st.sampled_from(["commit", "commit", "commit", "compact", "compact", "aside", "trim", "restart"]),
        st.lists(st.integers(0, 2), max_size=4),
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=4),
        st.integers(0, 30),
        st.floats(0, 10, width=16),
    ),
    min_size=1,
    max_size=25,
)


class Truth:
    """The expected state, in its simplest form."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows: dict[RoomKey, list[tuple[float, bytes]]] = defaultdict(list)
        self.gone: set[tuple[RoomKey, int]] = set()
        self.logged_from: dict[RoomKey, int] = defaultdict(lambda: 1)
        self.versions: dict[RoomKey, int] = defaultdict(int)
        self.oldest: dict[str, int] = defaultdict(int)
        self.trimmed = -1.0
        self.event_times: dict[str, list[float]] = defaultdict(list)

    def text(self, key: RoomKey, seq: int) -> bytes:
        rows = enumerate(self.rows[key][:seq], 1)
        return b"".join(update for number, (_, update) in rows if (key, number) not in self.gone)

    def kept_from(self, key: RoomKey) -> int:
        """The row from which every version must be readable; everything before it is old."""
        seq = 0
        for at, _ in self.rows[key]:
            if at >= self.trimmed:
                break
            seq += 1
        return seq


async def live(acts: list[Act], where: Path, url: str) -> None:
    truth = Truth()
    memory = MemoryStorage(clock=lambda: truth.now)

    def make() -> list[SqliteStorage | PostgresStorage]:
        return [SqliteStorage(where, clock=lambda: truth.now), PostgresStorage(url, clock=lambda: truth.now)]

    async with AsyncExitStack() as stack:
        databases = await opened(stack, make())
        for act in acts:
            truth.now += act.at
            if act.kind == "restart":
                await stack.aclose()
                databases = await opened(stack, make())
            else:
                await do(act, truth, [memory, *databases])
            for storage in databases:
                await compare(truth, memory, storage)


async def opened(
    stack: AsyncExitStack, storages: list[SqliteStorage | PostgresStorage]
) -> list[SqliteStorage | PostgresStorage]:
    for storage in storages:
        await storage.open()
        stack.push_async_callback(storage.close)
    return storages


async def do(act: Act, truth: Truth, storages: list[Storage]) -> None:
    key = KEYS[act.which % 3]
    length = len(truth.rows[key])
    if act.kind == "commit":
        batch = [append(truth, KEYS[number]) for number in act.rows]
        facts, wanted = [], []
        for number, row in act.facts:
            facts.append(happen(truth, KEYS[number], row if row < len(batch) else -1, act))
            wanted.append(len(truth.event_times[KEYS[number].project]))
        for storage in storages:
            seqs, positions = await storage.commit(batch, facts)
            assert list(positions) == wanted
            for entry, seq in zip(batch, seqs, strict=True):
                assert truth.rows[entry.key][seq - 1][1] == entry.update
    elif act.kind == "compact" and length:
        seq = 1 + act.which % length
        for storage in storages:
            await storage.replace_snapshot(key, Snapshot(seq, truth.text(key, seq), b""))
        truth.logged_from[key] = max(truth.logged_from[key], seq + 1)
    elif act.kind == "aside" and length:
        seq = 1 + act.which % length
        aside = SetAside(key, seq, truth.rows[key][seq - 1][1], "hostile", truth.now)
        for storage in storages:
            await storage.set_aside(aside)
        if seq >= truth.logged_from[key]:
            truth.gone.add((key, seq))
    elif act.kind == "trim":
        before = truth.now * act.which / 30
        truth.trimmed = max(truth.trimmed, before)
        for project, times in truth.event_times.items():
            while truth.oldest[project] < len(times) and times[truth.oldest[project]] < before:
                truth.oldest[project] += 1
        for storage in storages:
            await storage.trim(before)


def append(truth: Truth, key: RoomKey) -> Append:
    truth.rows[key].append((truth.now, b"%s%d." % (key.id.encode(), len(truth.rows[key]) + 1)))
    return Append(key, truth.rows[key][-1][1], None, truth.now)


def happen(truth: Truth, key: RoomKey, row: int, act: Act) -> Fact:
    truth.versions[key] += 1
    truth.event_times[key.project].append(truth.now)
    version = truth.versions[key]
    kind: Literal["deleted", "restored"] | None = None
    if version > 1 and act.which % 5 == 0:
        kind = "deleted" if version % 2 else "restored"
    covered = len(truth.rows[key]) * act.which // 30
    name = IdempotencyKey("user:a", f"{version}", b"") if act.which % 2 else None
    return fact(version, {"n": version}, key, at=truth.now, row=row, kind=kind, content_seq=covered, request=name)


async def compare(truth: Truth, memory: Storage, database: Storage) -> None:
    for project in ("p", "q"):
        oldest, newest = truth.oldest[project], len(truth.event_times[project])
        for storage in (database, memory):
            assert await storage.span(project) == (oldest, newest)
            assert (await storage.positions()).of(project) == newest
        events = await database.events(project, 0, limit=1000)
        assert list(events) == list(await memory.events(project, 0, limit=1000))
        after = [event.position for event in await database.events(project, oldest, limit=1000)]
        assert after == list(range(oldest + 1, newest + 1)), "a hole, or one told twice"
    assert list(await database.uncovered()) == list(await memory.uncovered())
    for version in range(1, 4):
        name = f"{version}"
        for project in ("p", "q"):
            assert await database.request(project, "user:a", name) == await memory.request(project, "user:a", name)
    for key in KEYS:
        await compare_one(truth, key, memory, database)


async def compare_one(truth: Truth, key: RoomKey, memory: Storage, database: Storage) -> None:
    mine, theirs = await memory.load(key), await database.load(key)
    assert (mine is None) == (theirs is None)
    if mine is not None and theirs is not None:
        assert (mine.lineage is None) == (theirs.lineage is None)
        assert mine.snapshot == theirs.snapshot
        assert list(mine.rows) == list(theirs.rows)
        assert list(mine.set_aside) == list(theirs.set_aside)
        assert mine.entity == theirs.entity == await database.entity(key)
        assert (theirs.entity.version if theirs.entity is not None else 0) == truth.versions[key]
    history = await database.history(key, limit=1000)
    assert list(history) == list(await memory.history(key, limit=1000))
    versions = [version.event.version for version in history]
    assert versions == list(range(truth.versions[key], truth.versions[key] - len(versions), -1))
    assert bool(versions) == bool(truth.versions[key])
    reaches = [version.seq for version in history]
    assert reaches == sorted(reaches, reverse=True)
    for seq in range(len(truth.rows[key]) + 1):
        for storage in (memory, database):
            try:
                assert b"".join(await storage.document_at(key, seq)) == truth.text(key, seq)
            except NotFound:
                assert seq < truth.kept_from(key)


def test_all_storages_behave_the_same(postgres: PostgresServer) -> None:
    @settings(max_examples=60, deadline=None)
    @given(ACTS)
    def agree(acts: list[Act]) -> None:
        with TemporaryDirectory() as where, postgres.records() as lend:
            asyncio.run(live(acts, Path(where), lend()))

    agree()


def test_rows_that_were_set_aside_leave_no_version_unreadable(postgres: PostgresServer) -> None:
    both = [Act("commit", [1], [], 0, 1.0), Act("commit", [1], [], 0, 0.0)]
    asides = [Act("aside", [], [], 1, 0.0), Act("aside", [], [], 4, 0.0)]  # rows 2 and 1
    trim = Act("trim", [], [], 1, 0.0)
    early, late = Act("commit", [1], [], 0, 0.0), Act("commit", [1], [], 0, 1.0)
    for acts in (
        [*both, *asides, Act("compact", [], [], 1, 0.0), trim],  # nothing is left to pack
        [early, late, asides[0], Act("compact", [], [], 1, 0.0), trim],  # the first lasted until the second
        [*both, Act("compact", [], [], 1, 0.0), *both, Act("aside", [], [], 2 * 3 + 1, 0.0), trim],
    ):
        with TemporaryDirectory() as where, postgres.records() as lend:
            asyncio.run(live(acts, Path(where), lend()))
