"""The gate: an update reaches the CRDT library only if it fits the room's history.

Structure first (:mod:`collab.gate.structs`), then causality (:mod:`collab.gate.stage`): an update must exactly continue
the known history, and everything that it refers to must be known and of the right kind. Only early parts stay outside:
:mod:`collab.gate.revision` encodes the rest as an update, and the sender is asked to synchronise. So nothing is ever
pending inside the library, where it would be invisible, missing from every snapshot and unbounded.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from collab.gate import keystroke
from collab.gate.checked import Checked
from collab.gate.document_index import (
    ROOT_ARRAY,
    ROOT_KIND,
    ROOT_MAP,
    ROOT_TEXT,
    ROOT_XML,
    TYPE_SHIFT,
    DocumentIndex,
    DocumentIndexDump,
    Dying,
)
from collab.gate.fields import Fields, FieldsDump, Write
from collab.gate.limits import AT_ONCE_BYTES, MAX_PARTS, StepLimit
from collab.gate.pieces import Rewritten, UpdatePiece, are_unsorted, read_piece
from collab.gate.repeats import Repeats, asked_again
from collab.gate.revision import Revision, is_as_sent, rewrite
from collab.gate.scans import Scans
from collab.gate.stage import Stage
from collab.gate.struct_content import Malformed
from collab.gate.structs import Id, Parts, TooManyParts, encode_state_vector, read

_VERSION = 3
_ROOT_KINDS = {ROOT_MAP: "map", ROOT_ARRAY: "array", ROOT_TEXT: "text", ROOT_XML: "xml"}
_index = msgspec.msgpack.Decoder(tuple[int, str, DocumentIndexDump, FieldsDump])


class Gap(Exception):
    """The update is well-formed but refers to elements that the room lacks."""


class Gate:
    """Decides which updates may be applied to one document.

    :meth:`check` an update, apply it, :meth:`commit` the checked result; one at a time, in this order. ``mapped`` are
    the root types whose entries are entities of their own.
    """

    def __init__(self, mapped: Collection[str] = ()) -> None:
        self._history = DocumentIndex()
        self._fields = Fields(mapped)

    @property
    def state(self) -> dict[int, int]:
        """Client id -> next clock, of everything committed. The caller must not change it."""
        return self._history.state

    @property
    def roots(self) -> Mapping[str, str]:
        """Root name -> ``map``, ``text``, ``array`` or ``xml``, for roots whose content has revealed the kind."""
        kinds = self._history.kinds
        roots = self._history.roots
        return {name: _ROOT_KINDS[kinds[n]] for name, n in roots.items() if kinds[n] != ROOT_KIND}

    def check(self, update: bytes | UpdatePiece, limit: int = MAX_PARTS) -> Checked:
        """The part of ``update`` that may be applied now, possibly all of it. Changes nothing.

        Each piece of an update must be committed before the next one is checked.

        Raises :class:`Malformed`, also for updates that no honest replica can write, and :class:`TooManyParts` if there
        are more than ``limit`` structs and deletions.
        """
        if isinstance(update, UpdatePiece):
            return self._check(update.update, _parts_of(update), update.dying, update.rewritten)
        return keystroke.check(self._history, update) or self._check(update, read(update, limit))

    def check_one(self, update: bytes) -> Checked | None:
        """The same for an update of one struct or deletion, which no limit concerns; ``None`` for most others."""
        checked = keystroke.check(self._history, update)
        return None if checked is None or (checked.structs and checked.deletes) else checked

    def check_at_once(self, update: bytes, limit: StepLimit, *, whole: bool = False) -> Checked:
        """The same for an update that is to be applied in one step; ``whole``: completely or not at all.

        Also raises :class:`TooManyParts` if it has too many bytes to be read at once, if it may take more passes
        through the document than ``limit.scans``, and for deletions that Yjs would have sorted: only as pieces they are
        always cheap.
        """
        if len(update) > AT_ONCE_BYTES:
            raise TooManyParts("too many bytes")
        checked = self.check_all(update, limit.parts) if whole else self.check(update, limit.parts)
        if checked.parts > limit.scans and self._scans(checked) > limit.scans:
            raise TooManyParts("too many passes through the document")
        if are_unsorted(checked.deletes):
            raise TooManyParts("deletions in no order")
        return checked

    def _scans(self, checked: Checked) -> int:
        scans = Scans(self._history.state)
        for struct in checked.structs:
            scans.add(struct)
        return scans.count + len(checked.deletes)

    def check_all(self, update: bytes | UpdatePiece, limit: int = MAX_PARTS) -> Checked:
        """The same for an update that must be applied completely or not at all. Also raises :class:`Gap`."""
        checked = self.check(update, limit)
        if checked.leaves:
            raise Gap("the update depends on missing elements")
        return checked

    def rewriting(self, piece: UpdatePiece) -> Callable[[], UpdatePiece] | None:
        """What a thread can do before :meth:`check`, if the piece cannot be applied as it is: it may be many megabytes.

        ``None`` if nothing is to be done, or it was done and nothing has changed since.
        """
        parts = _parts_of(piece)
        stage = Stage(self._history, parts, piece.dying)
        if is_as_sent(parts, stage) or self._fits(piece.rewritten) is not None:
            return None
        clients = {*stage.ends, *(one.client for one in parts.refused)}
        state = {client: self._history.state.get(client, 0) for client in clients}

        def work() -> UpdatePiece:
            update, revision = rewrite(parts, stage, state)
            return piece._replace(rewritten=Rewritten(update, revision, read_piece(update), state))

        return work

    def _fits(self, rewritten: Rewritten | None) -> Stage | None:
        """What a rewritten piece adds, if it is still what it should be."""
        if rewritten is None:
            return None
        state = self._history.state
        if any(state.get(client, 0) != clock for client, clock in rewritten.state.items()):
            return None
        stage = Stage(self._history, rewritten.parts)
        return stage if is_as_sent(rewritten.parts, stage) else None

    def _check(
        self, update: bytes, parts: Parts, dying: Dying | None = None, rewritten: Rewritten | None = None
    ) -> Checked:
        stage = Stage(self._history, parts, dying)
        revision = None
        repeats = Repeats(stage.known, parts.source) if stage.known else None
        if is_as_sent(parts, stage):
            if stage.lost:
                revision = Revision(lost=stage.lost)
        elif rewritten is not None and (fitting := self._fits(rewritten)) is not None:
            stage, update, revision, parts = fitting, rewritten.update, rewritten.revision, rewritten.parts
        else:
            update, revision = rewrite(parts, stage, self._history.state)
            parts = read(update, len(update))
            stage = Stage(self._history, parts)
            if not is_as_sent(parts, stage):
                raise Malformed("the update contradicts itself")
        if stage.cuts:
            revision = (revision or Revision())._replace(cuts=stage.cuts_known())
        before = stage.before()
        after = {client: stage.ends[client] for client in before}
        checked = Checked(before, after, parts.structs, parts.deletes, update, stage)
        checked.revision, checked.repeats, checked.neighbours = revision, repeats, stage.neighbours
        return checked

    def contradicts(self, checked: Checked, encode: Callable[[bytes], bytes], *, returns: bool = False) -> bool:
        """Whether a checked update repeats known elements with other content.

        ``encode`` is the document's diff against a state vector. ``returns``: the sender has not received the document
        yet. Then elements that were already deleted when first seen here count as different, too.
        """
        if checked.repeats is None:
            return False
        history = self._history
        starts = checked.repeats.starts(history.state)
        if not starts:
            return False
        starts = {client: clock - history.is_pair(client, clock - 1) for client, clock in starts.items()}

        stage = checked.stage
        assert stage is not None

        def is_lost(client: int, clock: int, end: int) -> bool:
            return history.never_lived(client, clock, end) and not stage.deletes_all(client, clock, end)

        return checked.repeats.differ(history.state, encode, starts, is_lost if returns else None)

    def asked_again(self, own: int | None, theirs: Mapping[int, int] | None) -> bytes:
        """The state vector for the question to a returning peer (:func:`asked_again`)."""
        history = self._history
        known = dict(history.state)
        for client, clock in asked_again(known, own, theirs).items():
            known[client] = clock - history.is_pair(client, clock - 1)
        return encode_state_vector(known)

    def may_write_fields(self, checked: Checked) -> bool:
        """Whether a checked update may write fields of entities (possibly a false positive)."""
        return self._fields.may_be_written(self._history, checked)

    def commit(self, checked: Checked, *, live: bool = False) -> Sequence[Write]:
        """Record that the last checked update was applied. Returns its writes to entity fields.

        ``live``: it holds only what its sender has just done. Other updates repeat old deletions, so their deletions do
        not show what the author had seen. Raises :class:`ValueError` if something else was committed in between.
        """
        checked.commit(self._history)
        if checked.stage is None and not checked.deletes and checked.place >> TYPE_SHIFT not in self._fields.types:
            checked.content = True  # keep the common case cheap
            return ()
        return self._fields.note(self._history, checked, live=live)

    def heads(self, root: str, child: str | None = None, keys: Iterable[str] | None = None) -> dict[str, Id]:
        """Key -> its newest write, deleted or not, in ``fields``, in a mapped root or in a child of one.

        Only of ``keys``, if they are given. The newest write of a child of a mapped root is also the id of its map.
        """
        return self._fields.heads(self._history, root, child, keys)

    def head(self, root: str, key: str) -> Id | None:
        """The newest write of one key, deleted or not, in ``fields`` or in a mapped root."""
        return self._fields.head(self._history, root, key)

    def index(self) -> bytes:
        """Everything that the gate knows, for :meth:`from_index`."""
        content = (_VERSION, sys.byteorder, self._history.dump(), self._fields.dump())
        return zlib.compress(msgspec.msgpack.encode(content), 1)

    @classmethod
    def of_snapshot(cls, snapshot: bytes, index: bytes | None, mapped: Collection[str]) -> Gate:
        """The gate of a snapshot: from its index, or read again if another version wrote the index."""
        if index is not None:
            try:
                return cls.from_index(index, mapped)
            except ValueError:
                pass
        gate = cls(mapped)
        gate.commit(gate.check_all(snapshot, limit=len(snapshot)))
        return gate

    @classmethod
    def from_index(cls, data: bytes, mapped: Collection[str] | None = None) -> Gate:
        """The gate that :meth:`index` encoded.

        Raises :class:`ValueError` if ``data`` is of another version, or of a gate with other ``mapped`` roots
        (``None``: any).
        """
        try:
            version, byteorder, history, fields = _index.decode(zlib.decompress(data))
        except (zlib.error, msgspec.MsgspecError) as error:
            raise ValueError("not a document index, or one of another version") from error
        if version != _VERSION or byteorder != sys.byteorder:
            raise ValueError("the index has another version")
        gate = cls()
        gate._history = DocumentIndex.load(history)
        gate._fields = Fields.load(fields)
        if mapped is not None and set(mapped) != gate._fields.mapped:
            raise ValueError("the index has other mapped roots")
        return gate


def _parts_of(piece: UpdatePiece) -> Parts:
    parts = piece.parts or read_piece(piece.update)
    parts.refused = piece.refused
    parts.as_sent = not piece.refused
    return parts
