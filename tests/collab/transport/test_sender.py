from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest

from collab.transport import frames
from collab.transport.sender import MessageSender

LARGE = bytes(2 * frames.FRAGMENT)


class Written(asyncio.Transport):
    """Remembers what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self.aborted = False
        self.full: Callable[[], None] = lambda: None  # called after each fragment

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.frames.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.frames.append(b"".join(list_of_data))
        self.full()

    def abort(self) -> None:
        self.aborted = True


def opened(window_bits: int | None = None) -> tuple[MessageSender, Written]:
    written = Written()
    sender = MessageSender(written)
    sender.open(window_bits)
    return sender, written


async def begun(sender: MessageSender, message: bytes = LARGE) -> asyncio.Task[bool]:
    """A call of ``send`` that waits for the peer."""
    sending = asyncio.create_task(sender.send(frames.BINARY, message))
    await asyncio.sleep(0)
    return sending


def test_a_short_message_leaves_at_once_as_one_frame() -> None:
    sender, written = opened()
    assert sender.send_now(b"bytes")
    assert sender.send_now("text")
    assert written.frames == [frames.binary(b"bytes"), frames.text(b"text")]


async def test_a_message_that_must_wait_is_not_sent_at_once() -> None:
    for sender, written in (opened(), opened(window_bits=15)):
        assert not sender.send_now(LARGE)
        sender.block()
        assert not sender.send_now(b"a")
        sender.unblock()
        sender.close()
        assert not sender.send_now(b"a")
        assert written.frames == []


async def test_a_large_message_leaves_in_fragments_while_the_peer_reads() -> None:
    sender, written = opened()
    sender.block()
    sending = await begun(sender)
    assert written.frames == []
    sender.unblock()
    assert await sending
    first = frames.header(frames.BINARY, frames.FRAGMENT) + LARGE[: frames.FRAGMENT]
    last = frames.header(frames.FIN, frames.FRAGMENT) + LARGE[frames.FRAGMENT :]
    assert written.frames == [first, last]


async def test_messages_never_interleave() -> None:
    sender, written = opened()
    sender.block()
    sending = [await begun(sender), await begun(sender, b"second")]
    assert not sender.send_now(b"third")
    sender.unblock()
    assert await asyncio.gather(*sending) == [True, True]
    assert [frame[0] & 0x0F for frame in written.frames] == [frames.BINARY, 0, frames.BINARY]


async def test_only_the_first_fragment_says_that_a_message_is_compressed() -> None:
    sender, written = opened(window_bits=15)
    assert await sender.send(frames.BINARY, LARGE)
    assert written.frames[0][0] & frames.RSV1
    assert not any(frame[0] & frames.RSV1 for frame in written.frames[1:])


async def test_closing_ends_a_call_that_waits_for_the_peer() -> None:
    sender, _ = opened()
    sender.block()
    sending = await begun(sender)
    sender.close()
    assert not await sending


@pytest.mark.parametrize(("fragments", "aborted"), [(0, False), (1, True)])
async def test_a_cancelled_call_drops_the_connection_only_within_a_message(fragments: int, aborted: bool) -> None:
    sender, written = opened()
    written.full = sender.block
    if not fragments:
        sender.block()
    sending = await begun(sender)
    assert len(written.frames) == fragments
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert written.aborted is aborted
