"""When a document's log is worth replacing by a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

_ROWS = 2000
_ROWS_LEAVING = 50
_BYTES = 256 * 1024


@dataclass(slots=True)
class LogSize:
    """What storage holds of a document: its snapshot, and the rows behind it."""

    snapshot_bytes: int = 0
    rows: int = 0
    bytes: int = 0


def should_compact(log: LogSize, *, leaving: bool = False) -> bool:
    """Whether the rows behind the snapshot have outgrown it.

    A compaction costs as much as the whole document. It happens when the rows weigh as much as the snapshot, so
    that all compactions together cost a constant times the bytes written. A room that is ``leaving`` memory is
    compacted sooner: its next load then reads one row.
    """
    if leaving:
        return log.rows >= _ROWS_LEAVING
    return (log.rows >= _ROWS and log.bytes >= max(_BYTES, log.snapshot_bytes)) or log.rows >= 20 * _ROWS
