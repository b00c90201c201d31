"""Cursors are opaque texts that name a place in an order."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import given, settings

from collab.query.cursor import page_after, place_of, read_after, write_after
from collab.query.match import sort_key
from collab.query.parse import parse_query
from tests.collab.query.rows import queries, row_lists


@settings(max_examples=200, deadline=None)
@given(row_lists(), queries)
def test_q12_a_cursor_names_the_place_of_its_row(rows: list[dict[str, Any]], raw: dict[str, Any]) -> None:
    orders = parse_query(raw).order_by
    for row in rows:
        text = page_after(row, orders)
        assert set(text) <= {*string.ascii_letters, *string.digits, "-", "_"}
        place = read_after(text, orders)
        assert place == place_of(row, orders)
        assert [type(value) is bool for value in place[1]] == [
            type(value) is bool for value in place_of(row, orders)[1]
        ]
        assert read_after(write_after(place), orders) == place


def test_q12_arrays_and_objects_are_one_place() -> None:
    orders = parse_query({"orderBy": {"a": "asc"}}).order_by
    places = {page_after({"id": "1", "a": value}, orders) for value in ([], [1, 2], {}, {"b": "c" * 10_000})}
    assert len(places) == 1
    (text,) = places
    assert read_after(text, orders) == ("1", ((),))
    key = sort_key(orders)
    assert key({"id": "1", "a": ()}) == key({"id": "1", "a": {"b": 1}})
