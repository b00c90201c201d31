"""What a document is made of: elements, tombstones, and the clients that wrote them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from collab.gate.struct_content import GC, SKIP
from collab.gate.structs import DeletedRange, decode

_MOST_CLIENTS = 500
_MOST_USERS = 20


class ClientMakeup(msgspec.Struct, kw_only=True, rename="camel"):
    """What one Yjs client id wrote. ``elements`` is its clock, ``deleted`` how many of these are tombstones.

    ``users`` sent its edits of the log, the last one at ``last_at`` (seconds since the epoch). Both are unknown for
    what is only in the snapshot.
    """

    client: int
    elements: int = 0
    deleted: int = 0
    content_bytes: int = 0
    users: list[str | None] = []
    last_at: float | None = None


class Makeup(msgspec.Struct, kw_only=True, rename="camel"):
    """What a document is made of. Sizes in bytes.

    ``structs`` is how many parts its encoding has, ``elements`` how many characters, list items and map entries were
    ever written, ``deleted`` how many of these are tombstones, ``collected`` how many of those have no place in the
    document any more (garbage). ``clients`` are the largest ones, of ``client_count``.
    """

    structs: int
    elements: int
    deleted: int
    collected: int
    content_bytes: int
    client_count: int
    clients: list[ClientMakeup]


def makeup_of(snapshot: bytes | None, rows: Sequence[tuple[bytes, str | None, float]]) -> Makeup:
    """Count the parts of a document. Raises :class:`collab.gate.struct_content.Malformed`."""
    clients: dict[int, ClientMakeup] = {}
    deletes: list[DeletedRange] = []
    garbage: list[DeletedRange] = []
    structs = 0

    def take(update: bytes) -> set[int]:
        nonlocal structs
        found, deleted = decode(update)
        wrote: set[int] = set()
        for client, clock, length, ref, _, _, _, _, start, end in found:
            if ref == SKIP:
                continue
            known = clients.get(client)
            if known is None:
                known = clients[client] = ClientMakeup(client=client)
            structs += 1
            known.elements = max(known.elements, clock + length)
            known.content_bytes += end - start
            if ref == GC:
                garbage.append((client, clock, length))
            wrote.add(client)
        deletes.extend(deleted)
        return wrote

    if snapshot is not None:
        take(snapshot)
    for update, user, at in rows:
        for client in take(update):
            known = clients[client]
            known.last_at = at
            if user not in known.users and len(known.users) < _MOST_USERS:
                known.users = [*known.users, user]
    for client, length in _lengths([*deletes, *garbage]):
        if client in clients:
            clients[client].deleted += length
    largest = sorted(clients.values(), key=lambda each: (-each.elements, each.client))
    return Makeup(
        structs=structs,
        elements=sum(each.elements for each in clients.values()),
        deleted=sum(each.deleted for each in clients.values()),
        collected=sum(length for _, length in _lengths(garbage)),
        content_bytes=sum(each.content_bytes for each in clients.values()),
        client_count=len(clients),
        clients=largest[:_MOST_CLIENTS],
    )


def _lengths(ranges: Iterable[DeletedRange]) -> Iterable[tuple[int, int]]:
    """Yield (client, length) of ranges without what several of them cover."""
    last, until = -1, 0
    for client, clock, length in sorted(ranges):
        if client != last:
            last, until = client, 0
        start, end = max(clock, until), clock + length
        if end > start:
            yield client, end - start
            until = end
