"""Encodes Yjs updates with any content, valid or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Id = tuple[int, int]

GC, DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, SKIP = range(11)


def uint(n: int) -> bytes:
    """A varUint, also beyond lib0's limit."""
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def string(text: str | bytes) -> bytes:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return uint(len(raw)) + raw


def identity(element: Id) -> bytes:
    return uint(element[0]) + uint(element[1])


def item(
    ref: int,
    content: bytes,
    origin: Id | None = None,
    right: Id | None = None,
    parent: str | Id | None = None,
    key: str | None = None,
) -> bytes:
    """An item; ``parent`` and ``key`` are written only if it has no neighbours, as in Yjs."""
    info = ref | (128 if origin else 0) | (64 if right else 0) | (32 if key is not None else 0)
    out = bytes([info])
    if origin:
        out += identity(origin)
    if right:
        out += identity(right)
    if not origin and not right:
        assert parent is not None
        out += b"\x01" + string(parent) if isinstance(parent, str) else b"\x00" + identity(parent)
        if key is not None:
            out += string(key)
    return out + content


def filler(ref: int, length: int) -> bytes:
    """GC or Skip."""
    return bytes([ref]) + uint(length)


def block(client: int, clock: int, structs: Sequence[bytes]) -> bytes:
    return uint(len(structs)) + uint(client) + uint(clock) + b"".join(structs)


def deletions(ranges: Iterable[tuple[int, int, int]]) -> bytes:
    by_client: dict[int, list[tuple[int, int]]] = {}
    for client, clock, length in ranges:
        by_client.setdefault(client, []).append((clock, length))
    return uint(len(by_client)) + b"".join(
        uint(client) + uint(len(own)) + b"".join(uint(clock) + uint(length) for clock, length in own)
        for client, own in by_client.items()
    )


def frame(blocks: Sequence[bytes], deletes: Iterable[tuple[int, int, int]] = ()) -> bytes:
    return uint(len(blocks)) + b"".join(blocks) + deletions(deletes)
