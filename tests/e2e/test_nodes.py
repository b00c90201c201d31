"""Clients of any node share the documents of all: same rights, same presence, same acknowledgements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pycrdt
import pytest

from collab.client.client import LumenizeClient
from collab.client.documents import Document
from collab.errors import PermissionDenied
from tests.chaos.writer import Writer
from tests.e2e.conftest import SECRET
from tests.e2e.server import Server
from tests.postgres import PostgresServer
from tests.valkey import ValkeyProcess

_EVENTUALLY = 30


@pytest.fixture
def nodes(tmp_path: Path, postgres: PostgresServer, redis: ValkeyProcess) -> Iterator[tuple[Server, Server]]:
    """Two nodes. The first to open a document owns it."""
    with postgres.records() as lend:
        url = lend()
        made = [
            Server(tmp_path / name, secret=SECRET, database=url, redis=redis.url, room_idle_seconds=1)
            for name in ("owner", "edge")
        ]
        try:
            for server in made:
                server.start()
            yield made[0], made[1]
        finally:
            for server in made:
                server.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(_EVENTUALLY):
        while not condition():
            await asyncio.sleep(0.01)


async def writes_on(writer: Writer) -> None:
    """Wait until more of a writer's edits are saved."""
    more = writer.saved + 10
    await until(lambda: writer.saved >= more)


def all_have(writers: list[Writer], count: int) -> bool:
    return all(len(writer.entries) == count for writer in writers)


@asynccontextmanager
async def opened(server: Server, user: str, *, seconds: float = 3600, **claims: str) -> AsyncIterator[Document]:
    """The document ``notes/n`` of a user who is connected to ``server``."""
    async with (
        LumenizeClient(server.http, token=lambda: server.token(user, seconds=seconds, **claims)) as client,
        client.notes.open("n") as document,
    ):
        yield document


def text(document: Document) -> pycrdt.Text:
    found: pycrdt.Text = document.doc.get("text", type=pycrdt.Text)
    return found


def people(document: Document) -> set[Any]:
    return {state["user"]["id"] for state in document.awareness.states.values() if "user" in state}


async def test_edits_and_presence_of_an_edge_reach_everybody_and_are_saved(nodes: tuple[Server, Server]) -> None:
    owner, edge = nodes
    async with opened(owner, "ann") as first, opened(edge, "bob") as second, opened(edge, "eve") as third:
        first.awareness.set_local_state({})
        second.awareness.set_local_state({"cursor": 1})
        text(first).insert(0, "one ")
        await first.until_saved()
        await until(lambda: str(text(second)) == "one ")
        text(second).insert(4, "two")
        await second.until_saved()
        await until(lambda: str(text(first)) == str(text(third)) == "one two")
        await until(lambda: "bob" in people(first) and "ann" in people(second))
        await until(lambda: {"ann", "bob"} <= people(third))


async def test_who_may_only_read_writes_nothing_through_an_edge(nodes: tuple[Server, Server]) -> None:
    owner, edge = nodes
    async with opened(owner, "ann") as first, opened(edge, "eve", access="read") as second:
        text(second).insert(0, "forbidden")
        with pytest.raises(PermissionDenied):
            await second.until_saved()
        assert str(text(first)) == ""


async def test_a_session_whose_token_is_renewed_stays_at_the_owner(nodes: tuple[Server, Server]) -> None:
    owner, edge = nodes
    async with opened(owner, "ann") as first, opened(edge, "bob", seconds=3) as second:
        ends = time.time() + 4
        while time.time() < ends:  # past the end of the token with which it began
            text(second).insert(0, "x")
            await second.until_saved()
            await asyncio.sleep(0.2)
        assert second.error is None
        await until(lambda: str(text(first)) == str(text(second)))


async def test_documents_of_a_node_that_is_stopped_or_killed_go_on_elsewhere(nodes: tuple[Server, Server]) -> None:
    owner, edge = nodes
    writers = [Writer("here", "notes/w", pause=0.02), Writer("there", "notes/w", pause=0.02)]
    token = owner.token("ann")
    urls = [f"{server.hocuspocus}?token={token}" for server in nodes]

    async def live(writer: Writer, url: str) -> None:
        while True:
            await writer.live(url)
            await asyncio.sleep(0.05)

    lives = [asyncio.create_task(live(writers[0], urls[0]))]
    await until(lambda: writers[0].saved > 5)
    lives.append(asyncio.create_task(live(writers[1], urls[1])))
    await until(lambda: writers[1].saved > 5)
    await asyncio.to_thread(owner.stop)
    await writes_on(writers[1])
    await asyncio.to_thread(owner.start)  # now it is the edge
    await writes_on(writers[0])
    assert edge.process is not None
    (worker,) = psutil.Process(edge.process.pid).children()
    worker.kill()
    for writer in writers:
        await writes_on(writer)
        writer.writing = False
    await until(lambda: all(writer.saved == writer.made for writer in writers))
    await until(lambda: list(writers[0].entries) == list(writers[1].entries))
    entries = list(writers[0].entries)
    assert len(entries) == len(set(entries)) == writers[0].made + writers[1].made
    for task in lives:
        task.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


async def test_who_was_connected_through_a_machine_that_stands_still_is_gone_from_the_document(
    nodes: tuple[Server, Server],
) -> None:
    """No connection tells: nothing was closed, and no network failed."""
    owner, edge = nodes
    async with opened(owner, "ann") as first:
        client = LumenizeClient(edge.http, token=lambda: edge.token("bob"))
        await client.connect()
        document = await client.notes.open("n")
        document.awareness.set_local_state({})
        await until(lambda: "bob" in people(first))
        assert edge.process is not None
        still = [psutil.Process(edge.process.pid), *psutil.Process(edge.process.pid).children()]
        for process in still:
            process.suspend()
        try:
            async with asyncio.timeout(25):  # awareness alone forgets who is silent for 30 s
                await until(lambda: "bob" not in people(first))
        finally:
            for process in still:
                process.resume()
        await document.close()
        await client.disconnect()


def test_workers_of_one_machine_share_documents(tmp_path: Path, postgres: PostgresServer, redis: ValkeyProcess) -> None:
    with postgres.records() as lend:
        server = Server(tmp_path, database=lend(), redis=redis.url, workers=2)
        server.start()
        try:
            asyncio.run(_share(server))
        finally:
            assert server.stop() == 0


async def _share(server: Server) -> None:
    writers = [Writer(f"w{number}", f"notes/{number % 2}", pause=0.02) for number in range(8)]
    lives = [asyncio.create_task(writer.live(server.hocuspocus)) for writer in writers]
    for writer in writers:
        await writes_on(writer)
        writer.writing = False
    for room in ("notes/0", "notes/1"):
        here = [writer for writer in writers if writer.room == room]
        count = sum(writer.made for writer in here)
        await until(partial(all_have, here, count))
    assert server.process is not None
    workers = psutil.Process(server.process.pid).children()
    assert len(workers) == 2
    for task in lives:
        task.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
