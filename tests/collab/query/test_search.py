"""Full-text search: words of texts, and what is searched for. Rules T of docs/protocol.md."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.errors import InvalidRequest
from collab.query.canonical import canonical
from collab.query.match import compile_query
from collab.query.parse import parse_query
from collab.query.query import IndexPaths, Order, Query
from collab.query.search import MAX_SEARCH, MAX_TEXT, MAX_WORD, MAX_WORDS, folded_text, parse_words, words_of

TITLE: IndexPaths = (("title",),)


def searched(text: str, paths: IndexPaths = TITLE) -> Query:
    query = parse_query({"search": text})
    assert query.search is not None
    return replace(query, search=replace(query.search, paths=paths))


def finds(text: str, title: Any) -> bool:
    """Whether a row with this title is found."""
    return compile_query(searched(text))({"id": "n1", "title": title})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Blue-Whale's 2nd", ["the", "blue", "whale", "s", "2nd"]),
        ("Ünïcode naïve ﬁne STRASSE straße", ["unicode", "naive", "fine", "strasse", "strasse"]),
        ("Café", ["cafe"]),
        ("Cafe\u0301", ["cafe"]),
        ("ЖИЗНЬ", ["жизнь"]),
        ("東京都 Tōkyō", ["東", "京", "都", "tokyo"]),
        ("x² Ⅷ ½", ["x2", "viii", "1", "2"]),
        ("a_b\0c\nd🙂e", ["a", "b", "c", "d", "e"]),
        ("\ud800", []),
        ("", []),
        ("x" * 100, ["x" * MAX_WORD]),
    ],
)
def test_t1_words_are_letters_and_digits_without_case_and_accents(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_t1_the_words_of_words_are_the_same(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words
    assert words_of(text.upper()) == words_of(text.upper().lower())


def test_t1_a_text_of_accents_alone_takes_no_longer_than_any_other() -> None:
    """To sort 100,000 of them takes minutes, in which a server would do nothing else."""
    text = "e" + "\u0301\u0323" * (MAX_TEXT // 2)
    assert words_of(text) == ["e"]
    assert folded_text({"title": text}, TITLE) == " e "


@given(
    st.text(
        st.one_of(
            st.characters(),
            st.sampled_from(
                "\u0301\u0323\u0345\u05b0\u1fb3\u0390\u1e9e\u0130\u03c2\u03a3\ufb03\u00bd\ud55c\uac01\uab70\u13a0 aB"
            ),
        )
    )
)
def test_t1_each_character_is_folded_by_itself_which_means_the_same(text: str) -> None:
    whole = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    assert words_of(text) == words_of("".join(one for one in whole if not unicodedata.combining(one)))


@given(st.text(st.characters(max_codepoint=127)))
def test_t1_ascii_is_read_in_a_shorter_way_with_the_same_result(text: str) -> None:
    assert words_of(text + " é")[:-1] == words_of(text)


@pytest.mark.parametrize(
    ("asked", "title", "found"),
    [
        ("blue whale", "A whale, so blue", True),
        ("blue whale", "blue", False),
        ("wha", "whale", True),
        ("wha blue", "blue whale", False),
        ("wha* blue", "blue whale", True),
        ('"blue whale"', "the blue whale sings", True),
        ('"blue whale"', "whale blue", False),
        ('"blue wha"', "blue whale", False),
        ('"blue wha', "blue whale", True),
        ("blue -whale", "blue sky", True),
        ("blue -whale", "blue whale", False),
        ("blue -wha", "blue whale", True),
        ("blue -wha*", "blue whale", False),
        ('-"blue whale"', "whale blue", True),
        ("-blue", "sky", True),
        ("-blue", None, True),
        ("e-mail", "my e-mail", True),
        ("e-mail", "mail e", False),
        ("京都", "東京都", True),
        ("都京", "東京都", False),
        ("", "anything", True),
        ("!?", None, True),
        ("-", "anything", True),
        ("x" * 100, "x" * 90, True),
        ("blue", ["red", "BLUE"], True),
        ('"red blue"', ["red", "blue"], False),
        ("blue", {"b": {"c": "blue"}}, True),
        ("b", {"b": 1}, False),
        ("2026", 2026, True),
        ("true", True, False),
        ("1", 1.5, False),
    ],
)
def test_t2_t3_all_words_must_occur(asked: str, title: Any, found: bool) -> None:
    assert finds(asked, title) is found


def test_t3_words_may_be_in_different_members_but_a_phrase_is_in_one() -> None:
    both: IndexPaths = (("body", "text"), ("title",))
    row = {"id": "n1", "title": "blue", "body": {"text": "whale"}, "other": "green"}
    assert compile_query(searched("blue whale", both))(row)
    assert not compile_query(searched('"whale blue"', both))(row)
    assert not compile_query(searched("green", both))(row)


def test_t4_the_newest_change_comes_first_unless_the_query_orders() -> None:
    newest = (Order(("updatedAt",), descending=True),)
    assert parse_query({"search": "blue"}).order_by == parse_query({"search": ""}).order_by == newest
    assert parse_query({"search": "blue", "orderBy": {"n": "asc"}}).order_by == (Order(("n",)),)
    assert parse_query({"search": None}) == Query()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (1, "search: must be a string, not a number"),
        (["a"], "search: must be a string, not a list"),
        ("x" * (MAX_SEARCH + 1), "search: has more than 500 characters"),
        ("a " * (MAX_WORDS + 1), "search: has more than 32 words"),
        ('"' + "a " * (MAX_WORDS + 1), "search: has more than 32 words"),
    ],
)
def test_t5_what_is_too_much_is_refused(raw: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_query({"search": raw})
    assert refusal.value.message == message


@pytest.mark.parametrize("text", ["a b " * MAX_TEXT, "ﷺ" * MAX_TEXT, "x" * 3 * MAX_TEXT, "東" * 2 * MAX_TEXT])
def test_t5_a_text_is_searched_up_to_a_limit(text: str) -> None:
    folded = folded_text({"title": text, "last": "end"}, (("title",), ("last",)))
    assert len(folded) <= MAX_TEXT
    assert folded.startswith(" ")
    assert folded.endswith(" ")
    assert "end" not in folded


@given(st.text(max_size=MAX_SEARCH))
def test_t2_anything_can_be_searched_for(text: str) -> None:
    try:
        words = parse_words(text)
    except ValueError as error:
        assert "more than 32 words" in str(error)  # noqa: PT017 - the text is the test's own
        return
    assert all(part.strip() and part.startswith(" ") for part in words.wanted + words.without)


def test_searches_that_mean_the_same_are_one_query() -> None:
    assert canonical(searched("blue  WHALE blue")) != canonical(searched("whale blue"))
    assert canonical(searched("Blue* whale*")) == canonical(searched("whale* blue"))
    assert canonical(searched("blue")) != canonical(searched("blue", (("body",),)))
    assert canonical(searched("blue")) != canonical(searched("-blue"))
    assert canonical(searched("")) != canonical(parse_query({}))
