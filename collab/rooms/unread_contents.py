"""Reads what documents say for search, if no content event has told it.

:mod:`.content_events` commits it with each change from then on. This is for documents that were there before their
collection declared that their contents are searched, and for what nodes with an earlier declaration have committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from collab.entities.bridge import FIELDS
from collab.errors import CollabError, DocumentDamaged, NotFound
from collab.query.query import Path
from collab.sandbox.client import Child, Sandbox, SandboxError
from collab.storage.base import DocumentStorage, NewContents, Unread
from collab.storage.jobs import AllJobs, JobHolder
from collab.turns import TurnOwner

log = logging.getLogger(__name__)

_AT_ONCE = 50  # documents
_BYTES = 1024 * 1024  # of documents that are read together
_TOLD = 1000
_LOOK_SECONDS = 2.0


class UnreadContents:
    """Reads unread documents of a record while :meth:`run` runs; ``jobs`` chooses one process.

    ``contents_paths`` are those of :attr:`collab.records.schema.Schemas.contents_paths`, by collection.
    """

    def __init__(
        self,
        storage: DocumentStorage,
        sandbox: Sandbox,
        *,
        contents_paths: Mapping[str, Path],
        jobs: JobHolder | None = None,
    ) -> None:
        self._storage = storage
        self._sandbox = sandbox
        self._contents_paths = contents_paths
        self._jobs = jobs if jobs is not None else AllJobs()

    async def run(self) -> None:
        """Work until cancelled."""
        await self._jobs.run("contents for search", self._work)

    async def _work(self) -> None:
        away = False
        while True:
            try:
                if self._contents_paths:
                    await self._read_all()
                away = False
            except CollabError as error:  # the storage is away, or no child can start
                if not away:
                    log.error("documents are not read for search: %s", error)
                away = True
            except Exception:
                if not away:
                    log.exception("documents are not read for search")
                away = True
            await asyncio.sleep(_LOOK_SECONDS)

    async def _read_all(self) -> None:
        count = told = 0
        before: Sequence[Unread] = ()
        # if they are the same again, another node declares what is searched of them otherwise
        while (left := await self._storage.unread(_AT_ONCE)) and left != before:
            before = left
            if not count:
                log.info("reading documents for search")
            groups: dict[tuple[str, str], list[Unread]] = {}
            for unread in left:
                groups.setdefault((unread.key.project, unread.key.collection), []).append(unread)
            for (project, collection), group in groups.items():
                if collection in self._contents_paths:
                    await self._read_group(project, self._contents_paths[collection], group)
            count += len(left)
            if count - told >= _TOLD:
                told = count
                log.info("%d documents are read for search", count)
        if count and not left:
            log.info("all documents are read for search: %d", count)
        await self._storage.end_reading()

    async def _read_group(self, project: str, path: Path, group: Sequence[Unread]) -> None:
        """Read documents of one collection, several in one request."""
        async with self._sandbox.background(TurnOwner(project, "search")) as child:
            await child.prepare()  # if no child can start, the documents are not to blame
            some: dict[Unread, Sequence[bytes]] = {}
            size = 0
            for unread in group:
                updates = await self._updates_of(unread)
                some[unread] = updates
                size += sum(map(len, updates))
                if size >= _BYTES:
                    await self._read_some(child, some, path)
                    some, size = {}, 0
            if some:
                await self._read_some(child, some, path)

    async def _updates_of(self, unread: Unread) -> Sequence[bytes]:
        try:
            return await self._storage.document_at(unread.key, unread.seq)
        except NotFound:
            return ()  # cut before it became an event: its content events have it read when they are past that
        except DocumentDamaged as error:
            log.warning("search does not find what %s says: %s", unread.key, error)
            return ()

    async def _read_some(self, child: Child, some: Mapping[Unread, Sequence[bytes]], path: Path) -> None:
        texts: Sequence[str | None]
        without = [FIELDS, *path[1:]]
        try:
            texts = await child.texts(list(some.values()), without, _seconds(some.values()))
        except SandboxError:
            if len(some) > 1:
                for unread, updates in some.items():
                    await self._read_some(child, {unread: updates}, path)
                return
            texts = [None]
        for unread, text in zip(some, texts, strict=True):
            if text is None:
                log.warning("search does not find what %s says: it cannot be read", unread.key)
            await self._storage.save_contents(unread, NewContents(text or "", path))


def _seconds(documents: Iterable[Sequence[bytes]]) -> float:
    """How long a child may read these documents."""
    return 10.0 + sum(len(update) for updates in documents for update in updates) / (256 * 1024)
