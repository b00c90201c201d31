"""A TCP proxy in front of PostgreSQL that cuts connections in the middle of commits."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import AbstractContextManager, suppress
from typing import Literal

Cut = Literal["before the request", "in the request", "before the answer", "in the answer"]
CUTS: tuple[Cut, ...] = ("before the request", "in the request", "before the answer", "in the answer")

_COMMIT = b"collab.commit_"


class CuttingProxy(AbstractContextManager["CuttingProxy"]):
    """Passes bytes on to ``port`` of this machine inside its block, in a thread. ``made`` counts the cuts.

    A connection on which a commit was prepared is one that commits: its next request, or answer, is where it is cut.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.made: Counter[Cut] = Counter()
        self._target = port
        self._next: Cut | None = None
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._ends = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._ends.wait()
        server.close()
        for link in list(self._links):
            link.cut()
        while self._links:
            await asyncio.sleep(0.001)

    def cut_next(self, cut: Cut | None) -> None:
        """Cut the next commit like this; ``None``: none."""
        self._next = cut

    def takes(self, *cuts: Cut) -> Cut | None:
        """The cut that is to be made now, if it is one of these."""
        if self._next not in cuts:
            return None
        cut, self._next = self._next, None
        assert cut is not None
        self.made[cut] += 1
        return cut

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, writer, server[1])
        self._links.add(link)
        try:
            await asyncio.gather(link.pass_requests(reader), link.pass_answers(server[0]))
        finally:
            self._links.discard(link)
            link.cut()


class _Link:
    """One connection, on both sides."""

    def __init__(self, proxy: CuttingProxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._commits = False

    def cut(self) -> None:
        self._client.transport.abort()
        self._server.transport.abort()

    async def pass_requests(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                self._commits = self._commits or _COMMIT in data
                cut = self._proxy.takes("before the request", "in the request") if self._commits else None
                if cut != "before the request":
                    self._server.write(data[: len(data) // 2] if cut else data)
                    await self._server.drain()
                if cut is not None:
                    break
        self.cut()

    async def pass_answers(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                cut = self._proxy.takes("before the answer", "in the answer") if self._commits else None
                if cut != "before the answer":
                    self._client.write(data[: len(data) // 2] if cut else data)
                    await self._client.drain()
                if cut is not None:
                    await asyncio.sleep(0)
                    break
        self.cut()
