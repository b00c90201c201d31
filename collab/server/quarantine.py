"""Releases a quarantined edit for a command: alone with the record, or by asking the servers that use it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import msgspec

from collab.errors import CollabError, InvalidRequest, NotFound, Unavailable
from collab.names import RoomKey
from collab.sandbox.client import Sandbox, SandboxUnanswered
from collab.server.app import Collab
from collab.server.config.settings import Settings
from collab.server.quarantined import RELEASED, find_aside
from collab.server.releases import try_release
from collab.storage.base import Record, RecordInUse, Storage
from collab.storage.location import storage_at
from collab.storage.reading import NumberedAside
from collab.storage.releases import asked, failure_in
from collab.storage.settling import mark_aside, settle_aside
from collab.turns import TurnOwner

ANSWER_SECONDS = 90.0
_LOOK_SECONDS = 0.25


async def release(settings: Settings, number: int, *, takes_over: bool) -> NumberedAside:
    """Put a quarantined edit back into its document, as if it came now, after a child process has taken it.

    A server that uses the record does it, and this waits for its answer. Raises :class:`InvalidRequest` if the child
    refuses the edit or dies of it, :class:`collab.sandbox.client.SandboxUnanswered` if there was no time to find out,
    and :class:`Unavailable` if no server answers or the record cannot be used now. Nothing was changed then.
    """
    aside = await find_aside(settings.location, number)
    try:
        await _release_alone(settings, aside, takes_over=takes_over)
    except RecordInUse as in_use:
        await _ask(settings.location, aside, in_use)
    return aside


async def _ask(location: str, aside: NumberedAside, in_use: RecordInUse) -> None:
    """Have the servers release it: they see that they are asked in its reason."""
    number, before = aside.number, aside.entry.reason
    waiting = asked(before)
    if waiting != before and not await mark_aside(location, aside, waiting):
        raise InvalidRequest(f"{number} has changed: look at it again")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                now = await find_aside(location, number)
                if now.entry.reason != waiting:
                    raise InvalidRequest(f"{number} cannot be released: {failure_in(now.entry.reason)}")
    except NotFound:
        return  # it is in its document
    except TimeoutError:
        pass
    if not await mark_aside(location, NumberedAside(number, replace(aside.entry, reason=waiting)), before):
        raise Unavailable(f"{number} was answered only now: list the quarantine")
    raise Unavailable(
        f"no server has released {number} within {ANSWER_SECONDS:g} s, nothing was changed: {in_use.message}"
    )


async def _release_alone(settings: Settings, aside: NumberedAside, *, takes_over: bool) -> None:
    storage = storage_at(settings.location, takes_over=takes_over)
    alone = msgspec.structs.replace(settings, webhooks=[], redis=None, node_url=None, workers=1, inspect=False)
    collab = Collab(alone, storage=cast(Storage, _Without(storage, aside)))
    with _quiet():
        async with collab.lifespan():
            try:
                await _try(await storage.load(aside.entry.key), aside, collab)
                await collab.handle(aside.entry.key).apply(aside.entry.update)
            except (Unavailable, SandboxUnanswered):
                raise
            except CollabError as error:
                raise InvalidRequest(f"{aside.number} cannot be released: {error.message}") from None
    await settle_aside(settings.location, aside, RELEASED)


async def _try(record: Record | None, aside: NumberedAside, collab: Collab) -> None:
    key = aside.entry.key
    sandbox = Sandbox()
    try:
        async with sandbox.turn(TurnOwner(key.project, "release")) as child:
            await try_release(child, record, aside.entry.update, collab.schemas.mapped_in(key.collection))
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
