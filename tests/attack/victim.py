"""A well-behaved tenant: one user edits while another reads, a third reads and writes over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter

import httpx

from tests.attack.target import Target
from tests.collab.serving import editor

KINDS = ("edit", "read", "write", "query", "room")
TENANTS = 4
"""Number of concurrent tenants: a p99 needs some hundred requests of each kind."""
_LONGEST = 15.0  # timeout for an answer, in seconds


@dataclass
class Waits:
    """Seconds of each request, by kind; ``failures`` are error messages."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    failures: list[str] = field(default_factory=list)

    def quantile(self, kind: str, part: float) -> float:
        """The quantile ``part`` of the waits; infinite if no request was answered."""
        waits = sorted(self.seconds[kind])
        return waits[min(len(waits) - 1, int(len(waits) * part))] if waits else float("inf")


@dataclass
class Notes:
    """``now`` collects later measurements; requests that already started count for the collector of their start."""

    now: Waits


async def behave(target: Target, stop: asyncio.Event, notes: Notes, number: int = 0, pause: float = 0.05) -> None:
    """Work as tenant ``number`` until stopped; retry what fails."""
    token = target.token("vera", project=f"victim{number}")

    async def edits() -> None:
        name = f"notes/v?token={token}"
        # the writer takes in nothing: with a bounded queue, heartbeats alone would stop its socket after four minutes
        async with editor(target.address, name, max_queue=None) as writer, editor(target.address, name) as reader:
            while not stop.is_set():
                waits, began = notes.now, perf_counter()
                await writer.type("x")
                async with asyncio.timeout(_LONGEST):
                    await reader.until_text(str(writer.text))
                waits.seconds["edit"].append(perf_counter() - began)
                await asyncio.sleep(pause)

    async def requests() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=target.http, headers=headers, timeout=_LONGEST) as client:

            async def ask(kind: str, method: str, path: str, body: object = None) -> None:
                waits, began = notes.now, perf_counter()
                (await client.request(method, path, json=body)).raise_for_status()
                waits.seconds[kind].append(perf_counter() - began)

            await client.post("/api/v1/collections/tasks", json={"id": "t"})
            while not stop.is_set():
                await ask("write", "PATCH", "/api/v1/collections/tasks/t", {"changes": {"at": perf_counter()}})
                await ask("read", "GET", "/api/v1/collections/tasks/t")
                await ask("query", "GET", "/api/v1/collections/tasks?limit=10")
                await ask("room", "GET", "/rooms/tasks/t")
                await asyncio.sleep(pause)

    await asyncio.gather(*(_again_and_again(work, notes, stop) for work in (edits, requests)))


async def _again_and_again(work: Callable[[], Awaitable[None]], notes: Notes, stop: asyncio.Event) -> None:
    while not stop.is_set():
        waits = notes.now
        try:
            await work()
        except Exception as error:  # any failure is part of the measurement
            waits.failures.append(f"{type(error).__name__}: {error}"[:200])
            await asyncio.sleep(0.1)
