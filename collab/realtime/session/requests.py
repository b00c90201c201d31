"""Requests with a single answer, and which of them must stay in order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from collab.errors import InvalidRequest
from collab.realtime.sending.slices import encoded_in_slices, rows_in_slices
from collab.realtime.subscriptions.base import Context
from collab.tracing import Attributes
from collab.wire.realtime import messages as realtime
from collab.wire.realtime.messages import Asked
from collab.wire.realtime.values import WriteResult

SUBSCRIPTIONS = "subscriptions"
"""The lane of requests that open, check and end subscriptions."""

WRITES = (
    realtime.Create,
    realtime.Update,
    realtime.Delete,
    realtime.Restore,
    realtime.WriteMany,
    realtime.Transaction,
    realtime.Emit,
)
"""Requests that count as writes; they finish even if the client is gone."""


def writes_in(message: object) -> int:
    """Return as how many writes a request counts."""
    return max(len(message.writes), 1) if isinstance(message, realtime.WriteMany | realtime.Transaction) else 1


def lanes_of(message: Asked) -> Sequence[Hashable]:
    """Return the lanes of a request. Requests of one lane run one after the other, in order."""
    match message:
        case realtime.Create(collection=collection, entity=str(entity)):
            return ((collection, entity),)
        case (
            realtime.Update(collection=collection, entity=entity)
            | realtime.Delete(collection=collection, entity=entity)
            | realtime.Restore(collection=collection, entity=entity)
            | realtime.FindById(collection=collection, entity=entity)
        ):
            return ((collection, entity),)
        case realtime.WriteMany(writes=writes) | realtime.Transaction(writes=writes):
            return [(write.collection, write.entity) for write in writes if write.entity is not None]
        case realtime.Subscribe() | realtime.Unsubscribe() | realtime.Authenticate():
            return (SUBSCRIPTIONS,)
        case realtime.Emit() | realtime.JoinChannel() | realtime.LeaveChannel():
            return ("events",)
        case realtime.JoinPresence(room=room) | realtime.UpdatePresence(room=room) | realtime.LeavePresence(room=room):
            return (("presence", room, None),)
    return ()


def attributes_of(message: Asked, project: str) -> Attributes:
    """What a span says of a request: which entity it is about, or how many writes it makes."""
    said: dict[str, str | int] = {"collab.project": project}
    for member in ("collection", "entity"):
        value = getattr(message, member, None)
        if isinstance(value, str):
            said[f"collab.{member}"] = value
    if isinstance(message, realtime.WriteMany | realtime.Transaction):
        said["collab.writes"] = len(message.writes)
    return said


async def answer(message: Asked, context: Context) -> Any:
    """Execute a request and return its result. Raises :class:`collab.errors.CollabError`."""
    hub, caller = context.hub, context.caller
    records, presence = hub.records, hub.presence
    match message:
        case realtime.Create():
            return await records.create(caller, message)
        case realtime.Update():
            return await records.update(caller, message)
        case realtime.Delete():
            return await records.delete(caller, message)
        case realtime.Restore():
            return await records.restore(caller, message)
        case realtime.WriteMany(writes=writes):
            outcomes = await records.write_many(caller, writes)
            return await encoded_in_slices(map(WriteResult.of, outcomes), context.form)
        case realtime.Transaction(writes=writes, request=request):
            written = await records.transact(caller, writes, request)
            return await encoded_in_slices(map(WriteResult.of, written), context.form)
        case realtime.FindById():
            return await records.find_by_id(caller, message, context.form)
        case realtime.FindMany():
            return await rows_in_slices(await records.find_many(caller, message), context.form)
        case realtime.Count():
            return await records.count(caller, message)
        case realtime.Aggregate():
            return await records.aggregate(caller, message)
        case realtime.History():
            return await encoded_in_slices(await records.history(caller, message), context.form)
        case realtime.Schema():
            return await hub.readable_schema(caller)
        case realtime.Emit(event=event, request=request):
            return await hub.events.emit(caller.identity.project, event, sender=caller.identity, request=request)
        case realtime.JoinChannel(channel=channel):
            context.channels.join(channel)
        case realtime.LeaveChannel(channel=channel):
            context.channels.leave(channel)
        case realtime.JoinPresence(room=room, state=state):
            await presence.join(caller, room, state)
        case realtime.UpdatePresence(room=room, state=state):
            await presence.update(caller, room, state)
        case realtime.LeavePresence(room=room):
            presence.leave(caller, room)
        case _:
            raise InvalidRequest("unsupported request type")
    return None
