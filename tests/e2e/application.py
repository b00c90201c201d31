"""An application client of a server in its own process, with helpers for its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from collab.client import Event, LumenizeClient
from collab.errors import NotFound
from tests.e2e.server import Server

RECORD = {"id", "createdAt", "updatedAt"}
QUICK = {"initial_delay": 20, "max_delay": 200}


@asynccontextmanager
async def application(
    server: Server, token: str | None = None, user: str | None = None
) -> AsyncIterator[LumenizeClient]:
    """A connected client, with a token, or as a named user of an open server."""
    async with LumenizeClient(url=server.http, token=token, user_id=user, websocket=QUICK) as client:
        yield client


def fields(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entity, without metadata."""
    return {name: value for name, value in data.items() if name not in RECORD}


class Followed:
    """Events of a subscription, in order of arrival."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __len__(self) -> int:
        return len(self.events)

    async def count(self, count: int) -> list[Event]:
        """Wait for ``count`` events in total."""
        await until(lambda: len(self.events) >= count, lambda: self.events)
        return self.events

    async def last(self, wanted: Callable[[Event], object]) -> Event:
        """Wait until the newest is as wanted."""
        await until(lambda: self.events and wanted(self.events[-1]), lambda: self.events[-3:])
        return self.events[-1]


async def follow(client: LumenizeClient, collection: str, target: str = "*", **how: Any) -> Followed:
    """Subscribe to entity events; returns when the subscription is active."""
    followed = Followed()
    await client.collection(collection).subscribe(target, followed.events.append, **how).ready()
    return followed


async def until(
    condition: Callable[[], object], describe: Callable[[], object] = lambda: "", seconds: float = 40
) -> None:
    """Wait for a condition."""
    with anyio.move_on_after(seconds) as waiting:
        while not condition():
            await anyio.sleep(0.01)
    if waiting.cancelled_caught:
        raise TimeoutError(f"waited {seconds} s in vain: {describe()}")


async def until_found(find: Callable[[], Awaitable[Any]], wanted: Callable[[Any], object], seconds: float = 40) -> Any:
    """Repeat a request until the answer is as wanted. An entity of an edit that others see already may come later."""
    found: Any = None
    with anyio.move_on_after(seconds):
        while True:
            try:
                if wanted(found := await find()):
                    return found
            except NotFound as error:
                found = error
            await anyio.sleep(0.02)
    raise TimeoutError(f"waited {seconds} s in vain: {found}")
