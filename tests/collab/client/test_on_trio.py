"""The client on trio, against a server in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pycrdt
import pytest

from collab.client import LumenizeClient
from collab.errors import ConnectionLost, NotFound
from tests.e2e.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_everything_works_on_trio(server: Server) -> None:
    async def main() -> None:
        async with LumenizeClient(url=server.http) as made:
            seen: list[str] = []

            async def note(event: object) -> None:
                await anyio.lowlevel.checkpoint()
                seen.append("event")

            await made.tasks.subscribe("*", note).ready()
            async with made.tasks.subscribe({"where": {"done": False}}) as lists:
                task = await made.tasks.create({"title": "t", "done": False})
                with anyio.fail_after(40):
                    while not await anext(lists):
                        pass
                with pytest.raises(NotFound):
                    await made.tasks.find_by_id("nobody")
            async with made.documents.open("d") as document:
                text = document.doc.get("t", type=pycrdt.Text)
                text += "hello"
            assert (await made.documents.find_by_id("d", content=True)).content == {"t": "hello"}
            assert await made.tasks.find_by_id(task["id"]) == task
            with anyio.fail_after(40):
                while not seen:
                    await anyio.sleep(0.01)
        with pytest.raises(ConnectionLost):
            await made.tasks.count()

    anyio.run(main, backend="trio")


def test_on_trio_it_comes_back_after_a_restart(server: Server) -> None:
    async def main() -> None:
        options = {"initial_delay": 50, "max_delay": 200}
        async with LumenizeClient(url=server.http, websocket=options) as made:
            await made.tasks.create({"n": 1})
            await anyio.to_thread.run_sync(server.kill)
            write = made.tasks.create({"n": 2})
            await anyio.to_thread.run_sync(server.start)
            with anyio.fail_after(40):
                await write
                await made.saved()
            assert await made.tasks.count() == 2

    anyio.run(main, backend="trio")
