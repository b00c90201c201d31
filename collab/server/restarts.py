"""What follows from the death of a worker: what is to blame, what stays closed, how long to wait. Pure."""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass
from hashlib import blake2b

from collab.names import RoomKey
from collab.rooms.blackbox import Note
from collab.rooms.quarantine import ENDED_A_WORKER
from collab.storage.base import SetAside

_OWN_FAULT = frozenset(signal.Signals[f"SIG{name}"] for name in ("SEGV", "BUS", "ILL", "ABRT", "FPE", "TRAP", "SYS"))


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended. ``code`` is as of :attr:`subprocess.Popen.returncode`; ``note`` is the black box's.

    ``hung`` says that the supervisor killed it because the note had passed its deadline.
    """

    code: int
    note: Note | None
    hung: bool = False

    @property
    def cause(self) -> str:
        """In words, for the log."""
        if self.hung:
            return "hung"
        if self.code >= 0:
            return f"exit {self.code}"
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"


class Restarts:
    """Remembers the deaths of the last ``window`` seconds.

    A worker that was ended by its own doing takes its note with it: those bytes are set aside. One that was
    killed from outside (an operator, the kernel for want of memory) may have been at innocent work, so its
    note is set aside only when the same one stands again at a second death. A document that was being worked
    on at ``strikes`` deaths is closed for ``closed_seconds``. The first replacement comes at once; deaths in
    quick succession are answered ever more slowly, up to ``longest_delay``, and sooner so without a note.
    """

    def __init__(
        self,
        *,
        window: float = 300.0,
        strikes: int = 3,
        closed_seconds: float = 300.0,
        longest_delay: float = 15.0,
    ) -> None:
        self._window = window
        self._strikes = strikes
        self._closed_seconds = closed_seconds
        self._longest_delay = longest_delay
        self._deaths: deque[tuple[float, bytes | None, RoomKey | None]] = deque()
        self._closed: dict[RoomKey, float] = {}

    def died(self, death: Death, now: float, wall: float) -> SetAside | None:
        """Take note of a death at ``now`` (monotonic) and ``wall`` (epoch). Returns what to set aside."""
        while self._deaths and self._deaths[0][0] < now - self._window:
            self._deaths.popleft()
        note = death.note
        if note is None:
            self._deaths.append((now, None, None))
            return None
        print_ = _fingerprint(note)
        again = any(known == print_ for _, known, _ in self._deaths)
        self._deaths.append((now, print_, note.key))
        if sum(key == note.key for _, _, key in self._deaths) >= self._strikes:
            self._closed[note.key] = now + self._closed_seconds
        blamed = again or death.hung or -death.code in _OWN_FAULT
        if not blamed or not note.update:
            return None
        return SetAside(note.key, note.seq or None, note.update, f"{ENDED_A_WORKER}: {death.cause}", wall)

    def closed(self, now: float) -> dict[RoomKey, float]:
        """The documents that stay closed, with the seconds left."""
        self._closed = {key: until for key, until in self._closed.items() if until > now}
        return {key: until - now for key, until in self._closed.items()}

    def delay(self, now: float) -> float:
        """Seconds to wait before the next worker starts."""
        recent = [key for at, _, key in self._deaths if at > now - 60.0]
        noted = sum(key is not None for key in recent)
        excess = len(recent) - noted - 1 + noted // 4
        return min(0.25 * 2.0**excess, self._longest_delay) if excess > 0 else 0.0


def _fingerprint(note: Note) -> bytes:
    digest = blake2b(f"{note.key} {note.seq} ".encode(), digest_size=16)
    digest.update(note.update or b"")
    return digest.digest()
