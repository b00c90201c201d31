"""Yjs updates (encoding v1) that write the fields of an entity."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from collab.gate.any_values import write_any, write_key
from collab.gate.encode import encode_deletes, encode_id
from collab.gate.struct_content import ANY, TYPE
from collab.gate.structs import Id
from presence.lib0 import encode_string, encode_uint

_MAP = b"\x01"


def encode_fields(
    client: int,
    clock: int,
    root: str,
    changes: Mapping[str, Any],
    unset: Collection[str],
    heads: Mapping[str, Id],
    child: Id | None = None,
) -> bytes:
    """A Yjs update (encoding v1) of ``client`` that sets entries of a map and removes others.

    The map is the root named ``root``, or the one that the item ``child`` holds. ``heads`` are the newest writes of its
    entries, deleted or not (:meth:`collab.gate.gate.Gate.heads`); an entry without one cannot be removed. ``clock`` is
    the client's next. Raises :class:`collab.errors.InvalidRequest` for values that are not JSON.
    """
    parent = b"\x01" + encode_string(root) if child is None else b"\x00" + encode_id(child)
    items = [_item(ANY, key, heads.get(key), parent, b"\x01" + write_any(value)) for key, value in changes.items()]
    return _frame(client, clock, items, [heads[key] for key in {*changes, *unset} if key in heads])


def encode_child(
    client: int, clock: int, root: str, key: str, fields: Mapping[str, Any], head: Id | None = None
) -> bytes:
    """A Yjs update (encoding v1) of ``client`` that puts a new map with ``fields`` into a root.

    ``head`` is the newest write of ``key`` there, deleted or not. To remove a child, remove its entry with
    :func:`encode_fields`. Raises :class:`collab.errors.InvalidRequest` for values that are not JSON.
    """
    items = [_item(TYPE, key, head, b"\x01" + encode_string(root), _MAP)]
    inside = b"\x00" + encode_id((client, clock))
    items += [_item(ANY, name, None, inside, b"\x01" + write_any(value)) for name, value in fields.items()]
    return _frame(client, clock, items, [head] if head is not None else [])


def _item(ref: int, key: str, origin: Id | None, parent: bytes, content: bytes) -> bytes:
    if origin is not None:
        return bytes([ref | 128 | 32]) + encode_id(origin) + content
    return bytes([ref | 32]) + parent + write_key(key) + content


def _frame(client: int, clock: int, items: Sequence[bytes], deletes: Iterable[Id]) -> bytes:
    out = [encode_uint(0)]
    if items:
        out = [encode_uint(n) for n in (1, len(items), client, clock)]
        out += items
    out.append(encode_deletes((other, at, 1) for other, at in sorted(deletes)))
    return b"".join(out)
