"""The gate: no update reaches the CRDT library unless it fits what the room has.

Structure first (:mod:`collab.wire.structs`), then causality: an update must continue exactly the known history,
and everything that it refers to must be known and be what the reference says. What is well-formed but early is a
:class:`Gap`: its sender is asked to synchronise. So nothing is ever pending in the library, where it would be
invisible, missing from every snapshot and unbounded.
"""

from __future__ import annotations

from collections.abc import Mapping

from collab.wire import keystroke
from collab.wire.checked import Checked
from collab.wire.history import ROOT_ARRAY, ROOT_KIND, ROOT_MAP, ROOT_TEXT, ROOT_XML, History
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

_ROOT_KINDS = {ROOT_MAP: "map", ROOT_ARRAY: "array", ROOT_TEXT: "text", ROOT_XML: "xml"}


class Gate:
    """Decides which updates may be applied to one document.

    :meth:`check` an update, apply it, :meth:`commit` what was checked; one at a time, in this order.
    """

    def __init__(self) -> None:
        self._history = History()

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
        return Checked(before, after, structs, deletes, stage)

    def commit(self, checked: Checked) -> None:
        """Take note that what :meth:`check` returned last was applied.

        Raises :class:`ValueError` if something else was committed in between.
        """
        checked.commit(self._history)

    def index(self) -> bytes:
        """Everything the gate knows, for :meth:`from_index`."""
        return self._history.encode()

    @classmethod
    def from_index(cls, data: bytes) -> Gate:
        """A gate that knows what the one of :meth:`index` knew. Raises :class:`ValueError`."""
        gate = cls()
        gate._history = History.decode(data)
        return gate
