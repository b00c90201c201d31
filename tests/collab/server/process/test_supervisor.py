from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from collab.server.process.supervisor import bind

ROOT = Path(__file__).parents[4]


class Supervised:
    """A supervisor in a process, with a worker that breaks on request."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self.folder = folder
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40)

    async def do(self, deed: str, body: bytes = b"") -> dict[str, Any]:
        """Have the worker do something. What it knows, or nothing if it did not survive."""
        try:
            response = await self.http.post("/" + deed, content=body)
        except httpx.TransportError:
            return {}
        answer: dict[str, Any] = response.json()
        return answer

    def journal(self) -> list[str]:
        return (self.folder / "journal").read_text().split()

    def failures(self) -> list[float]:
        """When workers failed to start."""
        return [float(line.removeprefix("broken:")) for line in self.journal() if line.startswith("broken")]

    async def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()


@asynccontextmanager
async def supervised(folder: Path) -> AsyncIterator[Supervised]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.collab.server.process.fragile",
        str(folder),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        server = Supervised(process, port, folder)
        async with server.http:
            yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_worker_that_crashes_is_replaced_and_its_bytes_are_handed_on(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        before = await server.do("state")
        assert before["quarantined"] == []
        assert await server.do("segv", b"deadly") == {}
        after = await server.do("state")
        assert after["pid"] != before["pid"]
        assert after["supervisor"] == before["supervisor"] == server.process.pid
        assert after["quarantined"] == [
            ["default", "documents", "doc_1", 4, b"deadly".hex(), "ended a worker: SIGSEGV"]
        ]
        assert await server.do("exit") == {}
        again = await server.do("state")
        assert again["quarantined"] == []  # the one before has stored it
        assert await server.stop() == 0
        log = await server.errors()
    assert "Fatal Python error: Segmentation fault" in log
    assert "died (SIGSEGV) while it applied 6 bytes to default/documents/doc_1 (log row 4)" in log


async def test_connections_wait_while_the_worker_is_replaced(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        before = await server.do("state")
        psutil.Process(before["pid"]).kill()
        answers = await asyncio.gather(*(server.do("state") for _ in range(20)))
        await until(lambda: len(server.journal()) == 2)
        assert any(answer and answer["pid"] != before["pid"] for answer in answers)
        assert (await server.do("state"))["quarantined"] == []


async def test_a_worker_knows_how_many_died_before_it(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        assert (await server.do("state"))["deaths"] == 0
        assert await server.do("exit") == {}
        assert (await server.do("state"))["deaths"] == 1
        assert await server.do("killed", b"innocent") == {}
        assert (await server.do("state"))["deaths"] == 2


async def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        before = await server.do("state")
        assert await server.do("hang", b"endless") == {}
        after = await server.do("state")
        assert after["pid"] != before["pid"]
        assert after["quarantined"] == [
            ["default", "documents", "doc_1", None, b"endless".hex(), "ended a worker: hung"]
        ]


async def test_a_worker_whose_application_has_failed_drains_and_is_replaced(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        before = await server.do("state")
        assert (await server.do("fail"))["pid"] == before["pid"]
        await until(lambda: len(server.journal()) == 3)
        assert server.journal() == ["start", "drain", "start"]
        assert (await server.do("state"))["pid"] != before["pid"]


async def test_a_worker_that_is_killed_from_outside_leaves_its_bytes_innocent(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        await server.do("killed", b"harmless")
        assert (await server.do("state"))["quarantined"] == []
        await server.do("killed", b"harmless")
        (entry,) = (await server.do("state"))["quarantined"]
        assert entry[-1] == "ended a worker: SIGKILL"


async def test_a_document_that_ends_every_worker_is_closed_for_a_time(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        for number in range(3):
            assert not (await server.do("state"))["closed"]
            await server.do("segv", bytes([number]))
        assert (await server.do("state"))["closed"]


async def test_a_worker_that_dies_again_and_again_is_replaced_ever_more_slowly(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        await server.do("state")
        (tmp_path / "broken").touch()
        psutil.Process((await server.do("state"))["pid"]).kill()
        await until(lambda: len(server.failures()) == 4)
        failures = server.failures()
        for gap, least in zip((b - a for a, b in pairwise(failures)), (0.25, 0.5, 1.0), strict=True):
            assert gap > least
        assert server.process.returncode is None
        (tmp_path / "broken").unlink()
        assert (await server.do("state"))["pid"]
        (tmp_path / "broken").touch()
        pid = (await server.do("state"))["pid"]
        psutil.Process(pid).kill()
        await until(lambda: not psutil.pid_exists(pid))
        assert await server.stop() == 0  # also while it waits


async def test_a_first_worker_that_cannot_start_ends_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.collab.server.process.fragile",
        str(tmp_path),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"RuntimeError: broken" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_is_passed_on_and_ends_in_good_order(tmp_path: Path, number: int) -> None:
    async with supervised(tmp_path) as server:
        await server.do("work", b"update")
        assert await server.stop(number) == 0
        assert server.journal() == ["start", "drain"]
        with pytest.raises(httpx.ConnectError):
            await server.http.get("/")


async def test_a_worker_that_does_not_stop_is_killed_at_the_second_request(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        await server.do("stubborn")
        server.process.terminate()
        with pytest.raises(httpx.TransportError):
            while True:
                await server.http.get("/")
                await until(lambda: server.process.returncode is None)
                server.process.terminate()
        assert await asyncio.wait_for(server.process.wait(), 30) == 1


async def test_a_worker_ends_with_its_supervisor_and_the_port_is_free(tmp_path: Path) -> None:
    async with supervised(tmp_path) as server:
        worker = psutil.Process((await server.do("state"))["pid"])
        server.process.kill()
        await server.process.wait()
        await until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
        for sock in bind("127.0.0.1", server.port):
            sock.close()


def test_a_name_is_bound_at_all_its_addresses_on_one_port() -> None:
    sockets = bind("localhost", 0)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        for sock in sockets:
            socket.create_connection(sock.getsockname()[:2]).close()
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", sockets[0].getsockname()[1])
    finally:
        for sock in sockets:
            sock.close()
