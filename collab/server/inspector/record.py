"""What the record holds, read beside the server as the commands do: projects, dead letters, quarantine, sizes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from time import monotonic
from typing import Any, Generic, TypeVar

from collab.consumers.webhook import Webhook
from collab.dates import iso
from collab.errors import InvalidRequest, Unavailable
from collab.names import DEFAULT_PROJECT
from collab.server import replay as replaying
from collab.server.inspector.questions import (
    OfDeleted,
    OfEntry,
    OfLetters,
    OfMany,
    OfProjects,
    OfQuarantine,
    Question,
    SendAgain,
)
from collab.server.node_usage import NodeUsage
from collab.server.quarantined import contents_of, discard, find_aside, is_settled_as
from collab.server.webhook_list import webhook_rows
from collab.storage.location import reader_at
from collab.storage.reading import CollectionCount, NumberedAside, ProjectSize, RecordReader

T = TypeVar("T")

_READERS = 2
_MOST_COLLECTIONS = 2_000
_MOST_RANGES = 200
_FRESH_SECONDS = 3.0
_FRESH_SIZES_SECONDS = 60.0
_READ_SECONDS = 60.0


class RecordViews:
    """Each method answers one question, with values for JSON.

    ``location`` is that of the record; ``None`` if the application made the storage, which then cannot be read beside
    it. ``used`` returns what each project has used. Few read at a time, because each opens a connection.
    """

    def __init__(
        self,
        location: str | None,
        webhooks: Sequence[Webhook],
        used: Callable[[], Awaitable[dict[str, NodeUsage]]],
    ) -> None:
        self._location = location
        self._webhooks = webhooks
        self._used = used
        self._readers = asyncio.Semaphore(_READERS)
        self._counts = _Fresh(_FRESH_SECONDS, self._read_counts)
        self._sizes = _Fresh(_FRESH_SIZES_SECONDS, self._read_sizes)
        self._replaying = asyncio.Lock()

    async def projects(self, asked: OfProjects) -> dict[str, Any]:
        """Projects with their collections, by name. ``size`` counts entities and documents, deleted ones too.

        ``more``: not all collections of these projects are listed.
        """
        counts, newest = await self._counts.get()
        names = {DEFAULT_PROJECT, *newest, *await self._used(), *(each.project for each in counts)} - {""}
        if asked.project is not None:
            page, follows = [asked.project], False
        else:
            later = sorted(name for name in names if name > asked.after)
            page, follows = later[: asked.limit], len(later) > asked.limit
        collections: dict[str, list[dict[str, Any]]] = {name: [] for name in page}
        listed = [each for each in counts if each.project in collections]
        for each in listed[:_MOST_COLLECTIONS]:
            collections[each.project].append({"name": each.collection, "size": each.size})
        return {
            "projects": [
                {"name": name, "position": newest.get(name, 0), "collections": found}
                for name, found in collections.items()
            ],
            "more": len(listed) > _MOST_COLLECTIONS,
            "next": page[-1] if follows else None,
        }

    async def deleted(self, asked: OfDeleted) -> dict[str, Any]:
        """Deleted entities that can be restored, by id."""
        async with self._reader() as reader:
            found = await reader.deleted(asked.project, asked.collection, asked.after, asked.limit)
        return {
            "deleted": [{"id": each.id, "version": each.version, "at": iso(each.at)} for each in found],
            "next": found[-1].id if len(found) == asked.limit else None,
        }

    async def usage(self, asked: OfMany) -> dict[str, Any]:
        """What projects use: CPU and traffic of all nodes since they began to serve, and bytes in the record.

        Those that use most CPU come first, then those that store most. ``count`` is how many projects there are.
        """
        sizes = {each.project: each for each in await self._sizes.get()}
        used = await self._used()

        def use(name: str) -> tuple[float, int, str]:
            cpu = sum(used[name].cpu.values()) if name in used else 0.0
            stored = sum(sizes[name][1:]) if name in sizes else 0
            return -cpu, -stored, name

        names = used.keys() | sizes.keys()
        return {
            "projects": [
                {
                    "name": name,
                    "used": used.get(name, NodeUsage()),
                    "stored": sizes[name]._asdict() if name in sizes else None,
                }
                for name in sorted(names, key=use)[: asked.limit]
            ],
            "count": len(names),
        }

    async def webhooks(self, asked: Question) -> dict[str, Any]:
        """All webhooks that are configured or of which the record knows."""
        async with self._reader() as reader:
            return {"webhooks": await webhook_rows(reader, self._webhooks)}

    async def letters(self, asked: OfLetters) -> dict[str, Any]:
        """Events that a webhook did not accept, oldest first."""
        async with self._reader() as reader:
            found = await reader.dead_letters(asked.webhook, after=asked.after, limit=asked.limit)
        return {
            "letters": [
                {
                    "number": number,
                    "at": iso(letter.at),
                    "project": letter.project,
                    "collection": letter.event.collection,
                    "id": letter.event.id,
                    "version": letter.event.version,
                    "type": letter.event.type,
                    "reason": letter.reason,
                }
                for number, letter in found
            ],
            "next": found[-1].number if len(found) == asked.limit else None,
        }

    async def replay(self, asked: SendAgain) -> dict[str, Any]:
        """Send dead letters again; those that are taken are forgotten. One replay runs at a time."""
        location = self._at()
        webhook = replaying.webhook_named(self._webhooks, asked.webhook)
        if self._replaying.locked():
            raise Unavailable("another replay is under way: wait for its end")
        async with self._replaying:
            done = await replaying.replay(location, webhook, asked.numbers, progress=lambda done, total: None)
        return {
            "sent": done.sent,
            "waiting": done.waiting,
            "failed": [{"number": each.number, "reason": reason} for each, reason in done.failed],
        }

    async def quarantine(self, asked: OfQuarantine) -> dict[str, Any]:
        """Quarantined edits and log rows, oldest first, without their bytes. Skips pages of settled ones."""
        async with self._reader() as reader:
            found = await reader.quarantine_page(asked.after, asked.limit)
            while len(found) == asked.limit and all(is_settled_as(each.size, each.reason) for each in found):
                found = await reader.quarantine_page(found[-1].number, asked.limit)
        return {
            "entries": [
                {
                    "number": each.number,
                    "at": iso(each.at),
                    "project": each.key.project,
                    "collection": each.key.collection,
                    "id": each.key.id,
                    "row": each.seq,
                    "bytes": each.size,
                    "reason": each.reason,
                }
                for each in found
                if not is_settled_as(each.size, each.reason)
            ],
            "next": found[-1].number if len(found) == asked.limit else None,
        }

    async def entry(self, asked: OfEntry) -> dict[str, Any]:
        """What a quarantined edit writes and deletes. It is not applied."""
        found = await find_aside(self._at(), asked.number)
        what = await asyncio.to_thread(contents_of, found.entry.update)
        return {
            "number": found.number,
            "bytes": len(found.entry.update),
            "sha256": sha256(found.entry.update).hexdigest(),
            "writes": _ranges(what.writes),
            "deletes": _ranges(what.deletes),
            "more": max(len(what.writes), len(what.deletes)) > _MOST_RANGES,
            "malformed": what.malformed,
        }

    async def discard(self, asked: OfEntry) -> dict[str, int]:
        """Forget a quarantined edit."""
        found: NumberedAside = await discard(self._at(), asked.number)
        return {"discarded": found.number}

    def _at(self) -> str:
        if self._location is None:
            raise InvalidRequest("the application made this server's storage: it cannot be read beside the server")
        return self._location

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[RecordReader]:
        location = self._at()
        try:
            async with asyncio.timeout(_READ_SECONDS):
                async with self._readers, reader_at(location) as reader:
                    yield reader
        except TimeoutError:
            raise Unavailable(f"the record was not read within {_READ_SECONDS:g} s") from None

    async def _read_counts(self) -> tuple[Sequence[CollectionCount], dict[str, int]]:
        async with self._reader() as reader:
            return await reader.collections(), dict((await reader.positions()).newest)

    async def _read_sizes(self) -> Sequence[ProjectSize]:
        async with self._reader() as reader:
            return await reader.sizes()


class _Fresh(Generic[T]):
    """A value that is read at most once in ``seconds``, however many ask."""

    def __init__(self, seconds: float, read: Callable[[], Awaitable[T]]) -> None:
        self._seconds = seconds
        self._read = read
        self._turn = asyncio.Lock()
        self._known: tuple[float, T] | None = None

    async def get(self) -> T:
        async with self._turn:
            if self._known is None or monotonic() > self._known[0] + self._seconds:
                self._known = (monotonic(), await self._read())
            return self._known[1]


def _ranges(found: Sequence[tuple[int, int, int]]) -> list[dict[str, int]]:
    return [{"client": client, "from": start, "to": end} for client, start, end in found[:_MOST_RANGES]]
