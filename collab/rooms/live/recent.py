"""The newest rows of a document's log, so that content events need not read them from the storage."""

from __future__ import annotations

from collab.storage.base import LogRow

_ROW_BYTES = 200  # of memory, besides the update


class RecentRows:
    """Committed rows that no event covers yet, of at most ``limit`` bytes together.

    If there are more before somebody takes them, they are forgotten.
    """

    __slots__ = ("_bytes", "_limit", "_rows")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: list[LogRow] = []
        self._bytes = 0

    def add(self, row: LogRow) -> None:
        """Note a row that was committed."""
        self._bytes += len(row.update) + _ROW_BYTES
        if self._bytes > self._limit:
            self._forget()
        else:
            self._rows.append(row)

    def take_after(self, seq: int) -> list[LogRow] | None:
        """Return and forget all rows behind row ``seq``; ``None`` if only the storage knows them."""
        rows = [row for row in self._rows if row.seq > seq]
        self._forget()
        is_whole = bool(rows) and rows[0].seq == seq + 1 and rows[-1].seq == seq + len(rows)
        return rows if is_whole else None

    def _forget(self) -> None:
        self._rows = []
        self._bytes = 0
