"""The gate: no update reaches the CRDT library unless it fits what the room has.

Structure first (:mod:`collab.wire.structs`), then causality: an update must continue exactly the known history,
and everything that it refers to must be known and be what the reference says. What is well-formed but early is a
:class:`Gap`: its sender is asked to synchronise. So nothing is ever pending in the library, where it would be
invisible, missing from every snapshot and unbounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collab.wire.history import ROOT_ARRAY, ROOT_KIND, ROOT_MAP, ROOT_TEXT, ROOT_XML, History
from collab.wire.stage import SPLITS_A_PAIR, Gap, Stage
from collab.wire.structs import (
    Delete,
    Id,
    Malformed,
    Struct,
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
    "decode",
    "decode_state_vector",
    "encode_state_vector",
]

_ROOT_KINDS = {ROOT_MAP: "map", ROOT_ARRAY: "array", ROOT_TEXT: "text", ROOT_XML: "xml"}


@dataclass(slots=True)
class Checked:
    """An update that may be applied, and what it does.

    ``before`` and ``after`` give the clocks of the clients that have *new* structs in it: those are its writers.
    ``structs`` and ``deletes`` are all that it holds, also what the room knows already.
    """

    before: dict[int, int]
    after: dict[int, int]
    structs: list[Struct]
    deletes: list[Delete]
    _stage: Stage

    @property
    def has_deletes(self) -> bool:
        """Whether anything is deleted, known or not."""
        return bool(self.deletes)

    @property
    def clients(self) -> Iterable[int]:
        """Whose structs are new."""
        return self.before.keys()

    def touches(self, ranges: Iterable[Delete]) -> bool:
        """Whether it newly writes, or deletes, an element of ``(client, clock, length)`` ranges."""
        for client, clock, length in ranges:
            end = clock + length
            if client in self.before and self.before[client] < end and clock < self.after[client]:
                return True
            for other, start, size in self.deletes:
                if other == client and start < end and clock < start + size:
                    return True
        return False


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

    def check(self, update: bytes) -> Checked:
        """Whether ``update`` may be applied now. Changes nothing.

        Raises :class:`Malformed`, also for what no honest replica can have written, and :class:`Gap`.
        """
        structs, deletes, pairs = read(update)
        stage = Stage(self._history, update, deletes, frozenset(pairs))
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
        """Take note that what :meth:`check` returned last was applied."""
        if checked.before:
            checked._stage.commit()

    def index(self) -> bytes:
        """Everything the gate knows, for :meth:`from_index`."""
        return self._history.encode()

    @classmethod
    def from_index(cls, data: bytes) -> Gate:
        """A gate that knows what the one of :meth:`index` knew. Raises :class:`ValueError`."""
        gate = cls()
        gate._history = History.decode(data)
        return gate
