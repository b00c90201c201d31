"""Names: nothing but the allowlist passes, and two different names are never one."""

import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.errors import InvalidName
from collab.names import RoomKey, is_part, parse_name

PARTS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,20}", fullmatch=True)
KEYS = st.builds(RoomKey, PARTS, PARTS, PARTS)

NO_NAMES = [
    "",
    "/",
    "//",
    "a/",
    "/a",
    "a//b",
    "a/b/c",
    ".",
    "..",
    "../a",
    "a/..",
    "a/../b",
    "./a",
    ".hidden",
    ":a",
    "a/:b",
    "a%2Fb",
    "a%2fb",
    "a%00",
    "a\0",
    "a\0/b",
    "a\\b",
    "a b",
    " a",
    "a ",
    "a\n",
    "a\r\nb",
    "\ta",
    "a*",
    "*",
    "a?b",
    "a#b",
    "a{b}",
    "a'b",
    'a"b',
    "a;b",
    "a|b",
    "~a",
    "é",
    unicodedata.normalize("NFC", "documents/café"),
    unicodedata.normalize("NFD", "documents/café"),
    "documents/\u039a",  # GREEK CAPITAL KAPPA, looks like K
    "documents/\u212a",  # KELVIN SIGN, lower-cases to k
    "documents/\uff11",  # FULLWIDTH DIGIT ONE: a digit to Unicode
    "documents/a\u200b",
    "documents/\u202ea",
    "documents/\ufffd",
    "\ud800",
    "documents/\udfff",
    "😀",
    "a" * 129,
    "documents/" + "a" * 129,
    "a" * 1_000_000,
    "a/" * 500_000,
    "/" * 1_000_000,
    unquote("documents/%ff%fe"),  # what bad UTF-8 becomes in a decoded path
    unquote("documents/%c0%ae%c0%ae"),  # ".." in overlong UTF-8
]


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: repr(name)[:30])
def test_n2_nothing_but_the_allowlist_is_a_name(name: str) -> None:
    with pytest.raises(InvalidName) as refused:
        parse_name("default", name)
    assert len(str(refused.value)) < 200, "an error does not repeat a megabyte"


@pytest.mark.parametrize("project", ["", "a/b", "..", "*", "a\0", "é", "a" * 129])
def test_n2_a_project_is_held_to_the_same_rules(project: str) -> None:
    with pytest.raises(InvalidName):
        parse_name(project, "documents/a")


def test_a_name_without_a_slash_is_in_documents() -> None:
    assert parse_name("acme", "doc_1") == parse_name("acme", "documents/doc_1") == ("acme", "documents", "doc_1")


@pytest.mark.parametrize("name", ["a", "-", "_", "0", "a..b", "a:b", "A.b-c_d:e", "a" * 128, "tasks/" + "z" * 128])
def test_every_allowed_character_may_be_used(name: str) -> None:
    assert parse_name("default", name).name.endswith(name)


@given(KEYS)
def test_a_key_is_read_back_from_its_name(key: RoomKey) -> None:
    assert parse_name(key.project, key.name) == key


@given(KEYS, KEYS)
def test_n3_different_keys_are_never_written_alike(one: RoomKey, other: RoomKey) -> None:
    assert (str(one) == str(other)) == (one == other)


def test_n3_moving_the_separator_makes_another_name() -> None:
    names = {str(RoomKey("t", "a:b", "c")), str(RoomKey("t", "a", "b:c")), str(RoomKey("t:a", "b", "c"))}
    assert len(names) == 3


@given(st.text(max_size=40))
def test_whatever_is_accepted_is_harmless_as_path_and_as_pattern(text: str) -> None:
    if is_part(text):
        assert text.isascii()
        assert not set(text) & set("/\\*?[]%\0 \n")
        assert not text.startswith(".")
    try:
        key = parse_name("default", text)
    except InvalidName:
        return
    assert all(is_part(part) for part in key)
