"""Several writes of which all are made, or none.

1. Each write is checked against its entity: rights, schema, conflicts, what the application says. That may take its
   time; a check counts until its entity changes.
2. In one turn of the event loop, in which nothing else can change, all updates are encoded and checked; then they are
   applied and recorded together (:meth:`collab.rooms.registry.Registry.write_together`).
3. One commit holds all log rows and events. Editors get the updates after it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from secrets import token_urlsafe
from time import time
from typing import Any, Protocol

import msgspec

from collab.access.rules import Access
from collab.entities.entity import ABSENT, EntityOp, EntityState, Intent, WriteOutcome
from collab.errors import CollabError, Conflict, EntityDeleted, InvalidRequest, Unavailable
from collab.hooks import ProposedWrite
from collab.json_values import same
from collab.names import RoomKey
from collab.records.cascade import Cascade
from collab.records.checks import ATTEMPTS, WriteChecks, fields_after, intent_of, written_by
from collab.records.field_values import check_fields
from collab.records.idempotency import Once, name_of_part
from collab.records.many import check_number, id_in
from collab.records.places import Place, Places
from collab.records.reads import Caller
from collab.rooms.authorization import Authorization
from collab.rooms.commitment import committed
from collab.rooms.live.merge import merge
from collab.rooms.live.room import Room
from collab.rooms.part import RoomPart
from collab.rooms.registry import Registry
from collab.storage.base import IdempotencyKey
from collab.wire.realtime.values import MOST_IN_TRANSACTION, AnyWrite, CreateOne, DeleteOne, UpdateOne, Written

MOST_INSIDE = 200
"""How many entities may live in the documents that a transaction deletes."""


class Admit(Protocol):
    """Checks rights against the committed entity, before the room is opened."""

    def __call__(self, caller: Caller, key: RoomKey, wanted: Access) -> Awaitable[None]: ...


@dataclass
class PlannedWrite:
    """One write. ``fields`` and ``unset`` are what it sets and removes, once it was checked."""

    number: int
    write: AnyWrite
    place: Place
    fields: dict[str, Any] = field(default_factory=dict)
    unset: Collection[str] = ()
    seen: Any = None
    """What its check has seen."""
    with_document: bool = False
    """Whether the document in which it lives is created by the same transaction, and checked there."""

    @property
    def own(self) -> bool:
        """Whether it writes a document's own entity."""
        return self.place.child is None

    @property
    def deletes_document(self) -> bool:
        """Whether it deletes a document, with all that lives in it."""
        return isinstance(self.write, DeleteOne) and self.own

    def now(self, room: Room) -> Any:
        """Everything that its check depends on."""
        target = self.place.entity(room)
        edition = room.bridge.edition if self.deletes_document else 0
        return room.deleted, self.place.exists(room), target.current, edition, room.bridge.exists


class Transactions:
    """Makes transactions in rooms that this process owns."""

    def __init__(
        self,
        registry: Registry,
        rights: Authorization,
        places: Places,
        cascade: Cascade,
        checks: WriteChecks,
        once: Once,
        *,
        key_of: Callable[[Caller, str, str], RoomKey],
        admit: Admit,
    ) -> None:
        self._registry = registry
        self._rights = rights
        self._places = places
        self._cascade = cascade
        self._checks = checks
        self._once = once
        self._key_of = key_of
        self._admit = admit

    async def make(self, caller: Caller, writes: Sequence[AnyWrite], request: str | None) -> list[Written]:
        """Make all writes, or none: see :meth:`collab.records.records.Collections.transact`."""
        check_number(writes, MOST_IN_TRANSACTION)
        steps = self.steps(caller, writes, request)
        keys = [step.place.key for step in steps]
        return await self._once.do_all(caller, request, keys, writes, lambda name: self._make(caller, steps, name))

    def steps(self, caller: Caller, writes: Sequence[AnyWrite], request: str | None) -> list[PlannedWrite]:
        """Locate the entities. Raises :class:`InvalidRequest` if two writes concern one, or one has a name."""
        steps: list[PlannedWrite] = []
        met: set[RoomKey] = set()
        for number, write in enumerate(writes):
            with _numbered(number):
                if write.request is not None:
                    raise InvalidRequest("a write of a transaction has no name of its own: the transaction has one")
                named = id_in(write)
                entity = named if named is not None else _new_id(caller, request, number)
                place = self._places.of(self._key_of(caller, write.collection, entity))
                if place.key in met:
                    raise InvalidRequest(f"{place.key.name}: a transaction may write an entity once")
                met.add(place.key)
                steps.append(PlannedWrite(number, write, place))
        count = Counter(step.place.room for step in steps)
        for step in steps:
            if step.deletes_document and count[step.place.room] > 1:
                raise InvalidRequest(f"{step.place.key.name}: a transaction may not write into a document it deletes")
        created = {step.place.room for step in steps if step.own and isinstance(step.write, CreateOne)}
        for step in steps:
            step.with_document = step.place.room in created
        return steps

    def rooms_of(self, caller: Caller, writes: Sequence[AnyWrite]) -> list[RoomKey]:
        """Return the documents of the entities that the writes name."""
        return list(_rooms(self.steps(caller, [write for write in writes if id_in(write) is not None], None)))

    async def _make(self, caller: Caller, steps: Sequence[PlannedWrite], name: IdempotencyKey | None) -> list[Written]:
        for step in steps:
            with _numbered(step.number):
                await self._enter(caller, step)
        async with AsyncExitStack() as stack:
            rooms: dict[RoomKey, Room] = {}
            # rooms without a seed last: who holds one waits for nobody
            for key, seeds in sorted(_rooms(steps).items(), key=lambda one: (not one[1], one[0])):
                rooms[key] = await stack.enter_async_context(self._registry.hold(key, even_deleted=True, seeds=seeds))
            if name is not None:
                await self._once.check_new(caller.identity.project, name)
            await self._check(caller, steps, rooms)
            inside = sum(len(rooms[step.place.room].bridge.inside()) for step in steps if step.deletes_document)
            if inside > MOST_INSIDE:
                raise InvalidRequest(f"{inside} entities live in the documents to delete", limit=MOST_INSIDE)
            outcomes = self._write(caller, steps, rooms, name)
            told = [await committed(outcome) for outcome in outcomes]
        answers = zip(steps, told, strict=True)
        return [await self._checks.seen(caller, step.place.key, written_by(one)) for step, one in answers]

    async def _enter(self, caller: Caller, step: PlannedWrite) -> None:
        """Check rights before the room is opened."""
        key, write = step.place.key, step.write
        match write:
            case CreateOne():
                step.fields = check_fields(write.data, now={"id": key.id})
                await self._rights.require(caller.identity, key, Access.WRITE, {"id": key.id, **step.fields})
            case UpdateOne():
                if write.on_conflict == "reject" and write.version is None:
                    raise InvalidRequest("onConflict: reject requires the version that was seen last")
                await self._admit(caller, key, Access.WRITE)
            case DeleteOne():
                await self._admit(caller, key, Access.WRITE)

    async def _check(self, caller: Caller, steps: Sequence[PlannedWrite], rooms: dict[RoomKey, Room]) -> None:
        """Check each write against its entity, until no entity has changed since its check began.

        What follows may rely on all checks before its next ``await``. Raises :class:`Unavailable` if entities change
        all the time.
        """
        due = list(steps)
        for _ in range(ATTEMPTS):
            for step in due:
                room = rooms[step.place.room]
                with _numbered(step.number):
                    step.seen = step.now(room)
                    await self._check_one(caller, step, room)
            due = [step for step in steps if not _alike(step.seen, step.now(rooms[step.place.room]))]
            if not due:
                return
        raise Unavailable("these entities change too fast to check a transaction; retry")

    async def _check_one(self, caller: Caller, step: PlannedWrite, room: Room) -> None:
        match step.write:
            case CreateOne():
                await self._check_create(caller, step, step.write, room)
            case UpdateOne():
                await self._check_update(caller, step, step.write, room)
            case DeleteOne():
                await self._check_delete(caller, step, room)

    async def _check_create(self, caller: Caller, step: PlannedWrite, write: CreateOne, room: Room) -> None:
        identity, place = caller.identity, step.place
        key, target = place.key, place.entity(room)
        fields = check_fields(write.data, now={"id": key.id})
        if self._rights.asks_before_writes:
            after = {"id": key.id, **fields}
            more = await self._rights.before_write(ProposedWrite("create", identity, key, None, after, changes=fields))
            fields = {**fields, **check_fields(more, now={"id": key.id})}
        await self._rights.require(identity, key, Access.WRITE, {"id": key.id, **fields})
        self._checks.fit(key, fields)
        step.fields = fields
        if not (step.own or step.with_document or room.bridge.exists):  # it creates the document, too
            await self._rights.require(identity, place.room, Access.WRITE, {"id": place.room.id})
        if room.deleted:
            if not step.own:
                raise EntityDeleted("the entity was deleted")
            await self._rights.require_write(identity, key, lambda: [target.current, target.with_fields(fields)])
            raise Conflict(
                f"{key.name} was deleted: a transaction cannot create it again; restore it, or create it alone"
            )
        if place.exists(room):
            await self._rights.require(identity, key, Access.READ, target.current)
            if not (step.own and fields and not target.now and room.gate.state):
                raise Conflict(f"{key.name} already exists")
            await self._rights.require_write(identity, key, lambda: [target.current, target.with_fields(fields)])

    async def _check_update(self, caller: Caller, step: PlannedWrite, write: UpdateOne, room: Room) -> None:
        identity, place = caller.identity, step.place
        if room.deleted:
            raise EntityDeleted("the entity was deleted")
        place.check_exists(room)
        key, target = place.key, place.entity(room)
        fields: dict[str, Any] = check_fields(write.changes, write.unset, now=target.data)
        unset: Collection[str] = write.unset

        def rows() -> list[dict[str, Any]]:
            return [target.current, target.with_fields(fields_after(target, fields, unset))]

        await self._rights.require_write(identity, key, rows)
        if self._rights.asks_before_writes:
            fields, unset = await self._checks.completed(caller, target, fields, unset)
            await self._rights.require_write(identity, key, rows)
        self._checks.fit(key, fields_after(target, fields, unset))
        if write.version is not None and write.on_conflict == "reject":
            wanted = {**write.changes, **dict.fromkeys(write.unset)}
            await self._checks.compare(room, target, caller, wanted, write.version)
        step.fields, step.unset = fields, unset

    async def _check_delete(self, caller: Caller, step: PlannedWrite, room: Room) -> None:
        key, target = step.place.key, step.place.entity(room)
        step.place.check_exists(room)
        await self._rights.require_write(caller.identity, key, lambda: [target.current])
        await self._checks.ask("delete", caller, key, target.current, None)
        if room.deleted:
            raise EntityDeleted(f"{key.name} is already deleted")
        step.place.check_exists(room)
        if step.own:
            await self._cascade.allow_delete(caller.identity, room)

    def _write(
        self, caller: Caller, steps: Sequence[PlannedWrite], rooms: dict[RoomKey, Room], name: IdempotencyKey | None
    ) -> list[asyncio.Future[WriteOutcome]]:
        """Apply and record everything, in one turn. Returns what each write will have written once it is committed."""
        # in the order of the writes, which is then that of their events
        drafts = {key: _Draft(rooms[key]) for key in _rooms(steps)}
        outcomes: list[asyncio.Future[WriteOutcome]] = []
        first = True
        for step in steps:
            draft, place = drafts[step.place.room], step.place
            target = place.entity(draft.room)
            gone = [one for one in step.unset if one in target.now]
            deletes = isinstance(step.write, DeleteOne)
            # whatever follows makes an event, so that the name is recorded with it
            changes = gone or any(not same(target.now.get(one, ABSENT), value) for one, value in step.fields.items())
            idle = not deletes and not changes and place.exists(draft.room)
            part = None if idle else name
            if part is not None and not first:
                part = part._replace(name=name_of_part(part.name, step.number))
            first = first and idle
            version = step.write.version if isinstance(step.write, UpdateOne) else None
            told, intent = intent_of(caller, version, part, alone=True)
            outcomes.append(told)
            if step.deletes_document:
                draft.delete(target, caller.identity.user_id, intent)
            elif deletes:
                draft.edit(place.deleting(draft.room), 0, target, intent)
            elif idle or (not step.fields and not gone and step.own):
                # also if it changes nothing: what it is equal to may not be committed yet
                draft.notes.append(EntityOp("write", target, caller.identity.user_id, time(), intent=intent))
            else:
                update = place.writing(draft.room, step.fields, gone, ahead=draft.structs)
                draft.edit(update, place.structs(draft.room, step.fields), target, intent)
        parts = [draft.part() for draft in drafts.values() if draft.updates or draft.notes]
        self._registry.write_together(parts, caller.identity.user_id)
        for draft in drafts.values():
            if draft.deleted is not None:
                draft.room.bridge.left(draft.deleted)
        return outcomes


class _Draft:
    """What a transaction writes in one room."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.updates: list[bytes] = []
        self.structs = 0
        self.notes: list[EntityOp] = []
        self.deleted: Sequence[EntityState] | None = None
        self._intents: dict[EntityState, Intent] = {}

    def edit(self, update: bytes, structs: int, target: EntityState, intent: Intent) -> None:
        self.updates.append(update)
        self.structs += structs
        self._intents[target] = intent

    def delete(self, target: EntityState, user_id: str | None, intent: Intent) -> None:
        at = time()
        self.deleted = self.room.bridge.inside()
        self.notes.append(EntityOp("delete", target, user_id, at, intent=intent))
        self.notes += (EntityOp("delete", child, user_id, at) for child in self.deleted)

    def part(self) -> RoomPart:
        checked = self.room.check_own(merge(self.updates)) if self.updates else None
        return RoomPart(self.room, checked, self._intents, self.notes, deletes=self.deleted is not None)


class _numbered:  # noqa: N801 - used as a block
    """Adds the number of a write to errors."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CollabError):
            error.details = {**error.details, "write": self._number}


def _new_id(caller: Caller, request: str | None, number: int) -> str:
    """Choose an id: the same one whenever a named request is repeated."""
    if request is None:
        return token_urlsafe(12).replace("-", "_")
    identity = caller.identity
    seed = msgspec.msgpack.encode((identity.project, identity.caller, request, number))
    return blake2b(seed, digest_size=12).hexdigest()


def _rooms(steps: Sequence[PlannedWrite]) -> dict[RoomKey, bool]:
    """The rooms of a transaction, and whether a new document there is to be seeded: not to write its own entity."""
    rooms: dict[RoomKey, bool] = {}
    for step in steps:
        rooms[step.place.room] = rooms.get(step.place.room, True) and not step.own
    return rooms


def _alike(before: Any, after: Any) -> bool:
    return bool(
        (before[0], before[1], before[3], before[4]) == (after[0], after[1], after[3], after[4])
        and same(before[2], after[2])
    )
