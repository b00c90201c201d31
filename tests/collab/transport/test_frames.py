import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.transport import frames
from collab.transport.deflate import Inflater, deflate, negotiate
from collab.transport.frames import Close, FrameError, FrameReader, Incoming, Oversized, Ping, Pong
from tests.collab.transport.raw import BINARY, CLOSE, PING, PONG, TEXT, encode, head


def read(*chunks: bytes, limit: int = 1000, inflate: bool = False, skips: bool = False) -> list[Incoming]:
    reader = FrameReader(limit, Inflater() if inflate else None)
    reader.skips = skips
    found = []
    for chunk in chunks:
        reader.feed(chunk)
        while (message := reader.next()) is not None:
            found.append(message)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


PIECES = st.lists(st.binary(max_size=300), min_size=1, max_size=4)


@given(messages=st.lists(PIECES, max_size=5), places=st.lists(st.integers(0, 10_000), max_size=8))
def test_messages_arrive_whole_however_they_are_fragmented_and_however_the_bytes_come(
    messages: list[list[bytes]], places: list[int]
) -> None:
    wire = b""
    expected: list[Incoming] = []
    for pieces in messages:
        for number, piece in enumerate(pieces):
            wire += encode(BINARY if number == 0 else 0, piece, final=number == len(pieces) - 1)
            if number < len(pieces) - 1:
                wire += encode(PING, b"between")
                expected.append(Ping(b"between"))
        expected.append(b"".join(pieces))
    assert read(*cut(wire, places), limit=1200) == expected


@given(pieces=PIECES, places=st.lists(st.integers(0, 10_000), max_size=8))
def test_compressed_messages_inflate_however_they_are_cut(pieces: list[bytes], places: list[int]) -> None:
    message = b"".join(pieces)
    deflated = b"".join(deflate(memoryview(message), 15))
    parts = cut(deflated, [len(piece) for piece in pieces]) or [b""]
    wire = b"".join(
        encode(0 if number else BINARY, part, final=number == len(parts) - 1, rsv1=number == 0)
        for number, part in enumerate(parts)
    )
    assert read(*cut(wire, places), limit=1200, inflate=True) == [message]


@given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4))
def test_masking_twice_changes_nothing(data: bytes, mask: bytes) -> None:
    masked = frames.unmask(data, mask)
    assert masked == bytes(b ^ mask[i % 4] for i, b in enumerate(data))
    assert frames.unmask(masked, mask) == data


def test_text_is_utf8_also_when_a_character_is_split_between_fragments() -> None:
    data = "Füße 👣".encode()
    assert read(encode(TEXT, data)) == ["Füße 👣"]
    assert read(encode(TEXT, data[:2], final=False) + encode(0, data[2:])) == ["Füße 👣"]


def test_a_message_may_be_exactly_as_large_as_allowed() -> None:
    assert read(encode(BINARY, bytes(1000))) == [bytes(1000)]
    assert read(encode(BINARY, bytes(600), final=False) + encode(0, bytes(400))) == [bytes(1000)]


BROKEN = {
    "not masked": (b"\x82\x04abcd....", 1002),
    "unknown opcode": (encode(0x3, b""), 1002),
    "unknown control opcode": (encode(0xB, b""), 1002),
    "control frame too long": (head(0x80 | PING, 126) + bytes(130), 1002),
    "control frame in fragments": (encode(PING, b"", final=False), 1002),
    "control frame compressed": (encode(PING, b"", rsv1=True), 1002),
    "continuation of nothing": (encode(0, b""), 1002),
    "message inside a message": (encode(BINARY, b"a", final=False) + encode(BINARY, b"b"), 1002),
    "compressed without agreement": (encode(BINARY, b"a", rsv1=True), 1002),
    "reserved bits": (encode(BINARY | 0x20, b"a"), 1002),
    "length in the wrong form": (b"\x82\xfe\x00\x05....hello", 1002),
    "length in the wrong long form": (b"\x82\xff" + (65535).to_bytes(8) + b"....", 1002),
    "length beyond 63 bits": (b"\x82\xff" + (1 << 63).to_bytes(8) + b"....", 1002),
    "text that is not UTF-8": (encode(TEXT, b"\xff"), 1007),
    "text with a surrogate": (encode(TEXT, b"\xed\xa0\x80"), 1007),
    "close of one byte": (encode(CLOSE, b"\x03"), 1002),
    "close with a reserved code": (encode(CLOSE, (1006).to_bytes(2)), 1002),
    "close with a reason that is not UTF-8": (encode(CLOSE, (1000).to_bytes(2) + b"\xff"), 1007),
    "too large": (encode(BINARY, bytes(1001)), 1009),
    "too large, by announcement": (head(0x80 | BINARY, 1001) + b"....", 1009),
    "too large in sum": (encode(BINARY, bytes(999), final=False) + head(0x80, 2) + b"....", 1009),
}


@pytest.mark.parametrize(("wire", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_peer_that_violates_the_protocol_gets_the_matching_close_code(wire: bytes, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        read(wire)
    assert caught.value.code == code


def test_a_compressed_bomb_is_refused_by_what_it_would_become() -> None:
    bomb = b"".join(deflate(memoryview(bytes(10_000_000)), 15))
    with pytest.raises(FrameError) as caught:
        read(encode(BINARY, bomb, rsv1=True), limit=100_000, inflate=True)
    assert caught.value.code == 1009


def test_a_decompression_bomb_of_many_fragments_is_refused_too() -> None:
    bomb = b"".join(deflate(memoryview(bytes(10_000_000)), 15))
    parts = [bomb[i : i + 100] for i in range(0, len(bomb), 100)]
    wire = [encode(0 if number else BINARY, part, final=False, rsv1=not number) for number, part in enumerate(parts)]
    with pytest.raises(FrameError) as caught:
        read(*wire[:10], limit=100_000, inflate=True)
    assert caught.value.code == 1009


def test_invalid_deflate_data_is_an_invalid_payload() -> None:
    with pytest.raises(FrameError) as caught:
        read(encode(BINARY, b"\xff\xff\xff", rsv1=True), inflate=True)
    assert caught.value.code == 1007


def test_a_stream_that_ends_early_is_read_up_to_there() -> None:
    stream = zlib.compressobj(wbits=-15)
    data = stream.compress(b"hello") + stream.flush()
    assert read(encode(BINARY, data + b"\x00", rsv1=True), inflate=True) == [b"hello"]


def test_control_frames_are_read() -> None:
    assert read(encode(PING, b"a") + encode(PONG, b"b") + encode(CLOSE)) == [
        Ping(b"a"),
        Pong(b"b"),
        Close(1005, ""),
    ]
    assert read(encode(CLOSE, (4001).to_bytes(2) + "für".encode())) == [Close(4001, "für")]


def test_a_close_frame_holds_as_much_of_the_reason_as_fits() -> None:
    frame = frames.close(1000, "ß" * 100)
    assert frame[1] <= 125
    assert frame[4:].decode() == "ß" * 61
    assert frames.close(1006, "never sent") == b"\x88\x00"


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
def test_lengths_take_their_shortest_form(length: int) -> None:
    frame = frames.binary(bytes(length))
    assert len(frame) - length == (2 if length < 126 else 4 if length < 65536 else 10)


def test_the_first_offer_that_can_be_met_is_accepted_without_context() -> None:
    agreement = negotiate([b"x-other, permessage-deflate; server_max_window_bits=8", b"permessage-deflate"])
    assert agreement is not None
    assert agreement.window_bits == 15
    assert agreement.response == (b"permessage-deflate; server_no_context_takeover; client_no_context_takeover")
    agreement = negotiate([b"permessage-deflate; server_max_window_bits=10; client_max_window_bits"])
    assert agreement is not None
    assert agreement.window_bits == 10
    assert b"server_max_window_bits=10" in agreement.response
    for parameter in (b"unknown", b"client_max_window_bits=99", b"server_no_context_takeover=1"):
        assert negotiate([b"permessage-deflate; " + parameter]) is None
    assert negotiate([b"", b"x-other"]) is None


def test_a_small_window_is_kept_to() -> None:
    data = bytes(range(256)) * 40
    small = b"".join(deflate(memoryview(data), 9))
    assert zlib.decompressobj(-9).decompress(small) == data


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.integers(0, 200))
def test_an_untrusted_client_is_read_up_to_a_limit_and_further_once_trusted(
    messages: list[bytes], allowance: int
) -> None:
    reader = FrameReader(1000, allowance=allowance)
    reader.feed(b"".join(encode(BINARY, message) for message in messages))
    early: list[Incoming] = []
    while (message := reader.next()) is not None:
        early.append(message)
    assert sum(len(message) for message in early if isinstance(message, bytes)) <= allowance
    assert reader.waits == (len(early) < len(messages))
    reader.trust()
    rest: list[Incoming] = []
    while (message := reader.next()) is not None:
        rest.append(message)
    assert early + rest == messages


@given(
    before=PIECES,
    beyond=st.integers(1, 4000),
    cuts=st.lists(st.integers(0, 6000), max_size=4),
    places=st.lists(st.integers(0, 10_000), max_size=8),
    compressed=st.booleans(),
)
def test_a_message_over_the_limit_is_reported_with_its_first_bytes_and_skipped(
    before: list[bytes], beyond: int, cuts: list[int], places: list[int], compressed: bool
) -> None:
    begin = b"about whom" + b"".join(before)
    message = begin + bytes(1200 + beyond - len(begin))
    sent = b"".join(deflate(memoryview(message), 15)) if compressed else message
    parts = cut(sent, cuts)
    wire = encode(BINARY, b"before") + b"".join(
        encode(0 if number else BINARY, part, final=number == len(parts) - 1, rsv1=compressed and not number)
        for number, part in enumerate(parts)
    )
    found = read(*cut(wire + encode(BINARY, b"behind"), places), limit=1200, inflate=True, skips=True)
    assert [found[0], *found[2:]] == [b"before", b"behind"]
    (oversized,) = found[1:2]
    assert isinstance(oversized, Oversized)
    assert message.startswith(oversized.head)
    assert oversized.head.startswith(b"about whom")
    assert 1200 < len(oversized.head) <= 2048
    assert not oversized.text


def test_a_message_over_the_limit_is_reported_before_its_last_byte() -> None:
    reader = FrameReader(1000)
    reader.skips = True
    reader.feed(head(0x80 | TEXT, 15_000) + bytes(4) + b"x" * 2048)
    assert reader.next() == Oversized(b"x" * 2048, 15_000, True)
    assert reader.next() is None
    reader.feed(b"x" * (15_000 - 2048) + encode(BINARY, b"next"))
    assert reader.next() == b"next"


def test_a_message_far_beyond_the_limit_ends_the_connection() -> None:
    for length in (16_001, 2**62):
        reader = FrameReader(1000)
        reader.skips = True
        reader.feed(head(0x80 | BINARY, length) + bytes(4))
        with pytest.raises(FrameError) as refused:
            reader.next()
        assert refused.value.code == 4413


def test_a_message_over_the_limit_waits_until_its_client_is_trusted() -> None:
    reader = FrameReader(1000, allowance=10)
    reader.skips = True
    reader.feed(head(0x80 | BINARY, 3000) + bytes(4) + bytes(3000))
    assert reader.next() is None
    assert reader.waits
    reader.trust()
    assert reader.next() == Oversized(bytes(2048), 3000, False)


def test_control_frames_and_limits_are_as_always_before_a_client_is_trusted() -> None:
    reader = FrameReader(1000, allowance=10)
    reader.feed(encode(PING, b"x" * 50) + encode(CLOSE))
    assert reader.next() == Ping(b"x" * 50)
    assert isinstance(reader.next(), Close)
    with pytest.raises(FrameError) as refused:
        reader.feed(head(0x80 | BINARY, 1001) + bytes(4))
        reader.next()
    assert refused.value.code == 1009
