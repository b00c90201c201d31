"""A running server, behind proxies that are right and wrong."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collab import Collab, Settings
from collab.server.doctor.address_checks import check_address
from collab.server.doctor.finding import Finding
from tests.collab.serving import serving

SECRET = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
Heads = Callable[[bytes], bytes]


def same(head: bytes) -> bytes:
    return head


@asynccontextmanager
async def proxy(address: str, requests: Heads = same, answers: Heads = same) -> AsyncIterator[str]:
    """A proxy that changes the heads of requests and answers; one request for each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = address.rpartition(":")
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            there, away = await asyncio.open_connection(host, int(port))
            away.write(requests(head))
            writer.write(
                answers(await there.readuntil(b"\r\n\r\n")).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
            )
            writer.write(await there.read(100_000) if b"upgrade" not in head.lower() else b"")
            await writer.drain()
            away.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()


async def asked(url: str, offset: float = 0.0, **settings: object) -> list[Finding]:
    return await check_address(url, Settings(jwt_secret=SECRET, **settings), lambda: time.time() + offset)  # type: ignore[arg-type]


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    async with serving(Collab(Settings(data=str(tmp_path), jwt_secret=SECRET))) as found:
        yield found


async def test_a_server_in_order_has_no_findings_with_or_without_a_proxy(address: str) -> None:
    assert await asked(f"http://{address}/") == []
    async with proxy(address) as url:
        assert await asked(url) == []


async def test_a_proxy_that_names_itself_must_be_trusted(address: str) -> None:
    def named(head: bytes) -> bytes:
        return head.replace(b"\r\n", b"\r\nServer: nginx\r\n", 1)

    async with proxy(address, answers=named) as url:
        (finding,) = await asked(url)
        assert (finding.area, "a proxy (nginx) answers" in finding.what) == ("proxy", True)
        assert await asked(url, trusted_proxies=["127.0.0.1"]) == []


async def test_a_proxy_that_drops_the_upgrade_is_wrong(address: str) -> None:
    def dropped(head: bytes) -> bytes:
        return head.replace(b"upgrade: websocket\r\n", b"").replace(b"connection: upgrade", b"connection: close")

    async with proxy(address, requests=dropped) as url:
        (finding,) = await asked(url)
        assert "the upgrade does not pass" in finding.what


async def test_a_proxy_that_hides_the_host_name_is_wrong(address: str) -> None:
    def hidden(head: bytes) -> bytes:
        return b"\r\n".join(
            b"host: backend.internal" if line.lower().startswith(b"host:") else line for line in head.split(b"\r\n")
        )

    async with proxy(address, requests=hidden) as url:
        (finding,) = await asked(url)
        assert "the server sees another host name" in finding.what


async def test_clocks_that_differ_are_wrong(address: str) -> None:
    (finding,) = await asked(f"http://{address}", offset=600)
    assert (finding.area, finding.level) == ("clock", "wrong")
    assert finding.what.endswith((" 600 s", " 601 s", " 599 s"))


async def test_what_is_no_collab_or_nothing_is_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (finding,) = await asked(f"http://127.0.0.1:{port}")
    assert "nothing answers at" in finding.what

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    (finding,) = await asked("http://{}:{}".format(*server.sockets[0].getsockname()))
    assert "answers 404, and not as Collab does" in finding.what
    server.close()
