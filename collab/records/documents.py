"""Document contents as plain values, current and past, and the edit that restores past content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from collab.entities.bridge import FIELDS
from collab.names import RoomKey
from collab.rooms.registry import Registry
from collab.sandbox.client import Sandbox
from collab.storage.base import DocumentStorage
from collab.turns import TurnOwner, Turns
from collab.wire.realtime.encoding import Format

_SECONDS = 10.0
_BYTES_A_SECOND = 256 * 1024
_EMPTY = b"\x00\x00"


class Documents:
    """Reads run in the sandbox: a document that crashes its reader does no other harm.

    ``turns`` are shared with the storage's queries.
    """

    def __init__(self, storage: DocumentStorage, turns: Turns, registry: Registry, sandbox: Sandbox) -> None:
        self._turns = turns
        self._storage = storage
        self._registry = registry
        self._sandbox = sandbox

    async def content(self, owner: TurnOwner, key: RoomKey, seq: int | None, form: Format | None = None) -> Any:
        """Return all content roots as plain values, now or as of a log row. Raises :class:`collab.errors.NotFound`.

        The result is a dict. With ``form`` it is a :class:`msgspec.Raw` encoded in the child process, so that a large
        document costs this process only a copy.
        """
        async with self._registry.hold(key, even_deleted=True) as room, self._sandbox.turn(owner) as child:
            if seq is None:
                room = await self._registry.readable(room)
                update, roots = room.diff(), room.content_roots()
                if not roots or update == _EMPTY:
                    return {}
                value = await child.read(update, roots, form or "values", _SECONDS)
                return value if form is None else msgspec.Raw(value)
            owned = [name for name in room.gate.roots if room.bridge.owns(name)]
            updates = await self._past(owner, key, seq)
            value = await child.read_past(updates, owned, _seconds(updates), form)
            return value if form is None else msgspec.Raw(value)

    async def restoring(self, owner: TurnOwner, key: RoomKey, seq: int) -> bytes | None:
        """Return an update that restores the content as of a log row; ``None`` if nothing differs."""
        async with self._sandbox.turn(owner) as child:
            updates = await self._past(owner, key, seq)
            async with self._registry.hold(key, even_deleted=True) as room:
                room = await self._registry.readable(room)
                owned = [name for name in room.gate.roots if room.bridge.owns(name)]
                now = room.diff()
            return await child.restore(now, updates, owned, _seconds([now, *updates]))

    async def emptying(self, owner: TurnOwner, key: RoomKey) -> bytes | None:
        """Return an update that deletes everything except the entity's fields; ``None`` if there is nothing else."""
        async with self._sandbox.turn(owner) as child, self._registry.hold(key, even_deleted=True) as room:
            room = await self._registry.readable(room)
            now = room.diff()
            return await child.restore(now, (), [FIELDS], _seconds([now]))

    async def _past(self, owner: TurnOwner, key: RoomKey, seq: int) -> Sequence[bytes]:
        async with self._turns.turn(owner):
            return await self._storage.document_at(key, seq)


def _seconds(updates: Sequence[bytes]) -> float:
    return _SECONDS + sum(map(len, updates)) / _BYTES_A_SECOND
