"""What a node does for others: operations on the rooms that it owns. If it does not own one, it answers so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import aclosing

import msgspec

from collab.cluster.answering import Asking, Service
from collab.cluster.arguments import (
    Applied,
    ContentAsked,
    EraseAsked,
    Followed,
    RichAsked,
    RichSet,
    RoomAsked,
    RoomsAsked,
    StateAsked,
    TextAsked,
    TransactionAsked,
    WriteAsked,
    Wrote,
    WroteAll,
    decode_value,
    encode_value,
    read_identity,
)
from collab.cluster.records import RoutedCollections
from collab.entities.feed import Feed
from collab.names import RoomKey
from collab.records.documents import Documents
from collab.records.reads import Caller
from collab.records.records import Collections
from collab.rooms.handle import RoomHandle
from collab.rooms.registry import Registry
from collab.wire.realtime.messages import Create, Delete, Restore, Update
from collab.wire.realtime.values import Written

LocalHandle = Callable[[RoomKey, Hashable], RoomHandle]
"""Returns the handle of a document for a caller."""


class EntityServices:
    """Writes of entities, and reads of their content.

    The methods of the base classes are called, which never ask another node: a request travels once at most.
    """

    def __init__(self, records: RoutedCollections, documents: Documents, feed: Feed, registry: Registry) -> None:
        self._records = records
        self._registry = registry
        self._documents = documents
        self._feed = feed

    def services(self) -> Mapping[str, Service]:
        """Return what nodes can ask for."""
        return {
            "create": Service(answers=self._write, finishes=True, refuses_debtors=True),
            "update": Service(answers=self._write, finishes=True, refuses_debtors=True),
            "delete": Service(answers=self._write, finishes=True, refuses_debtors=True),
            "restore": Service(answers=self._write, finishes=True, refuses_debtors=True),
            "erase": Service(answers=self._erase, finishes=True, refuses_debtors=True),
            "transaction": Service(answers=self._transaction, finishes=True, refuses_debtors=True),
            "room.give_up": Service(answers=self._give_up),
            "content": Service(answers=self._content, refuses_debtors=True),
        }

    async def _write(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, WriteAsked)
        caller, message = asked.caller.caller(), asked.message
        match message:
            case Create():
                written = await Collections.create(self._records, caller, message)
            case Update():
                written = await Collections.update(self._records, caller, message)
            case Delete():
                written = await Collections.delete(self._records, caller, message)
            case Restore():
                written = await Collections.restore(self._records, caller, message)
        return self._wrote(caller, written)

    async def _transaction(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, TransactionAsked)
        caller = asked.caller.caller()
        written = await self._records.transact_here(caller, asked.writes, asked.request)
        return encode_value(WroteAll(written, self._feed.position(caller.identity.project)))

    async def _give_up(self, sender: Asking, value: bytes) -> bytes:
        return encode_value(await self._registry.give_up(decode_value(value, RoomsAsked).rooms))

    async def _erase(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, EraseAsked)
        caller = asked.caller.caller()
        return self._wrote(caller, await Collections.erase(self._records, caller, asked.collection, asked.entity))

    def _wrote(self, caller: Caller, written: Written) -> bytes:
        # the feed delivers an event before its writer learns of the commit
        return encode_value(Wrote(written, self._feed.position(caller.identity.project)))

    async def _content(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, ContentAsked)
        found = await Documents.content(self._documents, asked.owner(), asked.room, asked.seq, asked.form)
        if isinstance(found, msgspec.Raw):
            return bytes(found)
        return msgspec.json.encode(found) if asked.form == "json" else encode_value(found)


class RoomServices:
    """Documents. ``handle`` returns one that asks no other node."""

    def __init__(self, handle: LocalHandle, feed: Feed) -> None:
        self._handle = handle
        self._feed = feed

    def services(self) -> Mapping[str, Service]:
        """Return what nodes can ask for."""
        return {
            "room.apply": Service(answers=self._apply, finishes=True, refuses_debtors=True),
            "room.update": Service(answers=self._update, refuses_debtors=True),
            "room.state_vector": Service(answers=self._state_vector, refuses_debtors=True),
            "room.json": Service(answers=self._json, refuses_debtors=True),
            "room.text": Service(answers=self._text, refuses_debtors=True),
            "room.rich": Service(answers=self._rich, refuses_debtors=True),
            "room.set_rich": Service(answers=self._set_rich, finishes=True, refuses_debtors=True),
            "room.updates": Service(streams=self._updates),
        }

    def _of(self, asked: RoomAsked) -> RoomHandle:
        return self._handle(asked.room, asked.owner().caller)

    async def _apply(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, Applied)
        identity = None if asked.identity is None else read_identity(asked.identity)
        await self._of(asked).apply(asked.update, asked.user, identity=identity)
        return encode_value(self._feed.position(asked.room.project))

    async def _update(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, StateAsked)
        return await self._of(asked).update(asked.state_vector)

    async def _state_vector(self, sender: Asking, value: bytes) -> bytes:
        return await self._of(decode_value(value, RoomAsked)).state_vector()

    async def _json(self, sender: Asking, value: bytes) -> bytes:
        return await self._of(decode_value(value, RoomAsked)).encoded_json()

    async def _text(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, TextAsked)
        return (await self._of(asked).text(asked.root)).encode()

    async def _rich(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, RichAsked)
        return (await self._of(asked).rich(asked.form, asked.root)).encode()

    async def _set_rich(self, sender: Asking, value: bytes) -> bytes:
        asked = decode_value(value, RichSet)
        identity = None if asked.identity is None else read_identity(asked.identity)
        await self._of(asked).set_rich(
            asked.form, asked.content, asked.user, root=asked.root, schema=asked.schema, identity=identity
        )
        return encode_value(self._feed.position(asked.room.project))

    async def _updates(self, sender: Asking, value: bytes) -> AsyncGenerator[bytes]:
        async with aclosing(self._of(decode_value(value, RoomAsked)).updates()) as updates:  # type: ignore[type-var]
            async for update in updates:
                yield encode_value(Followed(update.update, update.user_id))
