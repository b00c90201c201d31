"""The socket below all protocols: what it leaves to others while it sends."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from collab.access.price import Ledger, Meter, Payer, Share
from collab.errors import CollabError
from collab.metrics import Metrics
from collab.rooms.live.pacing import SendCost
from collab.server.sockets import connection as connections
from collab.server.sockets.connection import Connection, Receive, Send
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


def made(receive: Receive, send: Send, **more: Any) -> Connection:
    return Connection(
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
        **more,
    )


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

    connection = made(receive, send)
    running = asyncio.create_task(connection.run(Answers(100)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    connection.wake()
    waiting = asyncio.create_task(other())
    async with asyncio.timeout(40):
        await done.wait()
    assert turns > 50
    gone.set()
    await asyncio.gather(running, waiting)


async def test_who_is_not_read_hears_that_the_server_lives() -> None:
    """A node that passes its client on would think that we are dead."""
    beats = 0
    gone = asyncio.Event()

    class Quiet(Answers):
        def beat(self, now: float, wall: float) -> None: ...

        def keep_alive(self) -> None:
            nonlocal beats
            beats += 1

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "websocket.disconnect"}

    async def send(event: Any) -> None: ...

    connection = made(receive, send, held_heartbeat_seconds=2.0)
    running = asyncio.create_task(connection.run(Quiet(0)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    later = monotonic() + 3
    connection.beat(later, 0.0)
    assert beats == 0
    connection.hold()
    connection.beat(later, 0.0)
    assert beats == 1
    connection.release()
    gone.set()
    await running
