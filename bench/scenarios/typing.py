"""Steady loads: typists in one room, pairs in many rooms, typists among moving cursors."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from bench.load import Actor, Pointer, Typist, play, schedule
from bench.measure import Stopwatch, Window, percentile
from bench.result import Options, Result
from bench.servers import Running
from bench.session import Session, join_all
from bench.waiting import until
from bench.yjs import Line, lines, moves, runs

WARM_UP = 2.0
BASE = 0x5EED_5EED  # as long as the random client ids of Yjs


@dataclass(frozen=True, slots=True)
class Shape:
    """``rooms`` rooms, each with ``typists`` (acts a second: ``typing``) and ``cursors`` (``moving``).

    ``watched`` typists in each room keep a document; latency is measured there. ``drain`` is how many
    seconds the server may take to deliver the rest after the last edit.
    """

    rooms: int
    typists: int
    typing: float
    cursors: int = 0
    moving: float = 0.0
    watched: int = 5
    drain: float = 5.0


TYPISTS_200 = Shape(1, 200, 5.0)
TYPISTS_1000 = Shape(1, 1000, 5.0)
ROOMS_100 = Shape(100, 2, 10.0, watched=1)
CURSORS = Shape(1, 20, 5.0, cursors=300, moving=10.0)


def small(shape: Shape) -> Shape:
    """Shrink a shape for a smoke test."""
    return Shape(min(shape.rooms, 2), min(shape.typists, 4), shape.typing, min(shape.cursors, 3), shape.moving, 1, 2.0)


@dataclass(slots=True)
class Room:
    """The people of one room."""

    typists: list[Typist]
    pointers: list[Pointer]

    @property
    def watched(self) -> list[Session]:
        """The sessions with documents."""
        return [typist.session for typist in self.typists if typist.session.doc is not None]


async def populate(server: Running, shape: Shape, index: int, rng: random.Random) -> Room:
    """Open one room: an author writes the empty lines, everybody joins, the author leaves."""
    name = f"bench-{index}"
    author, url = server.session(name, watch=True)
    await author.connect(url)
    base, ends = lines(BASE, shape.typists)
    author.edit(base)
    sessions = [server.session(name, watch=i < shape.watched) for i in range(shape.typists + shape.cursors)]
    await join_all(sessions)
    typists = []
    for (session, _), (before, after) in zip(sessions, ends, strict=False):
        typists.append(Typist(session, Line(rng.getrandbits(32), before, after)))
    pointers = [
        Pointer(session, rng.getrandbits(32), f"Person {i}", (BASE, i % max(1, shape.typists - 8)))
        for i, (session, _) in enumerate(sessions[shape.typists :])
    ]
    room = Room(typists, pointers)
    await until(lambda: all(session.state.get(BASE) == shape.typists for session in room.watched), 10.0)
    author.close()
    return room


def _complete(rooms: Sequence[Room]) -> bool:
    for room in rooms:
        want = {typist.line.client: typist.line.clock for typist in room.typists if typist.line.clock}
        for session in room.watched:
            if not want.items() <= session.state.items():
                return False
    return True


@dataclass(slots=True)
class Reading:
    """Measurements in the watched documents: latencies in ms, edits that arrived in the window, lost edits."""

    latencies: list[float]
    arrived: int
    missing: int
    expected: int


def latencies(rooms: Sequence[Room], window: tuple[float, float], end: float) -> Reading:
    """Evaluate the logs. A lost edit counts with the time since it was sent."""
    reading = Reading([], 0, 0, 0)
    begin, stop = window
    for room in rooms:
        typists = {typist.line.client: typist for typist in room.typists}
        for session in room.watched:
            seen: dict[int, int] = defaultdict(int)
            own = next(t.line.client for t in room.typists if t.session is session)
            for at, update in session.updates:
                for client, clock, length in runs(update):
                    if client == own or client not in typists:
                        continue
                    sent = typists[client].sent
                    for edit in range(max(clock, seen[client]), clock + length):
                        reading.arrived += begin <= at < stop
                        if begin <= sent[edit] < stop:
                            reading.latencies.append((at - sent[edit]) * 1000)
                    seen[client] = max(seen[client], clock + length)
            for client, typist in typists.items():
                if client == own:
                    continue
                inside = [sent for sent in typist.sent if begin <= sent < stop]
                reading.expected += len(inside)
                late = [sent for sent in typist.sent[seen[client] :] if begin <= sent < stop]
                reading.missing += len(late)
                reading.latencies += [(end - sent) * 1000 for sent in late]
    reading.latencies.sort()
    return reading


def _moves(rooms: Sequence[Room], window: tuple[float, float]) -> list[float]:
    """Age of each new cursor position on arrival, in ms."""
    ages = []
    begin, stop = window
    for room in rooms:
        pointers = {pointer.client: pointer for pointer in room.pointers}
        for session in room.watched:
            seen: dict[int, int] = defaultdict(int)
            for at, payload in session.presence:
                for client, sequence in moves(payload):
                    pointer = pointers.get(client)
                    if pointer and seen[client] < sequence:
                        seen[client] = sequence
                        if begin <= pointer.sent[sequence] < stop:
                            ages.append((at - pointer.sent[sequence]) * 1000)
    return sorted(ages)


async def steady(name: str, shape: Shape, server: Running, options: Options) -> Result:
    """Run a shape on a server."""
    result = Result(name, server.server.name)
    if options.quick:
        shape = small(shape)
    rng = random.Random(11)
    empty = server.tree.pss()
    began = perf_counter()
    rooms = [await populate(server, shape, index, rng) for index in range(shape.rooms)]
    joining = perf_counter() - began
    joined = server.tree.pss()
    actors: list[tuple[Actor, float]] = []
    for room in rooms:
        actors += [(typist, shape.typing) for typist in room.typists]
        actors += [(pointer, shape.moving) for pointer in room.pointers]
    watch = Stopwatch(server.tree, options.core)
    windows: list[Window] = []
    edges: list[float] = []
    counted: list[int] = []
    sessions = [actor.session for actor, _ in actors]

    def open_window() -> None:
        edges.append(perf_counter())
        counted.append(sum(session.messages for session in sessions))
        watch.start()

    def close_window() -> None:
        windows.append(watch.stop())
        counted.append(sum(session.messages for session in sessions))
        edges.append(perf_counter())

    warm_up = 0.5 if options.quick else WARM_UP
    events = schedule(actors, warm_up + options.seconds)
    late = await play(events, [(warm_up, open_window), (warm_up + options.seconds, close_window)])
    last = perf_counter()
    drained = await until(lambda: _complete(rooms), shape.drain)
    end = perf_counter()
    peak = server.tree.pss()
    lost = [session.ended for session in sessions if session.ended]
    window = (edges[0], edges[1])
    reading = latencies(rooms, window, end)
    cost = windows[0]
    watched = sum(len(room.watched) for room in rooms)
    deliveries = reading.arrived / watched * len(sessions)
    edits = deliveries / max(1, shape.typists + shape.cursors - 1)
    sent = sum(1 for room in rooms for typist in room.typists for at in typist.sent if window[0] <= at < window[1])
    late.sort()
    result.numbers = {
        "sessions": len(sessions),
        "edits_sent": sent,
        "edits_done": round(edits, 1),
        "p50_ms": round(percentile(reading.latencies, 50), 2),
        "p95_ms": round(percentile(reading.latencies, 95), 2),
        "p99_ms": round(percentile(reading.latencies, 99), 2),
        "max_ms": round(reading.latencies[-1], 2) if reading.latencies else 0.0,
        **cost.shares(),
        "cpu_per_edit_us": round(1e6 * cost.server / edits, 1) if edits else 0.0,
        "own_per_edit_us": round(1e6 * cost.own / edits, 1) if edits else 0.0,
        "cpu_per_delivery_us": round(1e6 * cost.server / deliveries, 2) if deliveries else 0.0,
        "deliveries_per_s": round(deliveries / cost.seconds),
        "messages_per_s": round((counted[1] - counted[0]) / cost.seconds),
        "undelivered_percent": round(100 * reading.missing / max(1, reading.expected), 2),
        "drain_ms": round((end - last) * 1000, 1),
        "join_s": round(joining, 2),
        "memory_joined_mb": round((joined - empty) / 1e6, 1),
        "memory_end_mb": round((peak - empty) / 1e6, 1),
        "generator_late_p99_ms": round(percentile(late, 99) * 1000, 2),
    }
    if shape.cursors:
        ages = _moves(rooms, window)
        result.numbers["cursor_p50_ms"] = round(percentile(ages, 50), 2)
        result.numbers["cursor_p95_ms"] = round(percentile(ages, 95), 2)
    result.invalid, result.notes = cost.objections()
    if not drained:
        result.notes.append(f"edits still missing {shape.drain:.0f} s after the last; latency is a lower bound")
    if lost:
        result.notes.append(f"{len(lost)} connections ended: {lost[0]}")
    return result
