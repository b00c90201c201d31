"""A collection under another name is the same collection; or nothing was changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pycrdt
import pytest

from collab.names import RoomKey
from collab.storage.base import DeadLetter, SetAside, Storage
from collab.storage.location import is_postgres, reader_at, storage_at
from collab.testing.storage_case import fact
from tests.collab.server.command_line import run, serving
from tests.collab.storage.database import raw
from tests.collab.storage.postgres.test_storage import execute
from tests.postgres import PostgresServer

KEY = RoomKey("default", "tasks", "t1")


@pytest.fixture(params=["folder", "database"])
def where(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[str]:
    """The location of an empty record."""
    with postgres.records() as lend:
        yield str(tmp_path / "data") if request.param == "folder" else lend()


def options(location: str) -> list[str]:
    return ["--database" if is_postgres(location) else "--data", location]


async def prepare(storage: Storage) -> None:
    event = fact(1, {"title": "a"}, KEY).event
    await storage.save_webhook("crm", "default", 1, [DeadLetter("crm", event, "default", "answered 500", 1.0)])
    await storage.set_aside(SetAside(KEY, None, b"frame", "ended a worker", 1.0))
    await storage.save_schema("*", "tasks", 3, b"{}")
    await storage.index("tasks", [((("title",)),)])


def do(location: str, work: Any) -> Any:
    async def done() -> Any:
        storage = storage_at(location)
        await storage.open()
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(done())


def epoch(location: str) -> str:
    async def read() -> str:
        async with reader_at(location) as reader:
            return (await reader.positions()).epoch

    return asyncio.run(read())


def test_everything_of_a_collection_gets_the_new_name_and_goes_on(tmp_path: Path, where: str) -> None:
    with serving(tmp_path, "serve", *options(where)) as (_, lines):
        url = lines[0].split()[-1]
        tasks = f"{url}/api/v1/collections/tasks"
        assert httpx.post(tasks, json={"id": "t1", "title": "a"}, timeout=40).status_code == 201
        assert httpx.patch(f"{tasks}/t1", json={"changes": {"title": "b"}}, timeout=40).json()["version"] == 2
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        text = doc.get("content", type=pycrdt.Text)
        text += "Hello"
        assert httpx.post(f"{url}/rooms/tasks/t1", content=doc.get_update(), timeout=40).status_code == 204
        other = f"{url}/api/v1/collections/notes"
        assert httpx.post(other, json={"id": "n1"}, timeout=40).status_code == 201
        busy = run("rename", "tasks", "todos", *options(where))
        assert busy.exit_code == 1
        assert "using" in busy.stderr or "uses this database" in busy.stderr
        assert httpx.get(f"{tasks}/t1", timeout=40).status_code == 200
    do(where, prepare)
    before = epoch(where)
    done = run("rename", "tasks", "todos", "--json", *options(where))
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "from": "tasks",
        "to": "todos",
        "project": None,
        "entities": 1,
        "documents": 1,
        "quarantined": 1,
        "deadLetters": 1,
    }
    assert epoch(where) != before
    with serving(tmp_path, "serve", *options(where)) as (_, lines):
        url = lines[0].split()[-1]
        todos = f"{url}/api/v1/collections/todos"
        assert httpx.get(f"{todos}/t1", timeout=40).json()["data"]["title"] == "b"
        events = httpx.get(f"{todos}/t1/history", timeout=40).json()["events"]
        assert {event["collection"] for event in events} == {"todos"}
        assert {event["version"] for event in events} >= {1, 2}
        earlier = httpx.get(f"{todos}/t1", params={"version": 1}, timeout=40).json()
        assert earlier["data"]["title"] == "a"
        assert httpx.get(f"{url}/rooms/todos/t1", timeout=40).json()["content"] == "Hello"
        changed = httpx.patch(f"{todos}/t1", json={"changes": {"title": "c"}}, timeout=40).json()
        assert changed["version"] > 2
        assert httpx.get(f"{url}/api/v1/collections/tasks/t1", timeout=40).status_code == 404
        assert httpx.get(f"{url}/api/v1/collections/notes/n1", timeout=40).status_code == 200

    async def rest(storage: Storage) -> None:
        (letter,) = await storage.dead_letters("crm")
        assert letter.event.collection == "todos"
        (aside,) = await storage.list_set_aside()
        assert aside.key == RoomKey("default", "todos", "t1")
        assert {name: version for name, (version, _) in (await storage.schemas("*")).items()} == {"todos": 3}
        await storage.erase([RoomKey("default", "todos", "t1")])
        assert list(await storage.dead_letters("crm")) == []

    do(where, rest)


def test_one_project_alone_is_renamed_and_the_new_name_must_be_free(where: str) -> None:
    async def fill(storage: Storage) -> None:
        for project, collection in (("a", "tasks"), ("b", "tasks"), ("b", "todos")):
            await storage.commit([], [fact(1, {}, RoomKey(project, collection, "t1"))])

    do(where, fill)
    refused = run("rename", "tasks", "todos", *options(where))
    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: there is a collection todos already: two are not made one\n",
    )
    assert run("rename", "tasks", "todos", "--project", "a", *options(where)).stdout == (
        "renamed tasks to todos: 1 entities, 0 documents\n"
    )
    for arguments, said in (
        (["tasks", "jobs", "--project", "a"], "there is no collection tasks"),
        (["tasks", "tasks"], "tasks has this name already"),
        (["tasks", "a/b"], "a collection's name must be"),
    ):
        refused = run("rename", *arguments, *options(where))
        assert (refused.exit_code, said in refused.stderr) == (1, True)

    async def there(storage: Storage) -> None:
        for project, collection in (("a", "todos"), ("b", "tasks"), ("b", "todos")):
            assert await storage.entity(RoomKey(project, collection, "t1")) is not None
        assert await storage.entity(RoomKey("a", "tasks", "t1")) is None

    do(where, there)


def test_nothing_is_renamed_if_something_cannot_be(where: str) -> None:
    async def fill(storage: Storage) -> None:
        await storage.commit([], [fact(1, {}, KEY)])
        await prepare(storage)

    do(where, fill)
    before = epoch(where)
    damaged = """UPDATE {}dead_letters SET event = '{{"collection":"tasks"}}'"""
    if is_postgres(where):
        asyncio.run(execute(where, damaged.format("collab.")))
    else:
        with raw(Path(where)) as database:
            database.execute(damaged.format(""))
    refused = run("rename", "tasks", "todos", *options(where))
    assert (refused.exit_code, "damaged" in refused.stderr) == (1, True)
    assert epoch(where) == before

    async def there(storage: Storage) -> None:
        assert await storage.entity(KEY) is not None
        assert (await storage.list_set_aside())[0].key == KEY

    do(where, there)


def test_settings_that_still_say_the_old_name_are_named(tmp_path: Path) -> None:
    config = tmp_path / "collab.toml"
    config.write_text(
        f"""
        data = "data"
        keep_deleted = ["tasks"]
        [collections.tasks]
        [collections.steps]
        mapped = {{ in = "tasks", root = "steps" }}
        [[webhooks]]
        name = "crm"
        url = "http://127.0.0.1:1/"
        secret = "whsec_{"A" * 32}"
        collections = ["tasks"]
        [[keys]]
        key = "0123456789abcdef"
        project = "default"
        rules = {{ "tasks/*" = "read" }}
        """
    )

    async def fill(storage: Storage) -> None:
        await storage.commit([], [fact(1, {}, KEY)])

    do(str(tmp_path / "data"), fill)
    done = run("rename", "tasks", "todos", "--config", str(config))
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "Note: collections.tasks still says tasks",
        "Note: collections.steps.mapped still says tasks",
        "Note: keep_deleted still says tasks",
        "Note: the webhook crm still says tasks",
        "Note: a rule of API key 1 still says tasks",
    ]
