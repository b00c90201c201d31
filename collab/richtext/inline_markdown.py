"""Texts with marks as Markdown (CommonMark 0.31, and GitHub's strikethrough)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any

from collab.richtext.addresses import safe_image, safe_link
from collab.richtext.model import RichNode, attrs_of, display_text, marks_of, string_of

_SIGNS = {"bold": "**", "italic": "*", "strike": "~~"}
_SPECIAL = re.compile(r"[\\`*_\[\]<>~&|]")
_AT_START = re.compile(r"(?:#{1,6}(?=\s|$)|[-+](?=\s|$)|=+\s*$|-+\s*$|:?-+:?$)")
_NUMBERED = re.compile(r"(\d{1,9})([.)])(?=\s|$)")
_SPACES = re.compile(r"[\t\n\r\f\v ]+")
_BACKTICKS = re.compile("`+")


@dataclass(slots=True)
class _Piece:
    """A text, or with a ``raw`` form an image or a break."""

    text: str
    marks: dict[str, Any]
    raw: str | None = None


@dataclass(slots=True)
class _Sign:
    """A delimiter that begins or ends a mark, or (``None``) characters."""

    text: str
    begins: bool | None = None


def inline_markdown(parts: Sequence[RichNode], *, one_line: bool = False, in_cell: bool = False) -> str:
    """Inline nodes as Markdown. ``one_line``: breaks become spaces, as headings and tables have none. ``in_cell``: of a
    table, which ends at a pipe, also in code.
    """
    pieces = _trimmed(_pieces(parts, one_line))
    for piece in pieces:
        if in_cell and "code" in piece.marks and piece.raw is None:
            piece.text = piece.text.replace("|", "\\|")
    out: list[_Sign] = []
    for address, group in groupby(pieces, key=lambda piece: piece.marks.get("link")):
        inside = list(group)
        if address is None:
            _mark(inside, list(_SIGNS), out)
        else:
            out.append(_Sign("["))
            _mark(inside, list(_SIGNS), out)
            out.append(_Sign(f"]({address})"))
    return _escaped_start(_written(out))


def _pieces(parts: Sequence[RichNode], one_line: bool) -> list[_Piece]:
    found: list[_Piece] = []
    for part in parts:
        marks = marks_of(part)
        known: dict[str, Any] = {name: True for name in (*_SIGNS, "code") if name in marks}
        link = safe_link(marks.get("link", {}).get("href"))
        if link is not None:
            known["link"] = destination(link, marks["link"].get("title"))
        match part["type"]:
            case "text":
                found.append(_Piece(_SPACES.sub(_blank, part["text"]), known))
            case "mention":
                found.append(_Piece(display_text(part), known))
            case "hardBreak":
                found.append(_Piece(" ", {}) if one_line else _Piece("\n", {}, "\\\n"))
            case "image":
                image = image_markdown(part)
                if image:
                    found.append(_Piece("i", known, image))
    return [piece for piece in found if piece.text]


def _blank(found: re.Match[str]) -> str:
    """Line breaks inside a text are spaces, as in HTML."""
    return re.sub(r"[\t\n\r\f\v]+", " ", found[0])


def _trimmed(pieces: list[_Piece]) -> list[_Piece]:
    """Without spaces and breaks at the ends, and around breaks. Marks begin and end at non-spaces."""
    parts: list[_Piece] = []
    for piece in pieces:
        if piece.raw is not None or "code" in piece.marks:
            parts.append(piece)
            continue
        parts += (_Piece("".join(group), dict(piece.marks)) for _, group in groupby(piece.text, str.isspace))
    for name in (*_SIGNS, "link"):
        for value, group in groupby(parts, key=lambda piece, name=name: piece.marks.get(name)):  # type: ignore[misc]
            run = list(group)
            if value is not None:
                for piece in (*takewhile(_is_space, run), *takewhile(_is_space, run[::-1])):
                    piece.marks.pop(name, None)
    kept: list[_Piece] = []
    for piece in parts:
        if _is_space(piece) and (not kept or kept[-1].raw == "\\\n"):
            continue
        if piece.raw == "\\\n":
            while kept and _is_space(kept[-1]) and kept[-1].raw is None:
                kept.pop()
            if not kept or kept[-1].raw == "\\\n":
                continue
        kept.append(piece)
    while kept and _is_space(kept[-1]):
        kept.pop()
    return kept


def _is_space(piece: _Piece) -> bool:
    return "code" not in piece.marks and piece.text.isspace()


def _mark(pieces: Sequence[_Piece], names: Sequence[str], out: list[_Sign]) -> None:
    """Append pieces with the delimiters of their marks: of several the one that reaches farthest is outside."""
    n = 0
    while n < len(pieces):
        plain = n
        while plain < len(pieces) and (_is_space(pieces[plain]) or not pieces[plain].marks.keys() & set(names)):
            plain += 1
        out += _plain(pieces[n:plain])
        n = plain
        if n == len(pieces):
            return
        reach = {name: _reach(pieces, n, name) for name in names if name in pieces[n].marks}
        name = max(reach, key=lambda name: reach[name])
        end = reach[name]
        while _is_space(pieces[end - 1]):
            end -= 1
        sign = _sign(name, out[-1] if out else None, ends_together=end == len(pieces))
        out.append(_Sign(sign, True))
        _mark(pieces[n:end], [other for other in names if other != name], out)
        out.append(_Sign(sign, False))
        n = end


def _sign(name: str, before: _Sign | None, *, ends_together: bool) -> str:
    """A delimiter that begins behind another one. Of equal characters they would be one run, of which a parser knows no
    longer what ends where, unless both marks begin and end together.
    """
    sign = _SIGNS[name]
    if before is None or before.begins is None or before.text[0] != sign[0] or (before.begins and ends_together):
        return sign
    return "_" * len(sign)


def _reach(pieces: Sequence[_Piece], start: int, name: str) -> int:
    return next((n for n in range(start, len(pieces)) if name not in pieces[n].marks), len(pieces))


def _plain(pieces: Sequence[_Piece]) -> Iterator[_Sign]:
    for is_code, group in groupby(pieces, key=lambda piece: piece.raw is None and "code" in piece.marks):
        if is_code:
            yield _Sign(code_markdown("".join(piece.text for piece in group)))
        else:
            yield from (_Sign(piece.raw if piece.raw is not None else _escaped(piece.text)) for piece in group)


def _written(signs: Sequence[_Sign]) -> str:
    """Everything in a row. A delimiter begins or ends a mark only beside the right characters (CommonMark, 6.2), so
    characters that would prevent this are written as references.
    """
    out = [sign.text for sign in signs]
    for n in range(1, len(signs)):
        if signs[n].text == "[" and out[n - 1].endswith("!"):
            out[n - 1] = f"{out[n - 1][:-1]}\\!"  # else the link would be an image
    begins = [n for n, sign in enumerate(signs) if sign.begins]
    ends = [n for n, sign in enumerate(signs) if sign.begins is False]
    for n in (*reversed(begins), *ends):  # a reference may change what stands beside the delimiter before or behind it
        sign = signs[n]
        first = n
        while first and _are_one(signs[first - 1], sign):
            first -= 1
        last = n
        while last + 1 < len(signs) and _are_one(sign, signs[last + 1]):
            last += 1
        before = out[first - 1][-1:] if first else ""
        after = out[last + 1][:1] if last + 1 < len(signs) else ""
        if sign.begins and _is_letter(before) and not _is_letter(after):
            out[first - 1] = f"{out[first - 1][:-1]}&#{ord(before)};"
        elif not sign.begins and _is_letter(after) and (sign.text[0] == "_" or not _is_letter(before)):
            out[last + 1] = f"&#{ord(after)};{out[last + 1][1:]}"
    return "".join(out)


def _are_one(one: _Sign, other: _Sign) -> bool:
    """Whether adjacent delimiters form one run; another character beside them counts as punctuation."""
    return one.begins is not None and other.begins is not None and one.text[0] == other.text[0]


def _is_letter(character: str) -> bool:
    """Neither a space nor punctuation, nor an end."""
    return bool(character) and not character.isspace() and unicodedata.category(character)[0] not in "PSZ"


def _escaped(characters: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", characters)


def _escaped_start(line: str) -> str:
    """No line may look like the beginning of a block."""
    lines = []
    for each in line.split("\n"):
        if _AT_START.match(each):
            each = "\\" + each
        each = _NUMBERED.sub(r"\1\\\2", each, count=1) if _NUMBERED.match(each) else each
        lines.append(each)
    return "\n".join(lines)


def code_markdown(code: str) -> str:
    """A code span."""
    longest = max((len(found) for found in _BACKTICKS.findall(code)), default=0)
    fence = "`" * (longest + 1)
    if code.startswith("`") or code.endswith("`") or (code.startswith(" ") and code.endswith(" ") and code.strip()):
        code = f" {code} "
    return f"{fence}{code}{fence}"


def destination(address: str, title: Any) -> str:
    """An address with a title, as they stand in parentheses."""
    address = re.sub(r"[\s\x00-\x1f]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), address)
    address = re.sub(r"[\\()<>&|]", _backslash, address)
    shown = string_of(title)
    if shown is None:
        return address
    return f'{address} "{_SPECIAL.sub(_backslash, _SPACES.sub(" ", shown)).replace(chr(34), chr(92) + chr(34))}"'


def _backslash(found: re.Match[str]) -> str:
    return "\\" + found[0]


def image_markdown(part: RichNode) -> str:
    """An image; empty if its address is not safe."""
    attrs = attrs_of(part)
    address = safe_image(attrs.get("src"))
    if address is None:
        return ""
    described = _SPECIAL.sub(_backslash, _SPACES.sub(" ", string_of(attrs.get("alt")) or "").strip())
    return f"![{described}]({destination(address, attrs.get('title'))})"
