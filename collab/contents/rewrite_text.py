"""Texts become other texts: which characters and embeds stay, and which marks begin and end where."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from collab.contents.align import changed_words, kept, pairs
from collab.contents.draft import Draft, parent_of
from collab.contents.items import ItemRun, Type
from collab.contents.tree import ContentValue, Embed, Node, Run, format_of, mark, value_of
from collab.contents.values import equal, text_of
from collab.contents.write_node import write_characters, write_marks, write_value
from collab.gate.struct_content import FORMAT, STRING
from collab.gate.structs import Id

Says = Callable[[ContentValue], Sequence[Hashable]]
Steps = Sequence[tuple[int | None, int | None]]
"""``(i, j)``: token i of ours stays as token j of theirs, ``(i, None)``: it goes, ``(None, j)``: theirs is new, ``(i,
-1)``: ours stays, and is nothing of theirs."""

_NOTHING = ItemRun(0, 0, 0, STRING, "")


class TextToken(NamedTuple):
    """A character, or an embed with a ``value``: elements ``at`` of an ``item`` in the type with number ``place``."""

    text: str
    value: ContentValue
    marks: Mapping[str, Any]
    units: Sequence[Hashable] = ()
    place: int = 0
    item: ItemRun = _NOTHING
    at: int = 0


@dataclass(slots=True)
class TextLine:
    """Tokens in a row, and the beginnings and ends of marks that stand before each of them, and behind the last one."""

    tokens: list[TextToken] = field(default_factory=list)
    formats: dict[tuple[int, int], list[ItemRun]] = field(default_factory=dict)
    """By the number of the type and that of the token; one behind the last one of the type for the rest."""

    @classmethod
    def of(cls, types: Sequence[Type], says: Says) -> TextLine:
        """The content of adjacent texts of the document."""
        line = cls()
        tokens = line.tokens
        for place, type_ in enumerate(types):
            marks: dict[str, Any] = {}
            for item in type_.items():
                if item.deleted:
                    continue
                if item.ref == FORMAT:
                    line.formats.setdefault((place, len(tokens)), []).append(item)
                    marks = mark(marks, item)
                elif item.ref == STRING:
                    assert isinstance(item.content, str)
                    tokens += (
                        TextToken(text, None, marks, (), place, item, at) for at, text in _characters(item.content)
                    )
                else:
                    for at in range(item.length):
                        value = value_of(item, at)
                        tokens.append(TextToken("", value, marks, tuple(says(value)), place, item, at))
        return line

    @classmethod
    def wanted(cls, children: Sequence[Run | Embed], says: Says) -> TextLine:
        """A content that shall be there."""
        line = cls()
        for child in children:
            if isinstance(child, Run):
                line.tokens += (TextToken(text, None, child.marks) for text in child.text)
            else:
                line.tokens.append(TextToken("", child.value, child.marks, tuple(says(child.value))))
        return line


def _characters(units: str) -> Iterator[tuple[int, str]]:
    if units.isascii():
        yield from enumerate(units)
        return
    at = 0
    while at < len(units):
        size = 2 if "\ud800" <= units[at] <= "\udbff" and at + 1 < len(units) else 1
        yield at, text_of(units[at : at + size])
        at += size


def script(
    mine: TextLine,
    theirs: TextLine,
    of: Says | None,
    wanted: Says | None,
    likeness: Callable[[ContentValue, ContentValue], float],
    blank: Callable[[ContentValue], bool],
) -> Steps:
    """What happens to each token. With ``of`` and ``wanted``, which tell what a line says, lines are compared first."""
    is_empty = bool(theirs.tokens) and all(map(_stays, mine.tokens))
    fillable = {n for n, token in enumerate(mine.tokens) if is_empty and blank(token.value)}

    def serves(present: TextToken, token: TextToken) -> float:
        if _stays(present) and token.units and not (is_empty and blank(present.value)):
            return 0.0
        return likeness(present.value, token.value)

    found: list[tuple[int, int]] = []
    if of is None or wanted is None:
        found = _same_tokens(mine.tokens, theirs.tokens, 0, 0, serves)
    else:
        ours, others = _lines(mine.tokens), _lines(theirs.tokens)
        for (start, end), (at, to) in _same_lines(mine.tokens, theirs.tokens, ours, others, of, wanted):
            found += _same_tokens(mine.tokens[start:end], theirs.tokens[at:to], start, at, serves)
    stays = [_stays(token) and n not in fillable for n, token in enumerate(mine.tokens)]
    return list(_in_order(stays, len(theirs.tokens), found))


def _in_order(
    stays: Sequence[bool], theirs: int, found: Sequence[tuple[int, int]]
) -> Iterator[tuple[int | None, int | None]]:
    i = j = 0
    for x, y in [*found, (len(stays), theirs)]:
        yield from ((n, -1 if stays[n] else None) for n in range(i, x))
        yield from ((None, n) for n in range(j, y))
        if x < len(stays):
            yield x, y
        i, j = x + 1, y + 1


def _stays(token: TextToken) -> bool:
    return not token.text and not token.units


def _same_tokens(
    mine: Sequence[TextToken],
    theirs: Sequence[TextToken],
    start: int,
    at: int,
    serves: Callable[[TextToken, TextToken], float],
) -> list[tuple[int, int]]:
    """The tokens that stay, or become others, with the places of both counted from ``start`` and ``at``."""
    embeds: dict[Hashable, str] = {}

    def name(token: TextToken) -> str:
        if token.text:
            return token.text
        key = token.units if token.units else id(token)
        return embeds.setdefault(key, f"\0{len(embeds)}")  # no character

    if [(token.text, token.units) for token in mine] == [(token.text, token.units) for token in theirs]:
        return [(start + n, at + n) for n in range(len(mine))]
    visible = [n for n, token in enumerate(mine) if not _stays(token)]
    same = [(visible[x], y) for x, y in changed_words([name(mine[n]) for n in visible], [name(t) for t in theirs])]
    found: list[tuple[int, int]] = []
    a = b = 0
    for x, y in [*same, (len(mine), len(theirs))]:
        ours = [n for n in range(a, x) if not mine[n].text]
        others = [n for n in range(b, y) if not theirs[n].text]
        if ours and others:
            for i, j in pairs(len(ours), len(others), lambda i, j: serves(mine[ours[i]], theirs[others[j]])):  # noqa: B023
                found.append((ours[i] + start, others[j] + at))
        if x < len(mine):
            found.append((x + start, y + at))
        a, b = x + 1, y + 1
    return found


_Extent = tuple[int, int]


def _lines(tokens: Sequence[TextToken]) -> list[_Extent]:
    found = []
    start = 0
    for n, token in enumerate(tokens):
        if token.text == "\n":
            found.append((start, n + 1))
            start = n + 1
    return [*found, (start, len(tokens))] if start < len(tokens) else found


def _node(tokens: Sequence[TextToken], extent: _Extent) -> Node:
    children: list[Run | Embed] = []
    for _, group in groupby(tokens[extent[0] : extent[1]], key=lambda token: (bool(token.text), id(token.marks))):
        run = list(group)
        if run[0].text:
            children.append(Run("".join(token.text for token in run), run[0].marks))
        else:
            children += (Embed(token.value, token.marks) for token in run)
    return Node("text", children=children)


def _same_lines(
    mine: Sequence[TextToken],
    theirs: Sequence[TextToken],
    ours: Sequence[_Extent],
    others: Sequence[_Extent],
    of: Says,
    wanted: Says,
) -> Iterator[tuple[_Extent, _Extent]]:
    """The lines that stay, or become others. Lines of ours that say nothing stay without a counterpart."""
    units = [tuple(of(_node(mine, span))) for span in ours]
    keys = [tuple(wanted(_node(theirs, span))) for span in others]
    single = [key[0] if len(key) == 1 else ("nothing", n) for n, key in enumerate(keys)]
    a = b = 0
    for i, j in [*kept(units, single), (len(ours), len(others))]:
        for x, y in zip(range(a, i), range(b, j), strict=False):
            yield ours[x], others[y]
        if i < len(ours):
            yield ours[i], others[j]
        a, b = i + 1, j + 1


def write_text(
    draft: Draft,
    types: Sequence[Type],
    mine: TextLine,
    theirs: TextLine,
    steps: Steps,
    marks: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]],
) -> None:
    """Write the steps into the texts; ``marks`` tells those of a token that stays, from its old and new ones."""
    place = 0
    pen = Pen(draft, types[0])
    number = 0  # of the next token of ours
    known: dict[tuple[int, int], Mapping[str, Any]] = {}  # by the marks of both, which many tokens share
    for i, j in steps:
        if i is None:
            assert j is not None
            token = theirs.tokens[j]
            pen.type_in(token.text, token.value, token.marks)
            continue
        token = mine.tokens[i]
        while place < token.place:
            pen.end(mine.formats.get((place, number), ()))
            place += 1
            pen = Pen(draft, types[place])
        number = i + 1
        pen.meet(mine.formats.get((place, i), ()))
        if j is None:
            pen.flush()
            draft.delete((token.item, token.at, token.at + max(1, _size(token))))
            continue
        after = token.marks
        if j >= 0:
            wanted = theirs.tokens[j].marks
            key = id(token.marks), id(wanted)
            after = known[key] = known[key] if key in known else marks(token.marks, wanted)
        pen.stand_before(token, after)
        pen.pass_by(token.item, token.at + max(1, _size(token)))
    while place < len(types):
        pen.end(mine.formats.get((place, number), ()))
        place += 1
        if place < len(types):
            pen = Pen(draft, types[place])


def _size(token: TextToken) -> int:
    return 2 if token.text > "\uffff" else len(token.text)


class Pen:
    """Writes into one list from its beginning to its end, between the elements that stay."""

    def __init__(self, draft: Draft, type_: Type) -> None:
        self._draft = draft
        self._type = type_
        self._parent = parent_of(type_)
        self._base: Id | None = None  # the last element that stays
        self._left: Id | None = None  # the same, or the last new one
        self._marks: dict[str, Any] = {}  # those behind the last element
        self._met: list[ItemRun] = []  # beginnings and ends of marks, of which it is not yet known whether they stay
        self._text: list[str] = []  # not yet written

    def _right(self) -> Id | None:
        """The old element before which new ones stand."""
        return self._draft.right_of(self._type, self._base)

    def put(self, value: ContentValue, *, embedded: bool = False) -> None:
        """Write a value here."""
        self._left = write_value(self._draft, value, self._left, self._right(), self._parent, embedded=embedded)

    def pass_by(self, item: ItemRun, end: int | None = None) -> None:
        """Go behind an element that stays."""
        self.flush()
        self._base = self._left = item.last if end is None else (item.client, item.clock + end - 1)

    def type_in(self, text: str, value: ContentValue, marks: Mapping[str, Any]) -> None:
        """Write a character or an embed here."""
        if not equal(self._marks, marks):
            self.flush()
            self._left = write_marks(self._draft, self._marks, marks, self._left, self._right(), self._parent)
            self._marks = dict(marks)
        if text:
            self._text.append(text)
        else:
            self.flush()
            self.put(value, embedded=True)

    def meet(self, formats: Sequence[ItemRun]) -> None:
        """Pass beginnings and ends of marks."""
        self._met += formats

    def stand_before(self, token: TextToken, marks: Mapping[str, Any]) -> None:
        """See to it that a token of ours has these marks."""
        if not self._met and not self._text and equal(self._marks, marks):
            return
        self.flush()
        after = dict(self._marks)
        for item in self._met:
            after = mark(after, item)
        if not equal(after, marks):
            after = dict(self._marks)
            for item in self._met:
                name, value = format_of(item)
                if equal(marks.get(name), value) or (marks.get(name) is None and value is None):
                    after = mark(after, item)
                else:
                    self._draft.delete((item, 0, 1))
            self._write_before(token, after, marks)
        self._marks = dict(marks)
        self._met = []

    def _write_before(self, token: TextToken, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        item, at = token.item, token.at
        near = (item.client, item.clock + at - 1) if at else item.left.last if item.left is not None else None
        origin = self._left if near == self._base else near
        write_marks(self._draft, before, after, origin, (item.client, item.clock + at), self._parent)

    def end(self, formats: Sequence[ItemRun]) -> None:
        """Come to the end of the list: marks that began here end."""
        self.flush()
        self.meet(formats)
        after, known = dict(self._marks), dict[str, Any]()
        for item in self._met:
            after = mark(after, item)
        for item in self._type.items():
            if not item.deleted and item.ref == FORMAT:
                known = mark(known, item)
        if equal(after, {name: value for name, value in known.items() if name in after}):
            return
        last = self._type.start
        while last is not None and last.right is not None:
            last = last.right
        end = last.last if last is not None else None
        origin = self._left if end == self._base else end
        write_marks(self._draft, after, {}, origin, None, self._parent)

    def flush(self) -> None:
        """Write the characters that wait."""
        if self._text:
            text = "".join(self._text)
            self._left = write_characters(self._draft, text, self._left, self._right(), self._parent)
            self._text = []
