"""What a project uses on one node, or on several. Pure."""

from __future__ import annotations

import msgspec


class NodeUsage(msgspec.Struct):
    """CPU seconds by kind of payer; bytes of messages on WebSockets; sessions that are open now.

    ``edits`` are updates received from editors, ``writes`` those of applications, ``refusals`` what was refused to
    sessions.
    """

    cpu: dict[str, float] = {}
    received: int = 0
    sent: int = 0
    sessions: int = 0
    edits: int = 0
    writes: int = 0
    refusals: int = 0

    def add(self, other: NodeUsage) -> None:
        """Add what is used elsewhere."""
        for kind, seconds in other.cpu.items():
            self.cpu[kind] = self.cpu.get(kind, 0.0) + seconds
        self.received += other.received
        self.sent += other.sent
        self.sessions += other.sessions
        self.edits += other.edits
        self.writes += other.writes
        self.refusals += other.refusals
