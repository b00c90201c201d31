"""Shows how far long work is."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Self, TextIO

from collab.server.config.settings import MIB
from collab.storage.copying import CopyProgress

_REWRITTEN_SECONDS = 0.2
_PLAIN_SECONDS = 10.0
_CLEAR = "\r\x1b[K"


class ProgressReport:
    """Writes to ``stream``: on a terminal one line that is rewritten, else a line every ten seconds.

    The rewritten line is gone after a ``with`` block.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._rewrites = stream.isatty()
        self._next = clock() + (0.0 if self._rewrites else _PLAIN_SECONDS)
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, line: str) -> None:
        """Show how far it is, unless that was shown just before."""
        now = self._clock()
        if now < self._next:
            return
        if self._rewrites:
            self._next = now + _REWRITTEN_SECONDS
            self._stream.write(_CLEAR + line)
            self._shown = True
        else:
            self._next = now + _PLAIN_SECONDS
            self._stream.write(line + "\n")
        self._stream.flush()

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self.clear()
        self._stream.write(line + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Remove the line that is rewritten."""
        if self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._shown = False


def how_far(progress: CopyProgress) -> str:
    """What of how much has been copied."""
    total = progress.total
    parts = (
        f"{progress.documents:,} of {total.documents:,} documents",
        f"{progress.entities:,} of {total.entities:,} entities",
        f"{progress.events:,} of {total.events:,} events",
        f"{progress.size / MIB:,.1f} MiB",
    )
    return ", ".join(parts)


def how_many(done: int, total: int, what: str) -> str:
    """How many of all these things are done."""
    return f"{done:,} of {total:,} {what}"


def summary(progress: CopyProgress) -> str:
    """What has been copied in the end."""
    return (
        f"{progress.documents:,} documents, {progress.entities:,} entities and {progress.events:,} events"
        f" ({progress.size / MIB:,.1f} MiB)"
    )
