"""What becomes of open documents when rights change."""

from __future__ import annotations

import logging

from collab.access.identity import Access
from collab.errors import CollabError
from collab.rooms.registry import Registry
from collab.server.admission import Admission

log = logging.getLogger(__name__)


async def recheck(registry: Registry, admission: Admission, project: str, user_id: str | None) -> None:
    """Ask again what the sessions in rooms of a project may do: those of one user, or of all.

    Who may not read any more is sent away; who may only read can write no more, from here on.
    """
    for room in list(registry.rooms.values()):
        if room.key.project != project:
            continue
        for session in list(room.sessions):
            if user_id is not None and session.identity.user_id != user_id:
                continue
            try:
                admitted = await admission.admit_identity(session.identity, room.key.name)
            except CollabError as error:
                session.close(error)
                continue
            session.access = Access(admitted.access)
