"""Messages of the application protocol: read strictly, by the numbered rules of docs/protocol.md."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.errors import InvalidRequest
from collab.wire.realtime import messages as realtime
from collab.wire.realtime.encoding import MAX_DEPTH, Format, Misunderstood, decode_client, decode_server, encode

FORMS: tuple[Format, ...] = ("json", "msgpack")

names = st.text().filter("__proto__".__ne__)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


def packed(message: Any) -> bytes:
    return b"\0" + msgspec.msgpack.encode(message)


def emit(value: Any) -> dict[str, Any]:
    return {"type": "emit", "id": 5, "event": {"type": "x", "a": value}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@settings(max_examples=100)
@given(st.dictionaries(names, plain, max_size=4), st.sampled_from(FORMS))
def test_a30_what_a_client_says_is_read_as_it_was_said(data: dict[str, Any], form: Format) -> None:
    message = realtime.Create(id=1, collection="tasks", data=data)
    text = msgspec.json.encode(message).decode() if form == "json" else packed(message)
    assert decode_client(text) == message


@pytest.mark.parametrize("form", FORMS)
def test_a30_what_the_server_says_is_read_as_it_was_said(form: Format) -> None:
    message = realtime.Event(subs=(1, 2), cursor="e.1", event=msgspec.Raw(_raw(form, {"id": "t"})))
    assert decode_server(encode(message, form)) == realtime.Event(subs=(1, 2), cursor="e.1", event={"id": "t"})


def _raw(form: Format, value: Any) -> bytes:
    return msgspec.json.encode(value) if form == "json" else msgspec.msgpack.encode(value)


def test_a30_a_binary_message_begins_with_zero_and_a_text_message_is_json() -> None:
    assert encode(realtime.Pong(), "json") == '{"type":"pong"}'
    assert encode(realtime.Pong(), "msgpack")[0] == 0


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "{",
        "nonsense",
        '{"type":"emit","id":1,"event":{"a":NaN}}',
        '{"type":"emit","id":1,"event":{"a":Infinity}}',
        '{"type":"emit","id":1,"event":{}} {}',
        '{"type":"emit","id":1,"event":{"a":01}}',
        "\0",
        b"",
        b"\0",
        b"\0\xc1",
        '{"type":"emit","id":1,"event":{"a":"\\ud800"',
        '{"type":"emit","event":{"a":"\\ud800"}}',
        b"\0\x83\xa4type\xa4emit\xa2id\x01\xa5event\x81\xa1a\xdd\xff\xff\xff\xff",  # an array of 4 G members
        b"\0\x83\xa4type\xa4emit\xa2id\x01\xa5event\x81\xa1a\xc6\xff\xff\xff\xff",  # 4 GB of bytes
        packed(realtime.Ping())[:-1],
    ],
)
def test_a31_bytes_that_do_not_decode_are_no_message(hostile: str | bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_client(hostile)
    assert not isinstance(refused.value, Misunderstood)
    assert refused.value.close_code == 4400


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, 100, 990, 5000, 100_000])
@pytest.mark.parametrize("form", FORMS)
def test_a31_too_deep_a_message_is_refused_at_any_depth(depth: int, form: Format) -> None:
    if form == "json":
        text: str | bytes = '{"type":"emit","id":5,"event":{"type":"x","a":' + "[" * depth + "]" * depth + "}}"
    else:
        text = b"\0\x83\xa4type\xa4emit\xa2id\x05\xa5event\x81\xa1a" + b"\x91" * depth + b"\xc0"
    with pytest.raises(InvalidRequest) as refused:
        decode_client(text)
    assert not isinstance(refused.value, Misunderstood)


@pytest.mark.parametrize("form", FORMS)
def test_a31_the_deepest_that_is_allowed_passes(form: Format) -> None:
    message = emit(nested(MAX_DEPTH - 2))
    decode_client(msgspec.json.encode(message).decode() if form == "json" else packed(message))


def test_a31_queries_inside_of_subscriptions_are_counted_from_the_outside() -> None:
    def subscribe(depth: int) -> str:
        where: Any = {"a": 1}
        for _ in range(depth):
            where = {"NOT": where}
        target = {"kind": "rows", "collection": "tasks", "query": where}
        message = {"type": "subscribe", "id": 1, "subscriptions": [{"sub": 1, "target": target}]}
        return msgspec.json.encode(message).decode()

    decode_client(subscribe(MAX_DEPTH - 5))
    with pytest.raises(InvalidRequest):
        decode_client(subscribe(MAX_DEPTH - 4))


@pytest.mark.parametrize(
    ("hostile", "number"),
    [
        ('{"type":"nonsense","id":5}', 5),
        ('{"type":"emit","id":5}', 5),
        ('{"type":"emit","id":5,"event":[]}', 5),
        ('{"type":"emit","id":5,"event":{"a":1e999}}', 5),
        ('{"type":"emit","id":5,"event":{"a":"\\ud800"}}', 5),
        ('{"type":"emit","event":{"a":"b\\udc00c"},"id":5}', 5),
        ('{"type":"emit","id":5,"event":{"\\ud800":1}}', 5),
        ('{"type":"emit","id":5,"event":{"a":"\ud800"}}', 5),
        (b"\0\x83\xa4type\xa4emit\xa2id\x05\xa5event\x81\xa1a\xa3\xed\xa0\x80", 5),  # a surrogate as bytes
        ('{"type":"update","id":5,"collection":"c","entity":"e","changes":{},"onConflict":"shout"}', 5),
        ('{"type":"create","id":5,"collection":1,"data":{}}', 5),
        ('{"type":"emit","id":5,"event":{"a":123456789012345678901234567890}}', 5),
        ('{"type":"emit","id":5,"event":{"a":-9223372036854775809}}', 5),
        ('{"type":"subscribe","id":5,"subscriptions":[{"sub":-1,"target":{"kind":"rows","collection":"c"}}]}', 5),
        ('{"type":"subscribe","id":5,"subscriptions":[{"sub":1,"target":{"kind":"all"}}]}', 5),
        ('{"type":"emit","id":"5","event":{}}', None),
        ('{"type":"emit","id":5.5,"event":{}}', None),
        ('{"type":"emit","id":true,"event":{}}', None),
        ('{"type":"emit","id":-1,"event":{}}', None),
        ('{"type":"emit","id":9007199254740992,"event":{}}', None),
        ('{"type":"emit","id":123456789012345678901234567890,"event":{}}', None),
        ('{"type":"emit","type":"ping","event":{}}', None),
        ("null", None),
        ("[]", None),
        ("5", None),
        (packed(emit(float("nan"))), 5),
        (packed(emit(float("inf"))), 5),
        (packed(emit(b"bytes")), 5),
        (packed(emit(msgspec.msgpack.Ext(5, b"x"))), 5),
        (packed(emit(datetime(2024, 1, 1, tzinfo=UTC))), 5),
        (packed(emit({1: 2})), 5),
        (packed(emit({b"a": 2})), 5),
        (packed(emit({None: 2})), 5),
        (packed({"type": "hello", "maxSubscriptions": -1}), None),
    ],
)
def test_a32_an_unknown_message_is_refused_with_its_request_id(hostile: str | bytes, number: int | None) -> None:
    with pytest.raises(Misunderstood) as refused:
        decode_client(hostile)
    assert refused.value.id == number
    assert len(refused.value.message) < 300


def numbered(number: object, sub: object) -> bytes:
    target = {"kind": "rows", "collection": "c"}
    return packed({"type": "subscribe", "id": number, "subscriptions": [{"sub": sub, "target": target}]})


@pytest.mark.parametrize("number", [0, 1, 2**53 - 1])
def test_a33_the_client_chooses_numbers_from_0_to_the_largest_of_javascript(number: int) -> None:
    message = decode_client(numbered(number, number))
    assert isinstance(message, realtime.Subscribe)
    assert (message.id, message.subscriptions[0].sub) == (number, number)


@pytest.mark.parametrize("number", [-1, 2**53, 1.5, "1", True, None])
def test_a33_no_other_number_is_taken(number: object) -> None:
    for message in (numbered(number, 1), numbered(1, number)):
        with pytest.raises(Misunderstood):
            decode_client(message)


@pytest.mark.parametrize("version", [-1, 2**53, 2**63, 2**64 - 1, 1.5, "1"])
def test_a_version_is_a_number_that_every_storage_takes(version: object) -> None:
    entity = {"id": 1, "collection": "tasks", "entity": "t1"}
    updating = {"type": "update", "collection": "tasks", "entity": "t1", "changes": {}, "version": version}
    for message in (
        {**entity, "type": "restore", "version": version},
        {**entity, "type": "findById", "version": version},
        {**entity, "type": "history", "before": version},
        {**updating, "id": 1},
        {"type": "writeMany", "id": 1, "writes": [updating]},
        {"type": "transaction", "id": 1, "writes": [updating]},
    ):
        with pytest.raises(Misunderstood):
            decode_client(json.dumps(message))


def test_a32_of_a_member_that_comes_twice_the_last_counts() -> None:
    assert decode_client('{"type":"emit","id":1,"event":{"a":1,"a":2}}') == realtime.Emit(id=1, event={"a": 2})


def test_a32_an_unknown_type_of_any_length_makes_a_short_error() -> None:
    with pytest.raises(Misunderstood) as refused:
        decode_client('{"type":"' + "x" * 1_000_000 + '","id":1}')
    assert len(refused.value.message) < 300


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_a31_any_invalid_bytes_give_a_documented_error(data: str | bytes) -> None:
    with suppress(InvalidRequest):
        decode_client(data)


@settings(max_examples=200)
@given(st.data())
def test_a31_any_changed_byte_gives_a_documented_error(data: st.DataObject) -> None:
    message = bytearray(packed(emit({"b": [1, 2.5, "text", None, True], "c": -5})))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(1, len(message) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InvalidRequest):
        decode_client(bytes(message))


def subscribing(**target: Any) -> dict[str, Any]:
    return {"type": "subscribe", "id": 1, "subscriptions": [{"sub": 1, "target": target}]}


@pytest.mark.parametrize(
    ("message", "meant"),
    [
        ({"type": "findMany", "id": 1, "collection": "tasks", "qurey": {}}, "query"),
        ({"type": "count", "id": 1, "collection": "tasks", "Query": {}}, "query"),
        ({"type": "delete", "id": 1, "collection": "tasks", "entity": "t", "requst": "r"}, "request"),
        (subscribing(kind="rows", collection="t", qeury={}), "query"),
        (subscribing(kind="entities", collection="t", entty="e"), "entity"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a32_a_misspelt_member_of_a_request_is_refused_with_the_nearest(
    message: dict[str, Any], meant: str, form: Format
) -> None:
    with pytest.raises(Misunderstood, match=f"unknown field .*did you mean {meant}") as refused:
        decode_client(msgspec.json.encode(message).decode() if form == "json" else packed(message))
    assert refused.value.id == 1


def test_a32_members_that_are_not_known_are_skipped_where_versions_are_told_apart() -> None:
    assert decode_client('{"type": "hello", "later": 1}') == realtime.Hello()
    assert decode_server('{"type": "pong", "later": 1}') == realtime.Pong()


@pytest.mark.parametrize("form", FORMS)
def test_a32_no_object_has_a_member_that_javascript_could_not_read(form: Format) -> None:
    about = {"id": 1, "collection": "t", "entity": "e"}
    for message, place in (
        ({"type": "create", **about, "data": {"__proto__": 1}}, "data.__proto__"),
        ({"type": "update", **about, "changes": {"a": [1, {"__proto__": {}}]}}, "changes.a[1].__proto__"),
        (emit({"b": {"__proto__": None}}), "event.a.b.__proto__"),
        ({"type": "joinPresence", "id": 1, "room": "r", "state": {"c": {"__proto__": 1}}}, "state.c.__proto__"),
    ):
        with pytest.raises(Misunderstood) as refused:
            decode_client(msgspec.json.encode(message).decode() if form == "json" else packed(message))
        assert place in refused.value.message
