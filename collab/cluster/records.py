"""Entities, whichever node owns their rooms."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec

from collab.cluster.arguments import (
    CallerNamed,
    ContentAsked,
    EraseAsked,
    RoomsAsked,
    TransactionAsked,
    WriteAsked,
    Wrote,
    WroteAll,
    name_waiting,
)
from collab.cluster.calls import Calls, Patience
from collab.cluster.link import Lost, Unreached
from collab.errors import Conflict, Elsewhere, Restarting, Unavailable
from collab.names import RoomKey
from collab.records.documents import Documents
from collab.records.field_values import check_values
from collab.records.reads import Caller
from collab.records.records import Collections
from collab.turns import TurnOwner
from collab.wire.realtime.encoding import Format
from collab.wire.realtime.messages import Create, Delete, Restore, Update
from collab.wire.realtime.values import AnyWrite, UpdateOne, Written

_ATTEMPTS = 16


class RoutedCollections(Collections):
    """The whole operation runs at the owner: rights, schema, conflicts. Reads of the record run here."""

    def __init__(self, calls: Calls, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._calls = calls

    async def create(self, caller: Caller, message: Create) -> Written:
        return await self._routed("create", partial(super().create, caller, message), caller, message)

    async def update(self, caller: Caller, message: Update) -> Written:
        return await self._routed("update", partial(super().update, caller, message), caller, message)

    async def delete(self, caller: Caller, message: Delete) -> Written:
        return await self._routed("delete", partial(super().delete, caller, message), caller, message)

    async def restore(self, caller: Caller, message: Restore) -> Written:
        return await self._routed("restore", partial(super().restore, caller, message), caller, message)

    async def erase(self, caller: Caller, collection: str, entity: str) -> Written:
        async def there(nid: int) -> Written:
            asked = EraseAsked(CallerNamed.of(caller), collection, entity)
            return await self._seen(caller, await self._calls.ask(nid, "erase", asked, Wrote))

        return await self._calls.routed(partial(super().erase, caller, collection, entity), there)

    async def transact(self, caller: Caller, writes: Sequence[AnyWrite], request: str | None = None) -> list[Written]:
        """Make a transaction at one node: here, or where its documents are in use.

        Raises :class:`Conflict` if they are in use at different nodes.
        """
        for write in writes:
            if isinstance(write, UpdateOne):
                check_values(write.changes, write.unset)  # as for one update
        try:
            return await super().transact(caller, writes, request)
        except Elsewhere as elsewhere:
            nid = elsewhere.nid
        asked = TransactionAsked(CallerNamed.of(caller), tuple(writes), request)
        patience = Patience()
        refused: set[int] = set()
        while True:
            await self._registry.give_up(self.rooms_of(caller, writes))
            try:
                if nid == self._calls.links.nid:
                    return await self.transact_here(caller, writes, request)
                wrote = await self._calls.ask(nid, "transaction", asked, WroteAll)
            except Elsewhere as elsewhere:
                refused.add(nid)
                nid = elsewhere.nid
                if patience.over and nid in refused:  # not just for a moment, and not because this takes long
                    raise Conflict(
                        "the documents of this transaction are in use at different servers",
                        reason="TRANSACTION_ACROSS_NODES",
                    ) from None
            except (Restarting, Unreached):
                self._calls.forget(nid)
                if patience.over:
                    raise Unavailable("the server that has these documents cannot be reached; retry") from None
                nid = self._calls.links.nid
            else:
                await self._calls.reach(caller.identity.project, wrote.position)
                return wrote.written
            await patience.pause()

    async def transact_here(self, caller: Caller, writes: Sequence[AnyWrite], request: str | None) -> list[Written]:
        """Make a transaction at this node. Others are asked for the rooms that they do not need.

        Raises :class:`Elsewhere` if one needs a room, after this node has let others have those that it does not need.
        """
        patience = Patience()
        gave: set[int] = set()
        while True:
            try:
                return await super().transact(caller, writes, request)
            except Elsewhere as elsewhere:
                nid = elsewhere.nid
            rooms = self.rooms_of(caller, writes)
            needed: list[RoomKey] = []
            try:
                needed = await self._calls.ask(nid, "room.give_up", RoomsAsked(rooms), list[RoomKey])
            except (Restarting, Unreached, Lost):
                if patience.over:
                    raise Unavailable("the server that has this document cannot be reached; retry") from None
            self._calls.forget(nid)
            if needed:
                await self._registry.give_up(rooms)
                raise Elsewhere(nid=nid)
            if patience.over and nid in gave:
                raise Unavailable("these documents change hands too fast; retry", retryAfter=1.0)
            gave.add(nid)
            await patience.pause()

    async def _routed(
        self, name: str, here: Any, caller: Caller, message: Create | Update | Delete | Restore
    ) -> Written:
        async def there(nid: int) -> Written:
            if isinstance(message, Update):
                check_values(message.changes, message.unset)  # MessagePack would turn some into others
            asked = WriteAsked(CallerNamed.of(caller), message)
            return await self._seen(caller, await self._calls.ask(nid, name, asked, Wrote))

        return await self._calls.routed(here, there)

    async def _seen(self, caller: Caller, wrote: Wrote) -> Written:
        await self._calls.reach(caller.identity.project, wrote.position)
        return wrote.written

    async def _new_id(self, caller: Caller, message: Create) -> str:
        """Derive the id of a named request.

        Two attempts at one request may reach two nodes at the same time, and only the owner of a room knows what is
        under way. With ids at random they would meet at no owner, and make two entities. A name that was used before,
        and forgotten since, gets the next free id of its sequence.
        """
        if message.request is None:
            return await super()._new_id(caller, message)
        identity = caller.identity
        seed = msgspec.msgpack.encode((identity.project, identity.caller, message.request))
        for attempt in range(_ATTEMPTS):
            digest = blake2b(seed, digest_size=12, salt=attempt.to_bytes(2)).digest()
            found = urlsafe_b64encode(digest).decode().replace("-", "_")
            if await self._storage.entity(RoomKey(identity.project, message.collection, found)) is None:
                return found
        return await super()._new_id(caller, message)


class RoutedDocuments(Documents):
    """Content is read where the room is open: it may be newer than what is stored."""

    def __init__(self, calls: Calls, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._calls = calls

    async def content(self, owner: TurnOwner, key: RoomKey, seq: int | None, form: Format | None = None) -> Any:
        async def there(nid: int) -> Any:
            asked = ContentAsked(key, name_waiting(owner.caller), seq, form or "msgpack")
            value = await self._calls.ask_raw(nid, "content", asked)
            return msgspec.msgpack.decode(value) if form is None else msgspec.Raw(value)

        return await self._calls.routed(partial(super().content, owner, key, seq, form), there, repeats=True)
