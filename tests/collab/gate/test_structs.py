"""The structural reader of updates and state vectors."""

from __future__ import annotations

import contextlib

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.gate.any_values import read_any
from collab.gate.limits import MAX_CLIENT, MAX_CLOCK, MAX_VALUE_DEPTH
from collab.gate.struct_content import ANY, STRING, TYPE, Malformed
from collab.gate.structs import TooManyParts, check_state_vector, decode, decode_state_vector, encode_state_vector, read
from tests.fuzz import encode
from tests.fuzz.encode import block, frame, item, string, uint


def text(content: str | bytes, **where: object) -> bytes:
    where = where or {"parent": "t"}
    return item(STRING, string(content), **where)  # type: ignore[arg-type]


def value(encoded: bytes) -> bytes:
    """A frame with one plain value."""
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
    pairs = read(frame([block(5, 10, [text("a😀é🎉"), text("😀", parent="t")]), block(6, 0, [text("中")])]), 9).pairs
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
        b"\x76\x01" + string("k") + b"\x75\x00", b"\x75\x01" * MAX_VALUE_DEPTH + b"\x7e",
        b"\x7d\xbf\xff\xff\xff\xff\xff\xff\x1f",  # 2**53 - 1
    ],
)  # fmt: skip
def test_plain_values_of_every_kind_are_taken_in(encoded: bytes) -> None:
    (struct,), _ = decode(value(encoded))
    assert struct[2] == 1


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"\x7d\xbf\xff\xff\xff\xff\xff\xff\x3f", "above 2\\*\\*53"),
        (b"\x7d" + b"\xff" * 20, "above 2\\*\\*53"),
        (b"\x7d" + b"\x80" * 200_000, "above 2\\*\\*53"),
        (b"\x73", "unknown kind"),
        (b"\x80", "unknown kind"),
        (b"\x7b\x00", "too early"),
        (b"\x74\x05\x00", "too early"),
        (b"\x75\xff\xff\xff\xff\x0f", "more values"),
        (b"\x77" + string(b"\xed\xa0\xbd"), "not UTF-8"),
        (b"\x77" + string(b"\xc0\x80"), "not UTF-8"),
        (b"\x76\x01" + string(b"\xff") + b"\x7e", "not UTF-8"),
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
        "", "undefined", "NaN", "-Infinity", "1e999", "{'a':1}", "[1,]", "true false", "\ufeff1", '"\x01"', '"\\ud80"',
        "[" * 100_000, b'"\xff"',
    ],
)  # fmt: skip
def test_json_that_one_of_the_libraries_would_refuse_is_refused(json: str | bytes) -> None:
    with pytest.raises(Malformed):
        decode(one(item(encode.FORMAT, string("k") + string(json), parent="t")))
    with pytest.raises(Malformed):
        decode(one(item(encode.EMBED, string(json), parent="t")))


@pytest.mark.parametrize(
    ("json", "read_as"),
    [
        ('"\\ud83e"', '"\ufffd"'),
        ('"\\uDD8A\\ud83e"', '"\ufffd\ufffd"'),
        ('"\\ud83e\\udd8a\\udd8a"', '"🦊\ufffd"'),
        ('"\\\\ud83e"', '"\\\\ud83e"'),
        ('"\\\\\\ud83e"', '"\\\\\ufffd"'),
        ('{"\\udd8a":[1,{"a":"\\ud83e"}]}', '{"\ufffd":[1,{"a":"\ufffd"}]}'),
        ("9223372036854775808", "9.223372036854776e18"),
        ('{"a":[18446744073709551615]}', '{"a":[1.8446744073709552e19]}'),
    ],
)
def test_json_that_only_javascript_reads_is_re_encoded(json: str, read_as: str) -> None:
    for ref, head in ((encode.FORMAT, string("k")), (encode.EMBED, b"")):
        parts = read(one(item(ref, head + string(json), parent="t")), 9)
        assert not parts.refused
        assert parts.as_sent == (json == read_as)
        ((*_, start, end),) = parts.structs
        assert parts.source[start:end] == head + string(read_as)


def test_e16_json_contents_of_old_documents_are_read_as_plain_values() -> None:
    texts = ("1", '"é"', "undefined", '{"a":[null,1.5]}', '"\\ud83e"', "123456789012345678901234567890")
    parts = read(one(item(encode.JSON, uint(len(texts)) + b"".join(map(string, texts)), parent="a")), 9)
    ((_, _, length, ref, *_, start, _),) = parts.structs
    assert (ref, length, parts.refused, parts.as_sent) == (ANY, 6, [], False)
    at, values = start + 1, []
    for _ in texts:
        value, at = read_any(parts.source, at)
        values.append(value)
    assert values == [1, "é", None, {"a": [None, 1.5]}, "\ufffd", 1.2345678901234568e29]


DEEP = b"\x75\x01" * (MAX_VALUE_DEPTH + 1) + b"\x7e"
FAR_TOO_DEEP = b"\x76\x01\x01k" * 50_000 + b"\x7e"


@pytest.mark.parametrize(
    ("struct", "why"),
    [
        (item(encode.DOC, string("guid") + b"\x76\x01\x01g\x79", parent="a"), "a sub-document"),
        (item(encode.DOC, string("guid") + FAR_TOO_DEEP, parent="m", key="k"), "a sub-document"),
        (item(TYPE, b"\x05" + string("hook"), parent="x"), "an XML hook"),
        (item(TYPE, b"\x03" + string("p" * 2000), parent="x"), "more than 1024 bytes"),
        (item(encode.FORMAT, string("b" * 5000) + string("true"), origin=(2, 0)), "more than 4096 bytes"),
        (item(encode.FORMAT, string("b" * 5000) + string('"\\ud83e"'), origin=(2, 0)), "more than 4096 bytes"),
        (item(encode.EMBED, string("[" * 101 + "]" * 101), origin=(2, 0), right=(2, 1)), "more than 100 levels"),
        (item(encode.EMBED, string("1" * 400), origin=(2, 0)), "beyond JavaScript's range"),
        (item(encode.JSON, b"\x01" + string("{"), parent="a"), "not JSON"),
        (item(encode.JSON, b"\x01" + string("1" * 400), parent="a"), "not JSON"),
        (item(encode.JSON, b"\x02" + string("1") + string("[" * 101 + "]" * 101), parent="a"), "not JSON"),
        (item(ANY, b"\x01" + DEEP, parent="a"), "more than 100 levels"),
        (item(ANY, b"\x01" + FAR_TOO_DEEP, parent="a"), "more than 100 levels"),
        (item(ANY, b"\x01\x76\x01" + string("__proto__") + b"\x76\x00", parent="a"), "__proto__"),
        (item(ANY, b"\x01\x76\x01" + b"\x89\x00__proto__" + b"\x76\x00", parent="a"), "__proto__"),
        (item(encode.FORMAT, string("__proto__") + string("true"), origin=(2, 0)), "__proto__"),
        (item(encode.FORMAT, b"\x89\x00__proto__" + string("true"), origin=(2, 0)), "__proto__"),
        (item(encode.FORMAT, string("b") + string('{"a": [{"__proto__": 1}]}'), origin=(2, 0)), "__proto__"),
        (item(encode.EMBED, string('{"\\u005f_proto__": 1}'), origin=(2, 0)), "__proto__"),
        (item(encode.JSON, b"\x01" + string('{"__proto__": 1}'), parent="a"), "not JSON"),
        (item(ANY, b"\x01\x76\x01" + string("k" * 5000) + b"\x7e", parent="a"), "more than 4096 bytes"),
    ],
)
def test_content_that_is_not_taken_in_is_read_as_deleted(struct: bytes, why: str) -> None:
    parts = read(frame([block(1, 7, [struct, text("b", parent="t")])]), 9)
    first, second = parts.structs
    (refused,) = parts.refused
    assert why in refused.why
    assert refused[:3] == (1, 7, first[2])
    assert first[:4] == (1, 7, refused.length, encode.DELETED)
    assert second[:2] == (1, 7 + refused.length)
    assert not parts.as_sent


@pytest.mark.parametrize(
    "where",
    [
        {"parent": "r" * 2000},
        {"parent": "m", "key": "k" * 5000},
        {"parent": "__proto__"},
        {"parent": "m", "key": "__proto__"},
    ],
)
def test_an_element_whose_root_or_key_is_not_accepted_is_read_as_garbage(where: dict[str, str]) -> None:
    parts = read(frame([block(1, 7, [text("ab", **where), text("b", parent="t")])]), 9)
    assert parts.structs[0][:8] == (1, 7, 2, encode.GC, None, None, None, None)
    assert parts.structs[1][:4] == (1, 9, 1, STRING)
    assert [one[:3] for one in parts.refused] == [(1, 7, 2)]


@pytest.mark.parametrize("text_", ['"__proto__"', '["__proto__"]', '{"a": "__proto__"}', '{"__proto": "\\u005f"}'])
def test_the_name_of_the_prototype_may_be_a_value(text_: str) -> None:
    parts = read(one(item(encode.EMBED, string(text_), origin=(2, 0))), 9)
    assert not parts.refused
    assert parts.as_sent


def test_of_several_values_only_those_that_are_not_taken_in_are_read_as_deleted() -> None:
    values = [b"\x7e", b"\x78", DEEP, DEEP, b"\x7d\x05", DEEP]
    parts = read(one(item(ANY, uint(6) + b"".join(values), origin=(2, 3), right=(2, 4))), 9)
    assert [struct[:8] for struct in parts.structs] == [
        (1, 0, 2, ANY, (2, 3), (2, 4), None, None),
        (1, 2, 2, encode.DELETED, (1, 1), (2, 4), None, None),
        (1, 4, 1, ANY, (1, 3), (2, 4), None, None),
        (1, 5, 1, encode.DELETED, (1, 4), (2, 4), None, None),
    ]
    assert parts.source[parts.structs[0][8] : parts.structs[0][9]] == b"\x02\x7e\x78"
    assert [one[:3] for one in parts.refused] == [(1, 2, 2), (1, 5, 1)]


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (b"", "ends"),
        (b"\x00", "ends"),
        (b"\x00\x00\x00", "after the update"),
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
        (one(b"\x20\x01"), "Skip struct has flags"),
        (one(b"\x8a\x01\x00\x01"), "Skip struct has flags"),
        (one(item(11, b"\x00", parent="a")), "unknown kind"),
        (one(item(20, string("a"), parent="t")), "unknown kind"),
        (one(item(TYPE, b"\x07", parent="x")), "type of unknown kind"),
        (one(item(TYPE, b"\x81\x00", parent="x")), "type of unknown kind"),
        (one(text(b"\xff")), "not UTF-8"),
        (one(text(b"\xed\xa0\xbd")), "not UTF-8"),
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


@given(st.dictionaries(st.integers(0, 2**53 - 1), st.integers(1, 2**31 - 1)))
def test_every_valid_state_vector_passes_the_check(state: dict[int, int]) -> None:
    check_state_vector(encode_state_vector(state))


@given(st.binary(max_size=80))
def test_a_checked_state_vector_is_read_by_the_library(data: bytes) -> None:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    doc.get("t", type=pycrdt.Text).insert(0, "hello")
    try:
        check_state_vector(data)
    except Malformed:
        with pytest.raises(Malformed):
            decode_state_vector(data)
    else:
        doc.get_update(data)


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x01\x01", b"\x00\x00", b"\x01\x01\x80", b"\x01" + b"\x80" * 9 + b"\x01\x01"]
)
def test_a_state_vector_of_the_wrong_length_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        check_state_vector(data)


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


def test_clients_with_clock_0_are_left_out_of_a_state_vector() -> None:
    assert encode_state_vector({1: 0, 2: 3}) == b"\x01\x02\x03"


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x01\x02", b"\x00\x00", b"\x02\x01\x01\x01\x01", b"\x01\x01" + uint(2**31), uint(2**40)]
)
def test_malformed_state_vectors_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_state_vector(data)
