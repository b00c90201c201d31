"""deepstream's protocol in JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bench.record.clients.base import Client, batches, from_json, to_json


class Deepstream(Client):
    """deepstream has no queries: for a key this subscribes to the record of that name."""

    CONNECTION, AUTH, RECORD = 2, 3, 5
    CHALLENGE, ACCEPT, PING, PONG = 5, 4, 2, 3
    REQUEST, SUCCESSFUL = 2, 3
    WRITTEN, CREATE_AND_UPDATE, PATCH, SUBSCRIBE = 14, 16, 19, 23

    async def greet(self, url: str) -> None:
        """Challenge and log in."""
        accepted = self.expect("accepted")
        challenge = {"url": url, "sdkVersion": "7.0.0", "sdkType": "bench", "protocolVersion": "0.1a"}
        self.send(to_json({"topic": self.CONNECTION, "action": self.CHALLENGE, **challenge}))
        await accepted
        known = self.expect("known")
        self.send(to_json({"topic": self.AUTH, "action": self.REQUEST, "data": "{}"}))
        await known

    async def subscribe(self, keys: Sequence[str]) -> None:
        """To records, by name."""
        for some in batches(keys):
            names = [f"task/{key}" for key in some]
            asked = {"names": names, "correlationId": str(self.number())}
            answers = [self.expect(("read", name)) for name in names]
            self.send(to_json({"topic": self.RECORD, "action": self.SUBSCRIBE, **asked}))
            await asyncio.gather(*answers)

    async def _write(self, action: int, name: str, **members: Any) -> None:
        number = str(self.number())
        future = self.expect(number)
        message = {"topic": self.RECORD, "action": action, "name": f"task/{name}", "isWriteAck": True, **members}
        self.send(to_json({**message, "correlationId": number, "version": -1}))
        await future

    async def create(self, name: str) -> None:
        """A whole record."""
        await self._write(self.CREATE_AND_UPDATE, name, data=to_json({"key": name, "n": 0}).decode())

    async def update(self, name: str, n: int) -> None:
        """One member of it."""
        await self._write(self.PATCH, name, path="n", data=str(n))

    def take(self, data: bytes, *, text: bool) -> None:
        """Answers and updates."""
        message = from_json(data)
        topic, action = message["topic"], message["action"]
        if topic == self.RECORD:
            if action == self.WRITTEN:
                for number in message.get("correlationIds") or [message["correlationId"]]:
                    self.answer(number)
            elif action == self.PATCH:
                self.arrived(message["parsedData"] if "parsedData" in message else int(message["data"]))
            elif "name" in message:
                self.answer(("read", message["name"]), error=str(message) if action >= 100 else None)
        elif topic == self.CONNECTION and action == self.ACCEPT:
            self.answer("accepted")
        elif topic == self.CONNECTION and action == self.PING:
            self.send(to_json({"topic": self.CONNECTION, "action": self.PONG}))
        elif topic == self.AUTH and action == self.SUCCESSFUL:
            self.answer("known")
