"""pycrdt-websocket on hypercorn and uvloop, as in its manual: `python pycrdt_websocket.py PORT`."""

import sys
from typing import Any, cast

import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config
from pycrdt.websocket import ASGIServer, WebsocketServer, exception_logger


async def main(port: str) -> None:
    """Serve rooms, named by their path, until the process is stopped."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    # Without the handler the first failing client stops the server.
    async with WebsocketServer(exception_handler=exception_logger) as rooms:
        await serve(cast(Any, ASGIServer(rooms)), config)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
