"""Looks at quarantined edits, and puts them back into their documents if a sandbox takes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import msgspec

from collab.errors import CollabError, InvalidRequest, NotFound
from collab.gate.struct_content import Malformed
from collab.gate.structs import decode
from collab.names import RoomKey
from collab.sandbox.client import Sandbox, SandboxError
from collab.server.app import Collab
from collab.server.config.settings import Settings
from collab.storage.base import Record, Storage
from collab.storage.location import reader_at, storage_at
from collab.storage.reading import NumberedAside
from collab.storage.settling import settle_aside
from collab.turns import TurnOwner

RELEASED = "released"
DISCARDED = "discarded"

_SECONDS = 60.0


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
    return not aside.entry.update and aside.entry.reason in (RELEASED, DISCARDED)


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
    for each in await list_quarantine(location):
        if each.number == number:
            return each
    raise NotFound(f"nothing in quarantine has the number {number}")


async def discard(location: str, number: int) -> NumberedAside:
    """Forget a quarantined edit. A client that still has it may send it again."""
    aside = await find_aside(location, number)
    await settle_aside(location, aside, DISCARDED)
    return aside


async def release(settings: Settings, number: int, *, takes_over: bool) -> NumberedAside:
    """Put a quarantined edit back into its document, as if it came now, after a child process has taken it.

    Raises :class:`InvalidRequest` if the child refuses it or dies of it, and
    :class:`collab.storage.base.StorageError` if a server uses the record. Nothing was changed then.
    """
    aside = await find_aside(settings.location, number)
    storage = storage_at(settings.location, takes_over=takes_over)
    alone = msgspec.structs.replace(settings, webhooks=[], redis=None, node_url=None, workers=1)
    collab = Collab(alone, storage=cast(Storage, _Without(storage, aside)))
    with _quiet():
        async with collab.lifespan():
            await _try(await storage.load(aside.entry.key), aside, collab)
            try:
                await collab.handle(aside.entry.key).apply(aside.entry.update)
            except CollabError as error:
                raise InvalidRequest(f"{number} cannot be released: {error.message}") from None
    await settle_aside(settings.location, aside, RELEASED)
    return aside


async def _try(record: Record | None, aside: NumberedAside, collab: Collab) -> None:
    """Raise :class:`InvalidRequest` if the document cannot take the edit."""
    key = aside.entry.key
    snapshot = record.snapshot if record is not None else None
    updates = [row.update for row in record.rows] if record is not None else []
    sandbox = Sandbox()
    try:
        async with sandbox.turn(TurnOwner(key.project, "release")) as child:
            await child.compact(
                snapshot.update if snapshot is not None else None,
                [*updates, aside.entry.update],
                _SECONDS,
                snapshot.index if snapshot is not None else None,
                collab.schemas.mapped_in(key.collection),
            )
    except SandboxError as error:
        raise InvalidRequest(f"{aside.number} cannot be released, its document would not load: {error}") from None
    finally:
        await sandbox.close()


class _Without:
    """A storage in which one entry is not quarantined."""

    def __init__(self, storage: Storage, aside: NumberedAside) -> None:
        self._storage = storage
        self._aside = aside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def load(self, key: RoomKey) -> Record | None:
        record = await self._storage.load(key)
        if record is None or key != self._aside.entry.key:
            return record
        left = [entry for entry in record.set_aside if entry != self._aside.entry]
        return Record(record.lineage, record.snapshot, record.rows, left, record.entity)


@contextmanager
def _quiet() -> Iterator[None]:
    """What a server would warn of at its start concerns nobody here."""
    log = logging.getLogger("collab")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
