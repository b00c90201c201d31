"""The Hocuspocus protocol over real sockets; what stock providers see is in ``tests/e2e/test_hocuspocus.py``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from collab import Collab, Settings
from collab.rooms.live.session import Session
from collab.server.sockets.connection import Connection
from collab.server.sockets.hocuspocus import HocuspocusSocket
from collab.server.sockets.passed import PassedDocuments
from collab.wire import hocuspocus, yjs
from presence.lib0 import encode_string
from tests.collab.garbage import alive, until_gone, without_collector
from tests.collab.serving import serving

OF_A_SOCKET = (Connection, HocuspocusSocket, PassedDocuments, Session)


async def opened(socket: ClientConnection, name: str) -> None:
    await socket.send(hocuspocus.token(name, ""))
    answer = b""
    while not answer.startswith(hocuspocus.authenticated(name, "read-write")):
        answer = await asyncio.wait_for(socket.recv(decode=False), 40)


async def used(address: str, last: bytes) -> None:
    """A socket with a document that is open, one that was closed, and one that is being opened."""
    async with connect(f"ws://{address}/hocuspocus") as socket:
        for name in ("documents/a", "documents/b"):
            await opened(socket, name)
            await socket.send(hocuspocus.sync_step1(name, b"\0"))
        await socket.send(hocuspocus.close("documents/b", ""))
        await socket.send(hocuspocus.token("documents/c", ""))
        await socket.send(encode_string("documents/a") + yjs.update(b"\0\0"))
        assert set(alive(*OF_A_SOCKET)) == {kind.__name__ for kind in OF_A_SOCKET}
        if last:
            await socket.send(last)


@pytest.mark.parametrize("last", [b"", b"\xff\xff", encode_string("documents/a") + b"\x00\x07"])
async def test_a_socket_that_has_ended_needs_no_garbage_collector(tmp_path: Path, last: bytes) -> None:
    async with serving(Collab(Settings(data=str(tmp_path)))) as address:
        with without_collector():
            await used(address, last)
            await until_gone(*OF_A_SOCKET)
