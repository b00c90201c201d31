"""Surrogate pairs that an edit splits.

A character beyond U+FFFF counts as two elements. When Yjs has to split text between the two, it replaces each by
U+FFFD, in every replica, so that the length stays the same (``ContentString.splice``). Yrs keeps the character whole in
one half and miscounts. So before a splitting update is applied, we replace the pair by two U+FFFD: in documents in
memory, and in logs when they are read. Refused: refusing the edit, because editors that diff strings write it all the
time; and storing both halves, because UTF-8 cannot encode them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping

from collab.gate.encode import encode_update
from collab.gate.struct_content import STRING
from collab.gate.structs import Struct, decode
from presence.lib0 import encode_bytes, read_string

Cuts = Mapping[int, Collection[int]]
"""Client id -> clocks of the high surrogates of split pairs."""

_REPLACEMENT = "\ufffd\ufffd"


def mend(update: bytes, cuts: Cuts) -> bytes:
    """The same update (which may be large) with two U+FFFD for each pair of ``cuts`` in it.

    Raises :class:`collab.gate.structs.Malformed`.
    """
    if not any(cuts.values()):
        return update
    structs, deletes = decode(update)
    source, mended = cut_strings(update, structs, cuts)
    return update if source is update else encode_update(source, mended, deletes)


def cut_strings(source: bytes, structs: list[Struct], cuts: Cuts) -> tuple[bytes, list[Struct]]:
    """The structs with two U+FFFD for each pair of ``cuts``, and the new source of their contents."""
    rising = {client: sorted(clocks) for client, clocks in cuts.items()}
    added: list[bytes] = []
    end = len(source)
    mended = []
    for struct in structs:
        client, clock, length, ref, *_ = struct
        clocks = rising.get(client)
        if ref == STRING and clocks:
            first = bisect_left(clocks, clock)
            last = bisect_left(clocks, clock + length - 1)
            if first < last:
                text = read_string(source, struct[8])[0]
                content = _cut(text, [at - clock for at in clocks[first:last]])
                if content != text:
                    added.append(encode_bytes(content.encode()))
                    struct = (*struct[:8], end, end + len(added[-1]))
                    end += len(added[-1])
        mended.append(struct)
    return (source + b"".join(added) if added else source), mended


def _cut(text: str, offsets: list[int]) -> str:
    """``text`` with two U+FFFD for the pairs that begin at ``offsets``, counted in UTF-16 code units."""
    units = text.encode("utf-16-le")
    out: list[str] = []
    done = 0
    for offset in offsets:
        if units[2 * offset + 1] & 0xFC == 0xD8:
            out += (units[done : 2 * offset].decode("utf-16-le"), _REPLACEMENT)
            done = 2 * offset + 4
    out.append(units[done:].decode("utf-16-le"))
    return "".join(out)
