"""Backups that are interrupted end soon, and leave nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from threading import Event

import pytest

from collab.server.backups import back_up, backup_path, restore
from collab.storage.copying import TargetNotEmpty
from tests.collab.storage.database import opened
from tests.collab.storage.test_copying import fill


@pytest.mark.parametrize("what", ["back up", "restore"])
async def test_who_is_cancelled_leaves_nothing_and_the_record_as_it_was(tmp_path: Path, what: str) -> None:
    await fill(str(tmp_path / "data"))
    await back_up(
        str(tmp_path / "data"), tmp_path / "b.db", copied=lambda *_: None, moved=lambda _: None, damaged=print
    )
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), Event()

    def wait(*_: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(40)

    if what == "back up":
        work = back_up(str(tmp_path / "data"), tmp_path / "c.db", copied=wait, moved=lambda _: None, damaged=print)
    else:
        work = restore(
            tmp_path / "b.db",
            str(tmp_path / "data"),
            replaces=True,
            takes_over=False,
            copied=wait,
            moved=lambda _: None,
            damaged=print,
        )
    task = asyncio.create_task(work)
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(os.listdir(tmp_path)) == ["b.db", "data"]
    assert "collab.db.unfinished" not in os.listdir(tmp_path / "data")
    async with opened(tmp_path / "data") as storage:
        assert (await storage.span("acme")).newest == 1


def test_a_backup_is_named_after_the_time_in_a_folder(tmp_path: Path) -> None:
    assert backup_path(str(tmp_path), 1e9, replaces=False) == tmp_path / "collab-20010909T014640Z.db"
    (tmp_path / "collab-20010909T014640Z.db").touch()
    with pytest.raises(TargetNotEmpty):
        backup_path(str(tmp_path), 1e9, replaces=False)
    assert backup_path(str(tmp_path), 1e9, replaces=True).exists()
