"""Idempotent writes: a repeated write takes effect once and returns the same answer.

A key belongs to one caller; other users may use the same string. It stands for one operation with one body; any other
use is refused, so that nobody receives the answer to a different request. The model is the HTTP header
``Idempotency-Key`` of draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import msgspec

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import IdempotencyKeyReused, InvalidRequest, NotFound, Unavailable
from collab.event import FieldConflict
from collab.names import RoomKey
from collab.records.reads import Caller
from collab.rooms.authorization import Authorization
from collab.storage.base import EntityStorage, IdempotencyKey, Requested
from collab.wire.realtime.values import Written

MAX_NAME = 64

MakeNamed: TypeAlias = Callable[[IdempotencyKey | None], Awaitable[Written]]
MakeAllNamed: TypeAlias = Callable[[IdempotencyKey | None], Awaitable[list[Written]]]
AsSeen: TypeAlias = Callable[[Identity, RoomKey, Sequence[FieldConflict], int], Awaitable[tuple[FieldConflict, ...]]]
"""Removes from the conflicts of a version what the caller may not see."""


class _Running(NamedTuple):
    """``owned``: this process owned the room before it looked for the name."""

    digest: bytes
    owned: bool
    done: asyncio.Future[list[Written] | None]
    """The result; ``None``: the write failed, and the next request may try again."""


class Once:
    """Tracks keyed writes in progress, and looks up earlier ones in the storage.

    ``ready`` raises if the server cannot write now. ``pending`` says whether a write with this name in a project was
    accepted and is not committed yet; ``flush`` returns once everything accepted is committed, or raises. ``reached``
    returns once everything up to a position of a project was published. ``owns`` says whether no other process writes
    what belongs to a room.
    """

    def __init__(
        self,
        storage: EntityStorage,
        rights: Authorization,
        as_seen: AsSeen,
        *,
        ready: Callable[[], None],
        pending: Callable[[str, IdempotencyKey], bool],
        flush: Callable[[], Awaitable[None]],
        reached: Callable[[str, int], Awaitable[object]],
        owns: Callable[[RoomKey], bool],
    ) -> None:
        self._storage = storage
        self._rights = rights
        self._as_seen = as_seen
        self._ready = ready
        self._pending = pending
        self._flush = flush
        self._reached = reached
        self._owns = owns
        self._running: dict[tuple[str, str, str], _Running] = {}

    async def do(
        self,
        caller: Caller,
        name: str | None,
        operation: str,
        collection: str,
        body: Sequence[Any],
        write: MakeNamed,
        *,
        room: RoomKey,
    ) -> Written:
        """Run ``write``, or return the answer of its first run.

        ``body`` is everything else in the request, including the entity. ``write`` calls :meth:`check_owner` once it
        holds ``room``. Raises :class:`IdempotencyKeyReused`,
        :class:`collab.errors.NotFound` if the entity has been erased since, and
        :class:`collab.errors.PermissionDenied` if the caller may no longer see the result.
        """

        async def make(key: IdempotencyKey | None) -> list[Written]:
            return [await write(key)]

        async def recall(key: IdempotencyKey, known: Requested) -> list[Written]:
            entity = _entity_of(known)
            # databases from before digests were stored know only the collection
            if known.digest != key.digest and (known.digest or entity.collection != collection):
                raise reused(key.name)
            return [await self._written(entity, known.version)]

        asked = (operation, collection, *body)
        [written] = await self._do(caller, name, asked, [collection], make, recall, owned=self._owns(room))
        return written

    async def do_all(
        self, caller: Caller, name: str | None, keys: Sequence[RoomKey], body: Sequence[Any], write: MakeAllNamed
    ) -> list[Written]:
        """As :meth:`do`, for one write of different entities, whose ``keys`` the same request always has.

        It is recorded once for each entity that it changed: under its own name and those of :func:`name_of_part`.
        """

        async def recall(key: IdempotencyKey, known: Requested) -> list[Written]:
            first = _entity_of(known)
            if known.digest != key.digest:
                raise reused(key.name)
            found: list[Written] = []
            for number, entity in enumerate(keys):
                part = known
                if entity != first:
                    stored = await self._storage.request(
                        caller.identity.project, key.caller, name_of_part(key.name, number)
                    )
                    if stored is None:  # it had nothing to change
                        row = await self._storage.entity(entity)
                        found.append(
                            Written(data=row.data if row else {"id": entity.id}, version=row.version if row else 0)
                        )
                        continue
                    part = stored
                found.append(await self._written(_entity_of(part), part.version))
            return found

        asked = ("transaction", *body)
        return await self._do(caller, name, asked, [key.collection for key in keys], write, recall)

    async def _do(
        self,
        caller: Caller,
        name: str | None,
        asked: Sequence[Any],
        collections: Sequence[str],
        write: MakeAllNamed,
        recall: Callable[[IdempotencyKey, Requested], Awaitable[list[Written]]],
        *,
        owned: bool = False,
    ) -> list[Written]:
        if name is None:
            self._ready()
            return await write(None)
        check_name(name)
        identity = caller.identity
        key = IdempotencyKey(identity.caller, name, digest_of(asked))
        place = (identity.project, key.caller, name)
        while (running := self._running.get(place)) is not None:
            if running.digest != key.digest:
                raise reused(name)
            done = await asyncio.shield(running.done)
            if done is not None:
                return await self._tell(caller, collections, done)
        running = self._running[place] = _Running(key.digest, owned, asyncio.get_running_loop().create_future())
        written: list[Written] | None = None
        try:
            if self._pending(identity.project, key):  # its first caller has left, or got no answer in time
                await self._flush()
            known = await self._storage.request(identity.project, key.caller, name)
            if known is not None:
                written = await self._tell(caller, collections, await recall(key, known))
            else:
                self._ready()
                written = await write(key)
        finally:
            del self._running[place]
            running.done.set_result(written)
        return written

    async def check_owner(self, project: str, key: IdempotencyKey | None) -> None:
        """As :meth:`check_new`, unless the room was open here before :meth:`do` looked for the name."""
        if key is not None and not self._running[project, key.caller, key.name].owned:
            await self.check_new(project, key)

    async def check_new(self, project: str, key: IdempotencyKey) -> None:
        """Raise :class:`Unavailable` if a request with this name was committed since :meth:`do` has begun.

        Another node may have owned its rooms until now. When the request is repeated, it is answered.
        """
        if await self._storage.request(project, key.caller, key.name) is not None:
            raise Unavailable("another server has just made this write; retry", retryAfter=0.1)

    async def _written(self, key: RoomKey, version: int) -> Written:
        try:
            _, then = await self._storage.seq_at(key, version=version)
            await self._reached(key.project, then.event.position)
            return Written(data=then.event.data, version=version, conflicts=then.event.conflicts)
        except NotFound:  # this version is no longer kept
            row = await self._storage.entity(key)
            if row is None:
                raise
            return Written(data=row.data, version=row.version)

    async def _tell(self, caller: Caller, collections: Sequence[str], written: Sequence[Written]) -> list[Written]:
        identity, told = caller.identity, []
        for collection, one in zip(collections, written, strict=True):
            key = RoomKey(identity.project, collection, one.data["id"])
            await self._rights.require(identity, key, Access.READ, one.data)
            conflicts = await self._as_seen(identity, key, one.conflicts, one.version)
            told.append(msgspec.structs.replace(one, conflicts=conflicts))
        return told


def _entity_of(known: Requested) -> RoomKey:
    """The entity that a named request wrote. Raises :class:`NotFound` if it has been erased since."""
    if known.key is None:
        raise NotFound("this request was made before, and what it wrote has been erased since")
    return known.key


def name_of_part(name: str, number: int) -> str:
    """Return the name under which a write of a named request is recorded. No caller can use it: it is not ASCII."""
    return f"{name}\u00a7{number}"


def check_name(name: str) -> None:
    """Raise :class:`InvalidRequest` for an invalid idempotency key."""
    if not 0 < len(name) <= MAX_NAME or not name.isascii():
        raise InvalidRequest(f"an idempotency key must be an ASCII string of 1 to {MAX_NAME} characters")


def reused(name: str) -> IdempotencyKeyReused:
    """Build the error for a key that was used for something else."""
    return IdempotencyKeyReused("this idempotency key was used for a different request", request=name)


def digest_of(asked: Sequence[Any]) -> bytes:
    """Hash a request to 16 bytes. Raises :class:`InvalidRequest`."""
    try:
        encoded = msgspec.json.encode(asked, order="sorted", enc_hook=repr)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise InvalidRequest("the request cannot be encoded as JSON") from None
    return blake2b(encoded, digest_size=16).digest()
