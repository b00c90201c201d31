"""A record in order has no findings; a damaged or badly kept one has."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collab import Settings, declaration
from collab.consumers.webhook import Webhook
from collab.names import RoomKey
from collab.records.schema import Schemas
from collab.server.doctor.finding import Finding
from collab.server.doctor.record_checks import check_record, file_system_of
from collab.storage.base import DeadLetter, SetAside
from collab.storage.location import is_postgres, storage_at
from collab.testing.storage_case import KEY, entry, fact
from tests.collab.storage.database import VERSION_1, raw
from tests.postgres import PostgresServer

HOOK = Webhook(name="crm", url="https://a.example/", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", project="acme")


@pytest.fixture(params=["folder", "database"])
def where(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[Settings]:
    """Settings with an empty record."""
    with postgres.records() as lend:
        yield (
            Settings(data=str(tmp_path / "data"), webhooks=[HOOK])
            if request.param == "folder"
            else Settings(database=lend(), webhooks=[HOOK])
        )


async def fill(settings: Settings, *, letters: int = 0, asides: int = 0) -> None:
    storage = storage_at(settings.location)
    await storage.open()
    await storage.commit([entry(b"1.")], [fact(1, {"n": 1}, row=0)])
    dead = [DeadLetter("crm", fact(number + 1).event, "acme", "answered 500", 7.5) for number in range(letters)]
    await storage.save_webhook("crm", "acme", 1, dead)
    for number in range(asides):
        await storage.set_aside(SetAside(KEY, None, bytes([number]), "ended a worker", 5.0))
    await storage.close()


async def findings(settings: Settings, offset: float = 0.0) -> list[Finding]:
    """All but those about the test's own database, which is made to be quick."""
    found = await check_record(settings, lambda: time.time() + offset)
    return [each for each in found if "fsync" not in each.what and "full_page_writes" not in each.what]


async def test_a_record_in_order_has_no_findings_and_neither_has_one_in_use(where: Settings) -> None:
    await fill(where)
    assert await findings(where) == []
    storage = storage_at(where.location)
    await storage.open()
    assert await findings(where) == []
    await storage.commit([entry(b"2.")])
    await storage.close()


async def test_what_waits_for_somebody_is_noted(where: Settings) -> None:
    await fill(where, letters=2, asides=3)
    found = await findings(where)
    assert {(each.level, each.what) for each in found} == {
        ("note", "the webhook crm has 2 dead letters"),
        ("note", "3 edits are in quarantine"),
    }


async def test_a_clock_that_was_set_back_is_wrong(where: Settings) -> None:
    storage = storage_at(where.location)
    await storage.open()
    await storage.commit([], [fact(1, {}, at=time.time())])
    await storage.close()
    found = [each.what for each in await findings(where, offset=-3600)]
    assert any("the clock was set back" in what for what in found)
    assert any("that of the database differ by 3600 s" in what for what in found) == is_postgres(where.location)
    assert any("the clock says 1" in each.what for each in await findings(where, offset=-time.time()))


async def test_a_damaged_file_is_wrong(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    await fill(settings)
    content = bytearray((tmp_path / "collab.db").read_bytes())
    content[4096 * 2 : 4096 * 6] = os.urandom(4096 * 4)
    (tmp_path / "collab.db").write_bytes(content)
    assert (await findings(settings))[0].level == "wrong"


async def test_a_folder_that_others_may_read_is_told_of(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    await fill(settings)
    os.chmod(tmp_path, 0o755)
    os.chmod(tmp_path / "collab.db", 0o644)
    found = await findings(settings)
    assert [(each.level, each.advice) for each in found] == [
        ("note", f"chmod 700 {tmp_path}"),
        ("wrong", f"chmod 600 {tmp_path / 'collab.db'}"),
    ]


async def test_a_record_that_is_not_there_or_older_is_noted(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "a" / "b"))
    (finding,) = await findings(settings)
    assert (finding.level, "there is no record in" in finding.what) == ("note", True)
    os.chmod(tmp_path, 0o700)
    with raw(tmp_path) as database:
        database.executescript(VERSION_1)
    os.chmod(tmp_path / "collab.db", 0o600)
    (finding,) = await findings(Settings(data=str(tmp_path)))
    assert (finding.level, "its schema has version 1" in finding.what) == ("note", True)


async def test_a_database_that_does_not_answer_is_wrong() -> None:
    (finding,) = await findings(Settings(database="postgresql://u:s3cret@127.0.0.1:1/none"))
    assert (finding.level, "cannot be reached" in finding.what) == ("wrong", True)
    assert "s3cret" not in finding.what


def test_the_file_system_of_a_path_is_that_of_the_longest_mount_point() -> None:
    mounts = "/dev/sda / ext4 rw 0 0\nserver:/x /srv/data nfs4 rw 0 0\ntmpfs /srv/data/with\\040space tmpfs rw 0 0\n"
    assert file_system_of(Path("/srv/data/collab"), mounts) == "nfs4"
    assert file_system_of(Path("/srv/database"), mounts) == "ext4"
    assert file_system_of(Path("/srv/data/with space/x"), mounts) == "tmpfs"
    assert file_system_of(Path("/x"), "") is None


async def test_settings_that_declare_otherwise_than_the_record_are_noted(where: Settings) -> None:
    storage = storage_at(where.location)
    await storage.open()
    await Schemas({"tasks": declaration({})}).save(storage, 0.0)
    await storage.close()
    same = msgspec.structs.replace(where, collections={"tasks": declaration({})})
    other = msgspec.structs.replace(where, collections={"tasks": declaration({}, indexes=["status"])})
    assert await findings(same) == []
    assert [(each.level, each.what) for each in await findings(other)] == [
        ("note", "the newest declaration of tasks in the record is not the one in these settings")
    ]


async def test_documents_whose_ids_a_later_mapped_collection_forbids_are_named(where: Settings) -> None:
    storage = storage_at(where.location)
    await storage.open()
    names = ["b1", "b:2", *(f"c:{number:03}" for number in range(20))]
    await storage.commit([entry(b"1", RoomKey("acme", "boards", name)) for name in names])
    await storage.commit([entry(b"1", RoomKey("acme", "notes", "n:1"))])
    cards = declaration(mapped={"in": "boards", "root": "cards"})
    await Schemas({"cards": cards}).save(storage, 0.0)
    await storage.close()
    assert await findings(where) == []
    (found,) = await findings(msgspec.structs.replace(where, collections={"cards": cards}))
    assert found.level == "wrong"
    assert found.what.startswith("21 documents of boards are kept and not served")
    shown = [str(RoomKey("acme", "boards", name)) for name in names[1:11]]
    assert found.what.endswith(": " + ", ".join(shown) + ", …")
