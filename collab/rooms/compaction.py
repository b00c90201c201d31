"""When a document's log is worth replacing by a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

_ROWS = 2000
_ROWS_LEAVING = 50
_BYTES = 256 * 1024
_ROW_WEIGHT = 64  # bytes of a snapshot that load as fast as one row, apart from what is in it
_LEAVING_SHARE = 64


@dataclass(slots=True)
class LogSize:
    """What storage holds of a document: its snapshot, and the rows behind it."""

    snapshot_bytes: int = 0
    rows: int = 0
    bytes: int = 0


def should_compact(log: LogSize, *, leaving: bool = False) -> bool:
    """Whether the rows behind the snapshot have outgrown it.

    A compaction costs as much as the whole document. It happens when the rows weigh as much as the snapshot, so
    that all compactions together cost a constant times the bytes written; or when there are so many rows that
    the next load would be felt. A room that is ``leaving`` memory is compacted sooner: its next load then reads
    little more than the snapshot. A large document is not compacted after each short visit all the same.
    """
    if leaving:
        weight = log.bytes + log.rows * _ROW_WEIGHT
        return log.rows >= _ROWS or (log.rows >= _ROWS_LEAVING and weight * _LEAVING_SHARE >= log.snapshot_bytes)
    return (log.rows >= _ROWS and log.bytes >= max(_BYTES, log.snapshot_bytes)) or log.rows >= 20 * _ROWS
