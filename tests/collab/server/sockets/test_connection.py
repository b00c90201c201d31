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
from collab.server.sockets.send_turns import SendTurns
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
    ledger = Ledger(user=UNLIMITED, address=UNLIMITED, project=UNLIMITED)
    more.setdefault("meter", Meter(ledger, Payer(None, "address", "a")))
    return Connection(
        {"path": "/rooms/d"},
        receive,
        send,
        metrics=Metrics(),
        send_turns=SendTurns(),
        send_cost=SendCost(),
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


async def test_who_asks_for_large_answers_pays_for_their_sending() -> None:
    ledger = Ledger(user=UNLIMITED, address=UNLIMITED, project=UNLIMITED)
    gone, done = asyncio.Event(), asyncio.Event()

    class Large(Answers):
        def __init__(self) -> None:
            self.frames = [*[b"small"] * 1000, *[bytes(5_000_000)] * 2]

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "websocket.disconnect"}

    sent: list[int] = []

    async def send(event: Any) -> None:
        sent.append(len(event["bytes"]))
        if sent.count(5_000_000) == 2:
            done.set()

    connection = made(receive, send, meter=Meter(ledger, Payer(None, "address", "a")))
    running = asyncio.create_task(connection.run(Large()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    connection.wake()
    async with asyncio.timeout(40):
        await done.wait()
    gone.set()
    await running
    assert sum(ledger.used.values()) == pytest.approx(10_000_000 * connections._SECONDS_PER_BYTE)


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
