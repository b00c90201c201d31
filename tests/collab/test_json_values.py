import math
from datetime import date
from typing import Any

import pytest

from collab.json_values import SAFE_INTEGER, is_unicode, plain, same, scalar_fault


@pytest.mark.parametrize("value", [None, True, 0, 2**70, -1.5, 1e300, "", "é😀", "\0"])
def test_strings_numbers_booleans_and_null_are_json(value: Any) -> None:
    assert scalar_fault(value) is None


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (math.nan, "is not a finite number"),
        (-math.inf, "is not a finite number"),
        ("a\ud83d", "contains a lone surrogate"),
        (b"a", "is not a JSON value but a bytes"),
        (date(2024, 1, 31), "is not a JSON value but a date"),
        ({1}, "is not a JSON value but a set"),
    ],
)
def test_the_fault_of_another_value_completes_a_sentence(value: Any, fault: str) -> None:
    assert scalar_fault(value) == fault


def test_a_string_with_half_a_surrogate_pair_is_no_unicode() -> None:
    assert is_unicode("😀")
    assert not is_unicode("a\udc00")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1),
        (1.5, 1.5),
        (math.nan, None),
        (SAFE_INTEGER, SAFE_INTEGER),
        (SAFE_INTEGER + 1, str(SAFE_INTEGER + 1)),
        (b"\0\1", "AAE="),
        ({"a": (1.0, [b""])}, {"a": [1, [""]]}),
        (date(2024, 1, 31), "2024-01-31"),
    ],
)
def test_values_of_a_document_become_json(value: Any, expected: Any) -> None:
    assert same(plain(value), expected)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, True, False),
        (1, 1.0, False),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, True),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ([1], [1, 1], False),
        (["a"], ["b"], False),
    ],
)
def test_values_are_the_same_only_with_the_same_types(left: Any, right: Any, equal: bool) -> None:
    assert same(left, right) is equal
