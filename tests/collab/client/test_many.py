"""Several writes in one request, against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collab.client import Event, Rows
from collab.errors import CollabError, Conflict, InvalidRequest, NotFound
from collab.records.declaration import declaration
from tests.collab.client.world import client, until, world


def kinds(outcomes: list[Any]) -> list[str]:
    return [type(outcome).__name__ for outcome in outcomes]


async def test_each_write_has_its_own_outcome(tmp_path: Path) -> None:
    declared = declaration({"type": "object", "properties": {"n": {"type": "integer"}}})
    async with world(tmp_path, collections={"tasks": declared}) as (link, _), client(link.address) as ann:
        created: list[Any] = await ann.tasks.create_many([{"id": "a", "n": 1}, {"id": "b", "n": "two"}, {"n": 3}])
        assert kinds(created) == ["Entity", "ValidationFailed", "Entity"]
        assert created[0]["n"] == 1
        again = await ann.tasks.create_many([{"id": "a"}, {"id": "c"}])
        assert kinds(again) == ["Conflict", "Entity"]
        await ann.tasks.update("a", {"n": 2})
        updated: list[Any] = await ann.tasks.update_many(
            [
                {"id": "a", "changes": {"n": 5}, "version": 1, "on_conflict": "reject"},
                {"id": "c", "changes": {"x": 1}},
                {"id": "c2", "changes": {"x": 1}},
            ]
        )
        assert kinds(updated) == ["Entity", "Entity", "NotFound"]
        assert (updated[0].version, updated[1]["x"]) == (3, 1)
        deleted = await ann.tasks.delete_many(["a", "b", "c"])
        assert kinds(deleted) == ["Entity", "NotFound", "Entity"]
        assert not ann.pending


async def test_an_empty_id_is_refused_however_an_entity_is_created_and_not_replaced_by_a_random_one(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as ann:
        with pytest.raises(InvalidRequest):
            await ann.tasks.create({}, id="")
        assert kinds(await ann.tasks.create_many([{"id": ""}])) == ["InvalidRequest"]
        with pytest.raises(InvalidRequest):
            await ann.transaction().create("tasks", {"id": ""}).commit()
        assert await ann.tasks.count() == 0


async def test_what_nobody_awaits_tells_its_errors_to_the_client(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as ann:
        errors: list[CollabError] = []
        ann.on_error(errors.append)
        await ann.tasks.create({"id": "a"})
        ann.tasks.create_many([{"id": "a"}, {"id": "b"}])
        await ann.saved()
        await until(lambda: [type(error) for error in errors] == [Conflict])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tasks: tasks.create_many([{"id": "a"}, 7]),
        lambda tasks: tasks.create_many([{"id": 7}]),
        lambda tasks: tasks.create({"id": 0}),
        lambda tasks: tasks.create_many([{"a": object()}]),
        lambda tasks: tasks.create_many([{"id": "a"}, {"id": "a"}]),
        lambda tasks: tasks.create_many([{}] * 1001),
        lambda tasks: tasks.update_many([{"changes": {}}]),
        lambda tasks: tasks.update_many([{"id": "a", "change": {}}]),
        lambda tasks: tasks.update_many([{"id": "a", "changes": {}, "version": "1"}]),
        lambda tasks: tasks.delete_many("ab"),
        lambda tasks: tasks.delete_many([7]),
    ],
)
async def test_what_makes_no_sense_is_refused_at_once(tmp_path: Path, wrong: Any) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as ann:
        with pytest.raises(InvalidRequest):
            wrong(ann.tasks)
        assert not ann.pending


async def test_they_wait_for_a_connection_are_shown_and_have_effect_once(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, app), client(link.address) as ann:
        await ann.tasks.create({"id": "there", "n": 0})
        shown: list[Rows] = []
        rows = ann.tasks.subscribe({"where": {}, "orderBy": {"id": "asc"}}, shown.append)
        await rows.ready()
        await until(lambda: bool(shown))
        events: list[Event] = []
        async with client(link.address) as bob:
            await bob.tasks.subscribe("*", events.append).ready()
            link.answers = False  # the server makes them, and the client does not learn of it
            call = ann.tasks.create_many([{"id": "a", "n": 1}, {"id": "b", "n": 2}])
            more = ann.tasks.update_many([{"id": "there", "changes": {"n": 3}}, {"id": "none", "changes": {"n": 4}}])
            await until(lambda: bool(shown) and [row["n"] for row in shown[-1]] == [1, 2, 3])
            assert ann.pending == 4
            await until_made(app)
            link.cut()
            link.answers = True
            assert [entity["n"] for entity in await call if not isinstance(entity, CollabError)] == [1, 2]
            first, second = await more
            assert isinstance(second, NotFound)
            assert not isinstance(first, CollabError)
            assert first.version == 2
            await until(lambda: len(events) == 3)


async def test_a38_a_transaction_makes_all_of_its_writes_or_none(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as ann:
        made = await ann.transaction().create("tasks", {"n": 1}, id="a").create("drafts", {"id": "d"}).commit()
        assert [(entity["id"], entity.version) for entity in made] == [("a", 1), ("d", 1)]
        failing = ann.transaction().update("tasks", "a", {"n": 2}).delete("drafts", "d").create("tasks", {}, id="b")
        with pytest.raises(NotFound) as met:
            await failing.update("tasks", "none", {}).commit()
        assert met.value.details == {"write": 3}
        assert (await ann.tasks.find_by_id("a"))["n"] == 1
        assert await ann.drafts.count() == 1
        seen = await ann.tasks.find_by_id("a")
        async with client(link.address) as bob:
            await bob.tasks.update("a", {"n": 7})
        careful = ann.transaction().create("tasks", {}, id="b")
        with pytest.raises(Conflict):
            await careful.update("tasks", "a", {"n": 2}, version=seen.version, on_conflict="reject").commit()
        assert await ann.tasks.count() == 1
        done = await ann.transaction().update("tasks", "a", {"x": 1}, unset=["n"]).delete("drafts", "d").commit()
        assert (done[0]["x"], "n" in done[0], done[1].version) == (1, False, 2)
        assert not ann.pending


async def test_a38_a39_a_transaction_waits_is_shown_and_has_effect_once(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, app), client(link.address) as ann:
        await ann.tasks.create({"id": "there", "n": 0})
        shown: list[Rows] = []
        await ann.tasks.subscribe({"where": {}, "orderBy": {"id": "asc"}}, shown.append).ready()
        await until(lambda: bool(shown))
        link.answers = False
        call = ann.transaction().create("tasks", {"n": 1}, id="a").create("tasks", {"n": 2}, id="b").commit()
        more = ann.transaction().update("tasks", "there", {"n": 3}).update("tasks", "a", {"n": 9}).commit()
        await until(lambda: [row["n"] for row in shown[-1]] == [9, 2, 3])
        assert ann.pending == 4
        await until_made(app)
        link.cut()
        link.answers = True
        assert [entity.version for entity in await call] == [1, 1]
        assert [entity.version for entity in await more] == [2, 2]
        refused = ann.transaction().update("tasks", "there", {"n": 4}).create("tasks", {}, id="a").commit()
        await until(lambda: [row["n"] for row in shown[-1]] == [9, 2, 4])
        with pytest.raises(Conflict):
            await refused
        await until(lambda: [row["n"] for row in shown[-1]] == [9, 2, 3])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda transaction: transaction.create("tasks", 7),
        lambda transaction: transaction.create("tasks", {"a": object()}),
        lambda transaction: transaction.create(7, {}).commit(),
        lambda transaction: transaction.update("tasks", 7, {}),
        lambda transaction: transaction.update("tasks", "a", {}, unset="n"),
        lambda transaction: transaction.delete("tasks", 7).commit(),
        lambda transaction: transaction.create("tasks", {}, id="a").delete("tasks", "a").commit(),
    ],
)
async def test_a_transaction_that_makes_no_sense_is_refused_at_once(tmp_path: Path, wrong: Any) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as ann:
        with pytest.raises(InvalidRequest):
            wrong(ann.transaction())
        assert not ann.pending


async def until_made(app: Any) -> None:
    """Wait until the server has made the creations."""
    tasks = app.collection("tasks")
    while await tasks.count({"where": {"id": {"in": ["a", "b"]}}}) < 2:
        pass
