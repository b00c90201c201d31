"""Our own server, in either encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from bench.record.clients.base import Client, batches, from_json, to_json


class Collab(Client):
    """Client of our server, in either encoding."""

    def __init__(self, form: Literal["json", "msgpack"]) -> None:
        super().__init__()
        self._json = form == "json"

    def _say(self, message: dict[str, Any]) -> None:
        if self._json:
            self.send(to_json(message))
        else:
            self.send(b"\x00" + msgspec.msgpack.encode(message), text=False)

    async def ask(self, type_: str, **members: Any) -> Any:
        """Send a request and return its result. Raises ``RuntimeError`` if it is refused."""
        number = self.number()
        future = self.expect(number)
        self._say({"type": type_, "id": number, **members})
        return await future

    async def greet(self, url: str) -> None:
        """Say hello."""
        welcome = self.expect("welcome")
        self._say({"type": "hello", "protocol": 1})
        await welcome

    async def _open(self, targets: Sequence[dict[str, Any]]) -> None:
        for some in batches(targets):
            wanted = [{"sub": self.number(), "target": target} for target in some]
            answers = await self.ask("subscribe", subscriptions=wanted)
            if refused := [answer for answer in answers if answer.get("error")]:
                raise RuntimeError(str(refused[0]))

    async def subscribe(self, keys: Sequence[str]) -> None:
        """Live queries."""
        await self._open([{"kind": "rows", "collection": "tasks", "query": {"where": {"key": key}}} for key in keys])

    async def follow(self, names: Sequence[str]) -> None:
        """Entity subscriptions, each to one entity."""
        await self._open([{"kind": "entities", "collection": "tasks", "entity": name} for name in names])

    async def create(self, name: str) -> None:
        """As a request."""
        await self.ask("create", collection="tasks", entity=name, data={"key": name, "n": 0})

    async def update(self, name: str, n: int) -> None:
        """As a request."""
        await self.ask("update", collection="tasks", entity=name, changes={"n": n})

    def take(self, data: bytes, *, text: bool) -> None:
        """Answers, and steps of live queries."""
        message = from_json(data) if text else msgspec.msgpack.decode(memoryview(data)[1:])
        kind = message["type"]
        if kind == "reply":
            self.answer(message["id"], message.get("result"))
        elif kind == "diff":
            for step in message["steps"]:
                self.arrived((step.get("set") or step.get("data") or {}).get("n"))
        elif kind == "failure":
            self.answer(message.get("id", "welcome"), error=str(message["error"]))
        elif kind == "welcome":
            self.answer("welcome")
