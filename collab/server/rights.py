"""What becomes of open documents when rights change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from collab.access.identity import Access
from collab.errors import CollabError
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.rooms.registry import Registry
from collab.rooms.room import Room
from collab.rooms.session import Session
from collab.server.admission import Admission, Admitted

_AT_ONCE = 100  # hooks may ask a database


class Rights:
    """Holds those who are in documents to their rights. ``spawn`` runs what must be waited for."""

    def __init__(
        self, registry: Registry, admission: Admission, spawn: Callable[[Coroutine[object, object, None]], object]
    ) -> None:
        self._registry = registry
        self._admission = admission
        self._spawn = spawn
        self._checking: set[RoomKey] = set()

    async def open(self, admitted: Admitted) -> tuple[Room, Admitted]:
        """The room that somebody was admitted to, and the same with the rights of now. Join before the next ``await``.

        Raises :class:`CollabError`, also if rights have changed while the document was loaded.
        """
        while True:
            room = await self._registry.open(admitted.key)
            if self._admission.is_current(admitted):
                return room, admitted
            admitted = await self._admission.admit_identity(admitted.identity, admitted.key.name)

    async def recheck(self, project: str, user_id: str | None) -> None:
        """Rights have changed: ask again what the sessions in rooms of a project may do, of one user or of all.

        Who may not read any more is sent away; who may only read can write no more, from here on.
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
        """An entity has changed. It may be one that somebody who has it open may see no more."""
        key = RoomKey(project, event.collection, event.id)
        room = self._registry.rooms.get(key)
        if room is None or key in self._checking:
            return
        if any(self._admission.depends_on_row(session.identity) for session in room.sessions):
            self._checking.add(key)
            self._spawn(self._row_changed(room))

    async def _row_changed(self, room: Room) -> None:
        self._checking.discard(room.key)  # what happens from here on is looked at again
        await self._check(
            [(room, session) for session in room.sessions if self._admission.depends_on_row(session.identity)]
        )

    async def _check(self, concerned: list[tuple[Room, Session]]) -> None:
        for chunk in range(0, len(concerned), _AT_ONCE):
            await asyncio.gather(*(self._check_one(*one) for one in concerned[chunk : chunk + _AT_ONCE]))

    async def _check_one(self, room: Room, session: Session) -> None:
        try:
            admitted = await self._admission.admit_identity(session.identity, room.key.name)
        except CollabError as error:
            session.close(error)
        else:
            session.access = Access(admitted.access)
