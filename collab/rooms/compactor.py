"""Replaces the logs of documents by snapshots. :mod:`collab.rooms.live.compaction` says when."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping

from collab.access.price import METER
from collab.errors import CollabError
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.live.compaction import LogSize, should_compact
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.room import Room
from collab.sandbox.client import Child, Sandbox, SandboxError
from collab.storage.base import DocumentStorage, Snapshot
from collab.turns import TurnOwner

log = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0  # after a failed compaction


class Compactor:
    """Compacts documents in the sandbox, each once at a time.

    ``rooms`` are the open ones. With ``cuts_covered``, rows whose content has not become events yet stay in the log:
    snapshots delete the rows that they replace.
    """

    def __init__(
        self,
        storage: DocumentStorage,
        sandbox: Sandbox,
        rooms: Mapping[RoomKey, Room],
        *,
        options: RoomOptions,
        metrics: Metrics,
        mapped: Callable[[str], Mapping[str, str]],
        cuts_covered: bool,
        spawn: Callable[[Coroutine[object, object, None]], None],
    ) -> None:
        self._storage = storage
        self._sandbox = sandbox
        self._rooms = rooms
        self._options = options
        self._metrics = metrics
        self._mapped = mapped
        self._cuts_covered = cuts_covered
        self._spawn = spawn
        self._due: set[RoomKey] = set()
        self._compacting: set[RoomKey] = set()

    def start_if_due(self, room: Room, *, leaving: bool = False) -> None:
        """Compact a document in the background if its log is long enough; ``leaving``: its room has been closed."""
        if room.key in self._compacting or not should_compact(room.log, leaving=leaving):
            return
        # rows without events stay, so it is not worthwhile while they are most of the log
        if leaving or not self._cuts_covered or 2 * (room.commits.seq - room.bridge.main.covered) <= room.log.rows:
            self._due.add(room.key)
            self._spawn(self.compact(room.key))

    def is_busy(self, key: RoomKey) -> bool:
        """Whether a document is being compacted or about to be, or its last compaction failed a moment ago."""
        return key in self._due or key in self._compacting

    async def compact(self, key: RoomKey) -> None:
        """Replace a document's log by a verified snapshot. On failure the log stays unchanged."""
        self._due.discard(key)
        if key in self._compacting:
            return
        self._compacting.add(key)
        METER.set(None)  # no caller pays for this
        try:
            async with self._sandbox.background(TurnOwner(key.project, "compaction")) as child:
                await self._replace_log(key, child)
        except (SandboxError, CollabError) as error:
            log.error("could not compact %s: %s", key, error)
            self._metrics.error("COMPACTION_FAILED")
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._compacting.discard, key)
        except BaseException:
            self._compacting.discard(key)
            raise
        else:
            self._compacting.discard(key)

    async def _replace_log(self, key: RoomKey, child: Child) -> None:
        room = self._rooms.get(key)
        spent, parts = (room.log.seconds, room.log.parts) if room is not None else (0.0, 0)
        record = await self._storage.load(key)
        if record is None or not record.rows:
            return
        before, index = None, None
        if record.snapshot is not None:
            before, index = record.snapshot.update, record.snapshot.index
        last = record.rows[-1].seq
        if self._cuts_covered:  # what is committed counts: a room knows of events that may still be lost
            last = record.entity.content_seq if record.entity is not None else 0
        kept = [row for row in record.rows if row.seq <= last]
        if not kept:
            return
        rows = [row.update for row in kept]
        seconds = 10.0 + sum(map(len, rows)) / (256 * 1024)
        if room is not None:
            seconds += 4 * (room.log.snapshot_seconds + spent)
        mapped = self._mapped(key.collection).keys()
        keep = self._options.keeps_deleted(key.collection)
        compacted = await child.compact(before, rows, seconds, index, mapped, keep_deleted=keep)
        seq = kept[-1].seq
        await self._storage.replace_snapshot(key, Snapshot(seq, compacted.update, compacted.index))
        self._metrics.compactions += 1
        room = self._rooms.get(key)
        if room is not None:
            share = len(kept) / len(record.rows)
            size = LogSize(len(compacted.update), len(rows), sum(map(len, rows)), compacted.load_seconds)
            size.seconds, size.parts = spent * share, round(parts * share)
            room.log.compacted(size)
