"""Idempotency keys of custom events: an event emitted again under its key is sent once."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from collab.records.idempotency import check_name, reused

MOST_OF_CALLER = 1000
MOST = 100_000
SECONDS = 3600.0


class EmittedEvent(NamedTuple):
    """An event that was sent: the digest of the request, the event's ``at``, and the time in seconds."""

    digest: bytes
    at: str
    when: float


class Emitted:
    """The keys of one process: the newest 1,000 of each caller, for an hour, 100,000 in total."""

    def __init__(self) -> None:
        self._callers: OrderedDict[tuple[str, str | None], OrderedDict[str, EmittedEvent]] = OrderedDict()
        self._count = 0

    def once(self, project: str, caller: str | None, name: str, told: EmittedEvent) -> str | None:
        """Return ``at`` of the event that was sent under this key; ``None``: send it now.

        Raises :class:`InvalidRequest` for an invalid key, and :class:`IdempotencyKeyReused`.
        """
        check_name(name)
        names = self._callers.pop((project, caller), None)
        if names is None:
            names = OrderedDict()
        self._callers[project, caller] = names  # least recently active first
        before = names.get(name)
        if before is not None and before.when + SECONDS >= told.when:
            if before.digest != told.digest:
                raise reused(name)
            return before.at
        self._count += before is None
        names[name] = told
        names.move_to_end(name)
        if len(names) > MOST_OF_CALLER:
            names.popitem(last=False)
            self._count -= 1
        while self._count > MOST:
            _, forgotten = self._callers.popitem(last=False)
            self._count -= len(forgotten)
        return None

    def __len__(self) -> int:
        return self._count
