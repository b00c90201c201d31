"""Feathers over socket.io 4, which speaks engine.io 4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record.clients.base import Client, batches, from_json, to_json


class Feathers(Client):
    """Feathers has no queries: for a key this joins the channel of that name."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = self.expect("open")

    async def greet(self, url: str) -> None:
        """Join the default namespace."""
        await self._opened
        joined = self.expect("joined")
        self.send(b"40")
        await joined

    async def _call(self, *words: Any) -> Any:
        number = self.number()
        future = self.expect(number)
        self.send(b"42%d" % number + to_json(words))
        return await future

    async def subscribe(self, keys: Sequence[str]) -> None:
        """Join channels."""
        for some in batches(keys):
            await self._call("create", "watch", {"keys": some}, {})

    async def create(self, name: str) -> None:
        """Call the service."""
        await self._call("create", "tasks", {"id": name, "key": name, "n": 0}, {})

    async def update(self, name: str, n: int) -> None:
        """Call the service."""
        await self._call("patch", "tasks", name, {"n": n}, {})

    def take(self, data: bytes, *, text: bool) -> None:
        """Packets begin with their type."""
        if data.startswith(b"42"):
            event, value = from_json(data[2:])[:2]
            if event == "tasks patched":
                self.arrived(value.get("n"))
        elif data.startswith(b"43"):
            start = data.index(b"[")
            error, *rest = from_json(data[start:])
            self.answer(int(data[2:start]), rest[0] if rest else None, str(error) if error else None)
        elif data.startswith(b"40"):
            self.answer("joined")
        elif data.startswith(b"0"):
            self.answer("open")
        elif data == b"2":
            self.send(b"3")
