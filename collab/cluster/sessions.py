"""The sessions of all nodes, as one list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from collab.cluster.answering import Asking, Service
from collab.cluster.arguments import SessionsAsked, decode_value, encode_value
from collab.cluster.calls import Calls
from collab.cluster.membership import Membership
from collab.wire.realtime.values import ConnectedSession

ListSessions = Callable[[str, str | None, int], list[ConnectedSession]]
"""Project, user (``None``: all), limit -> the sessions of this node."""


class NodeSessions:
    """What nodes tell each other about who is connected."""

    def __init__(self, calls: Calls, membership: Membership) -> None:
        self._calls = calls
        self._membership = membership

    async def elsewhere(self, project: str, user_id: str | None, limit: int) -> list[ConnectedSession]:
        """Return sessions of the other nodes. Raises :class:`collab.errors.Unavailable` if one does not answer."""
        asked = SessionsAsked(project, user_id, limit)
        told = await asyncio.gather(
            *(self._calls.ask(node.nid, "sessions", asked, list[ConnectedSession]) for node in self._membership.others)
        )
        return [session for of_node in told for session in of_node][:limit]

    def services(self, here: ListSessions) -> Mapping[str, Service]:
        """Return what nodes can ask for."""

        async def answer(sender: Asking, value: bytes) -> bytes:
            asked = decode_value(value, SessionsAsked)
            return encode_value(here(asked.project, asked.user_id, asked.limit))

        return {"sessions": Service(answers=answer)}
