"""What a project has used on one node, or on several. Pure."""

from __future__ import annotations

import msgspec


class NodeUsage(msgspec.Struct):
    """CPU seconds by kind of payer, and bytes of messages on WebSockets."""

    cpu: dict[str, float] = {}
    received: int = 0
    sent: int = 0

    def add(self, other: NodeUsage) -> None:
        """Add what was used on another node."""
        for kind, seconds in other.cpu.items():
            self.cpu[kind] = self.cpu.get(kind, 0.0) + seconds
        self.received += other.received
        self.sent += other.sent
