"""What all storages do alike for full-text search: which texts are stored of a row, and which words its index holds.

A storage keeps the folded texts of the rows of searchable collections (:mod:`collab.query.search`): that of the members
and that of the contents. Words of different projects and collections are different words in the index, so a search
costs what is in its own collection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from collab.errors import Unavailable
from collab.names import RoomKey
from collab.query.query import IndexPaths, Path
from collab.query.search import CONTENTS, FOLDING, folded_text
from collab.storage.base import Fact, NewContents

log = logging.getLogger(__name__)

_TOLD = 10_000
_FEW_WORDS = 64
_SCOPE = 6  # characters: rows of a collection whose scope is the same by chance are looked at in vain


def write_form(paths: IndexPaths) -> str:
    """What the stored texts of a collection depend on besides its rows; empty: nothing is stored."""
    return msgspec.json.encode((FOLDING, paths)).decode() if paths else ""


@lru_cache(maxsize=1024)
def paths_in(form: str) -> IndexPaths:
    """The members in a form."""
    return msgspec.json.decode(form, type=tuple[str, IndexPaths])[1] if form else ()


def contents_path(form: str) -> Path | None:
    """The path of the contents in a form; ``None`` if they are not stored."""
    return next((path for path in paths_in(form) if path[:1] == CONTENTS), None)


def contents_prefix(path: Path) -> str:
    """How all forms begin that store the contents with this path, which is before all others."""
    return write_form((path,)).removesuffix("]]")


def keeps_contents(before: str | None, form: str) -> bool:
    """Whether the contents that are stored are also what another form stores."""
    path = contents_path(form)
    return path is None or (before is not None and contents_path(before) == path)


def stored_contents(form: str, contents: NewContents) -> NewContents | None:
    """What is stored of a document's contents: ``None`` if they are not searched, no text if others are."""
    path = contents_path(form)
    if path is None:
        return None
    return contents if contents.path == path else NewContents(None, path)


def check_form(collection: str, paths: IndexPaths, form: str | None, *, done: bool, reading: bool = False) -> None:
    """Raise :class:`Unavailable` unless the index of a collection has exactly these members of all rows.

    ``reading``: the contents of documents are not all among them yet.
    """
    if form != write_form(paths):
        raise Unavailable(f"what is searched in {collection} has been declared anew; retry")
    if not done:
        raise Unavailable(f"{collection} is still being indexed for search; retry")
    if reading:
        raise Unavailable(f"the documents of {collection} are still being read for search; retry")


class IndexingProgress:
    """Tells the log how far a collection is indexed: at first, at the end, and each :data:`_TOLD` rows."""

    def __init__(self, collection: str, left: int) -> None:
        self._collection = collection
        self._all = self._told = left
        if left:
            log.info("%s: indexing %d rows for search", collection, left)

    def reached(self, left: int) -> None:
        """So many rows are left."""
        if not left or self._told - left >= _TOLD:
            self._told = left
            log.info("%s: %d of %d rows are indexed for search", self._collection, self._all - left, self._all)


@lru_cache(maxsize=1024)
def scope_of(project: str, collection: str) -> str:
    """What precedes each word of a collection in the index: letters and digits, of a fixed length."""
    return sha256(f"{project}/{collection}".encode()).hexdigest()[:_SCOPE]


class StoredTexts(NamedTuple):
    """The folded texts of a row. ``scope`` is that of its collection, empty if the row has no words."""

    scope: str
    fields: str
    contents: str

    def with_new(self, scope: str, fields: str | None, contents: str | None) -> StoredTexts:
        """The same with what is new; ``None``: as it was."""
        after = StoredTexts(
            scope, self.fields if fields is None else fields, self.contents if contents is None else contents
        )
        return after if after.fields or after.contents else NO_TEXTS

    def words(self) -> set[str]:
        """The different words."""
        return {*self.fields.split(), *self.contents.split()}

    def has(self, word: str) -> bool:
        """Whether a word occurs."""
        return f" {word} " in self.fields or f" {word} " in self.contents


NO_TEXTS = StoredTexts("", "", "")


def changed_words(before: StoredTexts, after: StoredTexts) -> tuple[list[str], list[str]]:
    """The words that a row does not have any more, and those that it has now, as the index has them."""
    if before.scope != after.scope:
        gone, new = before.words(), after.words()
    else:
        was_fields, now_fields = _different_parts(before.fields, after.fields)
        was_contents, now_contents = _different_parts(before.contents, after.contents)
        was = StoredTexts(before.scope, was_fields, was_contents)
        now = StoredTexts(after.scope, now_fields, now_contents)
        gone, new = was.words() - now.words(), now.words() - was.words()
        if len(gone) + len(new) > _FEW_WORDS:
            gone, new = before.words() - after.words(), after.words() - before.words()
        else:  # most of a long text is as it was
            gone = {word for word in gone if not after.has(word)}
            new = {word for word in new if not before.has(word)}
    return sorted(before.scope + word for word in gone), sorted(after.scope + word for word in new)


def _different_parts(before: str, after: str) -> tuple[str, str]:
    """Two texts without the words with which both begin and end."""
    start = _common_start(before, after)
    start = before.rfind(" ", 0, start) + 1
    rest, other = before[start:], after[start:]
    end = _common_start(rest[::-1], other[::-1])
    same = rest[len(rest) - end :]
    end = len(same) - same.index(" ") if " " in same else 0
    return rest[: len(rest) - end], other[: len(other) - end]


def _common_start(before: str, after: str) -> int:
    """How many characters of two texts are the same, from the first one on."""
    low, high = 0, min(len(before), len(after))
    while low < high:
        middle = (low + high + 1) // 2
        if before[low:middle] == after[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class WordAsked(msgspec.Struct, frozen=True):
    """A word, as the index has it, or its beginning."""

    word: str
    begins: bool


def words_asked(scope: str, part: str) -> list[WordAsked]:
    """The words that a row needs for a part of what is searched for: each of its words, the last one as it is meant."""
    words = part.split()
    begins = not part.endswith(" ")
    return [WordAsked(scope + word, begins and number == len(words)) for number, word in enumerate(words, 1)]


def contents_after(facts: Iterable[Fact], forms: Mapping[str, str]) -> dict[RoomKey, NewContents]:
    """The contents that a commit changes, of those that are searched."""
    found: dict[RoomKey, NewContents] = {}
    for fact in facts:
        key = fact.entity.key
        if fact.contents is not None and (stored := stored_contents(forms.get(key.collection, ""), fact.contents)):
            found[key] = stored
    return found


def texts_after(facts: Iterable[Fact], forms: Mapping[str, str]) -> list[tuple[Fact, str]]:
    """The last fact of each entity whose searchable members a commit may have changed, and their folded text."""
    last: dict[Any, Fact] = {}
    touched: set[Any] = set()
    for fact in facts:
        form = forms.get(fact.entity.key.collection)
        if form:
            last[fact.entity.key] = fact
            if _touches(fact, paths_in(form)):
                touched.add(fact.entity.key)
    return [
        (fact, folded_text(fact.entity.data, paths_in(forms[key.collection])))
        for key, fact in last.items()
        if key in touched
    ]


def _touches(fact: Fact, paths: Sequence[Sequence[str]]) -> bool:
    return fact.event.type in ("created", "restored") or any(path[0] in fact.event.changes for path in paths)
