"""Quarantine on the command line: seen, released into the document, discarded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pycrdt
import pytest

from collab.gate.structs import decode_state_vector
from collab.names import RoomKey
from collab.rooms.live.quarantine import ENDED_A_WORKER
from collab.server.quarantined import contents_of
from collab.storage.base import Append, SetAside
from collab.storage.location import storage_at
from tests.collab.server.command_line import run, serving
from tests.postgres import PostgresServer

KEY = RoomKey("default", "tasks", "t1")


def edit(client: int, title: str) -> bytes:
    """An update that writes a field."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)
    doc.get("fields", type=pycrdt.Map)["title"] = title
    return doc.get_update()


@pytest.fixture(params=["folder", "database"])
def where(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[str]:
    """The location of an empty record."""
    with postgres.records() as lend:
        yield str(tmp_path / "data") if request.param == "folder" else lend()


def options(location: str) -> list[str]:
    return ["--database" if "://" in location else "--data", location]


def fill(location: str, *entries: SetAside, rows: int = 0) -> None:
    async def work() -> None:
        storage = storage_at(location)
        await storage.open()
        for number in range(rows):
            await storage.commit([Append(KEY, edit(100 + number, f"{number}"), None, 1.0)])
        for entry in entries:
            await storage.set_aside(entry)
        await storage.close()

    asyncio.run(work())


def listed(location: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("quarantine", "list", "--json", *options(location)).stdout.splitlines()]


def test_an_edit_is_seen_and_released_and_then_an_event(tmp_path: Path, where: str) -> None:
    fill(where, SetAside(KEY, None, edit(7, "released"), f"{ENDED_A_WORKER}: signal 9", 86400.0))
    with serving(tmp_path, "serve", *options(where)) as (_, lines):
        tasks = lines[0].split()[-1] + "/api/v1/collections/tasks"
        (row,) = listed(where)
        assert row == {
            "number": row["number"],
            "at": "1970-01-02T00:00:00.000Z",
            "project": "default",
            "document": "tasks/t1",
            "row": None,
            "bytes": len(edit(7, "released")),
            "reason": "ended a worker: signal 9",
        }
        number = str(row["number"])
        table = run("quarantine", "list", *options(where)).stdout.splitlines()
        assert table[1].split()[2:5] == ["default", "tasks/t1", "-"]
        assert len(run("quarantine", "list", "--project", "other", *options(where)).stdout.splitlines()) == 1
        shown = run("quarantine", "show", number, "--json", "--output", str(tmp_path / "edit"), *options(where))
        assert json.loads(shown.stdout)["writes"] == [{"client": 7, "from": 0, "to": 1}]
        assert (tmp_path / "edit").read_bytes() == edit(7, "released")
        again = run("quarantine", "show", number, "--output", str(tmp_path / "edit"), *options(where))
        assert (again.exit_code, "File exists" in again.stderr) == (1, True)
        assert "writes: client 7, clocks 0 to 1" in run("quarantine", "show", number, *options(where)).stdout
        room = tasks.replace("/api/v1/collections", "/rooms") + "/t1"
        assert httpx.post(room, content=edit(7, "released"), timeout=40).status_code == 422
    done = run("quarantine", "release", number, *options(where))
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"released {number} into tasks/t1\n", "")
    assert listed(where) == []
    with serving(tmp_path, "serve", *options(where)) as (_, lines):
        tasks = lines[0].split()[-1] + "/api/v1/collections/tasks"
        assert httpx.get(f"{tasks}/t1", timeout=40).json()["data"]["title"] == "released"
        (event,) = httpx.get(f"{tasks}/t1/history", timeout=40).json()["events"]
        assert event["type"] == "created"


def test_a_server_that_runs_releases_an_edit_into_a_document_that_is_open(tmp_path: Path, where: str) -> None:
    fill(where, SetAside(KEY, None, edit(7, "released"), f"{ENDED_A_WORKER}: signal 9", 86400.0), rows=1)
    with serving(tmp_path, "serve", *options(where)) as (_, lines):
        address = lines[0].split()[-1]
        room = f"{address}/rooms/tasks/t1"
        assert httpx.get(room, timeout=40).json()["fields"] == {"title": "0"}
        assert httpx.post(room, content=edit(7, "released"), timeout=40).status_code == 422
        number = str(listed(where)[0]["number"])
        done = run("quarantine", "release", number, *options(where))
        assert (done.exit_code, done.stdout, done.stderr) == (0, f"released {number} into tasks/t1\n", "")
        assert listed(where) == []
        state = pycrdt.Doc[Any]()
        state.apply_update(httpx.get(room, params={"format": "update"}, timeout=40).content)
        assert decode_state_vector(state.get_state())[7] == 1
        assert httpx.post(room, content=edit(7, "released"), timeout=40).status_code == 204, "it is known now"


def test_a_server_that_runs_says_why_it_does_not_release_an_edit(tmp_path: Path, where: str) -> None:
    fill(where, SetAside(KEY, None, b"\xff\xff\xff", f"{ENDED_A_WORKER}: signal 11", 1.0), rows=1)
    number = listed(where)[0]["number"]
    with serving(tmp_path, "serve", *options(where)):
        for _ in range(2):
            refused = run("quarantine", "release", str(number), *options(where))
            assert refused.exit_code == 1
            assert refused.stderr.startswith(f"Error: {number} cannot be released: its document would not load: ")
            (row,) = listed(where)
            assert row["reason"].startswith("ended a worker: signal 11 [not released: its document would not load: ")
            assert row["reason"].count("not released") == 1


def test_who_asks_for_a_release_in_vain_takes_that_back(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a server of an older version, or one that was killed."""
    fill(where, SetAside(KEY, None, edit(7, "released"), f"{ENDED_A_WORKER}: signal 9", 1.0))
    monkeypatch.setattr("collab.server.quarantine.ANSWER_SECONDS", 0.6)
    before = listed(where)

    async def work() -> Any:
        storage = storage_at(where)
        await storage.open()
        refused = await asyncio.to_thread(run, "quarantine", "release", str(before[0]["number"]), *options(where))
        await storage.close()
        return refused

    refused = asyncio.run(work())
    assert refused.exit_code == 1
    assert "no server has released" in refused.stderr
    assert listed(where) == before


def test_an_edit_that_its_document_cannot_take_stays_where_it_is(where: str) -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=9)
    text = doc.get("text", type=pycrdt.Text)
    text += "a"
    state = doc.get_state()
    text += "b"
    fill(
        where,
        SetAside(KEY, None, b"\xff\xff\xff", f"{ENDED_A_WORKER}: signal 11", 1.0),
        SetAside(KEY, None, doc.get_update(state), "does not apply: it depends on a missing one", 2.0),
    )
    for row in listed(where):
        refused = run("quarantine", "release", str(row["number"]), *options(where))
        assert refused.exit_code == 1
        assert f"Error: {row['number']} cannot be released" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert len(listed(where)) == 2
    shown = run("quarantine", "show", str(listed(where)[0]["number"]), *options(where)).stdout
    assert "malformed: " in shown
    assert run("quarantine", "release", "999", *options(where)).stderr == (
        "Error: nothing in quarantine has the number 999\n"
    )


def test_an_edit_is_discarded_while_the_server_runs_and_may_come_again(tmp_path: Path, where: str) -> None:
    fill(where, SetAside(KEY, None, edit(7, "again"), f"{ENDED_A_WORKER}: signal 9", 1.0))
    with serving(tmp_path, "serve", *options(where)) as (_, lines):
        number = str(listed(where)[0]["number"])
        done = run("quarantine", "discard", number, "--json", *options(where))
        assert (done.exit_code, json.loads(done.stdout)["discarded"]) == (0, int(number))
        assert listed(where) == []
        room = lines[0].split()[-1] + "/rooms/tasks/t1"
        assert httpx.post(room, content=edit(7, "again"), timeout=40).status_code == 204


@pytest.mark.parametrize("verb", ["release", "discard"])
def test_the_number_of_a_row_that_left_quarantine_is_not_assigned_again(where: str, verb: str) -> None:
    fill(where, rows=2)
    fill(where, SetAside(KEY, 2, edit(101, "1"), "the row does not match its checksum", 1.0))
    assert run("quarantine", verb, str(listed(where)[0]["number"]), *options(where)).exit_code == 0
    assert listed(where) == []
    fill(where, rows=1)

    async def seqs() -> list[int]:
        storage = storage_at(where)
        await storage.open()
        found = [row.seq for row in await storage.log_after(KEY, 0)]
        await storage.close()
        return found

    assert asyncio.run(seqs()) == ([1, 3, 4] if verb == "release" else [1, 3])


def test_the_contents_of_an_edit_are_ranges_of_clocks() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=5)
    text = doc.get("text", type=pycrdt.Text)
    text += "abc"
    del text[1:2]
    contents = contents_of(doc.get_update())
    assert list(contents.writes) == [(5, 0, 3)]
    assert list(contents.deletes) == [(5, 1, 2)]
    assert contents_of(b"\xff").malformed
