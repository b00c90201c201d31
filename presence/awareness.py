"""Yjs awareness of one room: who is present and what they show (cursor, name).

It is pure: bytes come in, bytes go out, ``now`` (seconds, monotonic) is an argument. Peers are stock clients of
``y-protocols/awareness.js``: they keep a clock for every client id that they ever saw, and accept a state only with a
higher one. This has three consequences:

* **The server chooses the clocks that peers get.** A reconnecting client repeats its old clock, and peers would ignore
  it until its next renewal, up to 15 seconds later. So a new id starts well above any clock that peers can remember,
  and its owner gets a *nudge*: a null state for its own id, with an even higher clock. y-protocols answers by stepping
  over that clock, so that the owner's clock and the peers' clock agree again, even after a restart of this server. For
  the same reason a snapshot after somebody left raises all clocks by one.
* **An id belongs to the connection that first used it.** States that others send for it (y-websocket echoes everything
  that it hears) change nothing. A newer connection of the same verified user takes its ids over.
* **Clients that left are remembered only for a while**: as long as echoes of them may arrive.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from presence.echo import EchoMemory
from presence.lib0 import DecodeError, encode_uint
from presence.state import Owner, State, User, null_entry, read_entries, read_state, write_state

MAX_CLOCK = 2**31
"""Highest clock with which an unknown client is accepted: nobody could step over a higher one."""

MAX_STEP = 2**20
"""Maximum jump of a client's clock within one connection."""

_LEAD = 256
_RENEWED_AFTER = 2 / 3  # of the timeout: stock clients in the foreground renew after half of it
_MAX_GONE = 4096
_ANSWER_SECONDS = 5.0
_MOMENT_SECONDS = 0.05


class Change(msgspec.Struct, frozen=True):
    """The clients that a call changed.

    ``nudge`` is an awareness update for the calling owner alone. It must reach the owner before any update that
    contains the owner's own clients; otherwise its client takes its own older state from that update. ``refused`` holds
    the reason for each state that was left out.
    """

    joined: frozenset[int] = frozenset()
    updated: frozenset[int] = frozenset()
    left: frozenset[int] = frozenset()
    nudge: bytes | None = None
    refused: tuple[str, ...] = ()

    @property
    def clients(self) -> frozenset[int]:
        """All clients whose state peers must get, see :meth:`Awareness.encode`."""
        return self.joined | self.updated | self.left


NOTHING = Change()
"""No change."""


class _Gone(NamedTuple):
    clock: int
    owner: Owner
    at: float


class Awareness:
    """The awareness states of a room.

    ``timeout`` is in seconds: peers forget a client that is silent for longer (stock clients renew after 15). A state
    may have ``max_state_bytes`` of JSON, all of them together ``max_bytes``, and an owner (a connection, any hashable
    value) ``max_ids_per_owner`` clients; states beyond that are left out.
    """

    def __init__(
        self,
        timeout: float = 30.0,
        max_state_bytes: int = 64 * 1024,
        max_ids_per_owner: int = 8,
        max_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self.timeout = timeout
        self.max_state_bytes = max_state_bytes
        self.max_bytes = max_bytes
        self.max_ids_per_owner = max_ids_per_owner
        self._states: dict[int, State] = {}
        self._owners: dict[Hashable, Owner] = {}
        self._owned: dict[int, Owner] = {}
        self._gone: OrderedDict[int, _Gone] = OrderedDict()
        self._echoes = EchoMemory()
        self._snapshot: bytes | None = None
        self._snapshot_at = 0.0
        self._stale = False
        self._now = 0.0
        self._bytes = 0  # of all states

    @property
    def states(self) -> Mapping[int, State]:
        """The present clients by id, in the order in which they came."""
        return self._states

    def apply(self, payload: bytes, owner: Hashable, user: User | None, now: float) -> Change:
        """Apply an awareness update of ``owner``.

        States that are too large or malformed are left out, see :attr:`Change.refused`; the previous state stays.
        States of other owners' clients are ignored without decoding them.

        Raises :class:`presence.lib0.DecodeError` if the message is not an awareness update; then nothing of it was
        applied.
        """
        self._now = now
        who = self._owners.get(owner)
        first = who is None
        if who is None:
            who = self._owners[owner] = Owner()
        if self._echoes.is_echo(payload, who.ids):
            return NOTHING
        who.user = user
        entries = read_entries(payload)
        # A stock client's first message is about itself alone, whatever its clock.
        newcomer = first and len(entries) == 1
        if newcomer:
            who.itself = entries[0][0]
        wanted: list[tuple[int, int, dict[str, Any] | None]] = []
        refused: list[str] = []
        for client, clock, raw in entries:
            if self._may_speak(who, client, clock, newcomer):
                try:
                    wanted.append((client, clock, read_state(raw, self.max_state_bytes)))
                except DecodeError as error:
                    refused.append(str(error))
                    if (state := self._states.get(client)) is not None:
                        state.at = now  # it is present, whatever it shows
        change = self._take(wanted, who, now, refused) if wanted else NOTHING
        return msgspec.structs.replace(change, refused=tuple(refused)) if refused else change

    def leave(self, owner: Hashable, now: float) -> Change:
        """The connection closed: its clients leave at once."""
        self._now = now
        self._stale = True
        who = self._owners.pop(owner, None)
        if who is None:
            return NOTHING
        left = set()
        for client in who.ids:
            del self._owned[client]
            if self._remove(client, now):
                left.add(client)
        return Change(left=frozenset(left)) if left else NOTHING

    def renew(self, now: float) -> tuple[Change, dict[Hashable, bytes]]:
        """Renew clients that are silent although their connection lives, such as a page in the background.

        Peers forget clients that are not renewed, so they must get these states with a higher clock. Also returns a
        nudge for each owner, which must reach it first: it raises the owner's clock above that one. Only an owner's own
        client is renewed; a client whose states it merely passes on has a connection elsewhere.
        """
        self._now = now
        due = now - self.timeout * _RENEWED_AFTER
        renewed: set[int] = set()
        nudges: dict[Hashable, bytes] = {}
        for owner, who in self._owners.items():
            state = self._states.get(who.itself) if who.itself is not None else None
            if state is None or state.owner is not who or state.at > due:
                continue
            state.move(state.clock + 1)
            state.aligned = max(state.aligned, state.clock) + _LEAD
            state.at = state.nudged = now
            renewed.add(state.client)
            nudges[owner] = b"\x01" + null_entry(state.client, state.aligned - 1)
        if not renewed:
            return NOTHING, nudges
        self._snapshot = None
        return Change(updated=frozenset(renewed)), nudges

    def expire(self, now: float) -> Change:
        """Remove clients that were silent for longer than the timeout. Call it every few seconds."""
        self._now = now
        while self._gone and next(iter(self._gone.values())).at < now - 2 * self.timeout:
            self._gone.popitem(last=False)
        left = [state for state in self._states.values() if state.at < now - self.timeout]
        if not left:
            return NOTHING
        for state in left:
            state.owner.ids.discard(state.client)
            del self._owned[state.client]
            self._remove(state.client, now)
        self._echoes.forget()
        return Change(left=frozenset(state.client for state in left))

    def encode(self, clients: Iterable[int]) -> bytes:
        """An awareness update about ``clients``: their states, null for those that left."""
        entries: list[bytes] = []
        known: list[int] = []
        states, gone = self._states, self._gone
        for client in clients:
            state = states.get(client)
            if state is not None:
                entries.append(state.entry)
            elif client in gone:
                entries.append(null_entry(client, gone[client].clock))
            else:
                continue
            known.append(client)
        body = b"".join(entries)
        self._echoes.sent(known, entries, body)
        return encode_uint(len(entries)) + body

    def snapshot(self, now: float | None = None) -> bytes:
        """An awareness update with all present states, for a client that joins (one zero byte if there are none).

        Snapshots of the same moment are shared; ``now`` defaults to the time of the last call that passed it.
        """
        if now is not None:
            self._now = now
        if self._snapshot is None or self._stale or self._now - self._snapshot_at >= _MOMENT_SECONDS:
            # A joining client may have been here before, and accepts only clocks above those of that time.
            for state in self._states.values():
                state.move(state.clock + 1)
            self._stale = False
            self._snapshot_at = self._now
            self._snapshot = self.encode(self._states)
        return self._snapshot

    def _may_speak(self, who: Owner, client: int, clock: int, newcomer: bool) -> bool:
        holder = self._owned.get(client)
        if holder is who:
            return True
        state = self._states.get(client)
        gone = self._gone.get(client)
        told = state.clock if state is not None else gone.clock if gone is not None else 0
        if clock > max(MAX_CLOCK, told + MAX_STEP):
            return False
        if holder is None:
            # With a clock that peers already have, it may be an echo of somebody who just left.
            return gone is None or newcomer or gone.owner is who or clock > told
        user = who.user.id if who.user is not None else None
        if user is not None and holder.user is not None and holder.user.id == user:
            return newcomer or clock > told
        if state is not None and clock > told:
            # Perhaps it is the same client on a new connection. It returns when a null state with this clock tells it
            # that the old connection closed.
            state.claimed = max(state.claimed, clock)
        return False

    def _take(
        self, wanted: list[tuple[int, int, dict[str, Any] | None]], who: Owner, now: float, refused: list[str]
    ) -> Change:
        states = self._states
        before: dict[int, bool] = {}
        nudges: list[bytes] = []
        for client, clock, value in wanted:
            state = states.get(client)
            present = state is not None
            if value is None:
                if state is not None and state.owner is who and clock >= state.seen:
                    self._remove(client, now, clock)
                    before.setdefault(client, True)
                continue
            if client not in who.ids and len(who.ids) >= self.max_ids_per_owner:
                refused.append("more clients than one connection may have")
                continue
            json = write_state(value, who.user)
            if self._bytes + len(json) - (len(state.json) if state is not None else 0) > self.max_bytes:
                refused.append("the states of all present clients take too much memory")
                continue
            if state is None:
                state = self._join(client, clock, json, who, now)
            elif not self._update(state, clock, json, who, now):
                continue
            before.setdefault(client, present)
            if state.clock > clock and state.clock >= state.aligned:
                state.aligned = state.clock + _LEAD
                state.nudged = now
                nudges.append(null_entry(client, state.aligned - 1))
        if not before:
            return NOTHING
        self._snapshot = None
        nudge = encode_uint(len(nudges)) + b"".join(nudges) if nudges else None
        was = frozenset([client for client, present in before.items() if present])
        here = frozenset([client for client in before if client in states])
        return Change(here - was, here & was, was - here, nudge)

    def _join(self, client: int, clock: int, json: bytes, who: Owner, now: float) -> State:
        gone = self._gone.pop(client, None)
        told = clock if gone is None else _step(gone.clock, clock)
        if self._owned.get(client) is not who:
            self._own(client, who)
            told += _LEAD
        state = self._states[client] = State(client, told, clock, json, who, now)
        self._bytes += len(json)
        return state

    def _update(self, state: State, clock: int, json: bytes, who: Owner, now: float) -> bool:
        same = json == state.json
        if state.owner is not who:
            self._own(state.client, who)
            state.owner = who
            state.aligned = -1
            told = state.clock if same and clock == state.clock else _step(state.clock, clock) + _LEAD
        elif clock <= state.seen or clock > max(state.seen, state.clock, state.aligned) + MAX_STEP:
            return False
        elif same and clock <= state.aligned and now < state.nudged + _ANSWER_SECONDS:
            told = state.clock
        else:
            told = _step(state.clock, clock)
        state.seen = clock
        state.at = now
        if not same:
            state.changed = now
        if told == state.clock:
            return False
        self._bytes += len(json) - len(state.json)
        state.set(told, json)
        return True

    def _own(self, client: int, who: Owner) -> None:
        before = self._owned.get(client)
        if before is not None:
            before.ids.discard(client)
        self._owned[client] = who
        who.ids.add(client)

    def _remove(self, client: int, now: float, clock: int = 0) -> bool:
        state = self._states.pop(client, None)
        if state is None:
            return False
        self._bytes -= len(state.json)
        clock = max(clock, state.claimed)
        told = clock if state.clock < clock <= state.clock + MAX_STEP else state.clock
        self._gone[client] = _Gone(told, state.owner, now)
        self._gone.move_to_end(client)
        if len(self._gone) > _MAX_GONE:
            self._gone.popitem(last=False)
        self._snapshot = None
        return True


def _step(told: int, clock: int) -> int:
    """The next clock for peers: the owner's own, unless it is behind or jumps too far."""
    return clock if told < clock <= told + MAX_STEP else told + 1
