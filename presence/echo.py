"""Recognises the awareness updates that stock y-websocket clients echo, without decoding them.

A y-websocket provider answers each awareness update with the same states, because its update handler ignores where a
change came from. In a room of n clients that is n states from n clients for each relay. Comparing them with what was
just sent costs a memory comparison; decoding them would cost more than everything else together.
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
        self._sent: list[tuple[bytes, dict[int, tuple[int, int]]]] = []  # an empty deque would take 600 bytes per room

    def sent(self, clients: Sequence[int], entries: Sequence[bytes], body: bytes) -> None:
        """Remember an update: its entries, one for each of ``clients``, and the joined entries."""
        if len(entries) < _SMALLEST:
            return
        ends = list(accumulate(map(len, entries)))
        self._sent.append((body, dict(zip(clients, zip([0, *ends], ends, strict=False), strict=True))))
        del self._sent[:-_KEPT]

    def is_echo(self, payload: bytes, own: Collection[int]) -> bool:
        """Whether ``payload`` repeats a sent update, except possibly for the sender's own client."""
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
        """Free the memory."""
        self._sent.clear()
