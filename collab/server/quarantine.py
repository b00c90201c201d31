"""Puts quarantined edits back into their documents if a sandbox takes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import msgspec

from collab.errors import CollabError, InvalidRequest
from collab.names import RoomKey
from collab.sandbox.client import Sandbox, SandboxRefused
from collab.server.app import Collab
from collab.server.config.settings import Settings
from collab.server.quarantined import RELEASED, find_aside
from collab.storage.base import Record, Storage
from collab.storage.location import storage_at
from collab.storage.reading import NumberedAside
from collab.storage.settling import settle_aside
from collab.turns import TurnOwner

_SECONDS = 60.0


async def release(settings: Settings, number: int, *, takes_over: bool) -> NumberedAside:
    """Put a quarantined edit back into its document, as if it came now, after a child process has taken it.

    Raises :class:`InvalidRequest` if the child refuses it or dies of it, and
    :class:`collab.storage.base.StorageError` if a server uses the record. Nothing was changed then.
    """
    aside = await find_aside(settings.location, number)
    storage = storage_at(settings.location, takes_over=takes_over)
    alone = msgspec.structs.replace(settings, webhooks=[], redis=None, node_url=None, workers=1, inspect=False)
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
    except SandboxRefused as error:
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
