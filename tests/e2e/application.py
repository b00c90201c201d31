"""An application client on a server of its own process, and what its tests look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from collab.client import Event, LumenizeClient
from tests.e2e.server import Server

RECORD = {"id", "createdAt", "updatedAt"}
QUICK = {"initial_delay": 20, "max_delay": 200}


@asynccontextmanager
async def application(
    server: Server, token: str | None = None, user: str | None = None
) -> AsyncIterator[LumenizeClient]:
    """A client that is connected; with a token, or where nobody is asked for one as some user."""
    async with LumenizeClient(url=server.http, token=token, user_id=user, websocket=QUICK) as client:
        yield client


def fields(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entity, without what is the record's."""
    return {name: value for name, value in data.items() if name not in RECORD}


class Followed:
    """Events of a subscription, as they came."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __len__(self) -> int:
        return len(self.events)

    async def count(self, count: int) -> list[Event]:
        """Wait for so many in all."""
        await until(lambda: len(self.events) >= count, lambda: self.events)
        return self.events

    async def last(self, wanted: Callable[[Event], object]) -> Event:
        """Wait until the newest is as wanted."""
        await until(lambda: self.events and wanted(self.events[-1]), lambda: self.events[-3:])
        return self.events[-1]


async def follow(client: LumenizeClient, collection: str, target: str = "*", **how: Any) -> Followed:
    """Subscribe to entity events; returns when the subscription is in force."""
    followed = Followed()
    await client.collection(collection).subscribe(target, followed.events.append, **how).ready()
    return followed


async def until(
    condition: Callable[[], object], describe: Callable[[], object] = lambda: "", seconds: float = 15
) -> None:
    """Wait for a condition."""
    with anyio.move_on_after(seconds) as waiting:
        while not condition():
            await anyio.sleep(0.01)
    if waiting.cancelled_caught:
        raise TimeoutError(f"waited {seconds} s in vain: {describe()}")


async def until_found(find: Callable[[], Awaitable[Any]], wanted: Callable[[Any], object], seconds: float = 15) -> Any:
    """Ask again until the answer is as wanted."""
    found: Any = None
    with anyio.move_on_after(seconds):
        while not wanted(found := await find()):
            await anyio.sleep(0.02)
        return found
    raise TimeoutError(f"waited {seconds} s in vain: {found}")
