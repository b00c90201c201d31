"""Documents as plain values, now and as they were, and the edit that brings back what they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collab.names import RoomKey
from collab.rooms.registry import Registry
from collab.sandbox import Sandbox
from collab.storage.base import Storage

_SECONDS = 10.0
_BYTES_A_SECOND = 256 * 1024
_EMPTY = b"\x00\x00"


class Documents:
    """Reads happen in the sandbox: a document that harms its reader harms nothing else."""

    def __init__(self, storage: Storage, registry: Registry, sandbox: Sandbox) -> None:
        self._storage = storage
        self._registry = registry
        self._sandbox = sandbox

    async def content(self, key: RoomKey, seq: int | None) -> dict[str, Any]:
        """All content roots as plain values; as of a log row, or now. Raises :class:`collab.errors.NotFound`."""
        async with self._registry.hold(key, even_deleted=True) as room:
            if seq is None:
                update, roots = room.diff(), room.content_roots()
                if not roots or update == _EMPTY:
                    return {}
                value = await self._sandbox.read(update, roots, "json", None, _SECONDS)
                assert isinstance(value, dict)
                return value
            owned = [name for name in room.gate.roots if room.bridge.owns(name)]
        updates = await self._storage.document_at(key, seq)
        return await self._sandbox.read_past(updates, owned, _seconds(updates))

    async def restoring(self, key: RoomKey, seq: int) -> bytes | None:
        """An update that makes the content what it was as of a log row; ``None`` if it is so already."""
        updates = await self._storage.document_at(key, seq)
        async with self._registry.hold(key, even_deleted=True) as room:
            owned = [name for name in room.gate.roots if room.bridge.owns(name)]
            now = room.diff()
        return await self._sandbox.restore(now, updates, owned, _seconds([now, *updates]))


def _seconds(updates: Sequence[bytes]) -> float:
    return _SECONDS + sum(map(len, updates)) / _BYTES_A_SECOND
