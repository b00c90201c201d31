"""Writer of Yjs updates (encoding v1), the inverse of :mod:`collab.gate.structs`.

With it the gate can accept a part of an update, or re-encode it. Facts: https://github.com/yjs/yjs
``src/utils/encoding.js``, ``src/structs/Item.js``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collab.gate.struct_content import DELETED, GC, SKIP
from collab.gate.structs import DeletedRange, Id, Struct
from presence.lib0 import encode_string, encode_uint


def encode_update(source: bytes, structs: Sequence[Struct], deletes: Iterable[DeletedRange]) -> bytes:
    """Write an update. The content of a struct is ``source[start:end]``, copied unchanged (of GC, Skip and deleted
    content only the length is used).

    The structs of one client must be adjacent and sorted by clock; a gap between two of them becomes a Skip. The order
    of clients and of deletions is kept; the deletions of one client are written together, at its first one. Raises
    :class:`ValueError` if two structs overlap, or if a client comes twice.
    """
    blocks: list[list[bytes]] = []
    clients: set[int] = set()
    client = next_clock = -1
    for struct in structs:
        if struct[0] != client:
            client, next_clock = struct[0], struct[1]
            if client in clients:
                raise ValueError("the structs of one client are not adjacent")
            clients.add(client)
            blocks.append([encode_uint(client) + encode_uint(next_clock)])
        if struct[1] < next_clock:
            raise ValueError("two structs overlap")
        if struct[1] > next_clock:
            blocks[-1].append(_filler(SKIP, struct[1] - next_clock))
        blocks[-1].append(_encode_struct(source, struct))
        next_clock = struct[1] + struct[2]
    out = [encode_uint(len(blocks))]
    for block in blocks:
        out.append(encode_uint(len(block) - 1))
        out += block
    out.append(encode_deletes(deletes))
    return b"".join(out)


def encode_deletes(deletes: Iterable[DeletedRange]) -> bytes:
    """Write a delete set in the order of ``deletes``, but with the ranges of one client together."""
    by_client: dict[int, list[bytes]] = {}
    for client, clock, length in deletes:
        by_client.setdefault(client, []).append(encode_uint(clock) + encode_uint(length))
    out = [encode_uint(len(by_client))]
    for client, ranges in by_client.items():
        out += (encode_uint(client), encode_uint(len(ranges)), *ranges)
    return b"".join(out)


def encode_id(element: Id) -> bytes:
    return encode_uint(element[0]) + encode_uint(element[1])


def _encode_struct(source: bytes, struct: Struct) -> bytes:
    _, _, length, ref, origin, right, parent, key, start, end = struct
    if ref in (GC, SKIP):
        return _filler(ref, length)
    info = ref
    head = b""
    if origin is not None:
        info |= 128
        head = encode_id(origin)
    if right is not None:
        info |= 64
        head += encode_id(right)
    if origin is None and right is None:
        if isinstance(parent, str):
            head = b"\x01" + encode_string(parent)
        elif parent is not None:
            head = b"\x00" + encode_id(parent)
        else:
            raise ValueError("a struct has neither an origin nor a parent")
        if key is not None:
            info |= 32
            head += encode_string(key)
    return bytes((info,)) + head + (encode_uint(length) if ref == DELETED else source[start:end])


def _filler(ref: int, length: int) -> bytes:
    return bytes((ref,)) + encode_uint(length)
