"""Two thousand idle sessions in a thousand rooms, and the memory that remains after they leave."""

from __future__ import annotations

import asyncio
import random
from time import perf_counter

from bench.measure import Stopwatch
from bench.result import Options, Result
from bench.servers import Running
from bench.session import join_all
from bench.waiting import until
from bench.warming import STATE, warm_up
from bench.yjs import WORDS, awareness, insert, update

SESSIONS = 2000
ROOMS = 1000
BACK_MB = 20.0


async def idle(name: str, server: Running, options: Options) -> Result:
    """Measure memory per idle session, and after all have left."""
    result = Result(name, server.server.name)
    count, rooms = (20, 10) if options.quick else (SESSIONS, ROOMS)
    await warm_up(server)
    empty = server.tree.pss()
    rng = random.Random(5)
    sessions = [server.session(f"idle-{i % rooms}") for i in range(count)]
    clients = [rng.getrandbits(32) for _ in sessions]
    joining = joining_cpu = 0.0
    memory = [empty]
    # One client of each room joins first: pycrdt-websocket loses clients that open a room concurrently. And the others
    # then cost a session without a room.
    for part in (range(rooms), range(rooms, count)):
        watch = Stopwatch(server.tree, options.core)
        await join_all([sessions[i] for i in part])
        joins = watch.stop()
        joining, joining_cpu = joining + joins.seconds, joining_cpu + joins.server
        for i in part:
            session, _ = sessions[i]
            if i < rooms:
                text = " ".join(rng.choices(WORDS, k=20)).encode()
                session.edit(update((clients[i], 0), insert(text, None, None)))
            session.send(session.framing.awareness(awareness(clients[i], 1, STATE)))
            if i % 50 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(1 if options.quick else 4)
        memory.append(server.tree.pss())
    session_kb = (memory[2] - memory[1]) / 1e3 / (count - rooms)
    watch = Stopwatch(server.tree, options.core)
    await asyncio.sleep(1 if options.quick else 4)
    cost = watch.stop()
    full = server.tree.pss()
    lost = [session.ended for session, _ in sessions if session.ended]
    for session, _ in sessions:
        session.close()
    began = perf_counter()
    back = await until(
        lambda: server.tree.pss() - empty < BACK_MB * 1e6, 5.0 if options.quick else options.patience, 0.5
    )
    settled = perf_counter() - began
    if back:
        await asyncio.sleep(1.0)
    left = server.tree.pss()
    result.numbers = {
        "sessions": count,
        "rooms": rooms,
        "memory_empty_mb": round(empty / 1e6, 1),
        "memory_idle_mb": round((full - empty) / 1e6, 1),
        "session_kb": round(session_kb, 1),
        "room_kb": round((memory[1] - memory[0]) / 1e3 / rooms - session_kb, 1),
        "memory_per_session_kb": round((full - empty) / 1e3 / count, 1),
        "memory_after_mb": round((left - empty) / 1e6, 1),
        "back_after_s": round(settled, 1),
        "join_s": round(joining, 2),
        "join_cpu_us": round(1e6 * joining_cpu / count, 1),
        **cost.shares(),
    }
    if not back:
        result.notes.append(f"not back within {BACK_MB:.0f} MB after {settled:.0f} s")
    if lost:
        result.notes.append(f"{len(lost)} connections ended: {lost[0]}")
    return result
