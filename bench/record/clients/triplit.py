"""Triplit's sync protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.record.clients.base import Client, from_json, to_json

META = {"values": {"tasks.sets": ["map"], "tasks.deletes": ["set"]}}


class Triplit(Client):
    """A client without a schema."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = self.expect("ready")
        self._sent: list[int] = []

    async def greet(self, url: str) -> None:
        """Wait until it is ready."""
        await self._ready

    async def subscribe(self, keys: Sequence[str]) -> None:
        """Open live queries one after the other: the server recomputes concurrently opened ones for each other."""
        for key in keys:
            name = str(self.number())
            first = self.expect(("query", name))
            params = {"collectionName": "tasks", "where": [["key", "=", key]]}
            self.send(to_json({"type": "CONNECT_QUERY", "payload": {"id": name, "params": params}}))
            await first

    async def _change(self, name: str, values: dict[str, Any]) -> None:
        number = self.number()
        future = self.expect(("change", number))
        self._sent.append(number)
        changes = {"json": {"tasks": {"sets": [[name, values]], "deletes": []}}, "meta": META}
        self.send(to_json({"type": "CHANGES", "payload": {"changes": changes}}))
        await future

    async def create(self, name: str) -> None:
        """A set of all members."""
        await self._change(name, {"id": name, "key": name, "n": 0})

    async def update(self, name: str, n: int) -> None:
        """A set of one."""
        await self._change(name, {"n": n})

    def take(self, data: bytes, *, text: bool) -> None:
        """Process a message. Acknowledgements arrive in the order of the changes."""
        message = from_json(data)
        kind, payload = message["type"], message.get("payload", {})
        if kind == "ENTITY_DATA":
            for name in payload["forQueries"]:
                self.answer(("query", name))
            for _, values in payload["changes"]["json"].get("tasks", {}).get("sets", ()):
                self.arrived(values.get("n"))
        elif kind == "CHANGES_ACK":
            self.answer(("change", self._sent.pop(0)))
        elif kind == "READY":
            self.answer("ready")
        elif kind == "ERROR":
            for what in list(self._waiting):
                self.answer(what, error=str(payload))
