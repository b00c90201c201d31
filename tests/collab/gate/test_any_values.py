"""Plain values as Yjs encodes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Map

from collab.errors import InvalidRequest
from collab.gate.any_values import read_any, write_any, write_key
from collab.gate.edit import encode_fields
from collab.gate.gate import Gate
from collab.gate.limits import MAX_VALUE_DEPTH
from collab.json_values import SAFE_INTEGER
from presence.lib0 import DecodeError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter("__proto__".__ne__), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_is_read_back(value: Any) -> None:
    encoded = write_any(value)
    assert read_any(b"\0" + encoded + b"\0", 1) == (value, 1 + len(encoded))


@given(JSON)
def test_the_gate_and_the_library_read_the_same(value: Any) -> None:
    update = encode_fields(1, 0, "fields", {"k": value}, [], {})
    gate = Gate()
    (write,) = gate.commit(gate.check(update))
    assert write.value == value
    doc: Doc[Any] = Doc()
    doc.apply_update(update)
    assert doc.get("fields", type=Map).to_py() == {"k": value}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x7f", None),
        (b"\x7e", None),
        (b"\x78", True),
        (b"\x79", False),
        (b"\x7d\x41", -1),
        (b"\x7d\xc1\x02", -129),
        (b"\x7b\x40\x00\x00\x00\x00\x00\x00\x00", 2),
        (b"\x7b\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5),
        (b"\x7b\x7f\xf8\x00\x00\x00\x00\x00\x00", None),
        (b"\x7c\x7f\x80\x00\x00", None),
        (b"\x7c\x3f\xc0\x00\x00", 1.5),
        (b"\x7a" + SAFE_INTEGER.to_bytes(8, "big"), SAFE_INTEGER),
        (b"\x7a" + (2**53).to_bytes(8, "big"), "9007199254740992"),
        (b"\x7a" + (-5).to_bytes(8, "big", signed=True), -5),
        (b"\x74\x02\x00\xff", "AP8="),
        (b"\x77\x04\xf0\x9f\x98\x80", "\U0001f600"),
        (b"\x76\x01\x01k\x75\x02\x7e\x7d\x01", {"k": [None, 1]}),
    ],
)
def test_values_of_every_kind_are_json(content: bytes, expected: Any) -> None:
    found, end = read_any(content, 0)
    assert (found, type(found), end) == (expected, type(expected), len(content))


@pytest.mark.parametrize("number", [0, 63, 64, -63, -64, 8191, 8192, 2**31 - 1, 2**31, -(2**31), SAFE_INTEGER])
def test_integers_of_any_length_are_read_back(number: int) -> None:
    encoded = write_any(number)
    assert read_any(encoded, 0) == (number, len(encoded))


def test_what_json_lacks_is_null_or_refused() -> None:
    assert write_any(float("nan")) == write_any(float("-inf")) == write_any(None)
    assert read_any(write_any(b"\x00\xff"), 0)[0] == "AP8="
    for bad in (SAFE_INTEGER + 1, {"__proto__": 1}, {1: 1}, {1}, "\ud800", {"k" * 5000: 1}):
        with pytest.raises(InvalidRequest):
            write_any(bad)
    with pytest.raises(InvalidRequest):
        write_key("\ud800")


def test_nesting_is_bounded() -> None:
    value: Any = 1
    for _ in range(MAX_VALUE_DEPTH):
        value = [value]
    assert read_any(write_any(value), 0)[0] == value
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        write_any([value])


def test_a_value_of_unknown_kind_is_malformed() -> None:
    with pytest.raises(DecodeError, match="unknown kind"):
        read_any(b"\x73", 0)
