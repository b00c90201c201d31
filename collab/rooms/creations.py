"""Entities that are created without opening the rooms of their documents.

To open a room costs more than to write the first fields of an entity, and most of the entities that an application
creates are not edited soon. Nobody is in a room that is not open, and a document that was never written has nothing to
load, so the write goes to the record at once. The room opens when somebody needs it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from math import inf
from time import time
from typing import Any

from collab.entities.bridge import FIELDS, Bridge
from collab.entities.entity import ABSENT, EntityOp, Intent
from collab.entities.recorder import Recorder
from collab.gate.checked import Checked
from collab.gate.edit import encode_fields
from collab.gate.gate import Gate
from collab.names import RoomKey
from collab.rooms.commitment import all_committed
from collab.rooms.live.compaction import LogSize
from collab.storage.base import Append, DocumentStorage
from collab.tracing import Tracer, about


class Creations:
    """Entities on their way to the record.

    ``acquire`` makes this process the owner of a room. ``needs_room`` says whether a room is open, or must be opened.
    ``told`` is called after each commit with the document, its log row and its author. A document may have
    ``document_bytes``.
    """

    def __init__(
        self,
        storage: DocumentStorage,
        recorder: Recorder,
        *,
        acquire: Callable[[RoomKey], Awaitable[None]],
        needs_room: Callable[[RoomKey], bool],
        told: Callable[[RoomKey, int, str | None], None],
        document_bytes: int,
        tracer: Tracer | None,
    ) -> None:
        self._storage = storage
        self._recorder = recorder
        self._acquire = acquire
        self._needs_room = needs_room
        self._told = told
        self._document_bytes = document_bytes
        self._tracer = tracer
        self._keys: set[RoomKey] = set()

    def __contains__(self, key: RoomKey) -> bool:
        """Whether an entity is being created, or its creation waits for the commit: until then its room stays ours."""
        return key in self._keys

    async def settled(self, key: RoomKey) -> None:
        """Return once the record has what was created under a name. Raises as :func:`all_committed`."""
        if key in self._keys:
            await all_committed(self._recorder.flush)

    async def make(
        self, key: RoomKey, client: int, fields: Mapping[str, Any], user_id: str | None, intent: Intent
    ) -> bool:
        """Create an entity, as an edit of the Yjs client id ``client``, if nothing was ever written under its name.

        Returns whether it did; then ``intent`` learns of the commit. Otherwise its room has to be opened. Raises
        :class:`collab.errors.CollabError`, including :class:`collab.errors.Elsewhere` if another node owns the room.
        """
        if key in self._keys or self._needs_room(key):
            return False
        self._keys.add(key)
        made = False
        try:
            await self._acquire(key)
            # no await from here to the record: who opens the room later waits for it, or has begun already
            if await self._storage.load(key) is None and not self._needs_room(key):
                self._record(key, client, fields, user_id, intent)
                made = True
        finally:
            if not made:
                self._keys.discard(key)
        return made

    def _record(
        self, key: RoomKey, client: int, fields: Mapping[str, Any], user_id: str | None, intent: Intent
    ) -> None:
        bridge, at = Bridge(key), time()
        if not fields:
            op = EntityOp("write", bridge.main, user_id, at, intent=intent)
            self._recorder.append(None, partial(self._committed, key, user_id), [op])
            return
        gate = Gate()
        checked = self._check(gate, key, encode_fields(client, 0, FIELDS, fields, (), {}))
        writes = gate.commit(checked)
        ops = bridge.ops(writes, user_id, at, _nothing_nested, content=checked.content, intent=intent)
        entry = Append(key, checked.update, user_id, at)
        self._recorder.append(entry, partial(self._committed, key, user_id), ops)

    def _check(self, gate: Gate, key: RoomKey, update: bytes) -> Checked:
        LogSize().admit(len(update), self._document_bytes, inf)
        with nullcontext() if self._tracer is None else self._tracer.step("collab.gate", about(key)):
            return gate.check_all(update)

    def _committed(self, key: RoomKey, user_id: str | None, seq: int | None) -> None:
        self._keys.discard(key)
        if seq is not None:
            self._told(key, seq, user_id)


def _nothing_nested(root: str, child: str | None, key: str | None) -> Any:
    """An application writes values, whose updates hold them: there is no document to read shared types from."""
    return ABSENT
