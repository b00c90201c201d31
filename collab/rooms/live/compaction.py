"""When to replace a document's log by a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from collab.errors import TooLarge, Unavailable
from collab.storage.base import Record

_ROWS = 2000
_ROWS_LEAVING = 50
_BYTES = 256 * 1024
_SECONDS = 0.5
_HONEST_PART = 50e-6  # seconds: twice the cost of one struct or deletion in a document of 100,000 blocks
_HONEST_BYTE = 0.25e-6  # seconds: several times the load time of one byte in a log of keystrokes
_ROW_WEIGHT = 64  # a row costs this many bytes of snapshot to load, besides its content
_LEAVING_SHARE = 64


@dataclass(slots=True)
class LogSize:
    """The size of a document in storage: its snapshot, and the rows behind it.

    ``snapshot_seconds`` and ``seconds`` are the CPU time it took to load or apply the snapshot and the rows the last
    time; reading them again takes as long. ``parts`` counts the structs and deletions of the rows.
    """

    snapshot_bytes: int = 0
    rows: int = 0
    bytes: int = 0
    snapshot_seconds: float = 0.0
    seconds: float = 0.0
    parts: int = 0

    @classmethod
    def of(cls, record: Record) -> LogSize:
        snapshot = len(record.snapshot.update) if record.snapshot is not None else 0
        return cls(snapshot, len(record.rows), sum(len(row.update) for row in record.rows))

    @property
    def whole(self) -> int:
        """Bytes of all of it."""
        return self.snapshot_bytes + self.bytes

    @property
    def excess(self) -> float:
        """Seconds by which the snapshot loads more slowly than an ordinary document of its size."""
        return self.snapshot_seconds - self.snapshot_bytes * _HONEST_BYTE

    @property
    def backlog(self) -> float:
        """The same for the rows behind the snapshot."""
        return self.seconds - max(self.bytes * _HONEST_BYTE, self.parts * _HONEST_PART)

    def admit(self, size: int, most_bytes: int, most_seconds: float) -> None:
        """Raise if ``size`` bytes more make the document too large, or if loading it takes too long already.

        Raises :class:`TooLarge`, and :class:`Unavailable` if a compaction will help.
        """
        if self.whole + size > most_bytes:
            raise TooLarge("the document is full", limit=most_bytes)
        if self.snapshot_seconds > most_seconds and self.excess > most_seconds:
            raise TooLarge("the document takes too long to load", limit=most_seconds)
        if self.seconds > most_seconds and self.backlog > most_seconds:
            raise Unavailable("the document has to be compacted first; nothing was lost, retry", retryAfter=5.0)

    def add(self, size: int, seconds: float, parts: int) -> None:
        """A row of ``size`` bytes was added; applying it took ``seconds``."""
        self.rows += 1
        self.bytes += size
        self.seconds += seconds
        self.parts += parts

    def compacted(self, by: LogSize) -> None:
        """A snapshot has replaced rows. ``by`` holds the size of the snapshot and of the replaced rows."""
        self.snapshot_bytes, self.snapshot_seconds = by.snapshot_bytes, by.snapshot_seconds
        self.rows -= by.rows
        self.bytes -= by.bytes
        self.parts = max(0, self.parts - by.parts)
        self.seconds = max(0.0, self.seconds - by.seconds) if self.rows > 0 else 0.0


def should_compact(log: LogSize, *, leaving: bool = False) -> bool:
    """Whether the rows behind the snapshot have outgrown it.

    A compaction costs as much as the whole document. It runs when the rows weigh as much as the snapshot, so that all
    compactions together cost a constant times the bytes written; or when there are so many rows that the next load
    would be noticeably slow; or when the rows took at least half a second of CPU and at least as long as the snapshot:
    6,000 clients that write one key are 160 KB, and take 2 s as rows and 0.1 s as a snapshot. A room that is
    ``leaving`` memory is compacted sooner, so that its next load reads little more than the snapshot; but a large
    document is not compacted after every short visit.
    """
    if log.rows >= 20 * _ROWS or log.seconds >= max(_SECONDS, log.snapshot_seconds):
        return True
    if leaving:
        weight = log.bytes + log.rows * _ROW_WEIGHT
        return log.rows >= _ROWS or (log.rows >= _ROWS_LEAVING and weight * _LEAVING_SHARE >= log.snapshot_bytes)
    return log.rows >= _ROWS and log.bytes >= max(_BYTES, log.snapshot_bytes)
