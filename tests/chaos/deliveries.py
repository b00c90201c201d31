"""Webhooks of a server that is killed: a receiver that sometimes refuses, and an audit of its deliveries."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.collab.consumers.receiver import ERROR, OK, Delivery, Receiver

Name = tuple[str, str, int]  # collection, id, version

_REFUSED = 150  # one in this many is refused


class Deliveries:
    """Accepted deliveries, in order, each with its message id."""

    def __init__(self) -> None:
        self.taken: list[tuple[Name, str]] = []
        self._receiver = Receiver(answer=self._answer)
        self._came = 0

    @property
    def setting(self) -> str:
        """The webhook's configuration for a server."""
        secret = "whsec_" + b64encode(bytes(32)).decode()
        return json.dumps([{"name": "chaos", "url": self._receiver.url, "secret": secret}])

    def _answer(self, delivery: Delivery) -> bytes:
        self._came += 1
        if self._came % _REFUSED == 0:
            return ERROR
        event = delivery.event
        self.taken.append(((event["collection"], event["id"], event["version"]), delivery.headers["webhook-id"]))
        return OK

    def has(self, events: Iterable[Name]) -> bool:
        """Whether all of these were delivered."""
        return {name for name, _ in self.taken} >= set(events)

    def audit(self, events: Iterable[Name]) -> list[str]:
        """Return complaints; ``events`` are all events of the record."""
        complaints = []
        names = [name for name, _ in self.taken]
        missing, invented = set(events) - set(names), set(names) - set(events)
        if missing or invented:
            complaints.append(f"webhooks: {len(missing)} events were never sent, {len(invented)} never happened")
        ids: dict[str, Name] = {}
        newest: dict[tuple[str, str], int] = {}
        for name, message in self.taken:
            if ids.setdefault(message, name) != name:
                complaints.append(f"webhooks: {name} and {ids[message]} have the same id")
            *entity, version = name
            before = newest.get((name[0], name[1]), 0)
            if version > before + 1:
                complaints.append(f"webhooks: {entity}: version {version} came after {before}")
            newest[name[0], name[1]] = max(before, version)
        if len(ids) != len(set(ids.values())):
            complaints.append("webhooks: an event was sent under several ids")
        return complaints


@asynccontextmanager
async def deliveries() -> AsyncIterator[Deliveries]:
    """A listening receiver."""
    made = Deliveries()
    await made._receiver.start()
    try:
        yield made
    finally:
        await made._receiver.stop()
