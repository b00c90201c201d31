"""A room from Python: read it, edit it as a named user, follow its changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

import pycrdt

from collab.errors import InvalidRequest
from collab.names import RoomKey
from collab.rooms.merge import merge
from collab.rooms.registry import Registry
from collab.rooms.room import Room
from collab.sandbox import Sandbox
from collab.wire.update import decode_state_vector, encode_state_vector

_READ_SECONDS = 10.0
_EMPTY_UPDATE = b"\x00\x00"


@dataclass(frozen=True, slots=True)
class Update:
    """An accepted update of a document, in the Yjs encoding v1, and its author."""

    update: bytes
    user_id: str | None


class EditLocks:
    """One lock per document: server-side edits of one document take turns, for they share a Yjs client id."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[RoomKey, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: RoomKey) -> asyncio.Lock:
        """The lock of ``key``."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


class RoomHandle:
    """One document of this server, whether its room is open or not. Cheap to make and to throw away."""

    def __init__(self, key: RoomKey, registry: Registry, sandbox: Sandbox, locks: EditLocks) -> None:
        self.key = key
        self._registry = registry
        self._sandbox = sandbox
        self._locks = locks

    @asynccontextmanager
    async def edit(self, user: str | None = None) -> AsyncIterator[pycrdt.Doc[Any]]:
        """Edit the document as ``user``.

        The block gets a copy; leaving it applies what changed as one update and returns once that is committed.
        An exception inside the block changes nothing. Edits of one document by this server take turns; clients
        go on meanwhile, and everything merges. Raises :class:`collab.errors.CollabError`.
        """
        async with self._locks.of(self.key), self._registry.hold(self.key) as room:
            doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=room.server_client_id)
            doc.apply_update(room.diff())
            updates: list[bytes] = []
            subscription = doc.observe(lambda event: updates.append(event.update))
            yield doc
            doc.unobserve(subscription)
            if updates:
                await self._apply(room, merge(updates), user)

    async def apply(self, update: bytes, user: str | None = None) -> None:
        """Apply a Yjs update (encoding v1) as ``user``; returns once it is committed.

        Raises :class:`collab.errors.InvalidRequest` if it is malformed or continues what the document lacks.
        """
        async with self._registry.hold(self.key) as room:
            await self._apply(room, update, user)

    async def _apply(self, room: Room, update: bytes, user: str | None) -> None:
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not committed.done():
                committed.set_result(None)

        room.edit(update, user, monotonic(), done)
        await committed

    async def update(self, state_vector: bytes | None = None) -> bytes:
        """What a replica at ``state_vector`` lacks; the whole state without one. Yjs encoding v1."""
        async with self._registry.hold(self.key) as room:
            if state_vector is None:
                return room.diff()
            decode_state_vector(state_vector)
            return room.diff(state_vector)

    async def state_vector(self) -> bytes:
        """The document's state vector."""
        async with self._registry.hold(self.key) as room:
            return encode_state_vector(room.gate.state)

    async def json(self) -> dict[str, Any]:
        """All roots as plain values: text and XML as strings, maps as dicts, arrays as lists."""
        value = await self._read("json", None)
        assert isinstance(value, dict)
        return value

    async def text(self, root: str | None = None) -> str:
        """One root as a string; without a name, the only root that has text."""
        async with self._registry.hold(self.key) as room:
            name = root if root is not None else _only_text(room.gate.roots)
        value = await self._read("text", name)
        assert isinstance(value, str)
        return value

    async def _read(self, form: str, root: str | None) -> Any:
        # in another process: reading can hang inside the CRDT library, and then only that process is ended
        async with self._registry.hold(self.key) as room:
            update, roots = room.diff(), dict(room.gate.roots)
        if update == _EMPTY_UPDATE:
            return {} if form == "json" else ""
        return await self._sandbox.read(update, roots, form, root, _READ_SECONDS)

    async def updates(self) -> AsyncIterator[Update]:
        """Every update from now on, as it is accepted (not yet committed). The room stays open meanwhile."""
        queue: asyncio.Queue[Update] = asyncio.Queue()

        def listen(update: bytes, user_id: str | None) -> None:
            queue.put_nowait(Update(update, user_id))

        async with self._registry.hold(self.key) as room:
            listeners = room.listeners
            listeners.add(listen)
            try:
                while True:
                    yield await queue.get()
            finally:
                listeners.discard(listen)


def _only_text(roots: Mapping[str, str]) -> str:
    names = [name for name, kind in roots.items() if kind in {"text", "xml"}]
    if len(names) > 1:
        raise InvalidRequest(f"which root? this document has {', '.join(sorted(names))}")
    return names[0] if names else ""
