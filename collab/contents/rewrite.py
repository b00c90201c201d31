"""The edit that makes a part of a document say something else, and leaves alone what already says it.

What is wanted may come from a format that cannot say everything: Markdown knows no colours. :class:`Meaning` tells what
the format says of an element. Elements that say the same stay untouched, with everything that the format cannot say;
elements of which it says nothing stay, too. In a changed text only the changed characters are replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from collab.contents.align import kept, pairs
from collab.contents.draft import Draft, parent_of
from collab.contents.items import TEXT, XML_TEXT, ItemRun, Type
from collab.contents.replica import Replica
from collab.contents.rewrite_text import Pen, TextLine, script, write_text
from collab.contents.tree import ContentValue, Embed, Node, Run, node_of, value_of
from collab.contents.values import UNDEFINED, equal
from collab.contents.write_node import write_value


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a format says.

    ``of`` gives what it says of an element of the document, as any number of units, and ``wanted`` the same for an
    element that shall be there. ``blank``: an element without content of its own, which may be filled. ``mark``:
    whether the format knows a mark. ``attribute``: whether it would say that an attribute has this value; then the
    attribute goes if it is not wanted. ``keeps``: attributes that never change. ``lines``: the root is a text whose
    lines are compared like elements.
    """

    of: Callable[[ContentValue], Sequence[Hashable]]
    wanted: Callable[[ContentValue], Sequence[Hashable]]
    blank: Callable[[ContentValue], bool]
    mark: Callable[[str], bool]
    attribute: Callable[[str, Any], bool]
    keeps: frozenset[str] = frozenset()
    lines: bool = False


def rewrite(now: Replica, root: str, wanted: Node, meaning: Meaning, client: int) -> bytes | None:
    """An update (Yjs encoding v1) after which a root says what is ``wanted``; ``None`` if it does already.

    It is written under ``client``, which must be unknown to ``now``.
    """
    draft = Draft(now, client)
    _Rewriting(draft, meaning).make(now.root(root), wanted, root=True)
    return draft.encoded()


@dataclass(slots=True)
class _Part:
    """Something in a list of XML: an element, or adjacent texts. ``value`` has the content of all of these."""

    items: list[ItemRun]
    value: ContentValue
    is_text: bool
    units: Sequence[Hashable]


class _Rewriting:
    def __init__(self, draft: Draft, meaning: Meaning) -> None:
        self._draft = draft
        self._meaning = meaning

    def make(self, type_: Type, wanted: Node, *, root: bool = False) -> None:
        """Make a type of the document say what is wanted."""
        if not root:
            self._entries(type_, wanted.entries)
        if wanted.kind in ("text", "xml_text"):
            self._text([type_], wanted.children, lines=root and self._meaning.lines)
        elif wanted.kind != "map":
            self._list(type_, wanted.children)

    def _entries(self, type_: Type, wanted: Mapping[str, ContentValue]) -> None:
        here = {key: value_of(item, -1) for key, item in type_.entries.items() if not item.deleted}
        gone = [key for key, value in here.items() if key not in wanted and self._meaning.attribute(key, value)]
        wanted = {**wanted, **dict.fromkeys(gone)}
        for key, value in wanted.items():
            if key in self._meaning.keeps and key in type_.entries:
                continue
            item = type_.entries.get(key)
            present = value_of(item, -1) if item is not None and not item.deleted else None
            if equal(present, value) or (present is None and value is None):
                continue
            if item is not None and not item.deleted:
                self._draft.delete((item, 0, item.length))
            if value is not None:
                write_value(self._draft, value, item.last if item is not None else None, None, parent_of(type_), key)

    # elements

    def _list(self, type_: Type, children: Sequence[Run | Embed]) -> None:
        mine, theirs = self._parts(type_), [child.value for child in _merged(children)]
        units = [self._wanted(value) for value in theirs]
        is_empty = bool(theirs) and not any(part.units for part in mine)
        pen = Pen(self._draft, type_)
        for i, j in _steps(mine, units, lambda i, j: self._likeness(mine[i], theirs[j], units[j], is_empty)):
            if i is None:
                assert j is not None
                pen.put(theirs[j])
                continue
            part = mine[i]
            stays = not part.units and not (is_empty and not part.is_text and self._meaning.blank(part.value))
            if j is None and not stays:
                for item in part.items:
                    if not part.is_text or (item.content.__class__ is Type and _is_text(item)):
                        self._draft.delete((item, 0, item.length))
                continue
            pen.pass_by(part.items[-1])
            if j is not None and j >= 0:
                self._pair(part, theirs[j])

    def _pair(self, part: _Part, wanted: ContentValue) -> None:
        assert isinstance(wanted, Node)
        if part.is_text:
            types = [item.content for item in part.items if isinstance(item.content, Type) and _is_text(item)]
            self._text(types, wanted.children)
        else:
            assert isinstance(part.items[0].content, Type)
            self.make(part.items[0].content, wanted)

    def _likeness(self, part: _Part, wanted: ContentValue, units: Sequence[Hashable], is_empty: bool) -> float:
        """How well an element serves to become another one; 0 if it cannot."""
        if not part.units and units and not part.is_text and not (is_empty and self._meaning.blank(part.value)):
            return 0.0
        return _likeness(part.value, wanted)

    def _parts(self, type_: Type) -> list[_Part]:
        parts: list[_Part] = []
        skipped: list[_Part] = []  # elements of which nothing is said, behind a text
        for item in type_.items():
            if item.deleted:
                continue
            if not isinstance(item.content, Type):
                parts.append(_Part([item], UNDEFINED, False, ()))
                skipped = []
                continue
            value = node_of(item.content)
            if value.kind == "xml_text":
                before = parts[-1 - len(skipped)] if len(parts) > len(skipped) else None
                if before is not None and before.is_text:
                    del parts[len(parts) - len(skipped) :]
                    before.items += [*(each for part in skipped for each in part.items), item]
                    before.value = Node("xml_text", children=[*before.value.children, *value.children])
                    before.units = self._said(before.value)
                else:
                    parts.append(_Part([item], value, True, self._said(value)))
                skipped = []
                continue
            part = _Part([item], value, False, tuple(self._meaning.of(value)))
            skipped = [*skipped, part] if not part.units and not self._meaning.blank(value) else []
            parts.append(part)
        return parts

    def _wanted(self, value: ContentValue) -> Sequence[Hashable]:
        is_text = isinstance(value, Node) and value.kind == "xml_text"
        return self._said(value) if is_text else tuple(self._meaning.wanted(value))

    def _said(self, text: Node) -> Sequence[Hashable]:
        """What a text says: its characters with the marks that the format knows."""
        runs: list[tuple[str, str]] = []
        for child in text.children:
            shown = child.text if isinstance(child, Run) else repr(child.value)
            marks = repr(sorted((name, value) for name, value in child.marks.items() if self._meaning.mark(name)))
            if runs and runs[-1][1] == marks:
                runs[-1] = (runs[-1][0] + shown, marks)
            else:
                runs.append((shown, marks))
        return (tuple(runs),) if runs else ()

    # text

    def _text(self, types: Sequence[Type], wanted: Sequence[Run | Embed], *, lines: bool = False) -> None:
        line = TextLine.of(types, self._meaning.of)
        theirs = TextLine.wanted(wanted, self._meaning.wanted)
        of, said = (self._meaning.of, self._meaning.wanted) if lines else (None, None)
        steps = script(line, theirs, of, said, _likeness, self._meaning.blank)
        write_text(self._draft, types, line, theirs, steps, self._marks)
        for i, j in steps:
            if i is not None and j is not None and j >= 0:
                item, value = line.tokens[i].item, theirs.tokens[j].value
                if isinstance(item.content, Type) and isinstance(value, Node) and self._differs(item.content, value):
                    self.make(item.content, value)

    def _differs(self, type_: Type, wanted: Node) -> bool:
        return tuple(self._meaning.of(node_of(type_))) != tuple(self._meaning.wanted(wanted))

    def _marks(self, present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The marks of characters that stay."""
        marks = {name: value for name, value in present.items() if not self._meaning.mark(name)}
        for name, value in wanted.items():
            known = present.get(name, UNDEFINED)
            marks[name] = known if self._says(known, value) else value
        return marks

    def _says(self, present: Any, wanted: Any) -> bool:
        """Whether a mark has the wanted value; it may have attributes that the format cannot say."""
        if not isinstance(present, dict) or not isinstance(wanted, dict):
            return equal(present, wanted)
        extra = {key: value for key, value in present.items() if key not in wanted and value is not None}
        return not any(map(self._meaning.attribute, extra, extra.values())) and all(
            equal(present.get(key), value) for key, value in wanted.items()
        )


def _steps(
    mine: Sequence[_Part], theirs: Sequence[Sequence[Hashable]], likeness: Callable[[int, int], float]
) -> Iterator[tuple[int | None, int | None]]:
    """What happens to the elements, in order.

    ``(i, -1)``: ours stays; ``(i, j)``: ours becomes theirs; ``(i, None)``: ours has no counterpart; ``(None, j)``:
    theirs is new.
    """
    single = [keys[0] if len(keys) == 1 else ("nothing", n) for n, keys in enumerate(theirs)]
    a = b = 0
    ends = [(i, j, len(mine[i].units)) for i, j in kept([part.units for part in mine], single)]
    for i, j, size in [*ends, (len(mine), len(theirs), 0)]:
        found = dict(pairs(i - a, j - b, lambda x, y, a=a, b=b: likeness(a + x, b + y)))  # type: ignore[misc]
        done = 0
        for x in range(i - a):
            if x in found:
                yield from ((None, b + y) for y in range(done, found[x]))
                yield a + x, b + found[x]
                done = found[x] + 1
            else:
                yield a + x, None
        yield from ((None, b + y) for y in range(done, j - b))
        if i < len(mine):
            yield i, -1
        a, b = i + 1, j + size


def _merged(children: Sequence[Run | Embed]) -> Iterator[Embed]:
    """The children of an element, with adjacent texts as one."""
    text: Node | None = None
    for child in children:
        assert isinstance(child, Embed)
        value = child.value
        if isinstance(value, Node) and value.kind == "xml_text":
            text = value if text is None else replace(text, children=[*text.children, *value.children])
            continue
        if text is not None:
            yield Embed(text, {})
            text = None
        yield child
    if text is not None:
        yield Embed(text, {})


def _is_text(item: ItemRun) -> bool:
    return isinstance(item.content, Type) and item.content.kind in (TEXT, XML_TEXT)


def _likeness(present: ContentValue, wanted: ContentValue) -> float:
    """How alike two values are; 0 if the one cannot become the other."""
    if not isinstance(present, Node) or not isinstance(wanted, Node) or not _alike(present, wanted):
        return 0.0
    return 0.01 + _similarity(present, wanted)


def _alike(one: Node, other: Node) -> bool:
    """Whether one can become the other: Lexical names its elements by an attribute."""
    return (one.kind, one.name, one.entries.get("__type")) == (other.kind, other.name, other.entries.get("__type"))


def _similarity(one: Node, other: Node) -> float:
    """The share of words that both have, from 0 to 1."""
    mine, theirs = Counter(_words(one)), Counter(_words(other))
    total = mine.total() + theirs.total()
    return 2 * (mine & theirs).total() / total if total else 1.0


def _words(node: Node) -> Iterator[str]:
    for child in node.children:
        if isinstance(child, Run):
            yield from child.text.split()
        elif isinstance(child.value, Node):
            yield from _words(child.value)
