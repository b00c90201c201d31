"""A backup is the record of one moment, made while others write, and put back whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from collab.storage.base import StorageCorrupt, StorageError
from collab.storage.copying import CopyProgress, Damage, TargetNotEmpty
from collab.storage.sqlite.backup import back_up_sqlite, restore_sqlite
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import KEY, OTHER, entry, fact
from tests.collab.storage.database import VERSION_1, opened, raw
from tests.collab.storage.test_copying import damage, everything, fill

ROOT = Path(__file__).parents[4]


def backed_up(data: Path, target: Path) -> tuple[CopyProgress, list[str]]:
    damages: list[Damage] = []
    done = back_up_sqlite(data, target, copied=lambda *_: None, moved=lambda _: None, damaged=damages.append)
    return done, [str(each) for each in damages]


def restored(backup: Path, data: Path, *, replaces: bool = False) -> CopyProgress:
    return restore_sqlite(
        backup, data, replaces=replaces, copied=lambda *_: None, moved=lambda _: None, damaged=lambda _: None
    )


async def test_a_restored_record_equals_the_first_but_for_its_epoch(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"))
    done, damages = backed_up(tmp_path / "one", tmp_path / "backup.db")
    assert ((done.documents, done.entities, done.events), damages) == (done.total, [])
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "one"]
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    restored(tmp_path / "backup.db", tmp_path / "two")
    found = []
    for name in ("one", "two"):
        async with opened(tmp_path / name) as storage:
            found.append(await everything(storage, [KEY, OTHER]))
    first, second = (each.pop("positions") for each in found)
    assert found[0] == found[1]
    assert first.newest == second.newest
    assert first.epoch != second.epoch
    restored(tmp_path / "backup.db", tmp_path / "three")
    async with opened(tmp_path / "three") as storage:
        assert (await storage.positions()).epoch not in (first.epoch, second.epoch)


async def test_a_server_commits_between_the_slices_of_a_backup_which_has_none_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as storage:
        await storage.commit([entry(bytes(1_000_000), OTHER)] * 20)
        with closing(sqlite3.connect(tmp_path / "one" / "collab.db", isolation_level=None, timeout=0)) as other:
            slices: list[int] = []

            def commit(done: int, total: int) -> None:
                slices.append(done)
                other.execute("INSERT INTO schemas VALUES ('acme', ?, 1, x'')", (f"c{len(slices)}",))

            back_up_sqlite(
                tmp_path / "one", tmp_path / "b.db", copied=commit, moved=lambda _: None, damaged=lambda _: None
            )
        assert len(slices) >= 4
        assert slices == sorted(set(slices)), "it never began anew"
        assert len(await storage.schemas("acme")) == len(slices)
    restored(tmp_path / "b.db", tmp_path / "two")
    async with opened(tmp_path / "two") as storage:
        assert await storage.schemas("acme") == {}
        assert len(await storage.log_after(OTHER, 0)) == 20


async def test_damaged_content_is_named_and_kept(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"))
    await damage(str(tmp_path / "one"))
    done, damages = backed_up(tmp_path / "one", tmp_path / "backup.db")
    assert done.damaged == len(damages) == 5
    assert damages[0] == "row 3 of documents/doc_123 in project acme does not match its checksum"
    assert restored(tmp_path / "backup.db", tmp_path / "two").damaged == 5


async def test_a_damaged_file_gives_no_backup_and_is_not_restored(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"))
    backed_up(tmp_path / "one", tmp_path / "backup.db")
    for path in (tmp_path / "backup.db", tmp_path / "one" / "collab.db"):
        content = bytearray(path.read_bytes())
        content[4096 * 3 : 4096 * 8] = os.urandom(4096 * 5)
        path.write_bytes(content)
    with pytest.raises(StorageCorrupt, match="damaged"):
        backed_up(tmp_path / "one", tmp_path / "second.db")
    with pytest.raises(StorageCorrupt, match="damaged"):
        restored(tmp_path / "backup.db", tmp_path / "two")
    assert not (tmp_path / "second.db").exists()
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["lock"]


async def test_a_record_is_replaced_only_by_force_and_together_with_its_write_ahead_log(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"))
    backed_up(tmp_path / "one", tmp_path / "backup.db")
    async with opened(tmp_path / "two") as storage:
        await storage.commit([entry(b"in the write-ahead log", OTHER)])
        with pytest.raises(StorageError, match="another process is using"):
            restored(tmp_path / "backup.db", tmp_path / "two", replaces=True)
        shutil.copytree(tmp_path / "two", tmp_path / "three")  # as after kill -9
    assert (tmp_path / "three" / "collab.db-wal").stat().st_size
    with pytest.raises(TargetNotEmpty, match="--force"):
        restored(tmp_path / "backup.db", tmp_path / "three")
    async with opened(tmp_path / "three") as storage:
        assert [row.update for row in await storage.log_after(OTHER, 0)] == [b"in the write-ahead log"]
    shutil.rmtree(tmp_path / "three")
    shutil.copytree(tmp_path / "two", tmp_path / "three")
    restored(tmp_path / "backup.db", tmp_path / "three", replaces=True)
    assert sorted(path.name for path in (tmp_path / "three").iterdir()) == ["collab.db", "lock"]
    async with opened(tmp_path / "three") as storage:
        assert await storage.log_after(OTHER, 0) == []
        assert (await storage.span("acme")).newest == 1


async def test_a_record_too_damaged_to_be_opened_is_replaced(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"))
    backed_up(tmp_path / "one", tmp_path / "backup.db")
    for name in ("collab.db", "collab.db-wal"):
        (tmp_path / "one" / name).write_bytes(os.urandom(10_000))
    restored(tmp_path / "backup.db", tmp_path / "one", replaces=True)
    async with opened(tmp_path / "one") as storage:
        assert (await storage.span("acme")).newest == 1


def test_a_backup_of_an_older_version_is_migrated_and_one_of_a_newer_version_refused(tmp_path: Path) -> None:
    for name, also in (("old", ""), ("new", "PRAGMA user_version = 999;"), ("other", "PRAGMA application_id = 7;")):
        (tmp_path / name).mkdir()
        with raw(tmp_path / name) as database:
            database.executescript(VERSION_1 + also)
    restored(tmp_path / "old" / "collab.db", tmp_path / "two")
    for name, said in (("new", "a newer version wrote it"), ("other", "another application")):
        with pytest.raises(StorageCorrupt, match=said):
            restored(tmp_path / name / "collab.db", tmp_path / "two", replaces=True)
    with raw(tmp_path / "two") as database:
        assert database.execute("SELECT count(*) FROM log").fetchone() == (2,), "it was not touched"


def test_what_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no"):
        backed_up(tmp_path / "none", tmp_path / "backup.db")
    with pytest.raises(StorageError, match="there is no"):
        restored(tmp_path / "none.db", tmp_path / "two")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from collab.storage.sqlite.backup import back_up_sqlite, restore_sqlite

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

do = {"copied": lambda *_: None, "moved": lambda _: None, "damaged": print} | {sys.argv[4]: die}
source, target = Path(sys.argv[2]), Path(sys.argv[3])
back_up_sqlite(source, target, **do) if sys.argv[1] == "backup" else restore_sqlite(source, target, replaces=True, **do)
"""


@pytest.mark.parametrize("at", ["copied", "moved"])
async def test_one_that_is_killed_leaves_no_backup_and_the_record_as_it_was(tmp_path: Path, at: str) -> None:
    await fill(str(tmp_path / "one"))

    def killed(what: str, source: Path, target: Path) -> None:
        command = [sys.executable, "-c", KILLED, what, str(source), str(target), at]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL

    killed("backup", tmp_path / "one", tmp_path / "backup.db")
    assert not (tmp_path / "backup.db").exists()
    backed_up(tmp_path / "one", tmp_path / "backup.db")
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "one"]
    async with opened(tmp_path / "two") as storage:
        await storage.commit([entry(b"before", OTHER)])
    killed("restore", tmp_path / "backup.db", tmp_path / "two")
    async with opened(tmp_path / "two") as storage:
        assert [row.update for row in await storage.log_after(OTHER, 0)] == [b"before"]
    restored(tmp_path / "backup.db", tmp_path / "two", replaces=True)


async def test_a_restored_record_goes_on(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"))
    backed_up(tmp_path / "one", tmp_path / "backup.db")
    restored(tmp_path / "backup.db", tmp_path / "two")
    storage = SqliteStorage(tmp_path / "two")
    await storage.open()
    done = await storage.commit([entry(b"4.")], [fact(2, {"n": 2}, row=0)])
    assert (list(done.seqs), list(done.positions)) == ([4], [2])
    await storage.close()
