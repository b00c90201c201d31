"""How long nobody can save after the owner of a document has ended, for who asks again and again at another node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from statistics import median
from time import perf_counter

import httpx
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from bench.cluster.servers import Cluster, nodes
from bench.framing import HocuspocusFraming, Kind
from bench.result import Options, Result
from bench.yjs import insert, read_uint, update

ROUNDS = 5
_SAVED = 8  # the type of Hocuspocus' message SyncStatus
_PATIENCE = 30.0
_PAUSE = 0.02
_SETTLE = 3.0
_WORKER = "collab.server.process.worker"


def kill_worker(owner: psutil.Process) -> None:
    """SIGKILL for the worker: its supervisor starts another one."""
    for child in owner.children(recursive=True):
        if _WORKER in child.cmdline():
            child.kill()


def kill_node(owner: psutil.Process) -> None:
    """SIGKILL for everything, as if the machine had failed, but that its connections are reset."""
    for process in (owner, *owner.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def terminate_node(owner: psutil.Process) -> None:
    """SIGTERM, as at a deployment."""
    owner.terminate()


FAULTS: dict[str, Callable[[psutil.Process], None]] = {
    "worker killed": kill_worker,
    "node killed": kill_node,
    "node terminated": terminate_node,
}


async def failover(options: Options) -> list[Result]:
    """End the owner in each way, and measure until the next acknowledgement at the other node. Nothing is pinned."""
    results = []
    async with nodes("collab", 2, None, path=lambda room: "/hocuspocus", framing=HocuspocusFraming) as cluster:
        for label, fault in FAULTS.items():
            rounds = 1 if options.quick else ROUNDS
            found = [await _round(cluster, f"{label} {number}".replace(" ", "-"), fault) for number in range(rounds)]
            documents, entities = zip(*found, strict=True)
            numbers = {
                "document_s": round(median(documents), 2),
                "document_most_s": round(max(documents), 2),
                "entity_s": round(median(entities), 2),
                "entity_most_s": round(max(entities), 2),
                "rounds": rounds,
            }
            results.append(Result("failover", label, numbers))
    return results


async def _round(cluster: Cluster, name: str, fault: Callable[[psutil.Process], None]) -> tuple[float, float]:
    """Seconds until the next edit of a document, and the next write of an entity, is acknowledged."""
    owner, other = cluster.ports
    async with httpx.AsyncClient(timeout=10.0) as http:
        tasks = "/api/v1/collections/tasks"
        made = await http.post(f"http://127.0.0.1:{owner}{tasks}", json={"id": name, "n": 0})
        made.raise_for_status()

        async def write() -> None:
            answer = await http.patch(f"http://127.0.0.1:{other}{tasks}/{name}", json={"changes": {"n": 1}})
            answer.raise_for_status()

        async def edit() -> None:
            await save(other, name)

        await save(owner, name)
        await edit()
        await write()
        began = perf_counter()
        fault(cluster.process(0))
        first = await asyncio.gather(_until(edit), _until(write))
    if fault is kill_worker:  # a supervisor that has seen several deaths within a minute waits before the next start
        terminate_node(cluster.process(0))
    await asyncio.sleep(1.0)
    await cluster.ready()
    await asyncio.sleep(_SETTLE)
    return first[0] - began, first[1] - began


async def _until(attempt: Callable[[], Awaitable[None]]) -> float:
    """Try until it succeeds. Returns when it did. Raises :class:`TimeoutError`."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                await attempt()
            except (OSError, WebSocketException, httpx.HTTPError, EOFError):
                await asyncio.sleep(_PAUSE)
            else:
                return perf_counter()


async def save(port: int, room: str) -> None:
    """Open a document as somebody new, write a letter, and wait until it is saved. Raises :class:`EOFError`, too."""
    framing = HocuspocusFraming(room)
    async with connect(
        f"ws://127.0.0.1:{port}/hocuspocus", max_size=None, open_timeout=10, close_timeout=0.1
    ) as socket:
        for message in framing.opening():
            await socket.send(message)
        async with asyncio.timeout(10.0):
            async for data in socket:
                assert isinstance(data, bytes)
                kind, _ = framing.read(data)
                if kind is Kind.STEP1:
                    letter = update((random.getrandbits(32), 0), insert(b"x", None, None))
                    await socket.send(framing.step2(letter))
                elif data[len(framing.prefix)] == _SAVED and read_uint(data, len(framing.prefix) + 1)[0] == 1:
                    return
    raise EOFError
