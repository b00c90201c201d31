"""What happens in the server now: sessions, open documents, live queries, refusals, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import nlargest
from importlib.metadata import version
from time import time
from typing import Any

import msgspec

from collab.access.inspection import TICKET_SECONDS, InspectionKey
from collab.access.price import Ledger
from collab.dates import iso
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.realtime.hub import Hub
from collab.rooms.live.room import Room
from collab.server.admission import Admission
from collab.server.config.settings import Settings
from collab.server.inspector.questions import OfDocument, OfMany, OfProject, OfSessions, Question, SendAway
from collab.server.sessions import Sessions
from collab.storage.location import shown
from collab.wire.realtime.values import ConnectedSession, Present

Gauges = Callable[[], Mapping[str, tuple[str, float]]]
"""Name -> (what it is, value)."""


@dataclass(frozen=True, slots=True)
class LiveParts:
    """What the views need of a running server. ``unready`` says why it should get no traffic."""

    settings: Settings
    hub: Hub
    sessions: Sessions
    admission: Admission
    ledger: Ledger
    metrics: Metrics
    rooms: Callable[[], Mapping[RoomKey, Room]]
    gauges: Gauges
    unready: Callable[[], str | None]
    node: Callable[[], int | None]


class LiveViews:
    """Each method answers one question, with values for JSON."""

    def __init__(self, parts: LiveParts, key: InspectionKey) -> None:
        self._parts = parts
        self._key = key
        self._began = time()

    async def overview(self, asked: Question) -> dict[str, Any]:
        """The server at a glance."""
        parts, settings = self._parts, self._parts.settings
        return {
            "version": version("lumenize-collab"),
            "node": parts.node(),
            "since": iso(self._began),
            "unready": parts.unready(),
            "isOpen": parts.admission.is_open,
            "record": shown(settings.location),
            "historyDays": settings.history_days,
            "allowedOrigins": list(parts.admission.allowed_origins),
            "gauges": [
                {"name": name, "about": about, "value": value} for name, (about, value) in parts.gauges().items()
            ],
            "refused": dict(parts.metrics.refusals.counts),
            "errors": dict(parts.metrics.errors),
            "bytesIn": parts.metrics.bytes_in,
            "bytesOut": parts.metrics.bytes_out,
        }

    async def ticket(self, asked: OfProject) -> dict[str, Any]:
        """A token with which the page uses the application protocol in one project."""
        return {"token": self._key.issue_ticket(asked.project, time()), "seconds": TICKET_SECONDS}

    async def sessions(self, asked: OfSessions) -> dict[str, list[ConnectedSession]]:
        """Who is connected, to any node."""
        return {"sessions": await self._parts.sessions.listed(asked.project, asked.user_id, asked.limit)}

    async def send_away(self, asked: SendAway) -> dict[str, int]:
        """End sessions, on all nodes. ``count`` is how many there were on this one."""
        count = await self._parts.sessions.disconnect(
            asked.project, user_id=asked.user_id, session=asked.session, reason=asked.reason
        )
        return {"count": count}

    async def rooms(self, asked: OfMany) -> dict[str, Any]:
        """The documents that are open on this node, those with the most sessions first."""
        rooms = self._parts.rooms()
        busiest = nlargest(asked.limit, rooms.items(), key=lambda each: len(each[1].sessions))
        found = [
            {
                "project": key.project,
                "collection": key.collection,
                "id": key.id,
                "sessions": len(room.sessions),
                "people": len(room.awareness.states),
            }
            for key, room in busiest
        ]
        return {"rooms": found, "count": len(rooms)}

    async def presence(self, asked: OfDocument) -> Present:
        """Who is in a document, with what they show of themselves."""
        return await self._parts.hub.presence.present(asked.key)

    async def queries(self, asked: OfMany) -> dict[str, Any]:
        """The live queries of this node, and what they have cost."""
        live = self._parts.hub.live_queries
        found = [
            {
                "project": each.project,
                "collection": each.collection,
                "query": msgspec.Raw(each.query),
                "watchers": each.watchers,
                "rows": each.rows,
                "events": each.events,
                "steps": each.steps,
                "seconds": each.seconds,
                "reads": each.reads,
                "readSeconds": each.read_seconds,
            }
            for each in live.listed(asked.limit)
        ]
        return {"queries": found, "count": len(live)}

    async def refused(self, asked: Question) -> dict[str, Any]:
        """Who was refused lately: credentials and origins, and edits of sessions."""
        parts = self._parts
        return {
            "clients": [
                {"message": each.message, "first": iso(each.first), "last": iso(each.last), "count": each.count}
                for each in parts.admission.notices.recent
            ],
            "sessions": [
                {
                    "at": iso(each.at),
                    "kind": each.kind,
                    "place": each.place,
                    "userId": each.user_id,
                    "reason": each.reason,
                }
                for each in parts.metrics.refusals.recent
            ],
        }

    def cpu(self) -> dict[str, dict[str, float]]:
        """Project -> kind of payer -> CPU seconds since this process began to serve."""
        used: dict[str, dict[str, float]] = {}
        for (project, kind), seconds in self._parts.ledger.used.items():
            used.setdefault(project, {})[kind] = seconds
        return used
