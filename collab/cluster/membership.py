"""That this node lives, and which others do: beats, looks, and declarations of death."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from collab.errors import Unavailable
from collab.storage.base import StorageError
from collab.storage.nodes import Fenced, NodeRow, Nodes, Pulse

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
LOOKS = 4
"""Looks in which a node has not beaten, after which it is declared dead. It beats between two looks."""


class Membership:
    """This node among the nodes of a record; :meth:`run` must be running.

    ``seconds`` is the time between two beats, and between two looks. ``died`` is called with each node that lives no
    more.
    """

    def __init__(
        self,
        nodes: Nodes,
        name: str,
        *,
        seconds: float = BEAT_SECONDS,
        died: Callable[[int], None] = lambda nid: None,
    ) -> None:
        self._nodes = nodes
        self._name = name
        self._seconds = seconds
        self._pulse = Pulse(LOOKS)
        self._heard = True
        self._died = died
        self.others: Sequence[NodeRow] = ()
        """The other nodes that live, as of the last look."""
        self.deaths = 0
        """How many nodes this one has declared dead."""

    async def replace_predecessor(self) -> None:
        """Declare the last node of this name dead: its process has ended, or its supervisor would not start another.

        What ended it must be stored before: from now on others open its rooms.
        """
        for node in await self._nodes.nodes():
            if node.name == self._name and node.nid != self._nodes.nid and not node.dead:
                await self._declare_dead(node)

    async def url_of(self, nid: int) -> str:
        """Where a node is reached. Raises :class:`Unavailable` if it does not live."""
        for attempt in range(2):
            for node in self.others:
                if node.nid == nid and node.url:
                    return node.url
            if not attempt:
                self._see(await self._nodes.nodes())
        raise Unavailable("the server that has this document is gone; retry")

    async def run(self) -> None:
        """Beat and look until cancelled. Raises :class:`Fenced` once this node was declared dead.

        A storage that fails for a while does no harm: who cannot reach it declares nobody dead.
        """
        while True:
            try:
                await self._nodes.beat()
                await self.look()
                self._heard = True
            except Fenced:
                raise
            except StorageError as error:
                if self._heard:  # the recorder tells for how long the storage is away
                    log.info("no beat of this node reaches the database: %s", error)
                self._heard = False
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        """See who lives, and declare dead who has been silent for too long. Raises the storage's errors."""
        self._see(await self._nodes.nodes())
        silent = set(self._pulse.look({node.nid: node.beats for node in self.others}))
        for node in self.others:
            if node.nid in silent:
                await self._declare_dead(node)

    def _see(self, nodes: Sequence[NodeRow]) -> None:
        gone = {node.nid for node in self.others}
        self.others = [node for node in nodes if not node.dead and node.nid != self._nodes.nid]
        for nid in sorted(gone - {node.nid for node in self.others}):
            self._died(nid)

    async def _declare_dead(self, node: NodeRow) -> None:
        if await self._nodes.declare_dead(node.nid, node.beats):
            self.deaths += 1
            log.warning("node %d (%s, %s) was declared dead", node.nid, node.name, node.url)
            self._see([other for other in self.others if other.nid != node.nid])
