"""Operations on entities for sessions, HTTP and Python, with the caller's rights.

Reads see the record (:mod:`collab.records.reads`). Writes go through the document's room, like an editor's edits, and
return once they are committed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from secrets import token_urlsafe
from time import monotonic, time
from typing import Any

from collab.access.rules import Access
from collab.entities.entity import ABSENT, EntityOp, EntityState
from collab.errors import (
    CollabError,
    Conflict,
    EntityDeleted,
    InvalidRequest,
    NotFound,
)
from collab.event import RECORD_MEMBERS
from collab.hooks import ProposedWrite
from collab.json_values import same
from collab.names import RoomKey
from collab.records.cascade import Cascade
from collab.records.checks import WriteChecks, fields_after, intent_of, written_by
from collab.records.documents import Documents
from collab.records.erasing import Erasing
from collab.records.field_values import check_fields
from collab.records.idempotency import Once
from collab.records.many import id_in, write_each
from collab.records.places import Place, Places
from collab.records.reads import Caller, Reads
from collab.records.schema import Schemas
from collab.records.transaction import Transactions
from collab.rooms.authorization import Authorization
from collab.rooms.commitment import all_committed, committed
from collab.rooms.live.merge import merge
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.storage.base import EntityStorage, IdempotencyKey, Version
from collab.turns import Turns
from collab.wire.realtime.messages import Create, Delete, Restore, Update
from collab.wire.realtime.values import AnyWrite, Written

ERASE = ("system", "erase")
"""The right to write this entity allows erasing any entity that the caller may write."""


class Collections(Reads):
    """Reads and writes in all collections of all projects."""

    def __init__(
        self,
        storage: EntityStorage,
        turns: Turns,
        registry: Registry,
        rights: Authorization,
        schemas: Schemas,
        places: Places,
        documents: Documents,
        cascade: Cascade,
        erasing: Erasing,
        *,
        max_entity_bytes: int = 1024 * 1024,
        flush: Callable[[], Awaitable[None]],
        reached: Callable[[str, int], Awaitable[object]],
    ) -> None:
        super().__init__(storage, turns, rights, schemas, documents)
        self._registry = registry
        self._places = places
        self._cascade = cascade
        self._erasing = erasing
        self._flush = partial(all_committed, flush)
        self._checks = WriteChecks(rights, schemas, self._flush, self._as_seen, max_entity_bytes=max_entity_bytes)
        self._once = Once(
            storage,
            rights,
            self._as_seen,
            ready=lambda: registry.admit(0, awaited=True),
            pending=registry.pending,
            flush=self._flush,
            reached=reached,
            owns=registry.owns,
        )
        self._transactions = Transactions(
            registry, rights, places, cascade, self._checks, self._once, key_of=self._key, admit=self._admit
        )

    async def create(self, caller: Caller, message: Create) -> Written:
        """Create an entity. Its id is ``entity``, else ``data["id"]``, else chosen by the server.

        A deleted entity starts again, with these fields and no content. An open document that has content but no fields
        yet gets these fields. Raises :class:`Conflict` if the entity exists.
        """
        collection, named = message.collection, id_in(message)
        key = self._key(caller, collection, named if named is not None else await self._new_id(caller, message))
        fields = check_fields(message.data, now={"id": key.id})
        return await self._once.do(
            caller,
            message.request,
            "create",
            collection,
            (named, fields),
            lambda name: self._create(caller, key, fields, name),
            room=self._places.document_of(key),
        )

    async def transact(self, caller: Caller, writes: Sequence[AnyWrite], request: str | None = None) -> list[Written]:
        """Make all of several writes, or none of them. Returns what each has written, in order.

        Raises the error of a write that cannot be made, with its number in the details (``write``).
        """
        return await self._transactions.make(caller, writes, request)

    def rooms_of(self, caller: Caller, writes: Sequence[AnyWrite]) -> list[RoomKey]:
        """Return the documents that a transaction is sure to write into. Raises :class:`InvalidRequest`."""
        return self._transactions.rooms_of(caller, writes)

    async def _new_id(self, caller: Caller, message: Create) -> str:
        """Choose the id of a new entity."""
        return token_urlsafe(12).replace("-", "_")

    async def _create(
        self, caller: Caller, key: RoomKey, fields: dict[str, Any], request: IdempotencyKey | None
    ) -> Written:
        await self._rights.require(caller.identity, key, Access.WRITE, {"id": key.id, **fields})
        if self._rights.asks_before_writes:
            after = {"id": key.id, **fields}
            more = await self._rights.before_write(
                ProposedWrite("create", caller.identity, key, None, after, changes=fields)
            )
            fields = {**fields, **check_fields(more, now={"id": key.id})}
            await self._rights.require(caller.identity, key, Access.WRITE, {"id": key.id, **fields})
        self._checks.fit(key, fields)
        place = self._places.of(key)
        own = place.child is None
        if own:
            told, intent = intent_of(caller, None, request)
            if await self._registry.create(key, fields, caller.identity.user_id, intent):
                return written_by(await committed(told))
        async with self._registry.hold(place.room, even_deleted=own, seeds=not own) as room:
            await self._once.check_owner(key.project, request)
            target = place.entity(room)
            await self._may_bring_into_being(caller, place, room)
            if own and room.deleted:
                return await self._create_anew(room, place, caller, fields, request)
            if place.exists(room):
                # Conflict reveals that the id is taken, which cannot be hidden; check read access as everywhere else
                await self._rights.require(caller.identity, key, Access.READ, target.current)
                if not (own and fields and not target.now and room.gate.state):
                    raise Conflict(f"{key.name} already exists")
                await self._rights.require_write(
                    caller.identity, key, lambda: [target.current, target.with_fields(fields)]
                )
                if target.now:
                    raise Conflict(f"{key.name} already exists")
            return await self._write(room, place, caller, fields, (), request=request)

    async def _create_anew(
        self, room: Room, place: Place, caller: Caller, fields: dict[str, Any], request: IdempotencyKey | None
    ) -> Written:
        """Restore a deleted entity as a new one: one ``restored`` event, and nothing of its old data remains."""
        key, target = place.key, place.entity(room)
        async with self._cascade.turn(key):
            await self._rights.require_write(caller.identity, key, lambda: [target.current, target.with_fields(fields)])
            emptied = await self._documents.emptying(caller.owner, key)
            if not room.deleted:
                raise Conflict(f"{key.name} already exists")
            await self._cascade.empty(room)
            changed = {name: value for name, value in fields.items() if not same(target.now.get(name, ABSENT), value)}
            gone = [name for name in target.now if name not in fields]
            updates = [emptied] if emptied is not None else []
            if changed or gone:
                updates.append(place.writing(room, changed, gone))
            told, intent = intent_of(caller, None, request)
            room.restore()
            try:
                if updates:  # merged into one, so that a crash leaves all of it or nothing
                    room.edit(merge(updates), caller.identity.user_id, monotonic(), _ignore, intent)
                else:
                    self._registry.note(
                        room, EntityOp("restore", target, caller.identity.user_id, time(), intent=intent)
                    )
            except CollabError:
                room.delete()
                raise
            return written_by(await committed(told))

    async def _may_bring_into_being(self, caller: Caller, place: Place, room: Room) -> None:
        """An entity inside a document that does not exist creates that document too: check the right to do so."""
        if place.child is not None and not room.bridge.exists:
            await self._rights.require(caller.identity, place.room, Access.WRITE, {"id": place.room.id})

    async def update(self, caller: Caller, message: Update) -> Written:
        """Set and remove fields. See :class:`collab.wire.realtime.messages.Update` for ``version`` and ``on_conflict``.

        Raises :class:`Conflict` only with ``on_conflict="reject"``, with the latest data in its details.
        """
        key = self._key(caller, message.collection, message.entity)
        if message.on_conflict == "reject" and message.version is None:
            raise InvalidRequest("onConflict: reject requires the version that was seen last")
        body = (message.entity, message.changes, sorted(message.unset), message.version, message.on_conflict)
        return await self._once.do(
            caller,
            message.request,
            "update",
            message.collection,
            body,
            lambda name: self._update(caller, key, message, name),
            room=self._places.document_of(key),
        )

    async def _update(self, caller: Caller, key: RoomKey, message: Update, request: IdempotencyKey | None) -> Written:
        unset: Collection[str] = message.unset
        version = message.version
        await self._admit(caller, key, Access.WRITE)
        place = self._places.of(key)
        async with self._registry.hold(place.room, seeds=place.child is not None) as room:
            await self._once.check_owner(key.project, request)
            place.check_exists(room)
            target = place.entity(room)
            fields = check_fields(message.changes, unset, now=target.data)

            def rows() -> list[dict[str, Any]]:
                return [target.current, target.with_fields(fields_after(target, fields, unset))]

            await self._rights.require_write(caller.identity, key, rows)
            proposed = fields
            for _ in self._checks.while_changing(lambda: target.current):
                if self._rights.asks_before_writes:
                    fields, unset = proposed, message.unset
                    fields, unset = await self._checks.completed(caller, target, fields, unset)
                    await self._rights.require_write(caller.identity, key, rows)
                if version is not None and message.on_conflict == "reject":
                    wanted = {**message.changes, **dict.fromkeys(message.unset)}
                    compared: list[dict[str, Any]] | None = None
                    while not same(compared, rows()):  # others may have written during the comparison
                        await self._rights.require_write(caller.identity, key, rows)
                        compared = rows()
                        await self._checks.compare(room, target, caller, wanted, version)
            # others may have written during the awaits above; from here to the write there is no await
            place.check_exists(room)
            self._checks.fit(key, fields_after(target, fields, unset))
            return await self._write(room, place, caller, fields, unset, version=version, request=request)

    async def delete(self, caller: Caller, message: Delete) -> Written:
        """Delete an entity and close the sessions of its document; its history is kept."""
        key = self._key(caller, message.collection, message.entity)
        return await self._once.do(
            caller,
            message.request,
            "delete",
            message.collection,
            (message.entity,),
            lambda name: self._delete(caller, key, name),
            room=self._places.document_of(key),
        )

    async def _delete(
        self, caller: Caller, key: RoomKey, request: IdempotencyKey | None, *, asks: bool = True
    ) -> Written:
        await self._admit(caller, key, Access.WRITE)
        place = self._places.of(key)
        async with self._registry.hold(place.room, even_deleted=True, seeds=place.child is not None) as room:
            await self._once.check_owner(key.project, request)
            place.check_exists(room)
            target = place.entity(room)
            for _ in self._checks.while_changing(lambda: target.current):
                await self._rights.require_write(caller.identity, key, lambda: [target.current])
                if asks:
                    await self._checks.ask("delete", caller, key, target.current, None)
            place.check_exists(room)  # others may have deleted it meanwhile
            if room.deleted:
                raise EntityDeleted(f"{key.name} is already deleted")
            if place.child is not None:
                return await self._commit(room, caller, place.deleting(room), request=request)
            async with self._cascade.turn(key):
                await self._cascade.allow_delete(caller.identity, room)
                if room.deleted:
                    raise EntityDeleted(f"{key.name} is already deleted")
                told, intent = intent_of(caller, None, request)
                return written_by(await self._cascade.delete(room, caller.identity.user_id, intent, told))

    async def erase(self, caller: Caller, collection: str, entity: str) -> Written:
        """Delete an entity permanently, with its history. Nobody can restore it.

        Requires the rights to write the entity and ``system/erase``.
        """
        key = self._key(caller, collection, entity)
        await self._rights.require(caller.identity, RoomKey(key.project, *ERASE), Access.WRITE)
        await self._admit(caller, key, Access.WRITE)
        await self._erasing.check(key)
        row = await self._storage.entity(key)
        known = row.data if row is not None else {"id": key.id}
        await self._rights.require_write(caller.identity, key, lambda: [known])
        await self._cascade.allow_erase(caller.identity, key)
        await self._checks.ask("erase", caller, key, known if row is not None and not row.deleted else None, None)
        if row is None or not row.deleted:
            with suppress(NotFound):  # deleted meanwhile, or only its quarantined updates are known
                await self._delete(caller, key, None, asks=False)
        await self._erasing.erase(key)
        return Written(data={"id": key.id}, version=row.version if row is not None else 0)

    async def restore(self, caller: Caller, message: Restore) -> Written:
        """Restore a deleted entity; with ``version``, reset fields and content to that version, as a new edit."""
        key = self._key(caller, message.collection, message.entity)
        return await self._once.do(
            caller,
            message.request,
            "restore",
            message.collection,
            (message.entity, message.version),
            lambda name: self._restore(caller, key, message.version, name),
            room=self._places.document_of(key),
        )

    async def _restore(
        self, caller: Caller, key: RoomKey, version: int | None, request: IdempotencyKey | None
    ) -> Written:
        await self._admit(caller, key, Access.WRITE)
        place = self._places.of(key)
        then: Version | None = None
        seq = 0
        if version is not None:
            async with self._turns.turn(caller.owner):
                seq, then = await self._storage.seq_at(key, version=version)
        async with AsyncExitStack() as stack:
            room = await stack.enter_async_context(
                self._registry.hold(place.room, even_deleted=True, seeds=place.child is not None)
            )
            await self._once.check_owner(key.project, request)
            target = place.entity(room)
            if not target.version and not place.exists(room):
                raise NotFound(f"there is no {key.name}")
            if place.child is None and room.deleted:
                await stack.enter_async_context(self._cascade.turn(key))
            undeletes = place.child is None and room.deleted
            old = then.event.data if then is not None else target.data
            fields = {name: value for name, value in old.items() if name not in RECORD_MEMBERS}

            def rows() -> list[dict[str, Any]]:
                # the restored row is written and sent: with a version, that is the row of that version
                return [target.current, old, target.with_fields(fields)]

            content: bytes | None = None
            if then is not None and place.child is None:
                await self._rights.require_write(caller.identity, key, rows)
                content = await self._documents.restoring(caller.owner, key, seq)
            if undeletes:
                await self._cascade.allow_restore(caller.identity, room)
            for _ in self._checks.while_changing(lambda: target.current):
                await self._rights.require_write(caller.identity, key, rows)
                before = target.current if place.exists(room) and not undeletes else None
                await self._checks.ask("restore", caller, key, before, target.with_fields(fields))
            # others may have written during the awaits above; from here to the write there is no await
            if then is not None:
                self._checks.fit(key, fields)
            if place.child is not None and not place.exists(room):
                return await self._write(room, place, caller, fields, (), request=request)
            if then is None and not undeletes:
                raise InvalidRequest(f"{key.name} is not deleted")
            changed = {name: value for name, value in fields.items() if not same(target.now.get(name, ABSENT), value)}
            unset = [name for name in target.now if name not in fields]
            updates = [content] if content is not None else []
            if changed or unset:
                updates.append(place.writing(room, changed, unset))
            if not updates and not undeletes:
                return Written(data=target.data, version=target.version)
            # in one commit: a crash leaves all of it or nothing, and if it is repeated by its name, it was all
            update = merge(updates) if updates else None
            told, intent = intent_of(caller, None, request, always=True)
            if undeletes:
                written = written_by(await self._cascade.restore(room, caller.identity.user_id, intent, told, update))
            else:
                assert update is not None
                room.edit(update, caller.identity.user_id, monotonic(), _ignore, intent)
                written = written_by(await committed(told))
            return await self._checks.seen(caller, key, written)

    async def write_many(self, caller: Caller, writes: Sequence[AnyWrite]) -> list[Written | CollabError]:
        """Make several writes, each on its own. Returns the outcome of each, in order.

        Raises :class:`InvalidRequest` for more than :data:`MOST_WRITES`.
        """

        async def perform(message: Create | Update | Delete) -> Written:
            match message:
                case Create():
                    return await self.create(caller, message)
                case Update():
                    return await self.update(caller, message)
                case Delete():
                    return await self.delete(caller, message)

        return await write_each(writes, perform)

    async def _write(
        self,
        room: Room,
        place: Place,
        caller: Caller,
        fields: Mapping[str, Any],
        unset: Collection[str],
        *,
        version: int | None = None,
        request: IdempotencyKey | None = None,
    ) -> Written:
        target = place.entity(room)
        exists = place.exists(room)
        gone = [name for name in unset if name in target.now]
        if not fields and not gone:
            if exists and (place.child is not None or target.version):
                return Written(data=target.data, version=target.version)
            if place.child is None:
                return await self._note(room, target, caller, request)
        update = place.writing(room, fields, gone)
        written = await self._commit(room, caller, update, version=version, request=request)
        return await self._checks.seen(caller, place.key, written)

    async def _commit(
        self,
        room: Room,
        caller: Caller,
        update: bytes,
        *,
        version: int | None = None,
        request: IdempotencyKey | None = None,
    ) -> Written:
        """Apply an update in the room; returns once it is committed."""
        told, intent = intent_of(caller, version, request)
        room.edit(update, caller.identity.user_id, monotonic(), _ignore, intent)
        return written_by(await committed(told))

    async def _note(self, room: Room, target: EntityState, caller: Caller, request: IdempotencyKey | None) -> Written:
        told, intent = intent_of(caller, None, request)
        self._registry.note(room, EntityOp("write", target, caller.identity.user_id, time(), intent=intent))
        return written_by(await committed(told))


def _ignore() -> None:
    """The caller waits for the event instead."""
