"""Stores in a cluster's record what ended a worker, at once: the worker that replaces it may take long to start.

The other nodes take the rooms of a silent node over within seconds, and clients send the same edit again there. The
supervisor has no loop and no database, so this is a process of its own. It reads an :class:`Errand` from standard
input.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import msgspec

from collab.server.config.settings import Settings
from collab.server.logs import log_to_stderr
from collab.storage.base import SetAside, StorageError
from collab.storage.location import storage_at
from collab.storage.nodes import Nodes

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Errand:
    """What to quarantine, and in which record. ``settings`` is JSON of :class:`Settings`."""

    settings: str
    name: str
    entries: Sequence[SetAside]


def send(errand: Errand, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a scribe, which ends by itself."""
    process = subprocess.Popen(  # noqa: S603 - this module
        (sys.executable, "-m", __name__), stdin=subprocess.PIPE, env=environ
    )
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(errand))
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died: the next worker stores everything
    return process


async def store(errand: Errand, *, patience: float = _PATIENCE_SECONDS) -> None:
    """Store the entries, as a node of its own. Raises :class:`StorageError` after ``patience`` seconds without success.

    Entries that are there already stay as they are.
    """
    settings = Settings.from_json(errand.settings)
    deadline = monotonic() + patience
    while True:
        storage = storage_at(settings.location, joining=settings.joining(errand.name))
        if not isinstance(storage, Nodes):
            raise StorageError("this record has one server only, which stores what ended its worker when it starts")
        try:
            await storage.open()
            try:
                for entry in errand.entries:
                    await storage.set_aside(entry)
                    log.warning("the edit of %s that ended a worker is quarantined for all nodes", entry.key)
                await storage.leave()
                return
            finally:
                await storage.close()
        except StorageError:
            if monotonic() >= deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


def main() -> int:
    """Store the entries of the errand. Returns the exit status."""
    errand = msgspec.json.decode(sys.stdin.buffer.read(), type=Errand)
    log_to_stderr(Settings.from_json(errand.settings).log_level)
    try:
        asyncio.run(store(errand))
    except StorageError as error:
        log.error("an edit that ended a worker is not quarantined before another worker starts: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
