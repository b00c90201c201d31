"""Entities that live inside documents of another collection: tasks, as maps in the map `tasks` of each board."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from collab.client import LumenizeClient, Rows
from collab.errors import CollabError, InvalidRequest, NotFound
from tests.e2e.application import application, fields, follow, until, until_found
from tests.e2e.node import Client, Node, NodeError
from tests.e2e.server import Server

DECLARED = {"tasks": {"mapped": {"in": "boards", "root": "tasks"}}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, collections=json.dumps(DECLARED), room_idle_seconds=0.2)
    server.start()
    yield server
    server.stop()


async def board(node: Node, server: Server, name: str, board: str = "b1", kind: str = "hocuspocus-4") -> Client:
    client = await node.client(name, kind, server, f"boards/{board}")  # type: ignore[arg-type]
    await client.wait(synced=True)
    return client


def task(name: str, **fields: Any) -> tuple[Any, ...]:
    """An edit that puts a task on a board."""
    return "set", ["tasks", name], {"$map": fields}


async def test_what_an_editor_does_to_a_board_are_events_of_its_tasks(node: Node, server: Server) -> None:
    async with application(server) as app:
        told = await follow(app, "tasks")
        boards = await follow(app, "boards")
        editor = await board(node, server, "editor")
        await editor.change(task("t1", title="one", done=False), task("t2", title="two"))
        created = sorted((await told.count(2)), key=lambda event: event.id)
        assert [(event.type, event.id, event.version) for event in created] == [
            ("created", "b1:t1", 1),
            ("created", "b1:t2", 1),
        ]
        assert fields(created[0].data) == {"title": "one", "done": False}

        await editor.change(("set", ["tasks", "t1", "done"], True))
        updated = (await told.count(3))[2]
        assert (updated.id, updated.changes) == ("b1:t1", {"done": {"from": False, "to": True}})

        await editor.change(("set", ["tasks", "t1", "tags"], {"$array": ["a"]}))
        assert (await told.count(4))[3].changes == {"tags": {"to": ["a"]}}
        await editor.change(("insert", ["tasks", "t1", "tags"], 1, ["b"]))
        assert (await told.count(5))[4].changes == {"tags": {"from": ["a"], "to": ["a", "b"]}}

        await editor.change(("delete", ["tasks", "t1"]))
        deleted = (await told.count(6))[5]
        assert (deleted.type, deleted.id) == ("deleted", "b1:t1")
        with pytest.raises(NotFound):
            await app.tasks.find_by_id("b1:t1")

        await editor.change(task("t1", title="again"))
        restored = (await told.count(7))[6]
        assert (restored.type, restored.id, restored.version) == ("restored", "b1:t1", 6)
        assert fields(restored.data) == {"title": "again"}
        assert {event.id for event in boards.events} <= {"b1"}
        assert all(not event.changes for event in boards.events), "tasks are no content of their board"


async def test_what_an_application_does_to_tasks_an_editor_of_the_board_sees(node: Node, server: Server) -> None:
    async with application(server) as app:
        editor = await board(node, server, "editor", kind="y-websocket-3")
        await app.tasks.create({"title": "one", "nested": {"a": [1]}}, id="b1:t1")
        await editor.holds({"t1": {"title": "one", "nested": {"a": [1]}}}, root="tasks")
        await app.tasks.update("b1:t1", {"title": "two"}, unset=["nested"])
        await editor.holds({"t1": {"title": "two"}}, root="tasks")
        await app.tasks.create({"title": "other"}, id="b1:t2")
        await app.tasks.delete("b1:t1")
        await editor.holds({"t2": {"title": "other"}}, root="tasks")
        restored = await app.tasks.restore("b1:t1")
        assert fields(restored) == {"title": "two"}
        await editor.holds({"t1": {"title": "two"}, "t2": {"title": "other"}}, root="tasks")
        await app.tasks.restore("b1:t1", version=1)
        await editor.holds({"t1": {"title": "one", "nested": {"a": [1]}}, "t2": {"title": "other"}}, root="tasks")
        history = await app.tasks.history("b1:t1")
        assert [event.type for event in history] == ["updated", "restored", "deleted", "updated", "created"]
        assert all(event.conflicts == () for event in history)

        for name in ("nowhere", "b1:", ":t1"):
            with pytest.raises(CollabError) as refused:
                await app.tasks.create({"title": "x"}, id=name)
            assert refused.value.code == "INVALID_REQUEST" or refused.value.code == "NOT_FOUND"


async def test_live_queries_run_over_the_tasks_of_all_boards(node: Node, server: Server) -> None:
    async with application(server) as app:
        shown: list[Rows] = []
        open_tasks = {"where": {"done": False}, "order_by": {"rank": "asc"}, "limit": 3}
        await app.tasks.subscribe(open_tasks, shown.append).ready()
        one, two = await board(node, server, "one", "b1"), await board(node, server, "two", "b2")
        await one.change(task("x", done=False, rank=2), task("y", done=True, rank=0))
        await two.change(task("x", done=False, rank=1))
        await app.tasks.create({"done": False, "rank": 3}, id="b3:x")
        await app.tasks.create({"done": False, "rank": 4}, id="b3:y")

        def ids() -> list[str]:
            return [row["id"] for row in shown[-1]] if shown else []

        await until(lambda: ids() == ["b2:x", "b1:x", "b3:x"], ids)
        await two.change(("set", ["tasks", "x", "done"], True))
        await until(lambda: ids() == ["b1:x", "b3:x", "b3:y"], ids)
        await one.change(("delete", ["tasks", "x"]), ("set", ["tasks", "y", "done"], False))
        await until(lambda: ids() == ["b1:y", "b3:x", "b3:y"], ids)
        found = await app.tasks.find_many(open_tasks)
        assert list(found) == list(shown[-1])
        assert await app.tasks.count({"where": {"id": {"startsWith": "b3:"}}}) == 2
        # deleting a board is not deleting its tasks one by one
        server.kill()
        server.start()
        await until_found(lambda: app.tasks.find_many(open_tasks), lambda rows: [row["id"] for row in rows] == ids())


async def test_concurrent_writes_to_a_task_are_conflicts_of_the_task(node: Node, server: Server) -> None:
    async with application(server) as app:
        told = await follow(app, "tasks")
        one, two = await board(node, server, "one"), await board(node, server, "two", kind="y-websocket-3")
        await one.change(task("t1", title="base", note="base"))
        await two.holds({"t1": {"title": "base", "note": "base"}}, root="tasks")
        await two.disconnect()
        await two.change(("set", ["tasks", "t1", "title"], "two"))
        await one.change(("set", ["tasks", "t1", "title"], "one"))
        await told.count(2)
        await two.connect()
        await node.converge([one, two])
        values = (await one.values("tasks"))["t1"]
        event = await told.last(lambda event: event.conflicts)
        (conflict,) = event.conflicts
        assert (event.id, conflict.field, conflict.theirs, conflict.yours) == ("b1:t1", "title", "one", "two")
        assert conflict.winner == ("yours" if values["title"] == "two" else "theirs")
        assert fields(event.data) == values

        known = await app.tasks.find_by_id("b1:t1")
        await one.change(("set", ["tasks", "t1", "note"], "editor"))
        await until_found(lambda: app.tasks.find_by_id("b1:t1"), lambda found: found["note"] == "editor")
        written = await app.tasks.update("b1:t1", {"note": "mine"}, version=known.version)
        assert [(met.field, met.theirs, met.winner) for met in written.conflicts] == [("note", "editor", "yours")]


async def test_a_task_that_is_deleted_while_it_is_edited_elsewhere(node: Node, server: Server) -> None:
    async with application(server) as app:
        one, two = await board(node, server, "one"), await board(node, server, "two")
        await one.change(task("t1", title="base"))
        await two.holds({"t1": {"title": "base"}}, root="tasks")
        await two.disconnect()
        await two.change(("set", ["tasks", "t1", "title"], "late"))
        await one.change(("delete", ["tasks", "t1"]))
        await until_found(lambda: app.tasks.history("b1:t1"), lambda events: events and events[0].type == "deleted")
        await two.connect()
        await node.converge([one, two])
        assert await one.values("tasks") == {}
        assert await app.tasks.count() == 0
        with pytest.raises(NotFound):
            await app.tasks.update("b1:t1", {"title": "x"})


async def test_a_board_that_is_deleted_takes_its_tasks_along_whoever_has_them_open(node: Node, server: Server) -> None:
    async with application(server) as app:
        editor = await board(node, server, "editor")
        tab = await board(node, server, "tab", kind="y-websocket-3")
        await editor.change(task("t1", title="one"), task("t2", title="two"))
        await tab.holds({"t1": {"title": "one"}, "t2": {"title": "two"}}, root="tasks")
        await until_found(lambda: app.tasks.count(), lambda found: found == 2)
        told = await follow(app, "tasks")
        one = await follow(app, "tasks", "b1:t1")
        shown: list[Rows] = []
        await app.tasks.subscribe({}, shown.append).ready()
        await until(lambda: shown and len(shown[-1]) == 2)

        await app.boards.delete("b1")
        assert [(event.type, event.id) for event in await told.count(2)] == [("deleted", "b1:t1"), ("deleted", "b1:t2")]
        assert [event.type for event in await one.count(1)] == ["deleted"]
        await until(lambda: not shown[-1], lambda: shown[-1])
        await until_found(tab.summary, lambda summary: [close["code"] for close in summary["closes"]] == [4410])
        await until_found(editor.summary, lambda summary: summary["denied"] or 4410 in summary["closed"])
        assert list(await app.tasks.find_many()) == []
        with pytest.raises(NotFound):
            await app.tasks.find_by_id("b1:t1")

        # what an old page still holds, and adds to it, is not let in while the board is gone, nor brought back later
        await tab.change(task("late", title="late"), ("set", ["tasks", "t1", "title"], "late"))
        await app.boards.create({"title": "new"}, id="b1")
        await tab.connect()
        again = await board(node, server, "again")
        await until_found(lambda: app.tasks.find_many(), lambda rows: [row["id"] for row in rows] == ["b1:late"])
        await node.converge([tab, again])
        assert await again.values("tasks") == {"late": {"title": "late"}}
        assert await tab.values("tasks") == {"late": {"title": "late"}}


async def test_who_was_away_is_told_of_the_tasks_that_went_with_their_board(node: Node, server: Server) -> None:
    async with application(server) as app, application(server) as other:
        told = await follow(other, "tasks")
        await app.boards.create({}, id="b1")
        for number in range(3):
            await app.tasks.create({"n": number}, id=f"b1:t{number}")
        await told.count(3)
        server.kill()
        server.start()
        await until_found(lambda: app.boards.delete("b1"), lambda _: True)
        await told.count(6)
        assert [(event.type, event.id) for event in told.events[3:]] == [("deleted", f"b1:t{n}") for n in range(3)]
        assert [event.version for event in told.events] == [1, 1, 1, 2, 2, 2]


async def test_a_kill_while_a_board_is_deleted_leaves_no_task_without_its_board(node: Node, server: Server) -> None:
    editor = await board(node, server, "editor")
    count = 2000
    await editor.change(*(task(f"t{number}", n=number) for number in range(count)))
    async with application(server) as app:
        await until_found(lambda: app.tasks.count(), lambda found: found == count)
        for operation in (app.boards.delete, app.boards.restore):
            told = await follow(app, "tasks")

            async def attempt(operation: Any = operation) -> None:
                with suppress(CollabError):
                    await operation("b1")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(attempt)
                await told.count(1)
                server.kill()
                server.start()
                # the call is made again by the client: so either it is done, or it was given up
            left = 0 if (await app.boards.history("b1", limit=1))[0].type == "deleted" else count
            await until_found(app.tasks.count, left.__eq__)


async def equal_to_boards(app: LumenizeClient, boards: dict[str, Client]) -> bool:
    held = {
        f"{name}:{key}": value
        for name, client in boards.items()
        for key, value in (await client.values("tasks")).items()
    }
    return {row["id"]: fields(row) for row in await app.tasks.find_many()} == held


async def change_if_there(client: Client, edit: tuple[Any, ...]) -> None:
    """Edit a task unless somebody else has just deleted it."""
    try:
        await client.change(edit)
    except NodeError as error:
        assert "undefined" in str(error)  # noqa: PT017 - it is what JavaScript says of a map that is not there


@pytest.mark.parametrize("seed", range(3))
async def test_at_quiet_tasks_are_what_the_boards_hold(node: Node, server: Server, seed: int) -> None:
    random = Random(seed)
    async with application(server) as app:
        shown: list[Rows] = []
        told = await follow(app, "tasks")
        await app.tasks.subscribe({}, shown.append).ready()
        editors = {
            name: [
                await board(node, server, f"{name}-{n}", name, kind)
                for n, kind in enumerate(("hocuspocus-4", "y-websocket-3"))
            ]
            for name in ("b1", "b2")
        }
        away: set[Client] = set()
        for step in range(80):
            name, key = random.choice(["b1", "b2"]), random.choice(["x", "y", "z"])
            client = random.choice(editors[name])
            held = await client.values("tasks")
            chance = random.random()
            if chance < 0.15:
                with suppress(NotFound, InvalidRequest):  # it may be there, or not, or deleted
                    if random.random() < 0.5:
                        await app.tasks.update(f"{name}:{key}", {"n": step})
                    elif random.random() < 0.5:
                        await app.tasks.delete(f"{name}:{key}")
                    else:
                        await app.tasks.restore(f"{name}:{key}")
            elif chance < 0.25 and client not in away:
                await client.disconnect()
                away.add(client)
            elif chance < 0.4 and client in away:
                await client.connect()
                away.discard(client)
            elif key not in held or random.random() < 0.1:
                await client.change(task(key, n=step, tags={"$array": [step]}))
            elif random.random() < 0.2:
                await client.change(("delete", ["tasks", key]))
            elif random.random() < 0.3:
                await change_if_there(client, ("set", ["tasks", key, "tags"], {"$array": [step]}))
                await change_if_there(client, ("insert", ["tasks", key, "tags"], 0, ["first"]))
            else:
                await change_if_there(client, ("set", ["tasks", key, random.choice(["n", "m"])], step))
        for client in away:
            await client.connect()
        for clients in editors.values():
            await node.converge(clients)
        one_each = {name: clients[0] for name, clients in editors.items()}
        await until_found(lambda: equal_to_boards(app, one_each), bool)
        rows = await app.tasks.find_many()
        await until(lambda: list(shown[-1]) == list(rows), lambda: (shown[-1], rows))
        versions: dict[str, int] = {}
        for event in told.events:
            assert event.version == versions.get(event.id, 0) + 1
            versions[event.id] = event.version
        assert {
            row["id"]: version for row, version in zip(rows, rows.versions, strict=True)
        }.items() <= versions.items()
