from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.client.core.values import moment, plain, read_query
from collab.dates import canonical
from collab.errors import InvalidRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Status(Enum):
    DONE = "done"


@given(JSON)
def test_json_stays_what_it_is(value: Any) -> None:
    assert plain(value) == value


@given(st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.timezones()))
def test_points_in_time_are_texts_that_compare_as_they_do(value: datetime) -> None:
    text = moment(value)
    read = canonical(text)
    assert read is not None
    assert datetime.fromisoformat(read) == value.astimezone(UTC)


def test_what_python_has_beyond_json_becomes_json() -> None:
    value = {
        "at": datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
        "micro": datetime(2024, 1, 1, 0, 0, 0, 7, tzinfo=UTC),
        "day": date(2024, 2, 29),
        "status": Status.DONE,
        "tuple": (1, 2),
    }
    assert plain(value) == {
        "at": "2024-01-01T00:00:00.000Z",
        "micro": "2024-01-01T00:00:00.000007Z",
        "day": "2024-02-29",
        "status": "done",
        "tuple": [1, 2],
    }


def test_a_naive_time_is_local() -> None:
    naive = datetime(2024, 6, 1, 12)
    assert plain(naive) == moment(naive.astimezone())


def nested(depth: int) -> Any:
    return [] if depth == 1 else [nested(depth - 1)]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), b"bytes", object(), {1: 2}, nested(33), "\ud83d", {"\ud83d": 1}]
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        plain({"value": value} if not isinstance(value, list) else value)


def test_as_deep_as_the_protocol_allows() -> None:
    assert msgspec.json.encode(plain(nested(32)))


def test_a_query_is_said_in_either_spelling_and_keeps_its_condition() -> None:
    query, condition = read_query({"where": {"a": 1}, "order_by": {"b": "desc"}, "condition": lambda: True})
    assert query == {"where": {"a": 1}, "orderBy": {"b": "desc"}}
    assert condition is not None
    assert read_query({"orderBy": {"b": "asc"}}) == ({"orderBy": {"b": "asc"}}, None)


@pytest.mark.parametrize("query", ["*", 5, {"condition": 5}, {"where": {"a": object()}}])
def test_what_is_no_query_is_refused(query: Any) -> None:
    with pytest.raises(InvalidRequest):
        read_query(query)
