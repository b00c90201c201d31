from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collab.contents.align import changed_words, kept, matches, pairs

LISTS = st.lists(st.sampled_from("abc"), max_size=8)


@given(LISTS, LISTS)
def test_matches_are_equal_and_in_order(mine: list[str], theirs: list[str]) -> None:
    found = list(matches(mine, theirs))
    assert all(mine[i] == theirs[j] for i, j in found)
    assert found == sorted(found)
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)
    assert (mine == theirs) == (len(found) == len(mine) == len(theirs))


@given(st.text("ab 😀", max_size=12), st.text("ab 😀", max_size=12))
def test_of_changed_words_equal_characters_stay_in_order(mine: str, theirs: str) -> None:
    found = changed_words(mine, theirs)
    assert all(mine[i] == theirs[j] for i, j in found)
    assert found == sorted(found)
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)
    assert (mine == theirs) == (len(found) == len(mine) == len(theirs))


def test_a_word_that_is_replaced_keeps_nothing_of_its_middle() -> None:
    assert [i for i, _ in changed_words("the kitten sat", "the sitting sat")] == [*range(4), *range(10, 14)]
    assert [i for i, _ in changed_words("brown", "brawny")] == [0, 1]


def test_an_element_that_counts_as_several_is_kept_with_all_of_them() -> None:
    assert kept([["a"], ["b", "c"], [], ["d"]], ["a", "b", "c", "x", "d"]) == [(0, 0), (1, 1), (3, 4)]
    assert kept([["b", "c"]], ["b", "x", "c"]) == []


def test_pairs_have_the_highest_score_and_are_in_order() -> None:
    likeness = {(0, 1): 0.9, (1, 0): 0.8, (1, 1): 0.1, (2, 1): 0.5}
    assert pairs(3, 2, lambda i, j: likeness.get((i, j), 0.0)) == [(1, 0), (2, 1)]
    assert pairs(2, 2, lambda i, j: 0.0) == []


def test_very_many_elements_are_paired_by_their_places() -> None:
    assert pairs(300, 301, lambda i, j: 0.0 if i == 1 else 1.0) == [(n, n) for n in range(300) if n != 1]
