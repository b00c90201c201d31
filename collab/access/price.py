"""CPU time used by each caller, and how long it must wait for more. Pure.

Counting messages and bytes says little about their cost. So the time that a message took is measured and charged to
its sender (the verified user, or else the address) and to the project. A caller who has used up its savings waits
until the debt is paid; others do not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from collab.project_names import ProjectNames

_CALLERS = 10_000  # callers remembered; the least recently active is dropped first
_WORTH_CHARGING = 0.0005  # seconds
_BUSY = 0.25  # seconds of CPU beyond its share that make a caller noticeable to others
_REST, _REST_OF_BUSY = 2.0, 3.0  # times the work

PayerKind = Literal["user", "address"]


@dataclass(frozen=True, slots=True)
class Payer:
    """The caller to charge: a verified user (``kind`` ``user``) or an address; ``project`` once it is known."""

    project: str | None
    kind: PayerKind
    name: str | None

    def __str__(self) -> str:
        """For log messages."""
        return f"{self.kind} {self.name} of {self.project}"


@dataclass(frozen=True, slots=True)
class Share:
    """CPU seconds per second. Unused time accumulates, up to ``burst`` CPU seconds. 0: no limit."""

    rate: float
    burst: float = 2.0


class _Account:
    """``owed`` CPU seconds at the time ``at``; it decreases with time, to 0."""

    __slots__ = ("at", "owed")

    def __init__(self, now: float) -> None:
        self.owed = 0.0
        self.at = now


class _Accounts:
    def __init__(self, share: Share) -> None:
        self._share = share
        self._accounts: OrderedDict[object, _Account] = OrderedDict()

    def charge(self, who: object, seconds: float, now: float) -> float:
        """Charge ``seconds``; returns the new :meth:`wait`."""
        if not self._share.rate:
            return 0.0
        account = self._accounts.get(who)
        if account is None:
            account = self._accounts[who] = _Account(now)
            if len(self._accounts) > _CALLERS:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(who)
        account.owed = max(0.0, account.owed - max(0.0, now - account.at) * self._share.rate) + seconds
        account.at = now
        return max(0.0, (account.owed - self._share.burst) / self._share.rate)

    def wait(self, who: object, now: float) -> float:
        account = self._accounts.get(who)
        if account is None:
            return 0.0
        return max(0.0, (account.owed - self._share.burst) / self._share.rate - max(0.0, now - account.at))

    def owed(self, who: object, now: float) -> float:
        account = self._accounts.get(who)
        return max(0.0, account.owed - max(0.0, now - account.at) * self._share.rate) if account is not None else 0.0

    def __len__(self) -> int:
        return len(self._accounts)


class Ledger:
    """CPU time used by each caller and project. ``names`` are those under which sums of projects are kept."""

    def __init__(self, *, user: Share, address: Share, project: Share, names: ProjectNames | None = None) -> None:
        self._kinds: Mapping[PayerKind, _Accounts] = {"user": _Accounts(user), "address": _Accounts(address)}
        self._projects = _Accounts(project)
        self._used: dict[tuple[str, str], float] = {}
        self._names = names if names is not None else ProjectNames()

    def charge(self, payer: Payer, seconds: float, now: float) -> float:
        """Charge CPU time. Returns for how many seconds the payer must wait."""
        wait = self._kinds[payer.kind].charge(payer, seconds, now)
        if payer.project is not None:
            wait = max(wait, self._projects.charge(payer.project, seconds, now))
        name = self._names.of(payer.project)
        self._used[name, payer.kind] = self._used.get((name, payer.kind), 0.0) + seconds
        return wait

    def charge_project(self, project: str, seconds: float, now: float) -> None:
        """Charge work for a project as a whole that no single caller asked for."""
        self._projects.charge(project, seconds, now)
        name = self._names.of(project)
        self._used[name, "server"] = self._used.get((name, "server"), 0.0) + seconds

    def wait(self, payer: Payer, now: float) -> float:
        """Seconds that the payer must wait; 0 if it owes nothing."""
        wait = self._kinds[payer.kind].wait(payer, now)
        return wait if payer.project is None else max(wait, self._projects.wait(payer.project, now))

    def is_busy(self, payer: Payer, now: float) -> bool:
        """Whether the payer has recently used noticeably more than its share, out of its savings."""
        return self._kinds[payer.kind].owed(payer, now) > _BUSY

    @property
    def used(self) -> Mapping[tuple[str, str], float]:
        """(project, kind) -> seconds charged so far. The project is empty before authentication.

        The kind ``server`` is background work.
        """
        return self._used

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values())) + len(self._projects)


class Meter:
    """Charges the work done for one caller. The payer may change when the caller authenticates."""

    __slots__ = ("_clock", "_ledger", "_owes", "_spent", "payer")

    def __init__(self, ledger: Ledger, payer: Payer, clock: Callable[[], float] = monotonic) -> None:
        self.payer = payer
        self._ledger = ledger
        self._clock = clock
        self._spent = 0.0
        self._owes = False

    def add(self, seconds: float) -> float:
        """Charge CPU time. Returns for how many seconds the caller must wait.

        Most messages cost less than the bookkeeping, so small amounts are charged together.
        """
        self._spent += seconds
        if self._spent < _WORTH_CHARGING and not self._owes:
            return 0.0
        spent, self._spent = self._spent, 0.0
        wait = self._ledger.charge(self.payer, spent, self._clock())
        self._owes = wait > 0
        return wait

    def is_busy(self) -> bool:
        """Whether the caller has recently used noticeably more than its share."""
        return self._ledger.is_busy(self.payer, self._clock())

    def wait(self) -> float:
        """Seconds that the caller must wait."""
        return self._ledger.wait(self.payer, self._clock())


METER: ContextVar[Meter | None] = ContextVar("meter", default=None)
"""Meter of the running task and of the tasks it starts, for work done on its behalf in child processes and
threads."""


def charge(seconds: float) -> None:
    """Charge CPU time to the caller of the running task."""
    meter = METER.get()
    if meter is not None:
        meter.add(seconds)


def rest_after(seconds: float, *, busy: bool) -> float:
    """Seconds for which the event loop serves others after ``seconds`` of work for one caller.

    Twice the work, or three times if the caller is busy (:meth:`Meter.is_busy`). A request needs several turns of the
    loop, so its latency depends on the loop's share of busy time, not only on single delays.
    """
    return seconds * (_REST_OF_BUSY if busy else _REST)


def is_busy() -> bool:
    """Whether the payer of the running task has recently used noticeably more than its share."""
    meter = METER.get()
    return meter is not None and meter.is_busy()


def owed() -> float:
    """Seconds that the caller of the running task must wait."""
    meter = METER.get()
    return meter.wait() if meter is not None else 0.0
