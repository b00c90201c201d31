"""The real server with a CRDT library that crashes, or never returns, on certain words."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pycrdt

from collab.names import RoomKey
from collab.rooms.blackbox import SharedBlackBox
from collab.server.config.settings import Settings
from collab.server.process import supervisor, worker

SEGFAULT = "take it down"
ENDLESS = "never come back"
LATE = "die when this is read again"


def doom() -> None:
    """Patch the library. ``LATE`` is harmless until it is read from the log."""
    apply, begin = pycrdt.Doc.apply_update, SharedBlackBox.begin
    rows = [0]

    def noting(box: SharedBlackBox, key: RoomKey, update: bytes, seconds: float, seq: int = 0, who: str = "") -> None:
        rows[0] = seq
        begin(box, key, update, seconds, seq, who)

    def doomed(doc: pycrdt.Doc[Any], update: bytes) -> None:
        if SEGFAULT.encode() in update or (LATE.encode() in update and rows[0]):
            ctypes.string_at(0)
        while ENDLESS.encode() in update:
            pass
        apply(doc, update)

    SharedBlackBox.begin = noting  # type: ignore[assignment, method-assign]
    pycrdt.Doc.apply_update = doomed  # type: ignore[assignment, method-assign]


def supervise(folder: str) -> int:
    """Serve documents in ``folder``, and print the port."""
    return supervisor.run(
        Settings(port=0, data=folder, room_idle_seconds=60.0),
        command=(sys.executable, "-m", "tests.chaos.doomed"),
        serving=lambda addresses: print(addresses[0][1], flush=True),
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(supervise(sys.argv[1]))
    doom()
    sys.exit(worker.main())
