"""Many clients join one large document at once."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from pycrdt import Doc

from bench.joiner import SCRATCH, Joiner
from bench.measure import Stopwatch, percentile
from bench.result import Options, Result
from bench.servers import Running
from bench.session import Session
from bench.waiting import until
from bench.warming import warm_up
from bench.yjs import document, state_vector

ROOM = "large"
JOINERS = 150
SAMPLE_SECONDS = 0.02


async def push(server: Running, room: str, size: int) -> tuple[Session, dict[int, int], int]:
    """Write a document of about ``size`` bytes into a room.

    Returns the author's session, the document's state vector and its encoded length.
    """
    author, url = server.session(room)
    await author.connect(url)
    doc: Doc[Any] = Doc()
    for update in document(size):
        doc.apply_update(update)
        author.send(author.framing.update(update))
        await author.drained(1 << 20)
    return author, state_vector(doc.get_state()), len(doc.get_update())


async def _peak(server: Running, stop: asyncio.Event) -> int:
    """Sample the resident size until ``stop``; returns the maximum."""
    peak = 0
    while not stop.is_set():
        peak = max(peak, server.tree.rss())
        await asyncio.sleep(SAMPLE_SECONDS)
    return max(peak, server.tree.rss())


async def _whole(server: Running, room: str, state: dict[int, int]) -> bool:
    """Whether a client that joins now receives the whole document."""
    reader, url = server.session(room, watch=True)
    await reader.connect(url)
    complete = await until(lambda: state.items() <= reader.state.items(), 30.0)
    reader.close()
    return complete


async def joins(name: str, megabytes: int, server: Running, options: Options) -> Result:
    """Let 150 clients join a document of ``megabytes`` at the same time."""
    result = Result(name, server.server.name)
    joiners_wanted, size = (5, 50_000) if options.quick else (JOINERS, megabytes * 1_000_000)
    await warm_up(server)
    empty = server.tree.rss()
    began = perf_counter()
    author, state, encoded = await push(server, ROOM, size)
    if not await _whole(server, ROOM, state):
        result.invalid = "the server did not store the whole document"
        return result
    loading = perf_counter() - began
    hot = server.tree.rss()

    loop = asyncio.get_running_loop()
    scratch = memoryview(bytearray(SCRATCH))
    path = server.server.path(ROOM)
    joiners = [Joiner(server.server.framing(ROOM), path, scratch, keep=i < 2) for i in range(joiners_wanted)]
    stop = asyncio.Event()
    watching = asyncio.create_task(_peak(server, stop))
    await asyncio.sleep(0)
    watch = Stopwatch(server.tree, options.core)
    began = perf_counter()
    # The server may be too busy to accept all connections at once: waiting for that counts as its time.
    await asyncio.gather(
        *(loop.create_connection(lambda j=joiner: j, "127.0.0.1", server.port) for joiner in joiners)  # type: ignore[misc]
    )
    ended = await asyncio.wait_for(asyncio.gather(*(joiner.done for joiner in joiners)), 90)
    cost = watch.stop()
    stop.set()
    peak = await watching
    times = sorted(at - began for at in ended)
    for joiner in joiners:
        joiner.close()
    author.close()
    whole = all(joiner.size > 0.95 * encoded for joiner in joiners)
    for joiner in joiners[:2]:
        doc: Doc[Any] = Doc()
        doc.apply_update(joiner.state)
        whole = whole and state_vector(doc.get_state()) == state
    result.numbers = {
        "joiners": joiners_wanted,
        "document_mb": round(encoded / 1e6, 2),
        "all_joined_ms": round(times[-1] * 1000, 1),
        "p50_ms": round(percentile(times, 50) * 1000, 1),
        "memory_peak_mb": round((peak - empty) / 1e6, 1),
        "memory_per_document": round((peak - empty) / encoded, 2),
        "memory_joins_mb": round((peak - hot) / 1e6, 1),
        "sent_mb_per_s": round(sum(joiner.size for joiner in joiners) / 1e6 / times[-1], 1),
        "load_s": round(loading, 2),
        **cost.shares(),
    }
    result.invalid, result.notes = cost.objections()
    if not whole:
        result.invalid = "a joiner did not receive the whole document"
    return result
