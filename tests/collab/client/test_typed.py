"""A collection with a class, through a real server: rows, related rows and writes are its instances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from collab import declaration
from collab.client import Rows
from collab.errors import CollabError, InvalidRequest, NotFound, ValidationFailed
from tests.collab.client.world import client, until, world

TASKS = {
    "tasks": declaration(
        relations={"owner": {"one": "users", "by": "ownerId"}, "comments": {"many": "comments", "by": "taskId"}}
    )
}


class Model(pydantic.BaseModel):
    id: str = ""
    title: str
    rank: int = 0


class Struct(msgspec.Struct):
    title: str
    id: str = ""
    rank: int = 0


@dataclass
class Plain:
    title: str
    id: str = ""
    rank: int = 0


class Dict(TypedDict, total=False):
    id: str
    title: str
    rank: int


class User(msgspec.Struct):
    id: str
    name: str


def member(row: Any, name: str) -> Any:
    return row[name] if isinstance(row, dict) else getattr(row, name)


@pytest.mark.parametrize("kind", [Model, Struct, Plain, Dict])
async def test_operations_take_and_give_instances(tmp_path: Path, kind: Any) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as made:
        tasks = made.collection("tasks", kind)
        assert tasks.name == "tasks"
        first = await tasks.create(kind(title="a"), id="t1")
        assert isinstance(first, dict if kind is Dict else kind)
        assert (member(first, "id"), member(first, "title")) == ("t1", "a")
        assert tasks.seen("t1") == 1
        assert member(await tasks.update("t1", {"rank": 5}), "rank") == 5
        assert tasks.seen("t1") == 2
        assert member(await tasks.find_by_id("t1", version=1), "title") == "a"
        assert await tasks.count({"where": {"rank": 5}}) == 1
        [group] = await tasks.aggregate({"sum": "rank"})
        assert group["sum"] == {"rank": 5}
        created = await tasks.create_many([kind(id="t2", title="b"), {"id": "t1", "title": "again"}])
        assert [isinstance(each, CollabError) for each in created] == [False, True]
        updated = await tasks.update_many([{"id": "t2", "changes": {"rank": 7}}])
        assert [member(each, "rank") for each in updated] == [7]
        rows = await tasks.find_many({"order_by": {"title": "desc"}, "limit": 1})
        assert isinstance(rows, Rows)
        assert [member(row, "title") for row in rows] == ["b"]
        assert rows.versions == [2]
        assert rows.next is not None
        seen: list[Any] = []
        await tasks.subscribe({"order_by": {"title": "asc"}}, seen.append).ready()
        await until(lambda: seen and [member(row, "title") for row in seen[-1]] == ["a", "b"])
        groups: list[Any] = []
        await tasks.subscribe_aggregate({}, groups.append).ready()
        await until(lambda: groups and groups[-1][0]["count"] == 2)
        assert member(await tasks.delete("t1"), "title") == "a"
        await until(lambda: [member(row, "title") for row in seen[-1]] == ["b"])
        assert member(await tasks.restore("t1"), "title") == "a"
        assert [member(each, "id") for each in await tasks.delete_many(["t1", "t2"])] == ["t1", "t2"]
        with pytest.raises(NotFound):
            await tasks.find_by_id("t3")


async def test_related_rows_are_instances_of_the_classes_that_are_given_for_them(tmp_path: Path) -> None:
    async with world(tmp_path, collections=TASKS) as (link, _), client(link.address) as made:
        await made.users.create({"id": "u1", "name": "Ada"})
        await made.comments.create({"id": "c1", "taskId": "t1"})
        tasks = made.collection("tasks", Struct, related={"owner": User})
        await made.tasks.create({"id": "t1", "title": "a", "ownerId": "u1"})
        await tasks.create(Struct("b", id="t2"))
        rows = await tasks.find_many({"order_by": {"title": "asc"}, "include": {"owner": True, "comments": True}})
        assert rows.included is not None
        assert [each["owner"] for each in rows.included] == [User("u1", "Ada"), None]
        assert [[one["id"] for one in each["comments"]] for each in rows.included] == [["c1"], []]


async def test_a_row_that_does_not_fit_fails_what_reads_it_and_ends_a_subscription(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as made:
        tasks = made.collection("tasks", Struct)
        seen: list[Any] = []
        errors: list[CollabError] = []
        await tasks.subscribe({}, seen.append, on_error=errors.append).ready()
        lists = tasks.subscribe({})
        await until(lambda: seen)
        assert await anext(lists) == []
        await made.tasks.create({"id": "t1", "title": 1})
        await until(lambda: errors)
        assert [type(error) for error in errors] == [ValidationFailed]
        with pytest.raises(ValidationFailed, match="t1: this is no Struct"):
            await anext(lists)
        with pytest.raises(ValidationFailed, match="t1: this is no Struct"):
            await tasks.find_many()
        [outcome] = await tasks.update_many([{"id": "t1", "changes": {"rank": 1}}])
        assert isinstance(outcome, ValidationFailed)
        await made.tasks.update("t1", {"title": "a"})
        assert await tasks.find_many() == [Struct("a", "t1", 1)]
        assert seen == [[]]


async def test_a_class_that_raises_what_it_likes_ends_no_connection(tmp_path: Path) -> None:
    class Broken(pydantic.BaseModel):
        id: str

        @pydantic.field_validator("id")
        @classmethod
        def fails(cls, value: str) -> str:
            raise KeyError(value)

    async with world(tmp_path) as (link, _), client(link.address) as made:
        lost: list[object] = []
        made.on_disconnect(lambda: lost.append(None))
        tasks = made.collection("tasks", Broken)
        errors: list[CollabError] = []
        await tasks.subscribe({}, print, on_error=errors.append).ready()
        with pytest.raises(ValidationFailed, match="t1: this is no Broken: 't1'"):
            await tasks.create({"id": "t1"})
        await until(lambda: errors)
        assert [type(error) for error in errors] == [ValidationFailed]
        with pytest.raises(ValidationFailed, match="t1: this is no Broken: 't1'"):
            await tasks.find_by_id("t1")
        assert lost == []


async def test_what_one_reader_changes_in_an_instance_no_other_sees(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as made:
        tasks = made.collection("tasks", Model)
        call = tasks.create(Model(id="t1", title="a"))
        (await call).title = "changed"
        assert (await call).title == "a"
        seen: list[Rows[Model]] = []

        def change(rows: Rows[Model]) -> None:
            rows[0].title = "changed"

        tasks.subscribe({}, change)
        tasks.subscribe({}, seen.append)
        await until(lambda: seen)
        assert seen[0][0].title == "a"


async def test_a_class_that_no_row_can_be_of_is_refused_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as made:
        with pytest.raises(InvalidRequest, match="is no pydantic model, msgspec struct, dataclass or TypedDict"):
            made.collection("tasks", int)
        with pytest.raises(InvalidRequest, match="is no pydantic model"):
            made.collection("tasks", Struct, related={"owner": str})
