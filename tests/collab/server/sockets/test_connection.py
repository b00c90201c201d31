"""The socket below all protocols: what it leaves to others while it sends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from collab.access.price import Ledger, Meter, Payer, Share
from collab.errors import CollabError
from collab.metrics import Metrics
from collab.rooms.live.pacing import SendCost
from collab.server.sockets import connection as connections
from collab.server.sockets.connection import Connection
from collab.wire.realtime.encoding import Frame

UNLIMITED = Share(0.0)


class Answers:
    """A protocol that has so many messages for its client."""

    def __init__(self, count: int) -> None:
        self.frames: list[Frame] = [b"answer"] * count

    def drain(self) -> list[Frame]:
        frames, self.frames = self.frames, []
        return frames

    def left(self, now: float) -> None: ...

    def farewell(self, error: CollabError) -> Frame | None:
        return None


async def test_a_reader_that_takes_everything_at_once_does_not_keep_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "_STRETCH", 0.0)
    turns, sent = 0, 0
    done, gone = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "websocket.disconnect"}

    async def send(event: Any) -> None:
        nonlocal sent
        sent += 1  # the peer's buffer has room, so nothing is waited for
        if sent == 100:
            done.set()

    async def other() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    connection = Connection(
        {"path": "/rooms/d"},
        receive,
        send,
        metrics=Metrics(),
        send_cost=SendCost(),
        meter=Meter(Ledger(user=UNLIMITED, address=UNLIMITED, project=UNLIMITED), Payer(None, "address", "a")),
        bucket=None,
        max_message_bytes=1000,
        heartbeat_seconds=60,
        stall_seconds=60,
    )
    running = asyncio.create_task(connection.run(Answers(100)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    connection.wake()
    waiting = asyncio.create_task(other())
    async with asyncio.timeout(40):
        await done.wait()
    assert turns > 50
    gone.set()
    await asyncio.gather(running, waiting)
