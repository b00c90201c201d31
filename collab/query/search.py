"""Full-text search: the words of a text, and the words that are searched for. Pure; the rules are R1 and following in
docs/protocol.md.

A row's texts become one string, its *folded text*: the words of each text in order, with a space before and after each,
and texts separated by a line break. What is searched for becomes strings that must occur in it (or must not): `` blue``
for the beginning of a word, `` blue `` for a word, `` blue whale `` for a phrase. So a search has one meaning wherever
it is evaluated: here, or by the function of a database that finds one string in another. Indexes of words only find
the rows to look at.

The contents of a row's document have a folded text of their own, which is not in the row. Each string may occur in
either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, Protocol
from unicodedata import category, combining, normalize, unidata_version

from collab.query.query import Path, Search, Words

MAX_SEARCH = 500
"""Maximum length of what is searched for, in characters."""
MAX_WORDS = 32
"""Maximum number of its words."""
MAX_WORD = 64
"""Characters of a word that count; what follows them is ignored."""
MAX_TEXT = 100_000
"""Characters of a row's folded text, and of its texts, that are searched. What is behind them is not found."""

CONTENTS: Final[Path] = ("",)
"""Among the paths that are searched: the contents of the row's document. No member that is searched has this name.

Roots of the document that are not among its contents may follow, by name.
"""

FOLDING: Final = f"1 {unidata_version}"
"""Changes with the form of folded texts: then those that are stored must be computed anew."""

# scripts without spaces between words: each of their characters is a word
_UNSPACED: Final = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3041-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_PARTS: Final = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_CHUNKS: Final = re.compile(r'(-?)(?:"([^"]*)("?)|(\S+))')
_OUTSIDE_ASCII: Final = re.compile(r"[^\0-\x7f]")
_ASCII: Final = str.maketrans({chr(code): chr(code).lower() if chr(code).isalnum() else " " for code in range(128)})


def words_of(text: str) -> list[str]:
    """The words of a text: its letters, digits and marks between others, in lower case and without accents."""
    if text.isascii():
        return [word[:MAX_WORD] for word in text.translate(_ASCII).split()]
    plain = _OUTSIDE_ASCII.sub(lambda found: _folded_character(found[0]), text).translate(_ASCII)
    return [word[:MAX_WORD] for word in _PARTS.findall(plain)]


@lru_cache(maxsize=16_384)
def _folded_character(character: str) -> str:
    """A character in NFKD and without case: nothing of its accents, a space for what separates words.

    Each by itself, which means the same as the whole text does: only the order of accents depends on what is around
    them. ``normalize`` sorts these in a time that is quadratic in their number, and 20,000 in a row take it 20 seconds.
    """
    return "".join(map(_shown, normalize("NFKD", normalize("NFKD", character).casefold())))


def _shown(character: str) -> str:
    if combining(character):
        return ""
    return character if character.isascii() or category(character)[0] in "LMN" else " "


def parse_words(text: str) -> Words:
    """Read what is searched for: words, ``"phrases"``, ``beginnings*`` and ``-excluded`` ones.

    The last word is a beginning too, unless it is excluded or inside quotation marks that are closed. What a character
    that belongs to no word splits is a phrase. Raises :class:`ValueError` for more than :data:`MAX_WORDS` words.
    """
    chunks = list(_CHUNKS.finditer(text))
    wanted: dict[str, None] = {}
    without: dict[str, None] = {}
    count = 0
    for number, chunk in enumerate(chunks, 1):
        minus, quoted, closed, plain = chunk.groups()
        words = words_of(quoted if plain is None else plain)
        count += len(words)
        if not words:
            continue
        if count > MAX_WORDS:
            raise ValueError(f"has more than {MAX_WORDS} words")
        begins = plain.endswith("*") if plain is not None else False
        if number == len(chunks) and not minus and not closed:
            begins = True
        needle = f" {' '.join(words)}{'' if begins else ' '}"
        (without if minus else wanted)[needle] = None
    return Words(tuple(sorted(wanted)), tuple(sorted(without)))


class SearchTest(Protocol):
    """Tests whether a row is found, given the folded text of its document's contents."""

    def __call__(self, row: Mapping[str, Any], contents: str = "", /) -> bool: ...


def compile_search(search: Search) -> SearchTest:
    """Return a function that tests whether a row is found."""
    wanted, without = search.words

    def is_found(row: Mapping[str, Any], contents: str = "", /) -> bool:
        text = folded_text(row, search.paths)
        return all(part in text or part in contents for part in wanted) and not any(
            part in text or part in contents for part in without
        )

    return is_found


def finds_contents(paths: Sequence[Path]) -> bool:
    """Whether the contents of documents are among what is searched."""
    return any(path[:1] == CONTENTS for path in paths)


def folded_text(data: Mapping[str, Any], paths: Sequence[Path]) -> str:
    """The folded text of the members at ``paths``: strings and integers, alone or anywhere inside them."""
    return _folded_recently(
        _lines(chain.from_iterable(_texts(_member(data, path)) for path in paths if path[:1] != CONTENTS))
    )


def fold_texts(texts: Iterable[str]) -> str:
    """The folded text of several texts. Of an iterator, no more is taken than counts."""
    return _folded(_lines(texts))


def _lines(texts: Iterable[str]) -> str:
    lines: list[str] = []
    left = MAX_TEXT
    for text in texts:
        lines.append(text[:left].replace("\n", " "))
        left -= len(text)
        if left <= 0:
            break
    return "\n".join(lines)


@lru_cache(maxsize=64)
def _folded_recently(lines: str) -> str:
    """An event is compared with many queries, so the newest are kept."""
    return _folded(lines)


def _folded(lines: str) -> str:
    """The folded text of one text for each line."""
    parts = [f" {' '.join(words)} " for line in lines.split("\n") if (words := words_of(line))]
    folded = "\n".join(parts)
    if len(folded) <= MAX_TEXT:
        return folded
    return folded[: folded.rfind(" ", 0, MAX_TEXT) + 1].rstrip("\n")


def _member(data: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(data, dict):
            return None
        data = data.get(name)
    return data


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from _texts(value[name])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        yield str(value)
