"""Applies changed rights to open documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from collab.access.rules import Access
from collab.errors import CollabError
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.realtime.session.subscriber import HOLD_SECONDS
from collab.realtime.topics.announcements import Announcements
from collab.realtime.topics.presence import PresenceRooms
from collab.realtime.topics.system import PERMISSIONS_CHANGED, SystemEvents
from collab.rooms.authorization import Authorization
from collab.rooms.live.room import Room
from collab.rooms.live.session import Session
from collab.rooms.registry import Registry
from collab.server.admission import Admission, Admitted
from collab.storage.nodes import Announcement
from collab.tasks import for_each

_AT_ONCE = 100  # checked concurrently; hooks may query a database


class Rights:
    """Checks the rights of clients in documents, and of those present there, whenever they may have changed."""

    def __init__(
        self,
        registry: Registry,
        admission: Admission,
        rights: Authorization,
        document_of: Callable[[RoomKey], RoomKey],
        presence: PresenceRooms,
        system: SystemEvents,
        announcements: Announcements,
    ) -> None:
        self._registry = registry
        self._admission = admission
        self._rights = rights
        self._document_of = document_of
        self._presence = presence
        self._system = system
        self._announcements = announcements
        self._checking: set[RoomKey] = set()
        announcements.on(PERMISSIONS_CHANGED, self._announced)

    async def open(self, admitted: Admitted) -> tuple[Room, Admitted]:
        """Open the room, and return the current rights. Join before the next ``await``.

        Raises :class:`CollabError`, also if rights, or the row on which they depend, changed while the document was
        loaded.
        """
        while True:
            room = await self._registry.open(admitted.key)
            main = room.bridge.main
            is_same = main.version == admitted.version or not self._rights.depends_on_row(admitted.identity)
            if is_same and self._admission.is_current(admitted):
                return room, admitted
            admitted = await self._admission.admit_again(admitted, main.newest())

    async def permissions_changed(self, project: str, resource: str | None, user_id: str | None) -> None:
        """Apply changed rights immediately, for one user or for all, and notify clients; on all nodes.

        Raises :class:`collab.storage.base.StorageError` if other nodes may not hear it: repeat it.
        """
        body = {"resourceId": resource, "userId": user_id}
        await self._announcements.announce(Announcement(project, PERMISSIONS_CHANGED, body))

    async def _announced(self, announcement: Announcement) -> None:
        if announcement.project is not None:
            resource, user_id = announcement.body.get("resourceId"), announcement.body.get("userId")
            self._system.permissions_changed(announcement.project, resource, user_id=user_id)
            await self.recheck(announcement.project, user_id)

    async def recheck(self, project: str, user_id: str | None) -> None:
        """Check the sessions in a project's rooms again, for one user or for all.

        Sessions that may no longer read are closed; sessions that may only read can no longer write.
        """
        self._admission.changed()
        concerned = [
            (room, session)
            for room in self._registry.rooms.values()
            if room.key.project == project
            for session in room.sessions
            if user_id is None or session.identity.user_id == user_id
        ]
        await self._check(concerned)

    def happened(self, project: str, event: EntityEvent) -> None:
        """An entity has changed. Somebody who has it open may have lost the right to see it."""
        key = self._document_of(RoomKey(project, event.collection, event.id))
        if key not in self._checking and (self._presence.concerns(key) or self._concerned(key)):
            self._checking.add(key)
            self._registry.spawn(self._row_changed(key))

    def _concerned(self, key: RoomKey) -> list[tuple[Room, Session]]:
        """Return the sessions in a room whose rights depend on its data."""
        room = self._registry.rooms.get(key)
        if room is None:
            return []
        return [(room, one) for one in room.sessions if self._rights.depends_on_content(one.identity, key)]

    async def _row_changed(self, key: RoomKey) -> None:
        self._checking.discard(key)  # later changes need another check
        await self._check(self._concerned(key))
        await self._presence.row_changed(key)

    async def _check(self, concerned: list[tuple[Room, Session]]) -> None:
        """Check sessions, some at a time. Those whose check takes long are suspended until it is done."""
        unchecked = {session: room for room, session in concerned}
        suspended: set[Session] = set()

        def suspend() -> None:
            for session in unchecked:
                session.suspend()
            suspended.update(unchecked)

        async def check(one: tuple[Room, Session]) -> None:
            room, session = one
            await self._check_one(room, session)
            del unchecked[session]
            if session in suspended:
                suspended.discard(session)
                session.resume()

        timer = asyncio.get_running_loop().call_later(HOLD_SECONDS, suspend)
        try:
            await for_each(concerned, check, at_once=_AT_ONCE)
        finally:
            timer.cancel()

    async def _check_one(self, room: Room, session: Session) -> None:
        check = session.begin_check()
        try:
            admitted = await self._admission.admit_identity(session.identity, room.key.name)
        except CollabError as error:
            if session.decide(check, Access.NONE):
                session.close(error)
        else:
            session.decide(check, admitted.access)
