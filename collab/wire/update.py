"""The gate: no update reaches the CRDT library unless it fits what the room has.

Structure first (:mod:`collab.wire.structs`), then causality: an update must continue exactly the known history,
and everything that it refers to must be known and be what the reference says. What is well-formed but early is a
:class:`Gap`: its sender is asked to synchronise. So nothing is ever pending in the library, where it would be
invisible, missing from every snapshot and unbounded.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Collection, Mapping, Sequence

import msgspec

from collab.wire import keystroke
from collab.wire.checked import Checked
from collab.wire.fields import Fields, FieldsDump, Write
from collab.wire.history import ROOT_ARRAY, ROOT_KIND, ROOT_MAP, ROOT_TEXT, ROOT_XML, TYPE_SHIFT, History, HistoryDump
from collab.wire.stage import SPLITS_A_PAIR, Gap, Stage
from collab.wire.structs import (
    MAX_PARTS,
    Delete,
    Id,
    Malformed,
    Struct,
    TooManyParts,
    decode,
    decode_state_vector,
    encode_state_vector,
    read,
)

__all__ = [
    "Checked",
    "Delete",
    "Gap",
    "Gate",
    "Id",
    "Malformed",
    "Struct",
    "TooManyParts",
    "decode",
    "decode_state_vector",
    "encode_state_vector",
]

_VERSION = 2
_ROOT_KINDS = {ROOT_MAP: "map", ROOT_ARRAY: "array", ROOT_TEXT: "text", ROOT_XML: "xml"}
_index = msgspec.msgpack.Decoder(tuple[int, str, HistoryDump, FieldsDump])


class Gate:
    """Decides which updates may be applied to one document.

    :meth:`check` an update, apply it, :meth:`commit` what was checked; one at a time, in this order. ``mapped`` are the
    roots whose entries are entities of their own.
    """

    def __init__(self, mapped: Collection[str] = ()) -> None:
        self._history = History()
        self._fields = Fields(mapped)

    @property
    def state(self) -> dict[int, int]:
        """Client id -> next clock, of all that was committed. Not to be changed by the caller."""
        return self._history.state

    @property
    def roots(self) -> Mapping[str, str]:
        """Root name -> ``map``, ``text``, ``array`` or ``xml``, as far as their content has told it yet."""
        kinds = self._history.kinds
        roots = self._history.roots
        return {name: _ROOT_KINDS[kinds[n]] for name, n in roots.items() if kinds[n] != ROOT_KIND}

    def check(self, update: bytes, limit: int = MAX_PARTS) -> Checked:
        """Whether ``update`` may be applied now. Changes nothing.

        Raises :class:`Malformed`, also for what no honest replica can have written, :class:`TooManyParts` if there
        are more than ``limit`` structs and deletions, and :class:`Gap`.
        """
        return keystroke.check(self._history, update) or self._check(update, limit)

    def _check(self, update: bytes, limit: int = MAX_PARTS) -> Checked:
        structs, deletes, pairs = read(update, limit)
        stage = Stage(self._history, update, deletes, pairs)
        if structs:
            stage.add_all(structs)
        state = self._history.state
        for client, clock, length in deletes:
            if clock + length > (stage.ends.get(client) or state.get(client, 0)):
                raise Gap("it deletes something unknown")
            if stage.is_pair(client, clock - 1) or stage.is_pair(client, clock + length - 1):
                raise Malformed(SPLITS_A_PAIR)
        before = stage.before()
        after = {client: stage.ends[client] for client in before}
        return Checked(before, after, structs, deletes, update, stage)

    def commit(self, checked: Checked, *, live: bool = False) -> Sequence[Write]:
        """Take note that what :meth:`check` returned last was applied. Returns what it wrote to entity fields.

        ``live``: it holds only what its sender has just done. Other updates repeat old deletions, so that a deletion
        does not tell what its author had seen. Raises :class:`ValueError` if something else was committed in between.
        """
        checked.commit(self._history)
        if checked.stage is None and not checked.deletes and checked.place >> TYPE_SHIFT not in self._fields.types:
            checked.content = True  # what people do all day costs nothing more
            return ()
        return self._fields.note(self._history, checked, live=live)

    def heads(self, root: str, child: str | None = None) -> dict[str, Id]:
        """Key -> its newest write, deleted or not, in ``fields``, in a mapped root or in a child of one.

        The newest write of a child of a mapped root is also the id of its map.
        """
        return self._fields.heads(self._history, root, child)

    def head(self, root: str, key: str) -> Id | None:
        """The newest write of one key, deleted or not, in ``fields`` or in a mapped root."""
        return self._fields.head(self._history, root, key)

    def index(self) -> bytes:
        """Everything the gate knows, for :meth:`from_index`."""
        content = (_VERSION, sys.byteorder, self._history.dump(), self._fields.dump())
        return zlib.compress(msgspec.msgpack.encode(content), 1)

    @classmethod
    def from_index(cls, data: bytes, mapped: Collection[str] | None = None) -> Gate:
        """A gate that knows what the one of :meth:`index` knew.

        Raises :class:`ValueError` if it is of another version, or if that did not have the same ``mapped`` roots
        (``None``: any).
        """
        try:
            version, byteorder, history, fields = _index.decode(zlib.decompress(data))
        except (zlib.error, msgspec.MsgspecError) as error:
            raise ValueError("not the index of a document, or of another version") from error
        if version != _VERSION or byteorder != sys.byteorder:
            raise ValueError("the index is of another version")
        gate = cls()
        gate._history = History.load(history)
        gate._fields = Fields.load(fields)
        if mapped is not None and set(mapped) != gate._fields.mapped:
            raise ValueError("the index is of other mapped roots")
        return gate
