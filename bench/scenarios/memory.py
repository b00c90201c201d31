"""What documents take while they are open: a thousand of 100 KB, and one after a day of typing."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.measure import Stopwatch
from bench.result import Options, Result
from bench.scenarios.replay import BACKLOG, SLICE, size_on_disk
from bench.servers import Running
from bench.session import Session, join_all
from bench.traces import script, typed
from bench.waiting import until
from bench.warming import warm_up
from bench.yjs import document

DOCUMENTS = 1000
SIZE = 100_000
KEYSTROKES = 200_000
SETTLED_MB = 0.5
BYTES_PER_S = 5e6
"""At which documents are written: a server that stores them refuses more than its disk takes."""


async def settled(server: Running, options: Options) -> int:
    """The server's memory in bytes, once it has stayed the same for three seconds, or when patience ends."""
    deadline = perf_counter() + (5.0 if options.quick else options.patience)
    last = [server.tree.pss()]
    while perf_counter() < deadline:
        await asyncio.sleep(1.0)
        last = [*last[-3:], server.tree.pss()]
        if len(last) == 4 and max(last) - min(last) < SETTLED_MB * 1e6:
            break
    return last[-1]


async def documents(name: str, server: Running, options: Options) -> Result:
    """Write many documents, each by a person who stays."""
    result = Result(name, server.server.name)
    count, size = (5, 20_000) if options.quick else (DOCUMENTS, SIZE)
    updates = list(document(size, batch=size // 4))
    encoded = sum(map(len, updates))
    await warm_up(server)
    empty = server.tree.pss()
    sessions = [server.session(f"document-{i}") for i in range(count)]
    await join_all(sessions)
    joined = server.tree.pss()
    watch = Stopwatch(server.tree, options.core)
    for session, _ in sessions:
        for update in updates:
            session.send(session.framing.update(update))
        await asyncio.sleep(encoded / BYTES_PER_S)
    fresh = await settled(server, options)
    cost = watch.stop()
    lost = [session.ended for session, _ in sessions if session.ended]
    result.numbers = {
        "documents": count,
        "document_kb": round(encoded / 1e3, 1),
        "memory_sessions_mb": round((joined - empty) / 1e6, 1),
        "memory_mb": round((fresh - joined) / 1e6, 1),
        "memory_per_document": round((fresh - joined) / count / encoded, 2),
        "cpu_per_document_ms": round(1e3 * cost.server / count, 2),
        **cost.shares(),
    }
    for session, _ in sessions:
        session.close()
    if lost:
        result.invalid = f"{len(lost)} connections ended: {lost[0]}"
    return result


async def _send(session: Session, messages: list[bytes]) -> None:
    for first in range(0, len(messages), SLICE):
        for message in messages[first : first + SLICE]:
            session.send(message)
        await asyncio.sleep(0)
        await session.drained(BACKLOG)


async def day(name: str, server: Running, options: Options) -> Result:
    """Type a day's edits; measure what remains while the two people stay, and after they have left."""
    result = Result(name, server.server.name)
    made = script("b4", typed(2_000 if options.quick else KEYSTROKES), progress=True)
    await warm_up(server)
    empty = server.tree.pss()
    writer, url = server.session("day")
    await writer.connect(url)
    reader, url = server.session("day", watch=True)
    await reader.connect(url)
    joined = server.tree.pss()
    watch = Stopwatch(server.tree, options.core)
    await _send(writer, [writer.framing.update(step.update) for step in made.steps])
    if not await until(lambda: made.state.items() <= reader.state.items(), 90.0):
        result.invalid = "the reader did not get all edits"
    cost = watch.stop()
    busy = server.tree.pss()
    rests = await settled(server, options)
    writer.close()
    reader.close()
    await asyncio.sleep(server.server.settle)
    left = await settled(server, options)
    result.numbers = {
        "edits": len(made.steps),
        "document_kb": round(made.encoded / 1e3, 1),
        "cpu_per_edit_us": round(1e6 * cost.server / len(made.steps), 1),
        "memory_busy_mb": round((busy - joined) / 1e6, 1),
        "memory_rest_mb": round((rests - joined) / 1e6, 1),
        "memory_per_document": round((rests - joined) / made.encoded, 2),
        "memory_after_mb": round((left - empty) / 1e6, 1),
        "disk_kb": round(size_on_disk(server.data) / 1e3, 1),
        **cost.shares(),
    }
    return result
