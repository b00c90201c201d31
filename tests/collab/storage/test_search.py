"""What the index of words is told of a row whose texts change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collab.query.search import fold_texts
from collab.storage.search import NO_TEXTS, StoredTexts, changed_words

_WORDS = st.sampled_from(["a", "b", "ab", "ba", "aab", "c"])
_TEXTS = st.lists(st.lists(_WORDS, max_size=6).map(" ".join), max_size=3).map(fold_texts)
_MANY = st.lists(st.integers(0, 200).map(str), min_size=100, max_size=120).map(lambda words: fold_texts([*words]))
_STORED = st.builds(StoredTexts, st.sampled_from(["x", "y"]), _TEXTS | _MANY, _TEXTS | _MANY) | st.just(NO_TEXTS)


@given(_STORED, _STORED)
def test_the_index_is_told_exactly_the_words_that_have_gone_and_those_that_are_new(
    before: StoredTexts, after: StoredTexts
) -> None:
    was = {before.scope + word for word in before.words()}
    now = {after.scope + word for word in after.words()}
    if before.scope == after.scope:
        was, now = was - now, now - was
    assert changed_words(before, after) == (sorted(was), sorted(now))


def test_of_a_long_text_only_the_words_around_a_change_are_compared() -> None:
    words = [f"w{number}" for number in range(10_000)]
    before = StoredTexts("x", "", fold_texts([" ".join(words)]))
    after = before.with_new("x", None, fold_texts([" ".join([*words[:5000], "new", *words[5001:], "w3"])]))
    assert changed_words(before, after) == (["xw5000"], ["xnew"])
