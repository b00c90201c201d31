"""Consequences of a worker's death: what to quarantine, which rooms to close, how long to wait. Pure."""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass
from hashlib import blake2b

from collab.names import RoomKey
from collab.rooms.blackbox import Note
from collab.rooms.live.quarantine import ENDED_A_WORKER
from collab.storage.base import SetAside

_OWN_FAULT = frozenset(signal.Signals[f"SIG{name}"] for name in ("SEGV", "BUS", "ILL", "ABRT", "FPE", "TRAP", "SYS"))


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended. ``code`` is as in :attr:`subprocess.Popen.returncode`; ``note`` is from the black box.

    ``hung``: the supervisor killed it because the note had passed its deadline.
    """

    code: int
    note: Note | None
    hung: bool = False

    @property
    def cause(self) -> str:
        """Description for the log."""
        if self.hung:
            return "hung"
        if self.code >= 0:
            return f"exit {self.code}"
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"


@dataclass(frozen=True, slots=True)
class _Noted:
    at: float
    print: bytes | None = None
    key: RoomKey | None = None
    who: str = ""


class Restarts:
    """Remembers the deaths of the last ``window`` seconds.

    If a worker crashed, its noted bytes are quarantined. If it was killed from outside (by an operator, or by the
    kernel for lack of memory), the note may be innocent, so it is quarantined only if the same note appears at a second
    death. A document that was noted at ``strikes`` deaths is closed for ``closed_seconds``. A caller whose bytes
    crashed ``strikes_of_one`` workers is banned for the same time. The first replacement starts immediately; deaths in
    quick succession increase the delay, up to ``longest_delay``, and faster without a note.
    """

    def __init__(
        self,
        *,
        window: float = 300.0,
        strikes: int = 3,
        strikes_of_one: int = 2,
        closed_seconds: float = 300.0,
        longest_delay: float = 15.0,
    ) -> None:
        self._window = window
        self._strikes = strikes
        self._strikes_of_one = strikes_of_one
        self._closed_seconds = closed_seconds
        self._longest_delay = longest_delay
        self._deaths: deque[_Noted] = deque()
        self._closed: dict[RoomKey, float] = {}
        self._banned: dict[str, float] = {}

    def died(self, death: Death, now: float, wall: float) -> SetAside | None:
        """Record a death at ``now`` (monotonic) and ``wall`` (epoch). Returns what to quarantine."""
        while self._deaths and self._deaths[0].at < now - self._window:
            self._deaths.popleft()
        note = death.note
        if note is None:
            self._deaths.append(_Noted(now))
            return None
        print_ = _fingerprint(note)
        again = any(known.print == print_ for known in self._deaths)
        own_doing = death.hung or -death.code in _OWN_FAULT
        self._deaths.append(_Noted(now, print_, note.key, note.who if own_doing else ""))
        if sum(known.key == note.key for known in self._deaths) >= self._strikes:
            self._closed[note.key] = now + self._closed_seconds
        if note.who and sum(known.who == note.who for known in self._deaths) >= self._strikes_of_one:
            self._banned[note.who] = now + self._closed_seconds
        blamed = again or own_doing
        if not blamed or not note.update:
            return None
        return SetAside(note.key, note.seq or None, note.update, f"{ENDED_A_WORKER}: {death.cause}", wall)

    def closed(self, now: float) -> dict[RoomKey, float]:
        """Closed documents, with the seconds left."""
        self._closed = {key: until for key, until in self._closed.items() if until > now}
        return {key: until - now for key, until in self._closed.items()}

    def banned(self, now: float) -> dict[str, float]:
        """Banned callers, with the seconds left."""
        self._banned = {who: until for who, until in self._banned.items() if until > now}
        return {who: until - now for who, until in self._banned.items()}

    def delay(self, now: float) -> float:
        """Seconds to wait before the next worker starts. Crashes by one sender count once: it is banned anyway, and
        everybody else would have to wait because of it."""
        seen: set[str] = set()
        recent: list[RoomKey | None] = []
        for death in self._deaths:
            if death.at > now - 60.0 and death.who not in seen:
                recent.append(death.key)
                seen |= {death.who} - {""}
        noted = sum(key is not None for key in recent)
        excess = len(recent) - noted - 1 + noted // 4
        return min(0.25 * 2.0**excess, self._longest_delay) if excess > 0 else 0.0


def _fingerprint(note: Note) -> bytes:
    digest = blake2b(f"{note.key} {note.seq} ".encode(), digest_size=16)
    digest.update(note.update or b"")
    return digest.digest()
