"""A worker that is ended from inside: by a crash or a hang in the CRDT library, live or while loading."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from collab.storage.sqlite.storage import SqliteStorage
from tests.chaos.doomed import ENDLESS, LATE, SEGFAULT
from tests.chaos.victims import PATIENCE, join, lost
from tests.collab.serving import Editor

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]


class Doomed:
    """A supervised server whose worker may die."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.address = f"127.0.0.1:{port}"

    @property
    def worker(self) -> int:
        """The process that serves now."""
        (child,) = psutil.Process(self.process.pid).children()
        return child.pid

    async def text(self, name: str) -> str:
        """The document's text as a newcomer finds it; waits for a worker."""
        async with httpx.AsyncClient(timeout=PATIENCE) as http, asyncio.timeout(PATIENCE):
            while True:
                with suppress(httpx.TransportError):
                    response = await http.get(f"http://{self.address}/rooms/{name}?format=text")
                    if response.status_code == 200:
                        return response.text
                await asyncio.sleep(0.02)

    async def type_and_die(self, name: str, words: str) -> Editor:
        """A client whose edit ends the worker: it has lived through the end of its connection."""
        client = await join(self.address, name)
        await client.type(words)
        await lost(client)
        return client


@asynccontextmanager
async def doomed(folder: Path) -> AsyncIterator[Doomed]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.doomed",
        str(folder),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        yield Doomed(process, int(await asyncio.wait_for(process.stdout.readline(), PATIENCE)))
        process.terminate()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def leave(*clients: Editor) -> None:
    for client in clients:
        await client.socket.close()


@pytest.mark.parametrize("words", [SEGFAULT, ENDLESS], ids=["crash", "hang"])
async def test_e9_an_edit_that_ends_the_worker_is_kept_aside_and_nobody_else_loses_anything(
    tmp_path: Path, words: str
) -> None:
    async with doomed(tmp_path) as server:
        neighbour = await join(server.address, "neighbour")
        await neighbour.type("I was here. ")
        victim = await join(server.address, "victim")
        await victim.type("So was I. ")
        assert await server.text("victim") == "So was I. "
        first = server.worker

        culprit = await server.type_and_die("victim", words)
        assert await lost(neighbour) == await lost(victim) == 1006
        await asyncio.gather(
            join(server.address, "neighbour", neighbour),
            join(server.address, "victim", victim),
        )
        second = server.worker
        assert second != first

        await neighbour.type("I still am.")
        await victim.type("Me too.")
        assert await server.text("neighbour") == "I was here. I still am."
        assert await server.text("victim") == "So was I. Me too."

        # the same edit again, in the clothes of a resync and under a new connection
        for _ in range(3):
            await join(server.address, "victim", culprit)
            assert await lost(culprit) == 4422
        assert await server.text("victim") == "So was I. Me too."
        assert server.worker == second
        await leave(neighbour, victim)

    storage = SqliteStorage(tmp_path)
    await storage.open()
    (entry,) = await storage.list_set_aside()
    await storage.close()
    assert words.encode() in entry.update
    assert entry.key.name == "documents/victim"
    assert entry.seq is None
    assert entry.reason.startswith("ended a worker: ")


async def test_a_row_that_ends_the_worker_when_it_is_loaded_leaves_the_log_and_the_room_opens(tmp_path: Path) -> None:
    async with doomed(tmp_path) as server:
        good, bad = await join(server.address, "victim"), await join(server.address, "victim")
        await good.type("One. ")
        await bad.until_text("One. ")
        await bad.type(LATE)
        await good.until_text("One. " + LATE)
        assert await server.text("victim") == "One. " + LATE
        psutil.Process(server.worker).kill()  # with the row in the log
        await lost(good)
        assert await server.text("victim") == "One. "
        third = server.worker
        assert await server.text("victim") == "One. "
        assert server.worker == third

    storage = SqliteStorage(tmp_path)
    await storage.open()
    (entry,) = await storage.list_set_aside()
    await storage.close()
    assert entry.seq is not None
    assert LATE.encode() in entry.update


async def test_a_document_that_ends_worker_after_worker_is_closed_and_its_neighbours_are_served(
    tmp_path: Path,
) -> None:
    async with doomed(tmp_path) as server:
        for number in range(3):
            await server.type_and_die("victim", f"{number} {SEGFAULT}")
        neighbour = await join(server.address, "neighbour")
        await neighbour.type("quiet here")
        assert await server.text("neighbour") == "quiet here"
        survivor = server.worker
        with pytest.raises((ConnectionClosed, InvalidHandshake)) as refused:
            await Editor(await connect(f"ws://{server.address}/rooms/victim")).sync()
        if isinstance(refused.value, ConnectionClosed):
            assert refused.value.rcvd is not None
            assert refused.value.rcvd.code == 4503
        assert server.worker == survivor
        await leave(neighbour)
