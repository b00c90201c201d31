"""What must hold before an entity is written, besides the rights of the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, Literal

import msgspec

from collab.entities.entity import EntityState, Intent, WriteOutcome
from collab.errors import Conflict, Unavailable
from collab.hooks import ProposedWrite
from collab.json_values import same
from collab.names import RoomKey
from collab.records.field_values import check_fields, check_size
from collab.records.idempotency import AsSeen
from collab.records.reads import Caller
from collab.records.schema import Schemas
from collab.rooms.authorization import Authorization
from collab.rooms.live.room import Room
from collab.storage.base import IdempotencyKey
from collab.wire.realtime.values import Written

ATTEMPTS = 10


class WriteChecks:
    """``flush`` returns once everything accepted is committed."""

    def __init__(
        self,
        rights: Authorization,
        schemas: Schemas,
        flush: Callable[[], Awaitable[None]],
        as_seen: AsSeen,
        *,
        max_entity_bytes: int,
    ) -> None:
        self._rights = rights
        self._schemas = schemas
        self._flush = flush
        self._as_seen = as_seen
        self._max_entity_bytes = max_entity_bytes

    def fit(self, key: RoomKey, fields: Mapping[str, Any]) -> None:
        """Raise :class:`CollabError` unless an entity may have these fields."""
        check_size(fields, len(msgspec.json.encode(fields)), self._max_entity_bytes)
        self._schemas.validate(key.collection, fields)

    async def seen(self, caller: Caller, key: RoomKey, written: Written) -> Written:
        """Return the answer to a write without the conflicts that the caller may not see."""
        if not written.conflicts:
            return written
        conflicts = await self._as_seen(caller.identity, key, written.conflicts, written.version)
        return msgspec.structs.replace(written, conflicts=conflicts)

    def while_changing(self, row: Callable[[], dict[str, Any]]) -> Iterator[None]:
        """Repeat the body until the application was asked about the row that is there when the body ends.

        Raises :class:`Unavailable` if others write it all the time.
        """
        if not self._rights.asks_before_writes:
            yield
            return
        for _ in range(ATTEMPTS):
            asked = row()
            yield
            if same(asked, row()):
                return
        raise Unavailable("this entity changes too fast to check a write; retry")

    async def completed(
        self, caller: Caller, target: EntityState, fields: dict[str, Any], unset: Collection[str]
    ) -> tuple[dict[str, Any], Collection[str]]:
        """Ask the application about an update, and return what to set and remove."""
        before, after = target.current, target.with_fields(fields_after(target, fields, unset))
        more = await self._rights.before_write(
            ProposedWrite("update", caller.identity, target.key, before, after, changes=fields, unset=frozenset(unset))
        )
        return {**fields, **check_fields(more, now=target.data)}, [name for name in unset if name not in more]

    async def ask(
        self,
        action: Literal["delete", "restore", "erase"],
        caller: Caller,
        key: RoomKey,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        if self._rights.asks_before_writes:
            await self._rights.before_write(ProposedWrite(action, caller.identity, key, before, after))

    async def compare(
        self, room: Room, target: EntityState, caller: Caller, wanted: Mapping[str, Any], version: int
    ) -> None:
        """Compare-and-set: refuse if anybody else has written these fields since ``version``."""
        while room.commits.pending:
            await self._flush()
        user_id = caller.identity.user_id
        newer = target.written_since(version, sorted(wanted), caller.writer, user_id)
        if newer:
            data, now = target.data, target.version
            met = [target.conflict(name, wanted[name], won=False, version=version) for name in newer]
            conflicts = await self._as_seen(caller.identity, target.key, met, now + 1)
            raise Conflict(
                f"{', '.join(newer)}: written by somebody else since version {version}",
                data=data,
                version=now,
                conflicts=msgspec.to_builtins(list(conflicts)),
            )


def fields_after(target: EntityState, fields: Mapping[str, Any], unset: Collection[str]) -> dict[str, Any]:
    """Return the fields of an entity once these are set and removed."""
    return {name: value for name, value in {**target.now, **fields}.items() if name not in unset}


def intent_of(
    caller: Caller,
    version: int | None,
    request: IdempotencyKey | None,
    *,
    alone: bool = False,
    always: bool = False,
) -> tuple[asyncio.Future[WriteOutcome], Intent]:
    """Return the intent of a write, and its outcome once it is committed."""
    told: asyncio.Future[WriteOutcome] = asyncio.get_running_loop().create_future()

    def tell(what: WriteOutcome) -> None:
        if not told.done():
            told.set_result(what)

    return told, Intent(caller.writer, tell, version, request, alone, always)


def written_by(told: WriteOutcome) -> Written:
    """Return the answer to a write."""
    return Written(data=told.data, version=told.version, conflicts=told.conflicts)
