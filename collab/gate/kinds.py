"""Allowed content for each kind of type.

Any list may hold all content that Yjs 13 can read: `@y/y` 14 has one kind of type, which mixes text, formatting marks
and values, and encodes it as an XML element or fragment, or as its former kind. Only plain text in an array is refused:
Yrs 0.28 loops for ever on an array that holds a character of two elements. Entries hold values.
"""

from __future__ import annotations

from collections.abc import Mapping

from collab.gate.document_index import ROOT_ARRAY, ROOT_KIND, ROOT_MAP, ROOT_TEXT, ROOT_XML
from collab.gate.struct_content import ANY, BINARY, DELETED, EMBED, FORMAT, STRING, TYPE


def _refs(*refs: int) -> int:
    return sum(1 << ref for ref in refs)


TEXTUAL = (STRING, EMBED, FORMAT)
XML = (3, 4, 6)
_ALL = _refs(DELETED, BINARY, TYPE, ANY, STRING, EMBED, FORMAT)
_ENTRY = _refs(DELETED, BINARY, TYPE, ANY, STRING)
_ROOTS = (ROOT_KIND, ROOT_MAP, ROOT_ARRAY, ROOT_TEXT, ROOT_XML)

ELEMENTS: Mapping[int, int] = dict.fromkeys((1, 2, 3, 4, 6, *_ROOTS), _ALL) | {0: _ALL & ~_refs(STRING)}
"""Kind of type -> allowed content in its list: a bit for each ``ref``."""
ENTRIES: Mapping[int, int] = dict.fromkeys((0, 1, 2, 3, 4, 6, *_ROOTS), _ENTRY)
"""Kind of type -> allowed content in its entries or attributes."""
