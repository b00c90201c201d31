"""What happens in the server now, on all nodes: sessions, open documents, live queries, refusals, CPU."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import time
from typing import Any

import msgspec

from collab.access.inspection import TICKET_SECONDS, InspectionKey
from collab.cluster.node_view import NodeView
from collab.realtime.topics.presence import PresenceRooms
from collab.server.config.settings import Settings
from collab.server.inspector.node import NodeViews
from collab.server.inspector.questions import OfDocument, OfMany, OfProject, OfSessions, Question, SendAway
from collab.server.node_usage import NodeUsage
from collab.server.sessions import Sessions
from collab.storage.location import shown
from collab.wire.realtime.values import ConnectedSession, Present

AskOtherNodes = Callable[[str, int], Awaitable[Sequence[NodeView]]]
"""The name of a view, limit -> what the other nodes show."""


class LiveViews:
    """Each method answers one question, with values for JSON. ``elsewhere`` asks the other nodes of a cluster.

    ``location`` is that of the record; ``None`` if the application made the storage.
    """

    def __init__(
        self,
        location: str | None,
        settings: Settings,
        presence: PresenceRooms,
        sessions: Sessions,
        key: InspectionKey,
        here: NodeViews,
        elsewhere: AskOtherNodes | None,
    ) -> None:
        self._location = location
        self._settings = settings
        self._presence = presence
        self._sessions = sessions
        self._key = key
        self._here = here
        self._elsewhere = elsewhere

    async def overview(self, asked: Question) -> dict[str, Any]:
        """The server at a glance."""
        return {
            "record": shown(self._location) if self._location is not None else "of the application",
            "historyDays": self._settings.history_days,
            **await self._everywhere("health", 0),
        }

    async def ticket(self, asked: OfProject) -> dict[str, Any]:
        """A token with which the page uses the application protocol in one project."""
        return {"token": self._key.issue_ticket(asked.project, time()), "seconds": TICKET_SECONDS}

    async def sessions(self, asked: OfSessions) -> dict[str, list[ConnectedSession]]:
        """Who is connected, to any node."""
        return {"sessions": await self._sessions.listed(asked.project, asked.user_id, asked.limit)}

    async def send_away(self, asked: SendAway) -> dict[str, int]:
        """End sessions, on all nodes. ``count`` is how many there were on this one."""
        count = await self._sessions.disconnect(
            asked.project, user_id=asked.user_id, session=asked.session, reason=asked.reason
        )
        return {"count": count}

    async def presence(self, asked: OfDocument) -> Present:
        """Who is in a document, with what they show of themselves."""
        return await self._presence.present(asked.key)

    async def rooms(self, asked: OfMany) -> dict[str, Any]:
        """The documents that are open, node by node."""
        return await self._everywhere("rooms", asked.limit)

    async def queries(self, asked: OfMany) -> dict[str, Any]:
        """Live queries, node by node, and what they have cost."""
        return await self._everywhere("queries", asked.limit)

    async def refused(self, asked: OfMany) -> dict[str, Any]:
        """Who was refused lately, node by node."""
        return await self._everywhere("refused", asked.limit)

    async def usage(self) -> dict[str, NodeUsage]:
        """Project -> what it has used on all nodes that answer, since they began to serve."""
        used: dict[str, NodeUsage] = {}
        for node in await self._views("usage", 0):
            if node.found is not None:
                for project, usage in msgspec.json.decode(node.found, type=dict[str, NodeUsage]).items():
                    used.setdefault(project, NodeUsage()).add(usage)
        return used

    async def _everywhere(self, view: str, limit: int) -> dict[str, Any]:
        return {
            "nodes": [
                {
                    "node": each.node,
                    "found": None if each.found is None else msgspec.Raw(each.found),
                    "failure": each.failure,
                }
                for each in await self._views(view, limit)
            ]
        }

    async def _views(self, view: str, limit: int) -> list[NodeView]:
        here = NodeView(self._here.nid(), self._here.answer(view, limit))
        return [here, *(await self._elsewhere(view, limit) if self._elsewhere is not None else ())]
