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
from collab.errors import IdempotencyKeyReused, InvalidRequest, NotFound
from collab.event import FieldConflict
from collab.names import RoomKey
from collab.records.reads import Caller
from collab.rooms.authorization import Authorization
from collab.storage.base import EntityStorage, IdempotencyKey, Requested
from collab.wire.realtime.values import Written

MAX_NAME = 64

Perform: TypeAlias = Callable[[IdempotencyKey | None], Awaitable[Written]]
AsSeen: TypeAlias = Callable[[Identity, RoomKey, Sequence[FieldConflict], int], Awaitable[tuple[FieldConflict, ...]]]
"""Removes from the conflicts of a version what the caller may not see."""


class _Running(NamedTuple):
    digest: bytes
    done: asyncio.Future[Written | None]
    """The result; ``None``: the write failed, and the next request may try again."""


class Once:
    """Tracks keyed writes in progress, and looks up earlier ones in the storage.

    ``ready`` raises if the server cannot write now. ``pending`` says whether a write with this name in a project was
    accepted and is not committed yet; ``flush`` returns once everything accepted is committed, or raises. ``reached``
    returns once everything up to a position of a project was published.
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
    ) -> None:
        self._storage = storage
        self._rights = rights
        self._as_seen = as_seen
        self._ready = ready
        self._pending = pending
        self._flush = flush
        self._reached = reached
        self._running: dict[tuple[str, str, str], _Running] = {}

    async def do(
        self, caller: Caller, name: str | None, operation: str, collection: str, body: Sequence[Any], write: Perform
    ) -> Written:
        """Run ``write``, or return the answer of its first run.

        ``body`` is everything else in the request, including the entity. Raises :class:`IdempotencyKeyReused`, and
        :class:`collab.errors.PermissionDenied` if the caller may no longer see the result.
        """
        if name is None:
            self._ready()
            return await write(None)
        check_name(name)
        identity = caller.identity
        key = IdempotencyKey(identity.caller, name, digest_of((operation, collection, *body)))
        place = (identity.project, key.caller, name)
        while (running := self._running.get(place)) is not None:
            if running.digest != key.digest:
                raise reused(name)
            written = await asyncio.shield(running.done)
            if written is not None:
                return await self._tell(caller, RoomKey(identity.project, collection, written.data["id"]), written)
        running = self._running[place] = _Running(key.digest, asyncio.get_running_loop().create_future())
        written = None
        try:
            if self._pending(identity.project, key):  # its first caller has left, or got no answer in time
                await self._flush()
            known = await self._storage.request(identity.project, key.caller, name)
            if known is not None:
                written = await self._answer(caller, collection, key, known)
            else:
                self._ready()
                written = await write(key)
        finally:
            del self._running[place]
            running.done.set_result(written)
        return written

    async def _answer(self, caller: Caller, collection: str, key: IdempotencyKey, known: Requested) -> Written:
        # databases from before digests were stored know only the collection
        if known.digest != key.digest and (known.digest or known.key.collection != collection):
            raise reused(key.name)
        try:
            _, then = await self._storage.seq_at(known.key, version=known.version)
            await self._reached(known.key.project, then.event.position)
            written = Written(data=then.event.data, version=known.version, conflicts=then.event.conflicts)
        except NotFound:  # this version is no longer kept
            row = await self._storage.entity(known.key)
            if row is None:
                raise
            written = Written(data=row.data, version=row.version)
        return await self._tell(caller, known.key, written)

    async def _tell(self, caller: Caller, key: RoomKey, written: Written) -> Written:
        await self._rights.require(caller.identity, key, Access.READ, written.data)
        conflicts = await self._as_seen(caller.identity, key, written.conflicts, written.version)
        return msgspec.structs.replace(written, conflicts=conflicts)


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
