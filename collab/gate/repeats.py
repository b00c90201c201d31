"""Comparison of repeated structs with the document.

Any peer may send any client's structs: peers that also talk to each other directly, two providers on one ``Y.Doc``, a
socket that is not yet known to be dead. They repeat known structs with the same content. If the content differs, two
writers share one Yjs client id: every replica keeps what it received first, and they differ for good.

Elements that are deleted on either side cannot be compared, because Yjs forgets them: they count as the same. So do
elements beyond :data:`MOST_COMPARED`, because an honest peer may repeat a lot, and the comparison has to stay cheap.

Yjs omits everything that the other side says it knows. So a returning client is also asked for a part of that:
:func:`asked_again` chooses it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from collab.gate.any_values import JSON, read_any
from collab.gate.struct_content import ANY, BINARY, DELETED, EMBED, FORMAT, GC, SKIP, STRING, TYPE
from collab.gate.structs import Struct, encode_state_vector, read
from presence.lib0 import read_string, read_uint

MOST_COMPARED = 4_096
"""Elements, the newest of their clients, that are compared in one update."""
FEWEST_COMPARED = 64
"""Elements per client that are requested again if the peer's own client id is unknown."""

_COMPARED = JSON._replace(bigint=float)  # Yrs makes numbers of them if a double can hold them
_NO_CONTENT = (GC, DELETED, SKIP)
_Position: TypeAlias = tuple[Any, ...]


class Repeats(NamedTuple):
    """Structs whose first element, at least, is known. Their contents are slices of ``source``."""

    structs: list[Struct]
    source: bytes

    def differ(
        self,
        state: Mapping[int, int],
        encode: Callable[[bytes], bytes],
        starts: Mapping[int, int],
        is_lost: Callable[[int, int, int], bool] | None = None,
    ) -> bool:
        """Whether any of them differs from the document.

        ``state`` is the document's state vector, ``encode`` its diff against a state vector, and ``starts`` maps
        clients to the clocks to read from: at or before the first struct, and not inside a surrogate pair. ``is_lost``
        decides for elements (client, clock, end) that the document has as deleted whether they differ.
        """
        known = dict(state)
        known.update(starts)
        update = encode(encode_state_vector(known))
        parts = read(update, len(update))
        held = [struct for struct in parts.structs if struct[0] in starts]
        repeated = [struct for struct in self.structs if struct[0] in starts]
        return _differ(repeated, self.source, held, parts.source, is_lost)

    def starts(self, state: Mapping[int, int]) -> dict[int, int]:
        """The clients whose structs are compared -> the first clock of these."""
        starts: dict[int, int] = {}
        left = MOST_COMPARED
        for client, clock, _, ref, *_ in self.structs:
            if client not in starts and ref not in _NO_CONTENT and state[client] - clock <= left:
                starts[client] = clock
                left -= state[client] - clock
        return starts


def asked_again(state: Mapping[int, int], own: int | None, theirs: Mapping[int, int] | None) -> dict[int, int]:
    """The known elements to request again from a returning peer: client -> the first of their clocks.

    Only what the peer itself wrote can differ from the document without its knowledge, so ``own``, its Yjs client id,
    suffices. If the peer does not reveal it, or its document was written under another id (a reloaded page that has
    kept it), the newest elements of each client that it knows are requested: another writer at that place would have
    had to guess all of these ids. ``theirs`` is the peer's state vector, ``None`` if unknown.
    """
    if own is not None and own in state:
        return {own: max(0, state[own] - MOST_COMPARED)}
    known = [client for client in state if theirs is None or client in theirs][-(MOST_COMPARED // FEWEST_COMPARED) :]
    each = MOST_COMPARED // max(1, len(known))
    return {client: max(0, state[client] - each) for client in known}


def _differ(
    repeated: Sequence[Struct],
    source: bytes,
    held: Sequence[Struct],
    held_source: bytes,
    is_lost: Callable[[int, int, int], bool] | None,
) -> bool:
    """Compare structs; both lists are sorted by clock within each client."""
    by_client: dict[int, list[Struct]] = {}
    for struct in held:
        by_client.setdefault(struct[0], []).append(struct)
    at: dict[int, int] = {}
    for struct in repeated:
        client, clock, length = struct[:3]
        others = by_client.get(client, [])
        i = at.get(client, 0)
        end = clock + length
        while i < len(others) and others[i][1] < end:
            other = others[i]
            first, last = max(clock, other[1]), min(end, other[1] + other[2])
            if first < last and struct[3] not in _NO_CONTENT:
                if other[3] in _NO_CONTENT:
                    if is_lost is not None and is_lost(client, first, last):
                        return True
                elif (
                    struct[3] != other[3]
                    or _position(struct, first) != _position(other, first)
                    or not _same(_slice(source, struct, first, last), _slice(held_source, other, first, last))
                ):
                    return True
            if other[1] + other[2] > end:
                break
            i += 1
        at[client] = i
    return False


def _position(struct: Struct, clock: int) -> _Position:
    """Origins, parent and key of an element. Each element after a struct's first follows the one before it."""
    client, start, _, _, origin, right, parent, key, _, _ = struct
    if clock > start:
        return (client, clock - 1), right, None, None
    return origin, right, parent, key


def _slice(source: bytes, struct: Struct, first: int, last: int) -> Any:
    """The elements from ``first`` to ``last`` in a form that compares as equal for equal content.

    Yrs orders the members of objects differently, and writes numbers in the shortest form.
    """
    _, clock, _, ref, _, _, _, _, start, end = struct
    if ref == STRING:
        text = read_string(source, start)[0].encode("utf-16-le")
        return _Text(text[2 * (first - clock) : 2 * (last - clock)])
    if ref == ANY:
        count, i = read_uint(source, start)
        values = []
        for n in range(min(count, last - clock)):
            value, i = read_any(source, i, _COMPARED)
            if n >= first - clock:
                values.append(value)
        return values
    if ref == EMBED:
        return _json(read_string(source, start)[0])
    if ref == FORMAT:
        key, i = read_string(source, start)
        return key, _json(read_string(source, i)[0])
    assert ref in (TYPE, BINARY), ref
    return source[start:end]


class _Text(NamedTuple):
    units: bytes  # UTF-16, little endian


def _same(one: Any, other: Any) -> bool:
    if one == other:
        return True
    if not isinstance(one, _Text) or not isinstance(other, _Text):
        return False
    a, b = memoryview(one.units).cast("H"), memoryview(other.units).cast("H")
    return all(x == y or (_is_half(x) and _is_half(y)) for x, y in zip(a, b, strict=True))


def _is_half(unit: int) -> bool:
    """Whether a code unit is a lone surrogate, or U+FFFD, which replaces one when an editor splits the pair."""
    return unit == 0xFFFD or 0xD800 <= unit < 0xE000


def _json(text: str) -> str:
    """JSON in one canonical form: Yjs writes JavaScript numbers, Yrs the shortest form, and we U+FFFD for a lone
    surrogate.
    """
    try:
        value = json.loads(text, parse_int=_number, parse_float=_number)
    except (ValueError, RecursionError):
        return text
    written = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return written.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _number(text: str) -> float:
    return float(text) + 0.0  # there is only one zero
