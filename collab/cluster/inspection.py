"""What the nodes of a cluster show of themselves in the inspector, as one list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from collab.cluster.answering import Asking, Service
from collab.cluster.arguments import InspectionAsked, decode_value
from collab.cluster.calls import Calls
from collab.cluster.membership import Membership
from collab.cluster.node_view import NodeView
from collab.errors import CollabError

InspectHere = Callable[[str, int], bytes]
"""The name of a view, limit -> what this node shows, as JSON. Raises :class:`collab.errors.InvalidRequest`."""

_SECONDS = 5.0


class NodeInspection:
    """Asks the other nodes what they show. One that does not answer hides nothing of the others."""

    def __init__(self, calls: Calls, membership: Membership) -> None:
        self._calls = calls
        self._membership = membership

    async def elsewhere(self, view: str, limit: int) -> Sequence[NodeView]:
        """Return what each of the other nodes shows."""
        others = sorted(node.nid for node in self._membership.others)
        return await asyncio.gather(*(self._ask(nid, InspectionAsked(view, limit)) for nid in others))

    async def _ask(self, nid: int, asked: InspectionAsked) -> NodeView:
        try:
            async with asyncio.timeout(_SECONDS):
                return NodeView(nid, await self._calls.ask_raw(nid, "inspection", asked))
        except CollabError as error:
            return NodeView(nid, None, error.message)
        except TimeoutError:
            return NodeView(nid, None, f"no answer within {_SECONDS:g} s")

    def services(self, here: InspectHere) -> Mapping[str, Service]:
        """Return what nodes can ask for."""

        async def answer(sender: Asking, value: bytes) -> bytes:
            asked = decode_value(value, InspectionAsked)
            return here(asked.view, asked.limit)

        return {"inspection": Service(answers=answer)}
