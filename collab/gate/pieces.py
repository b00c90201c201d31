"""Splits a large update into many small ones with the same effect.

The cost of an update in the CRDT library depends on its order: 50,000 deletions that split one text take 0.17 s if they
are written in the order of their clocks, and 5 s in the reverse order. So a large update is sorted, and applied piece
by piece, with others served in between.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from collab.gate.document_index import Dying
from collab.gate.encode import encode_update
from collab.gate.limits import MAX_PARTS, StepLimit
from collab.gate.order import add_in_order
from collab.gate.revision import Revision
from collab.gate.scans import Scans
from collab.gate.structs import DeletedRange, Id, Parts, Refused, Struct, read

if TYPE_CHECKING:
    from collab.gate.checked import Checked

T = TypeVar("T")
_ELEMENT = itemgetter(0, 1)
_FEW = 8
_AT_ONCE = 1000
"""Objects that one call sorts or frees. Such a call keeps every other thread waiting, the event loop too."""


class Rewritten(NamedTuple):
    """The acceptable part of a piece, its difference from it, and the clocks of the room at which that is so."""

    update: bytes
    revision: Revision
    parts: Parts
    state: Mapping[int, int]


class UpdatePiece(NamedTuple):
    """A part of an update. ``refused``: what was read as deleted; ``dying``: types that the whole update deletes.

    ``parts``: what :func:`read_piece` returns, if it was read already. ``rewritten``: see
    :meth:`collab.gate.gate.Gate.rewriting`.
    """

    update: bytes
    refused: list[Refused]
    dying: Dying
    parts: Parts | None = None
    rewritten: Rewritten | None = None


def read_piece(update: bytes) -> Parts:
    """Read a piece; the update that it belongs to was accepted."""
    return read(update, len(update))


class Pieces:
    """The pieces of an update: first the new structs, each after those that it depends on, then the deletions.

    Deletions are sorted by client and clock, and joined. If one range is all that is deleted of a struct, it comes with
    it: an entry with overwritten values would be refused without. ``refused`` lists everything in it that was not
    accepted, ``clients`` are the clients whose structs it brings.

    Made in a thread, and freed in one (:meth:`discard`): its objects may be a million.

    Raises :class:`collab.gate.structs.Malformed`.
    """

    def __init__(self, update: bytes, limit: int = MAX_PARTS) -> None:
        whole = read(update, limit)
        self._source = whole.source
        self._structs = in_order(whole.structs)
        self._deletes = joined(whole.deletes)
        self._others = _of_others(self._deletes, whole.structs)
        for struct in whole.structs if self._deletes else ():
            ranges = self._ranges_in(struct) if struct[2] > 1 else ()
            if len(ranges) > 1:  # a long text with every second character deleted has more of them than a piece
                self._others += (_cut(self._deletes[i], struct) for i in ranges)
        self.refused = whole.refused
        self.clients = list(dict.fromkeys(map(itemgetter(0), whole.structs)))
        self._refused: dict[Id, Refused] = {(one.client, one.clock): one for one in whole.refused}
        self._dying = Dying(self._deletes)
        self._leaves = False
        self._awaited: dict[int, int] = {}
        self._at = 0
        self._deleted = 0

    def __bool__(self) -> bool:
        """Whether any pieces are left."""
        return self._at < len(self._structs) or self._deleted < len(self._others)

    def take(self, limit: StepLimit, state: Mapping[int, int]) -> UpdatePiece:
        """The next piece, of about ``limit.parts`` structs or deletions, for a document that knows these clocks."""
        if self._at < len(self._structs):
            structs = self._within(limit, state)
            self._at += len(structs)
            structs.sort(key=itemgetter(0))  # stable: by client, otherwise in the same order
            ranges = [(self._ranges_in(struct), struct) for struct in structs]
            deletes = [_cut(self._deletes[only[0]], struct) for only, struct in ranges if len(only) == 1]
            update = encode_update(self._source, structs, joined(deletes))
            refused = [self._refused[s[:2]] for s in structs if s[:2] in self._refused] if self._refused else []
            return UpdatePiece(update, refused, self._dying)
        deletes = self._others[self._deleted : self._deleted + min(limit)]
        self._deleted += len(deletes)
        return UpdatePiece(encode_update(self._source, (), deletes), [], self._dying)

    def _within(self, limit: StepLimit, state: Mapping[int, int]) -> list[Struct]:
        """The next structs, one at least. What is deleted of them comes with them, and splits nothing else."""
        structs = self._structs[self._at : self._at + limit.parts]
        scans = Scans(state)
        for number, struct in enumerate(structs):
            if scans.add(struct) > limit.scans and number:
                return structs[:number]
        return structs

    def sum_up(self, checked: Checked) -> None:
        """Let the last piece report what all of them left out, and the others nothing: the sender is asked once."""
        if checked.revision is not None and checked.revision.leaves:
            self._leaves = True
            for client, clock in checked.revision.awaited.items():
                self._awaited[client] = min(clock, self._awaited.get(client, clock))
            checked.revision = checked.revision._replace(leaves=False, awaited={})
        if self._leaves and not self:
            checked.revision = (checked.revision or Revision())._replace(leaves=True, awaited=self._awaited)

    def discard(self) -> None:
        """Free what is left, in small steps; nothing can be taken afterwards."""
        for items in (self._structs, self._others, self._deletes, self.refused):
            free(items)
        while self._refused:
            self._refused.popitem()

    def _ranges_in(self, struct: Struct) -> range:
        """The places of the deletions of elements of ``struct``."""
        client, start, end = struct[0], struct[1], struct[1] + struct[2]
        first = bisect_right(self._deletes, (client, start), key=_ELEMENT)
        if first:
            before = self._deletes[first - 1]
            first -= before[0] == client and before[1] + before[2] > start
        return range(first, bisect_left(self._deletes, (client, end), first, key=_ELEMENT))


def joined(deletes: list[DeletedRange]) -> list[DeletedRange]:
    """Deletions sorted by client and clock; overlapping and adjacent ones are joined. ``deletes`` is empty then."""
    result: list[DeletedRange] = []
    for client, clock, length in sort_in_steps(deletes):
        if result and result[-1][0] == client and clock <= result[-1][1] + result[-1][2]:
            before = result[-1]
            result[-1] = (client, before[1], max(before[2], clock + length - before[1]))
        else:
            result.append((client, clock, length))
    return result


def are_unsorted(deletes: Sequence[DeletedRange]) -> bool:
    """Whether more than a few deletions are not in the order in which Yjs writes them, by clock for each client.

    200 deletions that each split one text of 200,000 characters take 20 ms from its end to its beginning, and 0.2 ms in
    the order of clocks.
    """
    return len(deletes) > _FEW and any(
        before[0] == after[0] and before[1] > after[1] for before, after in pairwise(deletes)
    )


def in_order(structs: Sequence[Struct]) -> list[Struct]:
    """Sort structs so that each comes after those of the same update that it depends on; cyclic ones come last.

    Otherwise they keep the order in which Yjs writes them, highest client first: of several clients that write at one
    place concurrently, each then finds its own place at the beginning. 20,000 of them take 0.04 s in this order, and 28
    s in the reverse order.
    """
    blocks = [list(block) for _, block in groupby(structs, itemgetter(0))]
    blocks = [blocks[i] for _, i in sort_in_steps([(-block[0][0], i) for i, block in enumerate(blocks)])]
    spans = {block[0][0]: (block[0][1], block[-1][1] + block[-1][2]) for block in blocks}
    done = {client: span[0] for client, span in spans.items()}
    result: list[Struct] = []

    def add(struct: Struct) -> Id | None:
        missing = _missing(struct, spans, done)
        if missing is None:
            result.append(struct)
            done[struct[0]] = struct[1] + struct[2]
        return missing

    for waiting in add_in_order(list(chain.from_iterable(blocks)), add, done.__getitem__):
        result += waiting.structs
    return result


def sort_in_steps(items: list[T]) -> Iterator[T]:
    """Sort ``items``, and empty the list. No step takes long; while ``list.sort`` runs, no other thread can."""
    runs = []
    while items:
        run = items[-_AT_ONCE:]
        del items[-_AT_ONCE:]
        run.sort(reverse=True)
        runs.append(_popped(run))
    return merge(*runs)  # type: ignore[type-var]


def free(items: list[Any]) -> None:
    """Free the elements of a list, some at a time."""
    while items:
        del items[-_AT_ONCE:]


def _popped(items: list[T]) -> Iterator[T]:
    while items:
        yield items.pop()


def _cut(delete: DeletedRange, struct: Struct) -> DeletedRange:
    """The part of a deletion that lies in ``struct``."""
    client, clock, length = delete
    low, high = max(clock, struct[1]), min(clock + length, struct[1] + struct[2])
    return client, low, high - low


def _missing(struct: Struct, spans: dict[int, tuple[int, int]], done: dict[int, int]) -> tuple[int, int] | None:
    for element in struct[4:7]:
        if isinstance(element, tuple):
            client, clock = element
            span = spans.get(client)
            if span is not None and client != struct[0] and done[client] <= clock < span[1]:
                return client, clock
    return None


def _of_others(deletes: Sequence[DeletedRange], structs: Sequence[Struct]) -> list[DeletedRange]:
    """Deletions except those of elements that the structs bring."""
    spans: dict[int, tuple[int, int]] = {}
    for client, clock, length, *_ in structs:
        start, _ = spans.get(client, (clock, clock))
        spans[client] = (start, clock + length)
    return [
        one for one in deletes if one[0] not in spans or one[1] < spans[one[0]][0] or one[1] + one[2] > spans[one[0]][1]
    ]
