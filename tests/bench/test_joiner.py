import asyncio
import struct
from typing import Any

import pytest
from pycrdt import Doc

from bench.framing import Framing
from bench.joiner import PONG, Joiner, frame
from bench.scenarios.storm import Visitor
from bench.yjs import insert, string, update

STATE = bytes(range(256)) * 300
STEP2 = b"\x00\x01" + string(STATE)


def server_frame(payload: bytes, opcode: int, final: bool) -> bytes:
    head = (0x80 if final else 0) | opcode
    if len(payload) < 126:
        return struct.pack("!BB", head, len(payload)) + payload
    if len(payload) < 1 << 16:
        return struct.pack("!BBH", head, 126, len(payload)) + payload
    return struct.pack("!BBQ", head, 127, len(payload)) + payload


class Transport(asyncio.Transport):
    def __init__(self, sent: list[bytes]) -> None:
        super().__init__()
        self._sent = sent

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self._sent.append(data)


def receive(joiner: Joiner, data: bytes) -> None:
    joiner.get_buffer(-1)[: len(data)] = data
    joiner.buffer_updated(len(data))


@pytest.mark.parametrize("piece", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("fragment", [1 << 20, 1000])
async def test_the_state_is_found_however_it_is_cut(piece: int, fragment: int) -> None:
    scratch = memoryview(bytearray(1 << 20))
    joiner = Joiner(Framing("r"), "/r", scratch, keep=True)
    hint = server_frame(b"\x01\x01\x00", 2, final=True)
    parts = [STEP2[i : i + fragment] for i in range(0, len(STEP2), fragment)]
    frames = [server_frame(part, 0 if i else 2, final=i == len(parts) - 1) for i, part in enumerate(parts)]
    sent: list[bytes] = []

    joiner.connection_made(Transport(sent))
    stream = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + hint + b"".join(frames)
    for at in range(0, len(stream), piece):
        receive(joiner, stream[at : at + piece])
    assert joiner.done.done()
    assert joiner.state == STATE
    assert joiner.size == len(STEP2)
    assert len(sent) == 2  # the upgrade, and the first message


async def test_a_visitor_brings_what_the_server_lost() -> None:
    doc: Doc[Any] = Doc()
    doc.apply_update(update((7, 0), insert(b"hello", None, None)))
    sent: list[bytes] = []
    visitor = Visitor(Framing("r"), "/r", memoryview(bytearray(1 << 20)), doc, client=9)
    visitor.connection_made(Transport(sent))
    receive(visitor, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    receive(visitor, server_frame(b"\x00\x00" + string(b"\x00"), 2, final=True))  # asks for everything
    receive(visitor, server_frame(b"\x00\x01" + string(b"\x00\x00"), 2, final=True))
    receive(visitor, server_frame(b"are you there", 9, final=True))
    assert visitor.done.done()
    assert frame(b"\x00\x00" + string(doc.get_state())) in sent[1]
    assert sent[2] == frame(b"\x00\x01" + string(doc.get_update(b"\0")))
    assert sent[3] == frame(b"are you there", PONG)
