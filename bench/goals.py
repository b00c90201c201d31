"""The loads by name, their default servers, and the goals for our server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from bench.result import Options, Result
from bench.scenarios import idle, joins, large, memory, replay, storm, typing
from bench.servers import Running

OURS = "collab"
YARDSTICK = "y-websocket"
FOUR = (OURS, YARDSTICK, "hocuspocus", "pycrdt-websocket")

SIZES: tuple[tuple[str, str, int], ...] = (
    ("1k", "1 KB", 1_000),
    ("200k", "0.2 MB", 200_000),
    ("1750k", "1.75 MB", 1_750_000),
    ("4m", "4 MB", 4_000_000),
)
"""Of a large document."""


@dataclass(frozen=True, slots=True)
class Load:
    """A scenario. A run is aborted after ``limit`` seconds."""

    name: str
    about: str
    run: Callable[[Running, Options], Awaitable[Result]]
    servers: tuple[str, ...] = FOUR
    limit: float = 120.0


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal for our server: a number at most (``<=``), at least (``>=``) or exactly (``==``) a limit.

    With ``of`` the limit is a multiple of another server's number in the same run.
    """

    load: str
    number: str
    sense: str
    limit: float
    of: str | None = None

    def met(self, value: float, base: float) -> bool:
        """Whether a value reaches the goal; ``base`` is the other server's number, or 1."""
        limit = self.limit * base
        return value <= limit if self.sense == "<=" else value >= limit if self.sense == ">=" else value == limit

    def __str__(self) -> str:
        sign = {"<=": "≤", ">=": "≥", "==": "="}[self.sense]
        return f"{self.number} {sign} {self.limit:g}" + (f" x {self.of}" if self.of else "")


LOADS = {
    load.name: load
    for load in (
        Load(
            "typists200",
            "200 people type 5 characters a second each in one document",
            partial(typing.steady, "typists200", typing.TYPISTS_200),
            (OURS, "collab-postgres", YARDSTICK, "hocuspocus", "pycrdt-websocket"),
        ),
        Load(
            "typists1000",
            "1,000 people type 5 characters a second each in one document",
            partial(typing.steady, "typists1000", typing.TYPISTS_1000),
        ),
        Load(
            "rooms100",
            "100 documents, two people type 10 characters a second each in each of them",
            partial(typing.steady, "rooms100", typing.ROOMS_100),
            (
                OURS,
                "collab-hocuspocus",
                "collab-postgres",
                YARDSTICK,
                "hocuspocus",
                "hocuspocus-sqlite",
                "pycrdt-websocket",
            ),
        ),
        Load(
            "cursors",
            "20 people type 5 characters a second in one document, 300 others move their cursors 10 times a second",
            partial(typing.steady, "cursors", typing.CURSORS),
        ),
        Load("join4", "150 clients at once join a document of 4 MB", partial(joins.joins, "join4", 4)),
        Load(
            "join20",
            "150 clients at once join a document of 20 MB",
            partial(joins.joins, "join20", 20),
            (OURS, YARDSTICK),
        ),
        Load("idle", "2,000 sessions without activity in 1,000 rooms, then none", partial(idle.idle, "idle")),
        Load(
            "documents",
            "1,000 open documents of 100 KB, each with the person who wrote it",
            partial(memory.documents, "documents"),
            (OURS, YARDSTICK, "hocuspocus"),
            limit=180.0,
        ),
        Load(
            "day",
            "200,000 edits of one writer in one document, and what remains of them in memory",
            partial(memory.day, "day"),
            (OURS, YARDSTICK, "hocuspocus"),
            limit=300.0,
        ),
        *(
            Load(
                f"large{label}",
                f"one person types 5 characters a second in the middle of a document of {about}",
                partial(large.large, f"large{label}", size),
                (OURS, YARDSTICK, "hocuspocus"),
            )
            for label, about, size in SIZES
        ),
        Load(
            "storm",
            "10,000 sessions in 2,500 rooms come back after the server was killed, four people type in a calm room",
            partial(storm.storm, "storm"),
            (OURS, YARDSTICK, "hocuspocus"),
            limit=240.0,
        ),
        Load(
            "b4",
            "a long trace of one writer, one edit per message, as fast as the server takes it",
            partial(replay.one_writer, "b4"),
            (OURS, YARDSTICK, "hocuspocus-sqlite"),
            limit=180.0,
        ),
        Load(
            "friends",
            "a trace of two writers, replayed by two clients with its causality",
            partial(replay.two_writers, "friends"),
            (OURS, YARDSTICK, "hocuspocus-sqlite", "pycrdt-websocket"),
        ),
    )
}

GOALS = (
    Goal("typists200", "p99_ms", "<=", 50),
    Goal("typists200", "cpu_percent", "<=", 50),
    Goal("typists1000", "p99_ms", "<=", 250),
    Goal("typists1000", "cpu_percent", "<=", 95),
    Goal("typists1000", "undelivered_percent", "==", 0),
    Goal("rooms100", "cpu_per_edit_us", "<=", 1.0, YARDSTICK),
    Goal("rooms100", "p99_ms", "<=", 2.0, YARDSTICK),
    Goal("cursors", "p95_ms", "<=", 100),
    Goal("join4", "all_joined_ms", "<=", 1000),
    Goal("join4", "memory_per_document", "<=", 3),
    Goal("join20", "all_joined_ms", "<=", 4000),
    Goal("join20", "memory_per_document", "<=", 3),
    Goal("idle", "memory_per_session_kb", "<=", 30),
    Goal("idle", "join_cpu_us", "<=", 600),
    Goal("idle", "memory_after_mb", "<=", 20),
    *(Goal(f"large{label}", "cpu_per_edit_us", "<=", 500) for label, _, _ in SIZES),
    Goal("storm", "synced_s", "<=", 5),
    Goal("storm", "calm_p99_ms", "<=", 100),
    Goal("b4", "exact", "==", 1),
    Goal("b4", "exact_for_newcomer", "==", 1),
    Goal("b4", "exact_after_restart", "==", 1),
    Goal("b4", "disk_per_document", "<=", 1.2),
    Goal("b4", "edits_per_s", ">=", 1.0, YARDSTICK),
    Goal("friends", "exact", "==", 1),
    Goal("friends", "exact_after_restart", "==", 1),
)
