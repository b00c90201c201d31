"""The gate's fast path: one element typed, set or pushed, or one range deleted.

Nearly all updates are of this form while people write, and the general path through :mod:`collab.gate.structs` and
:mod:`collab.gate.stage` takes four times as long. Every update that is not clearly valid and simple takes that path:
the fast path never refuses one.
"""

from __future__ import annotations

from collab.gate.checked import Checked
from collab.gate.document_index import (
    GONE,
    KEYED,
    ROOT_ARRAY,
    ROOT_MAP,
    ROOT_TEXT,
    ROOT_XML,
    TYPE_SHIFT,
    DocumentIndex,
    goes_on,
)
from collab.gate.struct_content import ANY, STRING
from collab.gate.structs import DeletedRange, Id, Struct

# kind of type -> allowed content in its list, or in its entries, that reveals nothing new about the type
_ELEMENTS = dict.fromkeys((0, ROOT_ARRAY), 1 << ANY) | dict.fromkeys((2, 6), 1 << STRING)
_ELEMENTS |= dict.fromkeys((ROOT_TEXT, ROOT_XML), 1 << ANY | 1 << STRING)
_ENTRIES = dict.fromkeys((1, 2, 3, 4, 6, ROOT_MAP, ROOT_ARRAY, ROOT_TEXT, ROOT_XML), 1 << ANY)


def check(history: DocumentIndex, update: bytes) -> Checked | None:
    """The result for a simple update; ``None`` for all others, and for any that may have to be refused."""
    try:
        if update[0] == 1 and update[1] == 1:
            return _element(history, update)
        if update[0] == 0 and update[1] == 1:
            deletes = _deletion(history, update, 1, -1, 0)
            if deletes is not None:
                return Checked({}, {}, [], deletes, update)
    except IndexError:
        pass
    return None


def _element(history: DocumentIndex, b: bytes) -> Checked | None:
    clients = history.clients
    client, clock, i = _id(clients, b, 2)
    if client < 0 or clock != history.state[client]:
        return None
    info = b[i]
    i += 1
    ref = info & 31
    if info & 192 == 0:
        return None
    place = 0
    origin: Id | None = None
    right: Id | None = None
    if info & 128:
        other, at, i = _id(clients, b, i)
        if other < 0 or at >= history.state[other]:
            return None
        starts, places = history.runs[other]
        place = places[-1] if at >= starts[-1] else history.place(other, at)
        if history.pairs and history.is_pair(other, at):
            return None
        origin = (other, at)
    if info & 64:
        other, at, i = _id(clients, b, i)
        if other < 0 or at >= history.state[other]:
            return None
        starts, places = history.runs[other]
        right_place = places[-1] if at >= starts[-1] else history.place(other, at)
        if right_place & KEYED or (origin is not None and right_place | GONE != place | GONE):
            return None
        right = (other, at)
        if right == origin or (history.pairs and history.is_pair(other, at - 1)):
            return None
        place = right_place
    kind = history.kinds[place >> TYPE_SHIFT]
    if not (_ENTRIES if place & KEYED else _ELEMENTS).get(kind, 0) >> ref & 1:
        return None
    start = i
    length = 1
    if ref == STRING:
        length = b[i]
        i += 1 + length
        if not b[start + 1 : i].isascii() or not 0 < length < 128:
            return None
    else:
        if b[i] != 1:
            return None
        what = b[i + 1]
        i += 2
        if what == 119:  # string
            size = b[i]
            i += 1 + size
            if size > 127 or not b[i - size : i].isascii():
                return None
        elif what == 125:  # integer
            last = i
            while b[last] > 127:
                last += 1
            if last - i > 6:  # with seven bytes it is below 2**48
                return None
            i = last + 1
        elif what == 124 or what == 123:  # float32, float64
            i += 4 if what == 124 else 8
        elif not 120 <= what <= 127 or what == 122:  # not one of true, false, null and undefined
            return None
    after = clock + length
    if b[i]:
        deletes = _deletion(history, b, i, client, after)
        if deletes is None:
            return None
    elif i + 1 == len(b):
        deletes = []
    else:
        return None
    place &= ~GONE
    struct: Struct = (client, clock, length, ref, origin, right, None, None, start, i)
    checked = Checked({client: clock}, {client: after}, [struct], deletes, b, None, place)
    if origin is not None and right is not None and not goes_on(history.rights, client, clock, origin, right):
        checked.neighbours = [] if history.is_deleted(place >> TYPE_SHIFT) else [(origin, right)]
    return checked


def _deletion(history: DocumentIndex, b: bytes, i: int, client: int, after: int) -> list[DeletedRange] | None:
    """The only deletion, which begins at ``i``; ``after`` is the next clock of ``client``."""
    if b[i] != 1:
        return None
    other, n, i = _id(history.clients, b, i + 1)
    if other < 0 or n != 1:
        return None
    clock, i = _clock(b, i)
    length = b[i]
    end = clock + length
    if not 0 < length < 128 or i + 1 != len(b) or clock < 0:
        return None
    if end > (after if other == client else history.state[other]):
        return None
    if history.pairs and (history.is_pair(other, clock - 1) or history.is_pair(other, end - 1)):
        return None
    return [(other, clock, length)]


def _id(clients: dict[bytes, int], b: bytes, i: int) -> tuple[int, int, int]:
    """A client id and a clock; the id is negative if it is unknown, or if one of the two has an unusual size."""
    client = clients.get(b[i : i + 5])
    if client is not None:
        i += 5
    else:
        for size in (8, 4, 7):
            client = clients.get(b[i : i + size])
            if client is not None:
                i += size
                break
        else:
            return -1, 0, i
    clock = b[i]
    if clock < 128:
        return client, clock, i + 1
    byte = b[i + 1]
    if byte < 128:
        return client, clock + (byte << 7) - 128, i + 2
    last = b[i + 2]
    if last < 128:
        return client, clock + (byte << 7) + (last << 14) - 128 - (128 << 7), i + 3
    return -1, 0, i


def _clock(b: bytes, i: int) -> tuple[int, int]:
    clock = b[i]
    if clock < 128:
        return clock, i + 1
    byte = b[i + 1]
    if byte < 128:
        return clock + (byte << 7) - 128, i + 2
    last = b[i + 2]
    if last < 128:
        return clock + (byte << 7) + (last << 14) - 128 - (128 << 7), i + 3
    return -1, i
