"""What was exported and imported is what it was: documents, entities, versions; whatever interrupts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import Collab, Settings
from collab.errors import CollabError, InvalidRequest, NotFound, Unavailable
from collab.names import RoomKey
from collab.records.declaration import declaration
from collab.sandbox.client import Child
from collab.server.exporting import DAMAGED_NAME, Exported, Selection, export, read_head
from collab.server.importing import Imported, import_lines
from collab.server.quarantined import contents_of
from collab.storage.base import Record, SetAside, StorageError
from collab.storage.location import is_postgres, reader_at
from tests.collab.storage.database import opened, raw
from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[3]
CARDS = {"cards": declaration({}, mapped={"in": "boards", "root": "cards"})}
NAMES = ("a", "b", "c")
EVERYTHING = Selection()


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.records() as lend:
        yield lend()


def settings_of(location: str, **more: Any) -> Settings:
    where = {"database": location} if is_postgres(location) else {"data": location}
    return Settings(**{**where, "collections": CARDS, "content_event_seconds": 0.0, **more})


async def exported(location: str, folder: Path, selection: Selection = EVERYTHING, **more: Any) -> Exported:
    return await export(
        location,
        folder,
        selection,
        **{"now": 0.0, "declared": CARDS, "keep_deleted": [], "moved": lambda *_: None, **more},
    )


async def imported(location: str, source: Path, **more: Any) -> Imported:
    numbers = iter(range(1, 1_000_000))
    return await import_lines(
        settings_of(location),
        source,
        **{"clock": lambda: 5e9, "client_id": lambda: next(numbers), "moved": lambda *_: None, **more},
    )


# what is done to a record: (verb, collection, name, value)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(("create", "update", "unset", "type", "nest", "delete", "restore", "compact", "card")),
        st.sampled_from(("tasks", "boards")),
        st.sampled_from(NAMES),
        VALUES,
    ),
    max_size=25,
)


async def do(collab: Collab, verb: str, collection: str, name: str, value: Any) -> None:
    entities = collab.collection(collection, user="ada")
    try:
        match verb:
            case "create":
                await entities.create({"title": value}, id=name)
            case "update":
                await entities.update(name, {"title": value, "more": [value]})
            case "unset":
                await entities.update(name, {}, unset=["title"])
            case "delete":
                await entities.delete(name)
            case "restore":
                await entities.restore(name)
            case "compact":
                await collab._registry.compactor.compact(RoomKey("default", collection, name))
            case "card":
                await collab.collection("cards", user="bob").create(
                    {"text": value}, id=f"{name}:k{len(str(value)) % 5}"
                )
            case "type" | "nest":
                async with collab.room(f"{collection}/{name}").edit(user="bob") as doc:
                    if verb == "nest":
                        doc.get("fields", type=pycrdt.Map)["nested"] = pycrdt.Text("inside")
                    text = doc.get("content", type=pycrdt.Text)
                    text += f"{value}"[:20].encode("ascii", "replace").decode()  # pycrdt counts in bytes of UTF-8
                    if len(text) > 10:
                        del text[2:5]
    except CollabError:
        pass


def document(record: Record | None) -> pycrdt.Doc[Any]:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    if record is not None:
        for update in [*([record.snapshot.update] if record.snapshot else []), *(row.update for row in record.rows)]:
            doc.apply_update(update)
    return doc


async def all_of(location: str) -> dict[RoomKey, tuple[Any, pycrdt.Doc[Any] | None]]:
    """Each entity (version, deleted, data, heads) and its document."""
    found: dict[RoomKey, tuple[Any, pycrdt.Doc[Any] | None]] = {}
    async with reader_at(location) as reader:
        for part in await reader.collections():
            for name in await reader.ids(part.project, part.collection, "", 1000):
                key = RoomKey(part.project, part.collection, name)
                loaded = await reader.load(key)
                assert loaded is not None
                row = loaded.record.entity
                assert row is not None
                own = None if loaded.record.lineage is None else document(loaded.record)
                found[key] = (row.version, row.deleted, row.data, row.heads), own
    return found


def assert_equal(
    one: dict[RoomKey, tuple[Any, pycrdt.Doc[Any] | None]], two: dict[RoomKey, tuple[Any, pycrdt.Doc[Any] | None]]
) -> None:
    assert one.keys() == two.keys()
    for key, (row, doc) in one.items():
        other_row, other = two[key]
        assert row == other_row
        assert (doc is None) == (other is None)
        if doc is not None and other is not None:
            assert shown(doc) == shown(other)
            assert structs(doc) == structs(other)
            other.apply_update(doc.get_update(other.get_state()))
            assert shown(doc) == shown(other)


def shown(doc: pycrdt.Doc[Any]) -> tuple[Any, ...]:
    maps = [json.loads(str(doc.get(root, type=pycrdt.Map))) for root in ("fields", "cards")]
    return *maps, str(doc.get("content", type=pycrdt.Text))


def structs(doc: pycrdt.Doc[Any]) -> tuple[Any, ...]:
    """Which elements there are, and which of them are deleted; the library writes objects in any order."""
    contents = contents_of(doc.get_update())
    return contents.writes, sorted(contents.deletes)


async def there_and_back(acts: list[tuple[str, str, str, Any]], folder: Path, lend: Any) -> None:
    one, two, three = str(folder / "one"), str(folder / "two"), lend()
    source = Collab(settings_of(one))
    async with source.lifespan():
        for act in acts:
            await do(source, *act)
    done = await exported(one, folder / "out", Selection(deleted=True))
    assert done.damaged == []
    known = await all_of(one)
    assert done.entities == len(known)
    for location in (two, three):
        first = await imported(location, folder / "out")
        assert (first.created, first.unchanged, first.different, first.refused) == (len(known), 0, [], [])
        assert_equal(await all_of(location), known)
        async with reader_at(location) as reader:
            positions = await reader.positions()
        again = await imported(location, folder / "out")
        assert (again.created, again.unchanged, again.different, again.refused) == (0, len(known), [], [])
        async with reader_at(location) as reader:
            assert await reader.positions() == positions, "importing twice changes nothing"
        target = Collab(settings_of(location))
        async with target.lifespan():
            for key, ((version, deleted, data, _), _) in known.items():
                entities = target.collection(key.collection)
                if deleted:
                    continue
                written = await entities.update(key.id, {"after": "the import"})
                assert written.version == version + 1
                assert (await entities.history(key.id))[0].version == version + 1
                assert (await entities.find_by_id(key.id, version=version)).data == data
    await exported(two, folder / "again", Selection(deleted=True))


def test_export_and_import_give_an_equal_record(postgres: PostgresServer) -> None:
    @settings(max_examples=15, deadline=None)
    @given(ACTS)
    def check(acts: list[tuple[str, str, str, Any]]) -> None:
        with TemporaryDirectory() as folder, postgres.records() as lend:
            asyncio.run(there_and_back(acts, Path(folder), lend))

    check()


# what is exported


async def fill(location: str, count: int = 3) -> None:
    collab = Collab(settings_of(location))
    async with collab.lifespan():
        for project in ("acme", "beta"):
            for number in range(count):
                await collab.collection("tasks", project, user="ada").create({"n": number}, id=f"t{number:03}")
        await collab.collection("boards", "acme").create({"name": "B"}, id="b1")
        await collab.collection("cards", "acme").create({"text": "card"}, id="b1:k1")
        gone = collab.collection("notes", "acme")
        await gone.create({"text": "gone"}, id="n1")
        await gone.delete("n1")


def lines(folder: Path) -> list[tuple[str, str, str]]:
    found = [json.loads(line) for path in sorted(folder.glob("*/*.jsonl")) for line in path.read_bytes().splitlines()]
    return [(each["project"], each["collection"], each["id"]) for each in found]


async def test_projects_and_collections_are_chosen_and_what_lives_inside_comes_along(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"), 1)
    await exported(str(tmp_path / "one"), tmp_path / "all")
    assert lines(tmp_path / "all") == [
        ("acme", "boards", "b1"),
        ("acme", "cards", "b1:k1"),
        ("acme", "tasks", "t000"),
        ("beta", "tasks", "t000"),
    ]
    await exported(str(tmp_path / "one"), tmp_path / "boards", Selection(collections=["boards"]))
    assert lines(tmp_path / "boards") == [("acme", "boards", "b1"), ("acme", "cards", "b1:k1")]
    await exported(str(tmp_path / "one"), tmp_path / "beta", Selection(projects=["beta"]))
    assert lines(tmp_path / "beta") == [("beta", "tasks", "t000")]
    with pytest.raises(InvalidRequest, match="cards live inside documents of boards: choose boards"):
        await exported(str(tmp_path / "one"), tmp_path / "cards", Selection(collections=["cards"]), declared={})
    await exported(str(tmp_path / "one"), tmp_path / "deleted", Selection(projects=["acme"], deleted=True))
    assert ("acme", "notes", "n1") in lines(tmp_path / "deleted")
    assert (tmp_path / "all").stat().st_mode & 0o077 == 0
    assert (tmp_path / "all/acme/tasks.jsonl").stat().st_mode & 0o077 == 0


async def test_a_line_is_as_documented(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"), 1)
    await exported(str(tmp_path / "one"), tmp_path / "all")
    (card,) = [json.loads(line) for line in (tmp_path / "all/acme/cards.jsonl").read_text().splitlines()]
    assert card["inside"] == "boards/b1"
    assert "update" not in card
    (task,) = [json.loads(line) for line in (tmp_path / "all/acme/tasks.jsonl").read_text().splitlines()]
    assert list(task) == ["project", "collection", "id", "version", "data", "heads", "update"]
    assert task["data"]["n"] == 0
    assert task["data"]["createdAt"] == task["data"]["updatedAt"]


async def test_entities_go_into_another_project(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"), 1)
    await exported(str(tmp_path / "one"), tmp_path / "all")
    done = await imported(str(tmp_path / "two"), tmp_path / "all", projects=["beta"], into="gamma")
    assert done.created == 1
    assert list(await all_of(str(tmp_path / "two"))) == [RoomKey("gamma", "tasks", "t000")]


async def test_lines_that_are_not_chosen_are_neither_imported_nor_refused(tmp_path: Path) -> None:
    chosen = {"project": "acme", "collection": "tasks", "id": "t1", "data": {"n": 1}}
    others = [{**chosen, "project": "beta"}, {**chosen, "collection": "notes", "data": {"a.b": 1}}]
    source = tmp_path / "lines.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in [*others, chosen]))
    done = await imported(str(tmp_path / "one"), source, projects=["acme"], collections=["tasks"], into="gamma")
    assert (done.created, done.refused) == (1, [])
    assert list(await all_of(str(tmp_path / "one"))) == [RoomKey("gamma", "tasks", "t1")]


async def test_damaged_documents_are_named_and_the_rest_is_exported(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"), 1)
    with raw(tmp_path / "one") as database:
        database.execute("UPDATE log SET content = x'00' WHERE rid = 1")
    done = await exported(str(tmp_path / "one"), tmp_path / "all")
    assert len(done.damaged) == 1
    assert "of tasks/t000 in project acme do not match" in done.damaged[0]
    assert ("beta", "tasks", "t000") in lines(tmp_path / "all")


class Frozen(Child):
    """As on a machine that sleeps: the next ``left`` processes do not run."""

    left = 0

    async def _start(self) -> asyncio.subprocess.Process:
        process = await super()._start()
        if Frozen.left:
            Frozen.left -= 1
            process.send_signal(signal.SIGSTOP)
        return process


async def test_a_document_that_is_not_read_in_time_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, out = str(tmp_path / "one"), tmp_path / "out"
    await fill(one, 1)
    monkeypatch.setattr("collab.sandbox.client.Child", Frozen)
    monkeypatch.setattr("collab.server.exporting._SECONDS", 1.0)
    monkeypatch.setattr(Frozen, "left", 2)
    with pytest.raises(Unavailable, match=r"boards/b1 in project acme could not be read in time.* repeat the command"):
        await exported(one, out)
    assert not read_head(out).complete
    monkeypatch.setattr(Frozen, "left", 1)
    done = await exported(one, out)
    assert (done.damaged, done.entities) == ([], 4)
    assert not Frozen.left


async def test_a_document_that_takes_too_much_cpu_time_is_named_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(str(tmp_path / "one"), 1)
    collab = Collab(settings_of(str(tmp_path / "one")))
    async with collab.lifespan(), collab.room("boards/b1", "acme").edit() as doc:
        doc.get("more", type=pycrdt.Map).update({f"k{number}": number for number in range(20_000)})
    monkeypatch.setattr("collab.server.exporting._SECONDS", 0.01)
    monkeypatch.setattr("collab.sandbox.client.PATIENCE", 10_000.0)
    (damaged,) = (await exported(str(tmp_path / "one"), tmp_path / "out")).damaged
    assert damaged.startswith("boards/b1 in project acme: the document takes more than")
    assert read_head(tmp_path / "out").complete


async def test_only_quarantined_edits_are_no_entity(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as storage:
        await storage.set_aside(SetAside(RoomKey("acme", "tasks", "t1"), None, b"x", "ended a worker", 1.0))
    assert (await exported(str(tmp_path / "one"), tmp_path / "all")).entities == 0


# interruptions

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.collab.server.test_exporting import exported, imported

def die(done, total):
    if done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run({"export": exported, "import": imported}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), moved=die))
"""


def killed(what: str, location: str, folder: Path, at: int) -> None:
    command = [sys.executable, "-c", KILLED, what, location, str(folder), str(at)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


async def test_what_was_named_as_damaged_before_a_kill_is_named_by_the_export_that_goes_on(tmp_path: Path) -> None:
    one, out = str(tmp_path / "one"), tmp_path / "out"
    await fill(one, 1)
    with raw(tmp_path / "one") as database:
        database.execute("UPDATE log SET content = x'00' WHERE rid = 1")
    killed("export", one, out, 4)
    with (out / DAMAGED_NAME).open("a") as file:
        file.write("half a l")
    (damaged,) = (await exported(one, out)).damaged
    assert (out / DAMAGED_NAME).read_text() == f"{damaged}\n"


async def test_an_export_that_is_killed_goes_on_where_it_ended(tmp_path: Path) -> None:
    one, out = str(tmp_path / "one"), tmp_path / "out"
    await fill(one, 150)
    for at in (40, 200):
        killed("export", one, out, at)
        with pytest.raises(InvalidRequest, match="is not complete"):
            await imported(str(tmp_path / "two"), out)
    parts = [path for path in sorted(out.glob("*/*")) if path.suffix == ".part"]
    assert len(parts) == 1
    with parts[0].open("ab") as file:
        file.write(b'{"project":"beta","collection":"tasks","id":"t1')
    with pytest.raises(InvalidRequest, match="another record"):
        await exported(one, out, Selection(deleted=True))
    done = await exported(one, out)
    assert 150 <= done.resumed < done.entities == 302
    assert len(set(lines(out))) == len(lines(out)) == 302
    assert read_head(out).complete
    with pytest.raises(InvalidRequest, match="a complete export of 1970-01-01"):
        await exported(one, out)


async def test_an_import_that_is_killed_goes_on_and_ends_with_the_same(tmp_path: Path, url: str) -> None:
    one, out = str(tmp_path / "one"), tmp_path / "out"
    await fill(one, 250)
    await exported(one, out)
    for location in (str(tmp_path / "two"), url):
        killed("import", location, out, 1)
        some = len(await all_of(location))
        assert 0 < some < 502
        done = await imported(location, out)
        assert (done.created, done.unchanged) == (502 - some, some)
        assert len(await all_of(location)) == 502


async def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    await fill(str(tmp_path / "one"), 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(InvalidRequest, match="is not empty"):
        await exported(str(tmp_path / "one"), tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["mine"]
    for name, said in (("out", "cannot be read"), ("none", "there is no")):
        with pytest.raises(InvalidRequest, match=said):
            await imported(str(tmp_path / "two"), tmp_path / name)
    with pytest.raises(StorageError, match="there is no"):
        await exported(str(tmp_path / "none"), tmp_path / "new")


# what is imported


async def test_what_the_record_has_already_stays_and_is_named(tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    await fill(one, 2)
    await exported(one, tmp_path / "out")
    await imported(two, tmp_path / "out")
    collab = Collab(settings_of(two))
    async with collab.lifespan():
        await collab.collection("tasks", "acme").update("t001", {"n": "mine"})
        with pytest.raises(StorageError, match="another process is using"):
            await imported(two, tmp_path / "out")
    done = await imported(two, tmp_path / "out")
    assert (done.created, done.unchanged, done.different) == (0, 5, ["tasks/t001 in project acme"])
    assert (await all_of(two))[RoomKey("acme", "tasks", "t001")][0][2]["n"] == "mine"


async def test_lines_of_other_programs_become_entities_that_editors_can_open(tmp_path: Path, url: str) -> None:
    source = tmp_path / "tasks.jsonl"
    rows = [{"collection": "tasks", "id": f"t{n}", "data": {"title": f"Task {n}", "tags": [n]}} for n in range(3)]
    rows[2]["data"]["createdAt"] = "2020-01-01T00:00:00.000000Z"  # type: ignore[index]
    source.write_text("\n".join(map(json.dumps, rows)))
    for location in (str(tmp_path / "two"), url):
        assert (await imported(location, source)).created == 3
        assert (await imported(location, source)).unchanged == 3
        collab = Collab(settings_of(location))
        async with collab.lifespan():
            assert (await collab.room("tasks/t1").json())["fields"] == {"title": "Task 1", "tags": [1]}
            found = await collab.collection("tasks").find_by_id("t2")
            assert found.data["createdAt"] == "2020-01-01T00:00:00.000000Z"
            assert found.data["updatedAt"] == "2128-06-11T08:53:20.000002Z"
            (event,) = await collab.collection("tasks").history("t1")
            assert (event.type, event.version, event.changes["title"]) == ("created", 1, {"to": "Task 1"})
            with pytest.raises(NotFound):
                await collab.collection("tasks").find_by_id("t9")


async def test_a_line_that_cannot_be_imported_is_named_and_the_others_are_imported(tmp_path: Path) -> None:
    one = str(tmp_path / "one")
    await fill(one, 1)
    await exported(one, tmp_path / "out")
    (good,) = [json.loads(line) for line in (tmp_path / "out/beta/tasks.jsonl").read_text().splitlines()]
    wrong: list[tuple[object, str]] = [
        ("not json", "not a line of an export"),
        ({"collection": "tasks"}, "not a line of an export"),
        ({**good, "id": "a/b"}, "must be 1-128 characters"),
        ({**good, "id": "t2"}, "in data it is 't000'"),
        ({**good, "update": "%%%"}, "update is not base64"),
        ({**good, "update": "AQEB"}, "its document cannot be used"),
        ({**good, "data": {**good["data"], "n": 7}}, "its document and its data differ in the field n"),
        ({**good, "data": {"id": "t000"}}, "its document and its data differ in the field n"),
        ({"collection": "tasks", "id": "t3", "data": {"a.b": 1}}, "looks like a path"),
        ({"collection": "tasks", "id": "t4", "version": 0}, "neither data nor a document"),
        ({"collection": "tasks", "id": "t5", "version": -1}, "not a line of an export"),
        ({"collection": "boards", "id": "b:c", "data": {"title": "x"}}, "must not contain a colon"),
    ]
    source = tmp_path / "mixed.jsonl"
    rows = [row if isinstance(row, str) else json.dumps(row) for row, _ in wrong]
    source.write_text("\n".join([*rows, "", json.dumps(good)]) + "\n")
    done = await imported(str(tmp_path / "two"), source)
    assert done.created == 1
    assert len(done.refused) == len(wrong)
    for number, (said, (_, reason)) in enumerate(zip(done.refused, wrong, strict=True), 1):
        assert said.startswith(f"{source}:{number}: ")
        assert reason in said
