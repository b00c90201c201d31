"""Writers and readers of awareness updates, and a peer that follows the rules of y-protocols."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from presence.lib0 import encode_string, encode_uint
from presence.state import read_entries

Entry = tuple[int, int, Any]


def update(*entries: Entry) -> bytes:
    """An awareness update of ``(client id, clock, state)``."""
    return encode_uint(len(entries)) + b"".join(
        encode_uint(client) + encode_uint(clock) + encode_string(json.dumps(state, separators=(",", ":")))
        for client, clock, state in entries
    )


def entries(payload: bytes) -> list[Entry]:
    return [(client, clock, json.loads(raw)) for client, clock, raw in read_entries(payload)]


def states(payload: bytes) -> dict[int, Any]:
    return {client: state for client, _, state in entries(payload)}


class Peer:
    """``Awareness`` of y-protocols 1.0: ``applyAwarenessUpdate`` and ``setLocalState``."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.states: dict[int, Any] = {client: {}}
        self.meta: dict[int, int] = {client: 0}

    def apply(self, payload: bytes) -> list[int]:
        """Returns the changed clients, which y-websocket sends back to the server."""
        changed = []
        for client, told, state in entries(payload):
            clock = told
            known = client in self.meta
            current = self.meta.get(client, 0)
            if not (current < clock or (current == clock and state is None and client in self.states)):
                continue
            if state is not None:
                self.states[client] = state
            elif client == self.client and self.states.get(client) is not None:
                clock += 1
            else:
                self.states.pop(client, None)
            self.meta[client] = clock
            if known or state is not None:
                changed.append(client)
        return changed

    def set(self, state: Any) -> bytes:
        self.meta[self.client] += 1
        if state is None:
            self.states.pop(self.client, None)
        else:
            self.states[self.client] = state
        return self.encode([self.client])

    def encode(self, clients: Iterable[int]) -> bytes:
        return update(*((client, self.meta[client], self.states.get(client)) for client in clients))

    def disconnected(self) -> None:
        """Like a provider whose socket closes: forget the others, keep their clocks."""
        self.states = {client: state for client, state in self.states.items() if client == self.client}
