"""Requests that are answered by one call of the server, and which of them keep their order."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from collab.errors import InvalidRequest
from collab.realtime.subscription import Context
from collab.wire import realtime
from collab.wire.realtime import Asked

SUBSCRIPTIONS = "subscriptions"
"""The lane of what opens, checks and ends subscriptions."""

Writes = (
    realtime.Create,
    realtime.Update,
    realtime.Delete,
    realtime.Restore,
    realtime.Emit,
)
"""Counted as writes, and brought to their end when the client is gone."""


def lane_of(message: Asked) -> Hashable | None:
    """Requests of one lane are done one after the other, in the order in which they came."""
    match message:
        case realtime.Create(collection=collection, entity=str(entity)):
            return (collection, entity)
        case (
            realtime.Update(collection=collection, entity=entity)
            | realtime.Delete(collection=collection, entity=entity)
            | realtime.Restore(collection=collection, entity=entity)
            | realtime.FindById(collection=collection, entity=entity)
        ):
            return (collection, entity)
        case realtime.Subscribe() | realtime.Unsubscribe() | realtime.Authenticate():
            return SUBSCRIPTIONS
        case realtime.Emit() | realtime.JoinChannel() | realtime.LeaveChannel():
            return "events"
        case realtime.JoinPresence(room=room) | realtime.UpdatePresence(room=room) | realtime.LeavePresence(room=room):
            return ("presence", room, None)
    return None


async def answer(message: Asked, context: Context) -> Any:
    """Do what is asked, and give what is replied. Raises :class:`collab.errors.CollabError`."""
    services, caller = context.services, context.caller()
    records, presence = services.records, services.presence
    match message:
        case realtime.Create(collection=collection, data=data, entity=entity, request=request):
            return await records.create(caller, collection, data, entity=entity, request=request)
        case realtime.Update(collection=collection, entity=entity, changes=changes) as update:
            return await records.update(
                caller,
                collection,
                entity,
                changes,
                unset=update.unset,
                version=update.version,
                on_conflict=update.on_conflict,
                request=update.request,
            )
        case realtime.Delete(collection=collection, entity=entity, request=request):
            return await records.delete(caller, collection, entity, request=request)
        case realtime.Restore(collection=collection, entity=entity, version=version, request=request):
            return await records.restore(caller, collection, entity, version=version, request=request)
        case realtime.FindById(collection=collection, entity=entity) as find:
            return await records.find_by_id(
                caller,
                collection,
                entity,
                content=find.content,
                version=find.version,
                at=find.at,
                include_permissions=find.include_permissions,
            )
        case realtime.FindMany(collection=collection, query=query, fields=fields, include_permissions=permissions):
            return await records.find_many(caller, collection, query, fields=fields, include_permissions=permissions)
        case realtime.Count(collection=collection, query=query):
            return await records.count(caller, collection, query)
        case realtime.History(collection=collection, entity=entity, limit=limit, before=before):
            return await records.history(caller, collection, entity, limit=limit, before=before)
        case realtime.Schema():
            return services.schema(caller.identity.project)
        case realtime.Emit(event=event):
            return services.events.emit(caller.identity.project, event, sender=caller.identity)
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
            raise InvalidRequest("this cannot be asked for")
    return None
