"""What an error says is bounded and printable, whatever it quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.errors import LONGEST_MESSAGE, CollabError, Elsewhere, InvalidRequest, printable, shortened


@given(st.text(st.characters(exclude_categories=()), max_size=50), st.integers(10, 30))
def test_any_text_is_one_printable_line_with_both_ends_of_a_long_one(text: str, longest: int) -> None:
    cut = shortened(text, longest)
    assert len(cut) <= longest
    if len(text) > longest:
        start, end = cut.split("…") if "…" not in text else (cut[:5], cut[-1:])
        assert text.startswith(start)
        assert text.endswith(end)
    else:
        assert cut == text
    assert printable(text).isprintable()
    assert printable(text).encode().decode() == printable(text)
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize("kind", [CollabError, InvalidRequest, Elsewhere])
def test_an_error_quotes_a_bounded_part_of_what_a_client_has_sent(kind: type[CollabError]) -> None:
    error = kind("no field " + "a\n\ud800" * 1_000_000 + "; did you mean b?")
    assert len(error.message) <= 7 * LONGEST_MESSAGE
    assert error.message.startswith("no field a\\u000a\\ud800a")
    assert error.message.endswith("a\\u000a\\ud800; did you mean b?")
    assert str(error) == error.message


def test_an_error_without_a_message_says_what_it_is() -> None:
    assert InvalidRequest().message == "InvalidRequest"
