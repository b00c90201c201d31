import asyncio
import struct

import pytest

from bench.framing import Framing
from bench.joiner import Joiner
from bench.yjs import string

STATE = bytes(range(256)) * 300
STEP2 = b"\x00\x01" + string(STATE)


def server_frame(payload: bytes, opcode: int, final: bool) -> bytes:
    head = (0x80 if final else 0) | opcode
    if len(payload) < 126:
        return struct.pack("!BB", head, len(payload)) + payload
    if len(payload) < 1 << 16:
        return struct.pack("!BBH", head, 126, len(payload)) + payload
    return struct.pack("!BBQ", head, 127, len(payload)) + payload


@pytest.mark.parametrize("piece", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("fragment", [1 << 20, 1000])
async def test_the_state_is_found_however_it_is_cut(piece: int, fragment: int) -> None:
    scratch = memoryview(bytearray(1 << 20))
    joiner = Joiner(Framing("r"), "/r", scratch, keep=True)
    hint = server_frame(b"\x01\x01\x00", 2, final=True)
    parts = [STEP2[i : i + fragment] for i in range(0, len(STEP2), fragment)]
    frames = [server_frame(part, 0 if i else 2, final=i == len(parts) - 1) for i, part in enumerate(parts)]
    sent: list[bytes] = []

    class Transport(asyncio.Transport):
        def write(self, data: object) -> None:
            assert isinstance(data, bytes)
            sent.append(data)

    joiner.connection_made(Transport())
    stream = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + hint + b"".join(frames)
    for at in range(0, len(stream), piece):
        chunk = stream[at : at + piece]
        joiner.get_buffer(-1)[: len(chunk)] = chunk
        joiner.buffer_updated(len(chunk))
    assert joiner.done.done()
    assert joiner.state == STATE
    assert joiner.size == len(STEP2)
    assert len(sent) == 2  # the upgrade, and the first message
