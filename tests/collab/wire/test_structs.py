"""The structural reader of updates and state vectors."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.wire.structs import (
    ANY,
    MAX_CLIENT,
    MAX_CLOCK,
    STRING,
    TYPE,
    Malformed,
    TooManyParts,
    decode,
    decode_state_vector,
    encode_state_vector,
    read,
)
from tests.fuzz import encode
from tests.fuzz.encode import block, frame, item, string, uint


def text(content: str | bytes, **where: object) -> bytes:
    where = where or {"parent": "t"}
    return item(STRING, string(content), **where)  # type: ignore[arg-type]


def value(encoded: bytes) -> bytes:
    """A frame that holds one plain value."""
    return frame([block(1, 0, [item(ANY, b"\x01" + encoded, parent="a")])])


def one(struct: bytes) -> bytes:
    return frame([block(1, 0, [struct])])


def test_each_kind_of_struct_is_read_with_its_place_and_its_content() -> None:
    structs = [
        text("hé😀"),
        item(ANY, b"\x02\x7e\x77\x01x", origin=(1, 3)),
        item(encode.BINARY, string(b"\xff\x00"), right=(1, 0)),
        item(encode.EMBED, string('{"a":[1]}'), origin=(1, 1), right=(9, 300)),
        item(encode.FORMAT, string("bold") + string("true"), parent=(MAX_CLIENT, 7)),
        item(TYPE, b"\x03" + string("p"), parent="m", key="ключ"),
        item(encode.DELETED, uint(200), parent="t"),
        encode.filler(encode.GC, 5),
        encode.filler(encode.SKIP, 6),
    ]
    update = frame([block(5, 10, structs)], [(1, 0, 2), (1, 4, 1), (2, 9, 3)])
    found, deletes = decode(update)
    assert [struct[:8] for struct in found] == [
        (5, 10, 4, 4, None, None, "t", None),
        (5, 14, 2, 8, (1, 3), None, None, None),
        (5, 16, 1, 3, None, (1, 0), None, None),
        (5, 17, 1, 5, (1, 1), (9, 300), None, None),
        (5, 18, 1, 6, None, None, (MAX_CLIENT, 7), None),
        (5, 19, 1, 7, None, None, "m", "ключ"),
        (5, 20, 200, 1, None, None, "t", None),
        (5, 220, 5, 0, None, None, None, None),
        (5, 225, 6, 10, None, None, None, None),
    ]
    assert [update[struct[8] : struct[9]] for struct in found][:3] == [
        string("hé😀"),
        b"\x02\x7e\x77\x01x",
        string(b"\xff\x00"),
    ]
    assert deletes == [(1, 0, 2), (1, 4, 1), (2, 9, 3)]


def test_characters_that_take_two_elements_are_found() -> None:
    _, _, pairs = read(frame([block(5, 10, [text("a😀é🎉"), text("😀", parent="t")]), block(6, 0, [text("中")])]), 9)
    assert {client: list(clocks) for client, clocks in pairs.items()} == {5: [11, 14, 16]}


@pytest.mark.parametrize(
    "update", [frame([block(1, 0, [text("a")] * 3)], [(1, 0, 1)]), frame([], [(1, n, 1) for n in range(4)])]
)
def test_more_structs_and_deletions_than_wanted_are_refused_before_they_are_read(update: bytes) -> None:
    read(update, 4)
    with pytest.raises(TooManyParts, match="too many"):
        read(update, 3)


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x7f", b"\x7e", b"\x79", b"\x78", b"\x7d\x3f", b"\x7d\xff\x01", b"\x7a" + b"\xff" * 8, b"\x7b" + b"\x7f" * 8,
        b"\x7c" + b"\x00" * 4, b"\x77" + string("é"), b"\x74" + string(b"\xff"), b"\x75\x02\x7e\x7e",
        b"\x76\x01" + string("k") + b"\x75\x00", b"\x75\x01" * 64 + b"\x7e",
        b"\x7d\xbf\xff\xff\xff\xff\xff\xff\x1f",  # 2**53 - 1
    ],
)  # fmt: skip
def test_plain_values_of_every_kind_are_taken_in(encoded: bytes) -> None:
    (struct,), _ = decode(value(encoded))
    assert struct[2] == 1


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"\x75\x01" * 65 + b"\x7e", "nested too deeply"),
        (b"\x76\x01\x00" * 65 + b"\x7e", "nested too deeply"),
        (b"\x7d\xbf\xff\xff\xff\xff\xff\xff\x3f", "above 2\\*\\*53"),
        (b"\x7d" + b"\xff" * 20, "above 2\\*\\*53"),
        (b"\x7d" + b"\x80" * 200_000, "above 2\\*\\*53"),
        (b"\x73", "unknown kind"),
        (b"\x80", "unknown kind"),
        (b"\x7b\x00", "too early"),
        (b"\x74\x05\x00", "too early"),
        (b"\x75\xff\xff\xff\xff\x0f", "more values"),
        (b"\x76\x01" + string("__proto__") + b"\x76\x00", "__proto__"),
        (b"\x77" + string(b"\xed\xa0\xbd"), "not UTF-8"),
        (b"\x77" + string(b"\xc0\x80"), "not UTF-8"),
        (b"\x76\x01" + string(b"\xff") + b"\x7e", "not UTF-8"),
        (b"\x76\x01" + string("k" * 5000) + b"\x7e", "more than 4096 bytes"),
    ],
)
def test_plain_values_that_cannot_be_are_refused(encoded: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        decode(value(encoded))


@pytest.mark.parametrize(
    "json",
    [
        "true",
        "null",
        '""',
        "{}",
        "-1.5e3",
        '"\\u00e9"',
        "[" * 64 + "]" * 64,
        "1" * 19,
        "-9223372036854775808",
        "1e19",
        "[1,2]",
    ],
)
def test_strict_json_in_formats_and_embeds_is_taken_in(json: str) -> None:
    decode(one(item(encode.FORMAT, string("k") + string(json), parent="t")))
    decode(one(item(encode.EMBED, string(json), parent="t")))


@pytest.mark.parametrize(
    "json",
    [
        "", "undefined", "NaN", "-Infinity", "1e999", "{'a':1}", "[1,]", "true false", "\ufeff1", '"\x01"', '"\\ud800"',
        "[" * 65 + "]" * 65, "[" * 100_000, "9223372036854775808", '{"a":[18446744073709551615]}', "1" * 400, b'"\xff"',
    ],
)  # fmt: skip
def test_json_that_one_of_the_libraries_would_refuse_is_refused(json: str | bytes) -> None:
    with pytest.raises(Malformed):
        decode(one(item(encode.FORMAT, string("k") + string(json), parent="t")))
    with pytest.raises(Malformed):
        decode(one(item(encode.EMBED, string(json), parent="t")))


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (b"", "ends"),
        (b"\x00", "ends"),
        (b"\x00\x00\x00", "behind the update"),
        (frame([block(1, 0, [])]), "no structs"),
        (frame([uint(2**40) + uint(1) + uint(0)]), "more than the bytes can hold"),
        (uint(2**40) + b"\x00", "ends"),
        (frame([block(1, 0, [text("a")]), block(1, 1, [text("b")])]), "listed twice"),
        (frame([], [(1, 0, 0)]), "no length"),
        (frame([], [(1, MAX_CLOCK, 1)]), "clock is out of range"),
        (b"\x00\x02\x01\x00\x01\x00", "listed twice"),
        (b"\x00\x01\x01" + uint(2**40), "more deletions"),
        (frame([block(1, MAX_CLOCK, [text("a")])]), "clock is out of range"),
        (frame([block(1, 2**32 - 1, [text("a")])]), "clock is out of range"),
        (frame([block(1, 2**32, [text("😀")])]), "clock is out of range"),
        (frame([block(2**53, 0, [text("a")])]), "above 2\\*\\*53"),
        (frame([block(1, 0, [text("a", origin=(2**60, 0))])]), "above 2\\*\\*53"),
        (one(text("")), "no length"),
        (one(item(ANY, b"\x00", parent="a")), "no length"),
        (one(item(encode.DELETED, b"\x00", parent="a")), "no length"),
        (one(encode.filler(encode.GC, 0)), "no length"),
        (one(encode.filler(encode.SKIP, 0)), "no length"),
        (one(b"\x20\x01"), "filler has flags"),
        (one(b"\x8a\x01\x00\x01"), "filler has flags"),
        (one(item(encode.JSON, b"\x01" + string("1"), parent="a")), "kind that is not taken in"),
        (one(item(encode.DOC, string("guid") + b"\x76\x00", parent="a")), "kind that is not taken in"),
        (one(item(11, b"\x00", parent="a")), "kind that is not taken in"),
        (one(item(20, string("a"), parent="t")), "kind that is not taken in"),
        (one(item(TYPE, b"\x05" + string("hook"), parent="x")), "unknown kind of type"),
        (one(item(TYPE, b"\x07", parent="x")), "unknown kind of type"),
        (one(item(TYPE, b"\x81\x00", parent="x")), "unknown kind of type"),
        (one(text(b"\xff")), "not UTF-8"),
        (one(text(b"\xed\xa0\xbd")), "not UTF-8"),
        (one(text("a", parent="r" * 2000)), "more than 1024 bytes"),
        (one(item(ANY, b"\x01\x7e", parent="m", key="k" * 5000)), "more than 4096 bytes"),
        (one(item(TYPE, b"\x03" + string("p" * 2000), parent="x")), "more than 1024 bytes"),
        (one(b"\x04\x02\x01\x00" + string("a")), "neither a name nor an id"),
        (one(item(ANY, uint(2**40), parent="a")), "more values"),
    ],
)  # fmt: skip
def test_what_no_replica_writes_is_refused_with_its_reason(update: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        decode(update)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_update_or_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        decode(data)
    with contextlib.suppress(Malformed):
        decode_state_vector(data)


@given(st.data())
def test_an_update_with_a_byte_too_few_or_too_many_is_refused(data: st.DataObject) -> None:
    update = frame(
        [block(5, 10, [text("hé😀"), item(ANY, b"\x01\x76\x01\x01k\x7e", parent="m", key="k")])], [(1, 0, 2)]
    )
    with pytest.raises(Malformed):
        decode(update[: data.draw(st.integers(0, len(update) - 1))])
    with pytest.raises(Malformed):
        decode(update + b"\x00")


@given(st.dictionaries(st.integers(0, MAX_CLIENT), st.integers(1, MAX_CLOCK)))
def test_a_state_vector_that_is_written_is_read(state: dict[int, int]) -> None:
    assert decode_state_vector(encode_state_vector(state)) == state


def test_clients_of_whom_nothing_is_known_are_left_out_of_a_state_vector() -> None:
    assert encode_state_vector({1: 0, 2: 3}) == b"\x01\x02\x03"


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x01\x02", b"\x00\x00", b"\x02\x01\x01\x01\x01", b"\x01\x01" + uint(2**31), uint(2**40)]
)
def test_malformed_state_vectors_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_state_vector(data)
