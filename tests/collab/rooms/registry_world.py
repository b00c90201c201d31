"""A registry with its storage, recorder and sandbox, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pycrdt

from collab.entities.recorder import Recorder
from collab.hooks import Hooks
from collab.metrics import Metrics
from collab.rooms.authorization import Authorization
from collab.rooms.blackbox import NoBlackBox
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.sandbox.client import Sandbox
from collab.storage.sqlite.storage import SqliteStorage

LIMIT = 1 << 20


class PanicError(BaseException):
    """Like pyo3's PanicException: not an Exception."""


class Panicking:
    """A document that panics at an update with a magic word."""

    def __init__(self, doc: pycrdt.Doc[Any]) -> None:
        self._doc = doc

    def apply_update(self, update: bytes) -> None:
        if b"boom" in update:
            raise PanicError("index out of bounds")
        self._doc.apply_update(update)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._doc, name)


@asynccontextmanager
async def opened(
    data: Path, hooks: Hooks | None = None, kind: Callable[[Path], SqliteStorage] = SqliteStorage, **options: Any
) -> AsyncIterator[tuple[Registry, SqliteStorage]]:
    storage = kind(data)
    await storage.open()
    recorder = Recorder(storage, max_pending_bytes=LIMIT)
    run = asyncio.create_task(recorder.run())
    sandbox = Sandbox()
    asked = hooks or Hooks()
    registry = Registry(
        storage,
        recorder,
        sandbox,
        asked,
        Authorization(asked, lambda collection: {}, storage.children),
        metrics=Metrics(),
        blackbox=NoBlackBox(),
        pending_bytes=LIMIT,
        **{"options": RoomOptions(), **options},
    )
    yield registry, storage
    await registry.drain()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await sandbox.close()
    await storage.close()


def text_of(room: Room) -> str:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    doc.apply_update(room.doc.get_update())
    return str(doc.get("t", type=pycrdt.Text))
