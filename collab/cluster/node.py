"""This server as one node of a cluster: what it is made of besides the parts that a server alone has."""

from __future__ import annotations

from websockets.asyncio.client import ClientConnection

from collab.access.identity import Identity
from collab.cluster.membership import Membership
from collab.cluster.ownership import NodeOwnership
from collab.cluster.passes import Pass, Passes
from collab.cluster.tunnel import Handshake, dial
from collab.storage.nodes import Nodes


class ClusterNode:
    """``name`` is the same for a process and for the one that replaces it."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self._nodes = nodes
        self.membership = Membership(nodes, name)
        self.ownership = NodeOwnership(nodes)
        self._passes: Passes | None = None
        self.tunnels = 0
        """How many connections to owners clients of this node have."""

    async def start(self) -> None:
        """The storage is open, and what ended the last process of this name is stored. Raises the storage's errors."""
        self._passes = Passes(await self._nodes.cluster_key(), self._nodes.nid)
        await self.membership.replace_predecessor()
        await self.membership.look()

    @property
    def passes(self) -> Passes:
        """Passes of this node."""
        assert self._passes is not None, "the node has not started"
        return self._passes

    async def dial(self, nid: int, handshake: Handshake, address: str | None) -> ClientConnection:
        """Open a client's WebSocket at another node. Raises :class:`collab.errors.Unavailable`."""
        url = await self.membership.url_of(nid)
        return await dial(url, handshake, self.passes.issue(nid, address=address))

    def issue(self, nid: int, identity: Identity) -> str:
        """A pass that names a client's identity. Raises :class:`collab.errors.TooLarge`."""
        return self.passes.issue(nid, identity=identity)

    def check(self, text: str) -> Pass:
        """Read a pass that was shown to this node. Raises :class:`collab.errors.PermissionDenied`."""
        return self.passes.check(text)
