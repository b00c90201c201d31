"""What one document is made of: sizes, tombstones, the clients that wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from collab.dates import iso
from collab.errors import NotFound
from collab.names import RoomKey
from collab.rooms.live.room import Room
from collab.sandbox.client import Sandbox
from collab.server.inspector.questions import OfDocument
from collab.storage.base import Storage
from collab.turns import TurnOwner

_SECONDS = 20.0
_MOST_ROWS = 50


class DocumentViews:
    """Reads documents in the sandbox, in turn with callers: they may be what an attacker made."""

    def __init__(
        self,
        storage: Storage,
        sandbox: Sandbox,
        rooms: Callable[[], Mapping[RoomKey, Room]],
    ) -> None:
        self._storage = storage
        self._sandbox = sandbox
        self._rooms = rooms

    async def makeup(self, asked: OfDocument) -> dict[str, Any]:
        """The committed document as the record holds it: its log, its snapshot, and what these are made of."""
        key = asked.key
        async with self._sandbox.turn(TurnOwner(key.project, "inspector")) as child:
            record = await self._storage.load(key)
            if record is None:
                raise NotFound(f"there is no {key.name}")
            rows = record.rows
            snapshot = record.snapshot
            made = await child.inspect(
                snapshot.update if snapshot is not None else None,
                [(row.update, row.user_id, row.at) for row in rows],
                _SECONDS,
            )
        room = self._rooms().get(key)
        return {
            "lineage": record.lineage,
            "deleted": record.entity.deleted if record.entity is not None else False,
            "snapshotBytes": len(snapshot.update) if snapshot is not None else 0,
            "indexBytes": len(snapshot.index) if snapshot is not None else 0,
            "logRows": len(rows),
            "logBytes": sum(len(row.update) for row in rows),
            "lastRows": [
                {"row": row.seq, "at": iso(row.at), "userId": row.user_id, "bytes": len(row.update)}
                for row in reversed(rows[-_MOST_ROWS:])
            ],
            "quarantined": len(record.set_aside),
            "openHere": room is not None,
            "sessions": len(room.sessions) if room is not None else 0,
            "makeup": msgspec.to_builtins(made),
        }
