"""Everybody comes back at once after the server has crashed, while a few people type in a calm room."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from itertools import count
from math import inf
from time import perf_counter
from typing import Any

from pycrdt import Doc

from bench.framing import Framing
from bench.joiner import SCRATCH, Joiner
from bench.load import play, schedule
from bench.measure import Stopwatch, percentile
from bench.result import Options, Result
from bench.scenarios.typing import Shape, latencies, populate
from bench.servers import Running
from bench.warming import STATE
from bench.yjs import NOTHING, WORDS, awareness, insert, update

SESSIONS = 10_000
PER_ROOM = 4
AT_ONCE = 400
"""Connections that are being opened: fewer than any server's queue holds, or the kernel would delay some by seconds."""
CALM = Shape(rooms=1, typists=4, typing=10.0, watched=4)
TYPING_SECONDS = 90.0
PATIENCE = 60.0
ADDRESSES = 100


class Visitor(Joiner):
    """One person, who opens a socket with what the room's document held at the last visit.

    All visitors of a room share its document, because each would have the same.
    """

    def __init__(self, framing: Framing, path: str, scratch: memoryview, doc: Doc[Any], client: int) -> None:
        super().__init__(framing, path, scratch)
        self._doc = doc
        self._client = client

    def opening(self) -> list[bytes]:
        """Where its document stands, and its presence."""
        presence = self.framing.awareness(awareness(self._client, 1, STATE))
        return [*self.framing.opening(self._doc.get_state()), presence]

    def answer(self, state_vector: bytes) -> bytes:
        """What its document has and the server lacks."""
        return self.framing.step2(self._doc.get_update(state_vector) if self._doc.get_state() != b"\0" else NOTHING)


class Crowd:
    """``sessions`` people in rooms of four."""

    def __init__(self, sessions: int) -> None:
        rng = random.Random(23)
        self.docs: list[Doc[Any]] = [Doc() for _ in range(max(1, sessions // PER_ROOM))]
        self.clients = [rng.getrandbits(32) for _ in range(sessions)]
        self.visitors: list[Visitor] = []
        self.refused = 0
        self._scratch = memoryview(bytearray(SCRATCH))

    async def come(self, server: Running) -> list[float]:
        """Let everybody join, each again until it succeeds; returns when each had the server's state.

        Raises ``TimeoutError``.
        """
        gate = asyncio.Semaphore(AT_ONCE)
        async with asyncio.timeout(PATIENCE):
            self.visitors = await asyncio.gather(*(self._join(server, gate, n) for n in range(len(self.clients))))
        return [visitor.done.result() for visitor in self.visitors]

    async def _join(self, server: Running, gate: asyncio.Semaphore, number: int) -> Visitor:
        loop = asyncio.get_running_loop()
        room = number % len(self.docs)
        framing, path = server.server.framing(f"storm-{room}"), server.server.path(f"storm-{room}")
        address = f"127.0.1.{1 + number % ADDRESSES}"  # of one address, a server may take fewer
        async with gate:
            for attempt in count():
                visitor = Visitor(framing, path, self._scratch, self.docs[room], self.clients[number])
                try:
                    await loop.create_connection(
                        partial(_same, visitor), "127.0.0.1", server.port, local_addr=(address, 0)
                    )
                    await visitor.done
                except OSError:
                    self.refused += 1
                    await asyncio.sleep(0.1 * 2 ** min(attempt, 4))  # as y-websocket does
                else:
                    return visitor
        raise AssertionError("unreachable")

    async def write(self) -> None:
        """In each room somebody writes a sentence."""
        rng = random.Random(29)
        for room, doc in enumerate(self.docs):
            text = " ".join(rng.choices(WORDS, k=20)).encode()
            sentence = update((self.clients[room], 0), insert(text, None, None))
            doc.apply_update(sentence)
            self.visitors[room].send(self.visitors[room].framing.update(sentence))
            if room % 50 == 0:
                await asyncio.sleep(0.01)

    def leave(self) -> None:
        """Everybody leaves."""
        for visitor in self.visitors:
            visitor.close()


def _same(visitor: Visitor) -> Visitor:
    return visitor


def _quantiles(times: Sequence[float], began: float) -> tuple[float, float]:
    times = sorted(at - began for at in times)
    return percentile(times, 50), times[-1]


async def storm(name: str, server: Running, options: Options) -> Result:
    """Let everybody join; kill the server; let everybody come back."""
    result = Result(name, server.server.name)
    crowd = Crowd(options.sessions or (40 if options.quick else SESSIONS))
    count = len(crowd.clients)
    watch = Stopwatch(server.tree, options.core)
    began = perf_counter()
    first = await crowd.come(server)
    joining = watch.stop()
    _, joined = _quantiles(first, began)
    await crowd.write()
    await asyncio.sleep(1.0 if options.quick else 4.0)

    began = perf_counter()
    again = await server.crash(options.core)
    restart = perf_counter() - began
    try:
        calm = await populate(again, CALM, 0, random.Random(11))
        typing = asyncio.create_task(play(schedule([(typist, CALM.typing) for typist in calm.typists], TYPING_SECONDS)))
        await asyncio.sleep(0.3)
        crowd.refused = 0
        watch = Stopwatch(again.tree, options.core)
        began = perf_counter()
        back = await crowd.come(again)
        end = perf_counter()
        cost = watch.stop()
        typing.cancel()
        await asyncio.wait([typing])
        await asyncio.sleep(1.0)
        inside = latencies([calm], (began, end), perf_counter())
        whole = latencies([calm], (0.0, inf), perf_counter())
        memory = again.tree.pss()
        lost = [typist.session.ended for typist in calm.typists if typist.session.ended]
        for typist in calm.typists:
            typist.session.close()
        crowd.leave()
    finally:
        if again is not server:
            await again.stop()
    p50, synced = _quantiles(back, began)
    result.numbers = {
        "sessions": count,
        "rooms": len(crowd.docs),
        "synced_s": round(synced, 2),
        "synced_p50_s": round(p50, 2),
        "cpu_s": round(cost.server, 2),
        "cpu_per_return_us": round(1e6 * cost.server / count, 1),
        "calm_p50_ms": round(percentile(inside.latencies, 50), 2),
        "calm_p99_ms": round(percentile(inside.latencies, 99), 2),
        "calm_edits": whole.expected,
        "calm_missing": whole.missing,
        "restart_s": round(restart, 2),
        "refused": crowd.refused,
        "first_join_s": round(joined, 2),
        "cpu_per_first_join_us": round(1e6 * joining.server / count, 1),
        "memory_mb": round(memory / 1e6, 1),
        **cost.shares(),
    }
    result.invalid, result.notes = cost.objections()
    if lost:
        result.notes.append(f"{len(lost)} of those who typed lost their connection: {lost[0]}")
    return result
