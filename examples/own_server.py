"""A server in the same program, for the duration of a block.

    python -m examples.own_server

The other examples use it if you give them no server's address.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collab import Collab, Settings
from collab.transport.launcher import serve


@asynccontextmanager
async def server(url: str | None = None) -> AsyncIterator[str]:
    """Yield ``url`` if given, else the URL of a new server that stops after the block."""
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        app = Collab(Settings(data=folder))
        listener = socket.create_server(("127.0.0.1", 0))
        ready, stop = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(serve(app, sockets=[listener], shutdown=stop.wait, drain=app.drain, ready=ready.set))
        await asyncio.wait([task, asyncio.ensure_future(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        try:
            yield "http://{}:{}".format(*listener.getsockname())
        finally:
            stop.set()
            await task


async def main() -> None:
    async with server() as url:
        print(f"Serving on {url}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
