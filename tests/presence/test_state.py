import json

import msgspec
import pytest

from presence.lib0 import DecodeError, encode_bytes, encode_uint
from presence.state import MAX_DEPTH, StateTooLargeError, User, read_entries, read_state, write_state


@pytest.mark.parametrize(
    "raw",
    [
        b"NaN",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b"{} {}",
        b"undefined",
        b"",
        b"\xef\xbb\xbf{}",
    ],
)
def test_p1_invalid_json_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        read_state(raw, 4096)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'{"a":"\ud800"}', {"a": "\ufffd"}),
        (rb'{"\udc00":1}', {"\ufffd": 1}),
        (rb'{"a":"\uD83E\uDD8A"}', {"a": "\U0001f98a"}),
        (rb'{"a":"\udd8a\ud83e"}', {"a": "\ufffd\ufffd"}),
        (rb'{"a":"\ud83e\ud83e\udd8a"}', {"a": "\ufffd\U0001f98a"}),
        (rb'{"a":"\\ud83e"}', {"a": "\\ud83e"}),
        (rb'{"a":"\n\u0041"}', {"a": "\nA"}),
    ],
)
def test_a_lone_surrogate_is_read_as_a_replacement_character(raw: bytes, value: object) -> None:
    assert read_state(raw, 4096) == value


@pytest.mark.parametrize("raw", [b"1", b'"text"', b"[]", b"true", b"1.5"])
def test_p1_a_state_that_is_not_an_object_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        read_state(raw, 4096)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_p1_deep_nesting_is_refused_without_recursion(opening: bytes) -> None:
    for count in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(DecodeError):
            read_state(b'{"a":' + opening * count, 10**9)


def test_nesting_is_counted_in_values_and_not_in_strings() -> None:
    flat = json.dumps({"a": '[{\\"' * 100, "b": [[1]] * 100}).encode()
    assert read_state(flat, 4096) == json.loads(flat)
    deepest = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    assert read_state(deepest, 4096) == json.loads(deepest)


def test_p1_a_state_above_the_limit_is_refused_as_too_large() -> None:
    with pytest.raises(StateTooLargeError):
        read_state(b'{"a":"' + b"x" * 4096 + b'"}', 4096)


def test_null_is_a_client_that_leaves() -> None:
    assert read_state(b"null", 4096) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01",
        b"\x02\x01\x01\x02{}",
        b"\x01\x01\x01\x02{}\x00",
        b"\x01\x01\x01\x03{}",
        encode_uint(2**53 - 1) + b"\x01\x01\x02{}",
    ],
)
def test_an_update_that_does_not_hold_what_it_claims_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        read_entries(payload)


def test_entries_are_id_clock_and_json() -> None:
    payload = b"\x02" + encode_uint(300) + b"\x07" + encode_bytes(b"{}") + b"\x01\x00" + encode_bytes(b"null")
    assert read_entries(payload) == [(300, 7, b"{}"), (1, 0, b"null")]


STAMPS = [
    (None, {"user": {"id": "eve", "name": "Eve"}}, {"user": {"id": "eve", "name": "Eve"}}),
    (User("ada", "Ada"), {}, {"user": {"id": "ada", "name": "Ada"}}),
    (
        User("ada", "Ada"),
        {"user": {"id": "bob", "name": "Bob", "color": "#f00"}, "cursor": 1},
        {"user": {"id": "ada", "name": "Ada", "color": "#f00"}, "cursor": 1},
    ),
    (User("ada", None), {"user": {"id": "bob", "name": "Bob"}}, {"user": {"id": "ada", "name": "Bob"}}),
    (User("ada", "Ada"), {"user": "bob"}, {"user": {"id": "ada", "name": "Ada"}}),
    (User(None, None), {"user": {"id": "ada", "name": "x"}}, {"user": {"name": "x"}}),
    (User(None, None), {}, {}),
]


@pytest.mark.parametrize(("user", "said", "shown"), STAMPS)
def test_p3_the_user_in_a_state_is_the_one_that_was_verified(
    user: User | None, said: dict[str, object], shown: dict[str, object]
) -> None:
    assert msgspec.json.decode(write_state(said, user)) == shown
