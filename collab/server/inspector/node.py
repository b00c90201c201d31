"""What one node shows of itself: open documents, live queries, refusals, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import nlargest
from importlib.metadata import version
from time import time
from typing import Any

import msgspec

from collab.dates import iso
from collab.errors import InvalidRequest
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.realtime.hub import Hub
from collab.rooms.live.room import Room
from collab.server.admission import Admission
from collab.server.inspector.questions import MOST_ROWS
from collab.server.node_usage import NodeUsage

Gauges = Callable[[], Mapping[str, tuple[str, float]]]
"""Name -> (what it is, value)."""


class NodeViews:
    """Answers by the name of a view, for the inspector of this node and for those of others.

    ``unready`` says why this node should get no traffic, ``nid`` is its number; 0 if it is alone.
    """

    def __init__(
        self,
        hub: Hub,
        admission: Admission,
        metrics: Metrics,
        *,
        rooms: Callable[[], Mapping[RoomKey, Room]],
        usage: Callable[[], Mapping[str, NodeUsage]],
        gauges: Gauges,
        unready: Callable[[], str | None],
        nid: Callable[[], int],
    ) -> None:
        self._hub = hub
        self._admission = admission
        self._metrics = metrics
        self._rooms = rooms
        self._used = usage
        self._gauges = gauges
        self._unready = unready
        self.nid = nid
        self._began = time()
        self._views: dict[str, Callable[[int], object]] = {
            "health": self._health,
            "rooms": self._open_rooms,
            "queries": self._queries,
            "refused": self._refused,
            "usage": self._usage,
        }

    def answer(self, view: str, limit: int) -> bytes:
        """Return a view as JSON, with at most ``limit`` rows, up to 500. Raises :class:`InvalidRequest`."""
        show = self._views.get(view)
        if show is None:
            raise InvalidRequest("this node does not know this view")
        return msgspec.json.encode(show(max(0, min(limit, MOST_ROWS))))

    def _health(self, limit: int) -> dict[str, Any]:
        metrics = self._metrics
        return {
            "version": version("lumenize-collab"),
            "since": iso(self._began),
            "unready": self._unready(),
            "isOpen": self._admission.is_open,
            "allowedOrigins": list(self._admission.allowed_origins),
            "gauges": [
                {"name": name, "about": about, "value": value} for name, (about, value) in self._gauges().items()
            ],
            "errors": dict(metrics.errors),
            "bytesIn": metrics.bytes_in,
            "bytesOut": metrics.bytes_out,
        }

    def _open_rooms(self, limit: int) -> dict[str, Any]:
        """The documents that are open, those with the most sessions first."""
        rooms = self._rooms()
        busiest = nlargest(limit, rooms.items(), key=lambda each: len(each[1].sessions))
        found = [
            {
                "project": key.project,
                "collection": key.collection,
                "id": key.id,
                "sessions": len(room.sessions),
                "people": len(room.presence.awareness.states),
            }
            for key, room in busiest
        ]
        return {"rooms": found, "count": len(rooms)}

    def _queries(self, limit: int) -> dict[str, Any]:
        """Live queries, and what they have cost."""
        live = self._hub.live_queries
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
            for each in live.listed(limit)
        ]
        return {"queries": found, "count": len(live)}

    def _refused(self, limit: int) -> dict[str, Any]:
        """Who was refused lately: credentials and origins, and edits of sessions."""
        return {
            "clients": [
                {"message": each.message, "first": iso(each.first), "last": iso(each.last), "count": each.count}
                for each in self._admission.notices.recent[:limit]
            ],
            "sessions": [
                {
                    "at": iso(each.at),
                    "kind": each.kind,
                    "place": each.place,
                    "userId": each.user_id,
                    "reason": each.reason,
                }
                for each in self._metrics.refusals.recent[:limit]
            ],
        }

    def _usage(self, limit: int) -> Mapping[str, NodeUsage]:
        """Project -> what it has used since this process began to serve."""
        return self._used()
