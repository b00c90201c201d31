"""Releases that are asked for beside a server; the command itself is in ``commands/test_quarantine.py``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pycrdt
import pytest

from collab import Collab, Settings
from collab.errors import CollabError, InvalidRequest, Restarting, Unavailable
from collab.names import RoomKey
from collab.rooms.handle import RoomHandle
from collab.rooms.live.quarantine import ENDED_A_WORKER
from collab.server.quarantined import list_quarantine
from collab.storage.base import SetAside, StorageError
from collab.storage.releases import asked, failure_in

KEY = RoomKey("default", "tasks", "t1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.server.releases.LOOK_SECONDS", 0.02)


def edit(title: str) -> bytes:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    doc.get("fields", type=pycrdt.Map)["title"] = title
    return doc.get_update()


def refusing(monkeypatch: pytest.MonkeyPatch, error: CollabError) -> None:
    """The next edit of a document fails with an error."""
    apply, left = RoomHandle.apply, [error]

    async def apply_later(self: RoomHandle, *args: Any, **options: Any) -> None:
        if left:
            raise left.pop()
        await apply(self, *args, **options)

    monkeypatch.setattr(RoomHandle, "apply", apply_later)


async def answered(data: Path) -> str | None:
    """Ask for a release, and return the reason of the entry once it is answered; ``None``: it was released."""
    collab = Collab(Settings(data=str(data)))
    async with asyncio.timeout(40), collab.lifespan():
        waiting = asked(f"{ENDED_A_WORKER}: signal 9")
        await collab._storage.set_aside(SetAside(KEY, None, edit("released"), waiting, 1.0))
        while found := await list_quarantine(str(data)):
            if found[0].entry.reason != waiting:
                return found[0].entry.reason
            await asyncio.sleep(0.02)
        assert (await collab.collection("tasks").find_by_id("t1")).data["title"] == "released"
        return None


@pytest.mark.parametrize("kind", [Unavailable, Restarting, StorageError])
async def test_a_release_that_fails_for_now_is_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[CollabError]
) -> None:
    refusing(monkeypatch, kind("not now"))
    assert await answered(tmp_path / "data") is None


async def test_a_release_that_fails_for_good_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, InvalidRequest("it depends on a missing one"))
    reason = await answered(tmp_path / "data")
    assert reason is not None
    assert failure_in(reason) == "it depends on a missing one"
