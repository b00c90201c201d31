"""Parse Server: LiveQuery over the socket, writes over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from bench.record.clients.base import Client, batches, from_json, to_json


class Parse(Client):
    """One socket, and one persistent HTTP/1.1 connection for each concurrent write."""

    HEADERS = (
        "Host: 127.0.0.1\r\nX-Parse-Application-Id: bench\r\nX-Parse-Master-Key: bench\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    )

    def __init__(self) -> None:
        super().__init__()
        self._port = 0
        self._names: dict[str, str] = {}
        self._lines: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def greet(self, url: str) -> None:
        """Connect with the master key."""
        self._port = urlsplit(url).port or 80
        connected = self.expect("connected")
        self.send(to_json({"op": "connect", "applicationId": "bench", "masterKey": "bench"}))
        await connected

    async def subscribe(self, keys: Sequence[str]) -> None:
        """Live queries."""
        for some in batches(keys):
            asked = []
            for key in some:
                number = self.number()
                asked.append(self.expect(number))
                query = {"className": "Task", "where": {"key": key}}
                self.send(to_json({"op": "subscribe", "requestId": number, "query": query}))
            await asyncio.gather(*asked)

    async def _http(self, method: str, path: str, body: dict[str, Any]) -> Any:
        line = self._lines.pop() if self._lines else await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = line
        content = to_json(body)
        writer.write(f"{method} {path} HTTP/1.1\r\n{self.HEADERS}{len(content)}\r\n\r\n".encode() + content)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(one.split(b":")[1]) for one in head.split(b"\r\n") if one.lower().startswith(b"content-length:")
        )
        answer = await reader.readexactly(length)
        self._lines.append(line)
        if head[9:10] != b"2":
            raise RuntimeError(answer[:300].decode(errors="replace"))
        return from_json(answer)

    async def create(self, name: str) -> None:
        """Over HTTP; the server chooses the id."""
        self._names[name] = (await self._http("POST", "/parse/classes/Task", {"key": name, "n": 0}))["objectId"]

    async def update(self, name: str, n: int) -> None:
        """Over HTTP."""
        await self._http("PUT", f"/parse/classes/Task/{self._names[name]}", {"n": n})

    def take(self, data: bytes, *, text: bool) -> None:
        """Answers and events."""
        message = from_json(data)
        op = message["op"]
        if op in ("update", "create", "enter"):
            self.arrived(message["object"].get("n"))
        elif op == "subscribed":
            self.answer(message["requestId"])
        elif op == "connected":
            self.answer("connected")
        elif op == "error":
            self.answer(message.get("requestId", "connected"), error=str(message))

    def close(self) -> None:
        """The HTTP connections as well."""
        for _, writer in self._lines:
            writer.close()
        super().close()
