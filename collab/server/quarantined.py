"""Looks at quarantined edits, and forgets them. :mod:`.quarantine` puts them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collab.errors import NotFound
from collab.gate.struct_content import Malformed
from collab.gate.structs import decode
from collab.storage.location import reader_at
from collab.storage.reading import NumberedAside
from collab.storage.settling import settle_aside

RELEASED = "released"
DISCARDED = "discarded"


class Contents(NamedTuple):
    """What an edit writes: clocks of clients from one up to another, and what it deletes. ``malformed``: why not."""

    writes: Sequence[tuple[int, int, int]]
    deletes: Sequence[tuple[int, int, int]]
    malformed: str | None = None


def contents_of(update: bytes) -> Contents:
    """Read an edit without the CRDT library."""
    try:
        structs, deletes = decode(update)
    except Malformed as error:
        return Contents((), (), str(error))
    writes: list[tuple[int, int, int]] = []
    for client, clock, length, *_ in structs:
        if writes and writes[-1][0] == client and writes[-1][2] == clock:
            writes[-1] = (client, writes[-1][1], clock + length)
        else:
            writes.append((client, clock, clock + length))
    return Contents(writes, [(client, clock, clock + length) for client, clock, length in deletes])


def is_settled(aside: NumberedAside) -> bool:
    """Whether only a mark is left, so that the number of its log row is not assigned again."""
    return is_settled_as(len(aside.entry.update), aside.entry.reason)


def is_settled_as(size: int, reason: str) -> bool:
    """As :func:`is_settled`, for the size and the reason of an entry."""
    return not size and reason in (RELEASED, DISCARDED)


async def list_quarantine(location: str, project: str | None = None) -> list[NumberedAside]:
    """Quarantined edits, oldest first."""
    async with reader_at(location) as reader:
        return [
            each
            for each in await reader.quarantined()
            if not is_settled(each) and project in (None, each.entry.key.project)
        ]


async def find_aside(location: str, number: int) -> NumberedAside:
    """A quarantined edit. Raises :class:`NotFound`."""
    async with reader_at(location) as reader:
        found = await reader.quarantined_entry(number)
    if found is not None and not is_settled(found):
        return found
    raise NotFound(f"nothing in quarantine has the number {number}")


async def discard(location: str, number: int) -> NumberedAside:
    """Forget a quarantined edit. A client that still has it may send it again."""
    aside = await find_aside(location, number)
    await settle_aside(location, aside, DISCARDED)
    return aside
