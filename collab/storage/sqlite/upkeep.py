"""Upkeep of the record: snapshots take the place of logs, what is old is trimmed, what is unwanted erased.

All of it works in the writing thread, in transactions of bounded size with everybody's commits in between, and one at a
time. What the end of a process has interrupted is finished after the next start.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from sqlite3 import Connection

from collab.errors import CollabError
from collab.names import RoomKey
from collab.storage.base import Snapshot
from collab.storage.rules import REQUEST_SECONDS
from collab.storage.sqlite import archive, history, moving
from collab.storage.sqlite.commit import Appender
from collab.storage.sqlite.database import Database
from collab.storage.sqlite.documents import find_rid, read_snapshot_seq
from collab.storage.sqlite.erase import erase_rows, list_erased, make_unknown
from collab.storage.sqlite.parts import add_part, delete_unused_parts, split

log = logging.getLogger(__name__)

_COMPRESSION = 4  # of zlib: 20 ms per megabyte; 9 takes seven times as long for 2 % less


class Upkeep:
    """The upkeep of one database. ``history_seconds`` and ``clock``: see :class:`SqliteStorage`."""

    def __init__(
        self, database: Database, appender: Appender, *, history_seconds: float | None, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._appender = appender
        self._history_seconds = history_seconds
        self._clock = clock
        self._turn = asyncio.Lock()  # so nobody takes the parts of a snapshot that is being written for unused
        self._resuming: asyncio.Task[None] | None = None
        self._change, self._query = database.change, database.query

    def start(self) -> None:
        """Finish what was interrupted, in the background."""
        self._resuming = asyncio.create_task(self._resume())

    async def stop(self) -> None:
        """Interrupt :meth:`start`."""
        if self._resuming is not None:
            self._resuming.cancel()
            await asyncio.gather(self._resuming, return_exceptions=True)
            self._resuming = None

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        """See :class:`collab.storage.base.Storage`."""
        content = await asyncio.to_thread(zlib.compress, snapshot.update, _COMPRESSION)
        gate = await asyncio.to_thread(zlib.compress, snapshot.index, _COMPRESSION)
        async with self._turn:
            rid = await self._change(partial(self._begin, key=key, seq=snapshot.seq))
            if rid is None:
                return
            await self._finish(rid, key)
            base = await self._query(lambda connection: archive.look_for_base(connection, rid))
            await self._change(lambda connection: moving.begin(connection, rid))
            state = await self._write_parts(rid, content)
            index = await self._write_parts(rid, gate)
            crc = moving.checksum(rid, snapshot.seq, content, gate)
            new = moving.NewSnapshot(snapshot.seq, *state, *index, crc)
            await self._change(partial(self._store, key=key, rid=rid, new=new, base=base))
            try:
                await self._finish(rid, key)
            except CollabError as error:
                log.warning("the log behind the snapshot of %s stays for now: %s", key, error)
        self._database.give_space_back()

    async def trim(self, before: float) -> None:
        """See :class:`collab.storage.base.Storage`."""
        for project, cut in await self._query(lambda connection: history.read_cuts(connection, before)):
            while await self._change(partial(history.cut_events, project=project, cut=cut)):
                pass
        day = max(before, self._clock() - REQUEST_SECONDS)
        while await self._change(lambda connection: history.cut_requests(connection, day)):
            pass
        async with self._turn:
            rid: int | None = 0
            while rid is not None:
                rid = await self._change(partial(archive.cut_some, before=before, after=rid))
            await self._finish_all()
        self._database.give_space_back()

    async def erase(self, keys: Sequence[RoomKey]) -> None:
        """See :class:`collab.storage.base.Storage`."""
        async with self._turn:
            await self._change(partial(self._make_unknown, keys=keys))
            await self._erase_all()
        await self._database.scrub()

    async def finish(self) -> None:
        """Finish what was interrupted."""
        async with self._turn:
            await self._erase_all()
            await self._finish_all()

    async def _resume(self) -> None:
        try:
            await self.finish()
        except CollabError as error:
            log.warning("could not finish what was interrupted: %s", error)

    async def _write_parts(self, rid: int, content: bytes) -> tuple[bytes, int | None]:
        """Write a content if it is large. Returns what remains for its row, and its bundle."""
        bundle: int | None = None
        for part in split(content):
            bundle = await self._change(partial(add_part, rid=rid, bundle=bundle, part=part))
        return (content, None) if bundle is None else (b"", bundle)

    async def _finish_all(self) -> None:
        for rid, key in await self._query(moving.list_unfinished):
            await self._finish(rid, key)

    async def _finish(self, rid: int, key: RoomKey) -> None:
        """Move what is behind the snapshot to the history, and delete what nobody needs any more."""
        if self._history_seconds == 0:
            while await self._change(partial(moving.drop, rid=rid)):
                pass
        else:
            newest = None
            while (packed := await self._query(lambda connection: moving.pack(connection, key))) is not None:
                if await self._change(partial(moving.keep, rid=rid, packed=packed)):
                    newest = max([newest or 0.0, *(piece.to_at for piece in packed.pieces)])
            if self._history_seconds is not None and newest is not None:
                while await self._change(partial(archive.cut, rid=rid, before=newest - self._history_seconds)):
                    pass
        while await self._change(partial(delete_unused_parts, rid=rid)):
            pass
        await self._change(partial(moving.end, rid=rid))

    async def _erase_all(self) -> None:
        for erased in await self._query(list_erased):
            rows = await self._change(partial(erase_rows, erased=erased))
            while await self._change(partial(_step, rows)):
                pass

    # in the writing thread, inside a transaction

    def _begin(self, connection: Connection, key: RoomKey, seq: int) -> int | None:
        """The row id of a document whose snapshot is to be replaced, ``None`` if there is a newer one."""
        tail = self._appender.tail(connection, key)
        if not tail.rid or tail.seq < seq:
            raise ValueError(f"{key} has no row {seq}")
        if read_snapshot_seq(connection, tail.rid) > seq:
            return None
        return tail.rid

    def _store(
        self,
        connection: Connection,
        key: RoomKey,
        rid: int,
        new: moving.NewSnapshot,
        base: archive.NewBase | None,
    ) -> None:
        if find_rid(connection, key) == rid:
            moving.store(connection, rid, new, base)
            self._appender.refresh(connection, key)

    def _make_unknown(self, connection: Connection, keys: Sequence[RoomKey]) -> None:
        make_unknown(connection, keys)
        self._appender.drop(keys)


def _step(rows: Iterator[None], _: Connection) -> bool:
    """Whether there was something to do."""
    return any(True for _ in rows)
