"""Reads over HTTP have a rate, and end with their caller; writes are not waited for without end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pycrdt
import pytest

from collab import Collab, Settings
from collab.query.query import Query
from collab.rooms import commitment
from collab.storage.base import Append, CommitId, Committed, Fact, FoundRows, StorageError
from collab.storage.memory import MemoryStorage
from tests.collab.serving import serving

TASKS = "/api/v1/collections/tasks"


def http(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{address}", timeout=40)


async def test_who_reads_too_fast_is_told_to_wait_and_may_go_on_writing(tmp_path: Path) -> None:
    async with serving(Collab(Settings(data=str(tmp_path), reads_per_second=0.2))) as address, http(address) as client:
        answers = [await client.get(path) for path in (TASKS, "/rooms/d?format=update", f"{TASKS}/nope")]
        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        refused = answers[2]
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert int(refused.headers["retry-after"]) >= 1
        assert (await client.post(TASKS, json={"title": "x"})).status_code == 201
        assert (await client.get("/api/v1/health")).status_code == 200


class Slow(MemoryStorage):
    """Finds nothing, ever."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_query_ends_when_nobody_waits_for_its_answer(method: str) -> None:
    storage = Slow()
    async with serving(Collab(Settings(), storage=storage)) as address:
        _, writer = await asyncio.open_connection(*address.split(":"))
        path = TASKS if method == "GET" else f"{TASKS}/query"
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        async with asyncio.timeout(30):
            await storage.begun.wait()
            writer.close()
            await storage.ended.wait()


async def test_a_query_that_takes_too_long_is_ended_and_says_the_limit() -> None:
    storage = Slow()
    async with serving(Collab(Settings(query_seconds=0.1), storage=storage)) as address, http(address) as client:
        answer = await client.get(TASKS)
        assert answer.status_code == 429
        assert answer.json()["error"]["details"]["limitSeconds"] == 0.1
        assert storage.ended.is_set()


class Full(MemoryStorage):
    """A disk that may be full."""

    full = False

    async def commit(
        self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
    ) -> Committed:
        if self.full:
            raise StorageError("disk full")
        return await super().commit(batch, facts, commit_id=commit_id)


async def test_writes_to_a_full_disk_are_told_to_come_back_and_are_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment, "_PATIENCE", 0.2)
    storage = Full()
    text: pycrdt.Doc[Any] = pycrdt.Doc()
    text["t"] = pycrdt.Text("hello")
    named = {"idempotency-key": "create-1"}
    async with serving(Collab(Settings(), storage=storage)) as address, http(address) as client:
        storage.full = True
        for answer in [
            await client.post(TASKS, json={"id": "t1", "title": "x"}, headers=named),
            await client.post(TASKS, json={"id": "t1", "title": "x"}, headers=named),
            await client.post("/rooms/d", content=text.get_update()),
        ]:
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "UNAVAILABLE"
            assert "retry-after" in answer.headers
        storage.full = False
        async with asyncio.timeout(30):
            while (await client.get(f"{TASKS}/t1")).status_code != 200:
                await asyncio.sleep(0.05)
        again = await client.post(TASKS, json={"id": "t1", "title": "x"}, headers=named)
        assert again.status_code == 201
        assert again.json()["version"] == 1
