"""Clients of a server whose worker dies: they live through it, and come back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.collab.serving import Editor

PATIENCE = 60


async def join(address: str, name: str, client: Editor | None = None) -> Editor:
    """A client that has joined and synced, the same as before if one is given; waits for a worker."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                socket = await connect(f"ws://{address}/rooms/{name}")
            except (OSError, InvalidHandshake, EOFError):
                await asyncio.sleep(0.02)
                continue
            if client is None:
                client = Editor(socket)
            client.socket = socket
            await client.sync()
            return client


async def lost(client: Editor) -> int | None:
    """Live on until the connection ends. Returns the close code."""
    with suppress(ConnectionClosed):
        await client.until(lambda message: False)
    return client.socket.close_code
