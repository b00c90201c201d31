"""Several writes in one request, each on its own: one that fails does not affect the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import TypeAlias

from collab.access.price import METER
from collab.errors import CollabError, InternalError, InvalidName, InvalidRequest
from collab.sandbox.metered import metered
from collab.wire.realtime.messages import Create, Delete, Update
from collab.wire.realtime.values import MOST_WRITES, AnyWrite, CreateOne, DeleteOne, UpdateOne, Written

log = logging.getLogger(__name__)

_AT_ONCE = 100
_TOGETHER = 20  # writes that begin in one turn of the event loop: a few milliseconds of work, and one commit

MakeWrite: TypeAlias = Callable[[Create | Update | Delete], Awaitable[Written]]


def check_number(writes: Sequence[AnyWrite], most: int) -> None:
    """Raise :class:`InvalidRequest` for more than ``most`` writes."""
    if len(writes) > most:
        raise InvalidRequest(f"{len(writes)} writes: there may be {most}", limit=most)


def message_of(write: AnyWrite) -> Create | Update | Delete:
    """Return one of several writes as a message."""
    match write:
        case CreateOne():
            return Create(
                id=0, collection=write.collection, data=write.data, entity=write.entity, request=write.request
            )
        case UpdateOne():
            return Update(
                id=0,
                collection=write.collection,
                entity=write.entity,
                changes=write.changes,
                unset=write.unset,
                version=write.version,
                on_conflict=write.on_conflict,
                request=write.request,
            )
        case DeleteOne():
            return Delete(id=0, collection=write.collection, entity=write.entity, request=write.request)


async def write_each(writes: Sequence[AnyWrite], perform: MakeWrite) -> list[Written | CollabError]:
    """Make each write. Returns the outcome of each, in their order.

    Writes to one entity follow each other. The others run side by side, so that a few commits hold all of them; a few
    begin at a time, and the event loop serves others in between.
    """
    check_number(writes, MOST_WRITES)
    outcomes: list[Written | CollabError] = [InternalError("this write was not made")] * len(writes)
    lines: dict[Hashable, list[int]] = {}
    for index, write in enumerate(writes):
        lines.setdefault(_entity_of(write) or index, []).append(index)
    free = asyncio.Semaphore(_AT_ONCE)
    meter = METER.get()

    async def follow(line: Sequence[int]) -> None:
        try:
            for index in line:
                outcomes[index] = await _outcome(writes[index], perform)
        finally:
            free.release()

    async with asyncio.TaskGroup() as tasks:
        for number, line in enumerate(lines.values(), 1):
            await free.acquire()
            work = partial(follow, line)
            tasks.create_task(work() if meter is None else metered(work, meter))
            if not number % _TOGETHER:
                await asyncio.sleep(0)
    return outcomes


def id_in(write: AnyWrite | Create) -> str | None:
    """Return the id that a write gives. Raises :class:`InvalidName` if it is no string."""
    found = write.data.get("id") if isinstance(write, Create | CreateOne) and write.entity is None else write.entity
    if found is not None and not isinstance(found, str):
        raise InvalidName("an id must be a string")
    return found


def _entity_of(write: AnyWrite) -> tuple[str, str] | None:
    """The entity that a write names."""
    try:
        name = id_in(write)
    except InvalidName:  # the write itself will say so
        name = None
    return None if name is None else (write.collection, name)


async def _outcome(write: AnyWrite, perform: MakeWrite) -> Written | CollabError:
    try:
        return await perform(message_of(write))
    except CollabError as error:
        return error
    except Exception:
        log.exception("could not make one of several writes")
        return InternalError("could not answer the request")
