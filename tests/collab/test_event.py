"""Cursors: what is written is read, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collab.event import read_cursor, write_cursor

epochs = st.text(max_size=20)
positions = st.integers(0, 10**18 - 1)


@given(epochs, positions)
def test_a_cursor_is_read_as_its_position(epoch: str, position: int) -> None:
    assert read_cursor(epoch, write_cursor(epoch, position)) == position


@given(epochs, epochs, positions)
def test_a_cursor_of_another_epoch_is_refused(epoch: str, other: str, position: int) -> None:
    if epoch != other:
        assert read_cursor(other, write_cursor(epoch, position)) is None


@given(st.text(max_size=30))
def test_any_other_text_is_no_cursor(text: str) -> None:
    found = read_cursor("e", text)
    assert found is None or int(text.removeprefix("e.")) == found
