"""Puts quarantined edits back into their documents, if a child process takes them: what a release is, and the server's
answer to who asks for one beside it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from collab.errors import CollabError, Elsewhere, InvalidRequest, Unavailable
from collab.names import RoomKey
from collab.rooms.handle import RoomHandle
from collab.rooms.registry import Registry
from collab.sandbox.client import Child, Sandbox, SandboxRefused, SandboxUnanswered
from collab.server.quarantined import RELEASED
from collab.storage.base import DocumentStorage, Record, SetAside, StorageError
from collab.storage.location import reader_at
from collab.storage.releases import failed
from collab.storage.settling import mark_aside, settle_aside
from collab.turns import TurnOwner

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
SECONDS = 60.0
"""Of CPU time for the trial."""


async def try_release(child: Child, record: Record | None, update: bytes, mapped: Collection[str]) -> None:
    """Raise :class:`InvalidRequest` if a document cannot take an edit.

    Raises :class:`collab.sandbox.client.SandboxUnanswered` if there was no time to find out.
    """
    snapshot = record.snapshot if record is not None else None
    updates = [row.update for row in record.rows] if record is not None else []
    try:
        await child.compact(
            snapshot.update if snapshot is not None else None,
            [*updates, update],
            SECONDS,
            snapshot.index if snapshot is not None else None,
            mapped,
        )
    except SandboxRefused as error:
        raise InvalidRequest(f"its document would not load: {error.message}") from None


class Releases:
    """Looks each second for releases that somebody asks for, and makes them. Keep :meth:`run` running.

    In a cluster every node looks, and the owner of the document makes it. ``location`` is that of the record,
    ``handle`` returns a document of this process, ``mapped`` the roots of a collection's documents that hold entities.
    """

    def __init__(
        self,
        storage: DocumentStorage,
        registry: Registry,
        sandbox: Sandbox,
        location: str,
        *,
        handle: Callable[[RoomKey], RoomHandle],
        mapped: Callable[[str], Collection[str]],
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._sandbox = sandbox
        self._location = location
        self._handle = handle
        self._mapped = mapped

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                for entry in await self._storage.releases():
                    await self._release(entry)
            except StorageError as error:
                log.debug("quarantine is not looked at: %s", error)  # the recorder tells that the storage is away
            except Exception:
                log.exception("a quarantined edit could not be released")

    async def _release(self, entry: SetAside) -> None:
        try:
            async with self._registry.hold(entry.key, even_deleted=True):
                await self._put_back(entry)
        except Elsewhere:
            return  # its owner does it
        except (Unavailable, SandboxUnanswered) as error:
            log.warning("a quarantined edit of %s is not released yet: %s", entry.key, error.message)
        except CollabError as error:
            log.warning("a quarantined edit of %s is not released: %s", entry.key, error.message)
            await self._answer(entry, error.message)
        else:
            log.warning("a quarantined edit of %s was released", entry.key)
            await self._answer(entry, None)

    async def _put_back(self, entry: SetAside) -> None:
        key = entry.key
        async with self._sandbox.turn(TurnOwner(key.project, "release")) as child:
            record = await self._storage.load(key)
            await try_release(child, record, entry.update, self._mapped(key.collection))
        left = [each for each in (record.set_aside if record is not None else ()) if each != entry]
        self._registry.refuse(key, left)
        try:
            await self._handle(key).apply(entry.update)
        except BaseException:
            self._registry.refuse(key, [*left, entry])
            raise

    async def _answer(self, entry: SetAside, failure: str | None) -> None:
        async with reader_at(self._location) as reader:
            found = next((each for each in await reader.quarantined() if each.entry == entry), None)
        if found is None:
            return  # whoever asked has waited long enough
        if failure is None:
            await settle_aside(self._location, found, RELEASED)
        else:
            await mark_aside(self._location, found, failed(entry.reason, failure))
