"""This server as one node of a cluster: what it is made of besides the parts that a server alone has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial

from collab.access.identity import Identity
from collab.access.price import Ledger
from collab.bus.base import Bus
from collab.bus.sealed import SealedBus
from collab.cluster.announcements import ClusterAnnouncements
from collab.cluster.answering import Desk
from collab.cluster.calls import Calls
from collab.cluster.follow import ClusterFeed
from collab.cluster.inspection import InspectHere, NodeInspection
from collab.cluster.jobs import ClusterJobs
from collab.cluster.link import Links
from collab.cluster.membership import Membership
from collab.cluster.ownership import NodeOwnership
from collab.cluster.passes import Pass, Passes
from collab.cluster.presence import PresenceServices, RoutedPresence
from collab.cluster.records import RoutedCollections, RoutedDocuments
from collab.cluster.rooms import RoutedRoom
from collab.cluster.services import EntityServices, LocalHandle, RoomServices
from collab.cluster.sessions import ListSessions, NodeSessions
from collab.cluster.tunnel import Handshake, Tunnel
from collab.entities.event_traces import EventTraces
from collab.entities.feed import Feed
from collab.errors import Unavailable
from collab.realtime.hub import Hub, HubParts
from collab.rooms.handle import RoomHandle
from collab.rooms.registry import Registry
from collab.storage.base import StorageError
from collab.storage.nodes import NodeStorage
from collab.tracing import Tracer

log = logging.getLogger(__name__)

_LEAVE_SECONDS = 2.0


class ClusterNode:
    """``name`` is the same for a process and for the one that replaces it."""

    def __init__(
        self,
        nodes: NodeStorage,
        name: str,
        bus: Bus,
        tracer: Tracer | None = None,
        traces: EventTraces | None = None,
    ) -> None:
        self._nodes = nodes
        self.bus = SealedBus(bus)
        self.feed = ClusterFeed(nodes, self.bus, traces=traces)
        self.jobs = ClusterJobs(nodes, living=self._living)
        self.announcements = ClusterAnnouncements(nodes, self.bus)
        self.membership = Membership(nodes, name, died=self._died)
        self.ownership = NodeOwnership(nodes)
        self._calls = Calls(tracer)
        self._tracer = tracer
        self.sessions = NodeSessions(self._calls, self.membership)
        self.inspection = NodeInspection(self._calls, self.membership)
        self._links: Links | None = None
        self._desk: Desk | None = None
        self._passes: Passes | None = None
        self._tunnels: dict[int, set[Tunnel]] = {}
        self._refusing: set[int] = set()  # nodes to which the last tunnel could not be opened: logged once
        self.lost: Callable[[int], None] = lambda nid: None
        """Called with the number of a node that is dead."""

    async def start(self) -> None:
        """The storage is open, and what ended the last process of this name is stored. Raises the storage's errors."""
        key = await self._nodes.cluster_key()
        self._passes = Passes(key, self._nodes.nid)
        await self.membership.replace_predecessor()
        await self.membership.look()
        await self.announcements.start()
        self._links = Links(self._nodes.nid, self.membership, self._passes)
        self._calls.begin(self._links, self.ownership.forget_node)
        if self._desk is not None:
            self._desk.begin(self._nodes.nid, self._passes)
        self.bus.unlock(key)
        await self.bus.open((await self._nodes.positions([])).epoch)

    async def finish(self) -> None:
        """Everything accepted is committed: answer the other nodes."""
        if self._desk is not None:
            await self._desk.finish()

    async def stop(self) -> None:
        """End the links to other nodes."""
        if self._links is not None:
            await self._links.close()

    async def leave(self) -> None:
        """Everything is committed: leave the bus."""
        await self.bus.close()

    def work(self) -> Sequence[Coroutine[object, object, None]]:
        """What must always run."""
        return self.membership.run(), self.feed.run(), self.jobs.claim(), self.announcements.run()

    def _living(self) -> Sequence[int]:
        return [self._nodes.nid, *(node.nid for node in self.membership.others)]

    def has_others(self) -> bool:
        """Whether other nodes live."""
        return bool(self.membership.others)

    @property
    def parts(self) -> HubParts:
        """The parts of a hub that do at the owner what a room elsewhere is needed for."""
        return HubParts(
            records=partial(RoutedCollections, self._calls),
            documents=partial(RoutedDocuments, self._calls),
            presence=partial(RoutedPresence, self._calls, self._nodes.owner),
        )

    @property
    def room(self) -> Callable[..., RoomHandle]:
        """Makes handles of documents, whichever node owns them."""
        return partial(RoutedRoom, self._calls)

    def desk(
        self,
        hub: Hub,
        registry: Registry,
        handle: LocalHandle,
        feed: Feed,
        ledger: Ledger,
        sessions: ListSessions,
        inspect: InspectHere,
    ) -> Desk:
        """What answers other nodes.

        ``handle`` returns the handle of a document that is not looked for elsewhere, ``sessions`` those of this node,
        and ``inspect`` what it shows in the inspector.
        """
        self._calls.reached = feed.reached
        assert isinstance(hub.records, RoutedCollections)  # it is made of our parts
        services = {
            **EntityServices(hub.records, hub.documents, feed, registry).services(),
            **RoomServices(handle, feed).services(),
            **PresenceServices(hub.presence).services(),
            **self.sessions.services(sessions),
            **self.inspection.services(inspect),
        }
        self._desk = Desk(services, ledger, tracer=self._tracer)
        return self._desk

    def _died(self, nid: int) -> None:
        if self._links is not None:
            self._links.forget(nid)
        if self._desk is not None:
            self._desk.forget(nid)
        self.ownership.forget_node(nid)
        self._refusing.discard(nid)
        for tunnel in self._tunnels.pop(nid, ()):
            tunnel.lose()
        self.lost(nid)

    async def resign(self, flush: Callable[[], Awaitable[None]]) -> None:
        """Let others have the rooms at once: whoever had one open connects again while this process still ends.

        What is written after that, if anything, is refused by the record, and was never acknowledged.
        """
        await self.jobs.stop()
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await flush()
                await self._nodes.leave()
        except (StorageError, TimeoutError) as error:
            log.warning("the rooms of this node stay closed until it has ended: %s", str(error) or "no answer")

    @property
    def passes(self) -> Passes:
        """Passes of this node."""
        assert self._passes is not None, "the node has not started"
        return self._passes

    async def open(self, nid: int, tunnel: Tunnel, handshake: Handshake, address: str | None) -> None:
        """Open a client's WebSocket at another node. Raises :class:`collab.errors.Unavailable`."""
        url = await self.membership.url_of(nid)
        try:
            await tunnel.open(url, handshake, self.passes.issue(nid, address=address))
        except Unavailable as error:
            if nid not in self._refusing:
                self._refusing.add(nid)
                log.warning("clients of node %d at %s cannot be served there: %s", nid, url, error.message[:400])
            raise
        if nid in self._refusing:
            self._refusing.discard(nid)
            log.warning("clients of node %d can be served there again", nid)

    def opened(self, nid: int, tunnel: Tunnel) -> None:
        """A tunnel leads to a node, until :meth:`closed`."""
        self._tunnels.setdefault(nid, set()).add(tunnel)

    def closed(self, nid: int, tunnel: Tunnel) -> None:
        """A tunnel has ended."""
        tunnels = self._tunnels.get(nid)
        if tunnels is not None:
            tunnels.discard(tunnel)
            if not tunnels:
                del self._tunnels[nid]

    def issue(self, nid: int, identity: Identity) -> str:
        """A pass that names a client's identity. Raises :class:`collab.errors.TooLarge`."""
        return self.passes.issue(nid, identity=identity)

    def check(self, text: str) -> Pass:
        """Read a pass that was shown to this node. Raises :class:`collab.errors.PermissionDenied`."""
        return self.passes.check(text)

    def remark(self) -> str | None:
        """What an operator should know of a node that may get traffic all the same."""
        return "Redis does not answer" if self.bus.lost else None

    def gauges(self) -> dict[str, tuple[str, float]]:
        """What `/metrics` shows of this node: name -> (help, value)."""
        membership, feed, heard = self.membership, self.feed, self.bus.counts
        tunnels = sum(map(len, self._tunnels.values()))
        return {
            "collab_bus_lost": ("1 if this node does not hear other nodes over Redis.", float(self.bus.lost)),
            "collab_bus_published_total": ("Messages that this node sent over Redis.", heard.published),
            "collab_bus_heard_total": ("Messages that this node heard over Redis.", heard.heard),
            "collab_bus_dropped_total": ("Messages that this node could not send over Redis.", heard.dropped),
            "collab_bus_junk_total": ("Messages on Redis that no node has written.", heard.junk),
            "collab_projects_followed": ("Projects whose events of all nodes reach this one.", len(feed.projects)),
            "collab_event_gaps_filled_total": ("Gaps between events that were read from the record.", feed.filled),
            "collab_event_junk_total": ("Messages about events that made no sense.", feed.junk),
            "collab_jobs": ("Jobs that this node does for all.", len(self.jobs.held)),
            "collab_links": ("Open links to other nodes.", len(self._links) if self._links is not None else 0),
            "collab_nodes": ("Nodes of the cluster that live, this one too.", 1 + len(membership.others)),
            "collab_tunnels": ("Connections to the owners of documents, for clients of this node.", tunnels),
            "collab_deaths_declared_total": ("Nodes that this one declared dead.", membership.deaths),
        }
