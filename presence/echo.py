"""Recognises what stock y-websocket clients send back, without reading it.

A y-websocket provider answers each awareness update with the same states (its update handler does not look
at where a change came from). In a room of n clients that is n states from n clients for each relay: compared
with what was just sent they cost a memory comparison, read one by one more than all else together.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate

from presence.lib0 import encode_uint

_SMALLEST = 8
_KEPT = 4


class EchoMemory:
    """The last few large awareness updates that were sent to clients."""

    def __init__(self) -> None:
        self._sent: list[tuple[bytes, dict[int, tuple[int, int]]]] = []  # an empty deque takes 600 bytes of each room

    def sent(self, clients: Sequence[int], entries: Sequence[bytes], body: bytes) -> None:
        """Remember an update: its entries, one for each of ``clients``, and the entries joined."""
        if len(entries) < _SMALLEST:
            return
        ends = list(accumulate(map(len, entries)))
        self._sent.append((body, dict(zip(clients, zip([0, *ends], ends, strict=False), strict=True))))
        del self._sent[:-_KEPT]

    def is_echo(self, payload: bytes, own: Collection[int]) -> bool:
        """Whether ``payload`` says again what was sent, except perhaps about the one client of its sender."""
        for body, spans in self._sent:
            if payload == encode_uint(len(spans)) + body:
                return True
            for client in own:
                if client not in spans:
                    continue
                start, end = spans[client]
                head = len(header := encode_uint(len(spans) - 1))
                if (
                    len(payload) == head + len(body) - (end - start)
                    and payload.startswith(header)
                    and payload[head : head + start] == body[:start]
                    and payload[head + start :] == body[end:]
                ):
                    return True
        return False

    def forget(self) -> None:
        """Give the memory back."""
        self._sent.clear()
