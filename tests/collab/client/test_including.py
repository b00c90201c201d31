"""Included rows through a real server: once and live, with own writes, and with the rights of the caller."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from collab import declaration
from collab.errors import CollabError, InvalidRequest
from tests.collab.client.world import client, until, world
from tests.e2e.guarded import SECRET, mint

TASKS = {
    "tasks": declaration(
        relations={"owner": {"one": "users", "by": "ownerId"}, "comments": {"many": "comments", "by": "taskId"}}
    )
}
QUERY: dict[str, Any] = {
    "order_by": {"title": "asc"},
    "include": {"owner": {"fields": ["name"]}, "comments": {"order_by": {"n": "desc"}, "limit": 2}},
}


def told(rows: Any) -> list[Any]:
    """What is shown of rows: the title, the owner's name, and the numbers of comments."""
    return [
        (row["title"], more["owner"] and more["owner"]["name"], [one["n"] for one in more["comments"]])
        for row, more in zip(rows, rows.included, strict=True)
    ]


def is_told(seen: list[Any], wanted: list[Any]) -> bool:
    return told(seen[-1]) == wanted


def same(seen: dict[int, Any], number: int, fresh: Any) -> bool:
    shown = seen[number]
    return bool((shown, shown.included) == (fresh, fresh.included))


async def test_i6_an_application_reads_and_follows_rows_with_what_is_related_to_them(tmp_path: Path) -> None:
    async with world(tmp_path, collections=TASKS) as (link, _), client(link.address) as made:
        await made.users.create({"id": "u1", "name": "Ada", "secret": 1})
        await made.tasks.create({"id": "t1", "title": "a", "ownerId": "u1"})
        await made.tasks.create({"id": "t2", "title": "b", "ownerId": "u2"})
        for n in range(3):
            await made.comments.create({"id": f"c{n}", "taskId": "t1", "n": n})
        first: Any = await made.tasks.find_many(QUERY)
        assert told(first) == [("a", "Ada", [2, 1]), ("b", None, [])]
        assert first.included[0]["owner"] == {"id": "u1", "name": "Ada"}
        seen: list[Any] = []
        await made.tasks.subscribe(QUERY, seen.append).ready()
        await until(lambda: seen)
        assert told(seen[-1]) == told(first)
        await made.users.update("u1", {"name": "Eve"})
        await until(lambda: told(seen[-1])[0][1] == "Eve")
        await made.users.create({"id": "u2", "name": "Bob"})
        await made.tasks.update("t1", {"ownerId": "u2"})
        await until(lambda: [each[1] for each in told(seen[-1])] == ["Bob", "Bob"])
        await made.comments.update("c2", {"taskId": "t2"})
        await until(lambda: [each[2] for each in told(seen[-1])] == [[1, 0], [2]])
        await made.users.delete("u2")
        await until(lambda: [each[1] for each in told(seen[-1])] == [None, None])
        with pytest.raises(InvalidRequest, match="no relation 'nobody'"):
            await made.tasks.find_many({"include": {"nobody": True}})
        assert (await made.tasks.find_many({})).included is None


async def test_own_writes_to_related_rows_are_shown_before_the_server_has_them(tmp_path: Path) -> None:
    async with world(tmp_path, collections=TASKS) as (link, _), client(link.address) as made:
        await made.users.create({"id": "u1", "name": "Ada"})
        await made.tasks.create({"id": "t1", "title": "a", "ownerId": "u1"})
        await made.comments.create({"id": "c1", "taskId": "t1", "n": 1})
        seen: list[Any] = []
        await made.tasks.subscribe(QUERY, seen.append).ready()
        await until(lambda: seen)
        target, link.target = link.target, None
        link.cut()
        writes = [
            made.users.update("u1", {"name": "Eve"}),
            made.comments.create({"id": "c2", "taskId": "t1", "n": 2}),
            made.comments.update("c1", {"n": 3}),
        ]
        await until(lambda: told(seen[-1]) == [("a", "Eve", [3, 2])])
        assert made.pending == 3
        link.target = target
        for write in writes:
            await write
        await asyncio.sleep(0.1)
        assert told(seen[-1]) == [("a", "Eve", [3, 2])] == told(await made.tasks.find_many(QUERY))


async def test_i4_what_the_caller_may_no_longer_read_goes_and_what_it_may_read_comes(tmp_path: Path) -> None:
    rules: Any = {"tasks/*": "read", "users/*": {"access": "read", "where": {"open": True}}}
    async with (
        world(tmp_path, jwt_secret=SECRET, collections=TASKS) as (link, _),
        client(link.address, token=mint("ada", access={"*/*": "write"})) as ada,
        client(link.address, token=mint("bob", access=rules)) as bob,
    ):
        await ada.users.create({"id": "u1", "name": "Ada", "open": False})
        await ada.comments.create({"id": "c1", "taskId": "t1", "n": 1})
        await ada.tasks.create({"id": "t1", "title": "a", "ownerId": "u1"})
        seen: list[Any] = []
        await bob.tasks.subscribe(QUERY, seen.append).ready()
        await until(lambda: seen)
        assert told(seen[-1]) == [("a", None, [])]
        for is_open, name in ((True, "Ada"), (False, None), (True, "Ada")):
            await ada.users.update("u1", {"open": is_open})
            await until(partial(is_told, seen, [("a", name, [])]))
        await ada.users.update("u1", {"name": "Eve", "open": False})
        await until(lambda: told(seen[-1]) == [("a", None, [])])
        assert not [each for each in seen if "Eve" in str(told(each))]


async def test_i7_at_quiet_two_clients_that_write_show_what_a_fresh_query_finds(tmp_path: Path) -> None:
    random = Random(7)
    async with (
        world(tmp_path, collections=TASKS) as (link, _),
        client(link.address) as one,
        client(link.address, {"binary_protocol": True}) as two,
    ):
        seen: dict[int, Any] = {}
        for number, made in enumerate((one, two)):
            for name in ("tasks", "users", "comments"):
                await made.collection(name).create({"n": number, "title": f"{name}{number}"}, id=f"x{number}")
            query = {"order_by": {"n": "asc"}, "limit": 4, "include": QUERY["include"]}
            await made.tasks.subscribe(query, partial(seen.__setitem__, number)).ready()
        for _ in range(6):
            calls = []
            for _ in range(25):
                made = random.choice((one, two))
                at = made.collection(random.choice(("tasks", "users", "comments")))
                entity = f"x{random.randrange(6)}"
                values = {
                    "n": random.randrange(9),
                    "title": "t",
                    "name": f"name{random.randrange(9)}",
                    "ownerId": f"x{random.randrange(6)}",
                    "taskId": f"x{random.randrange(6)}",
                }
                match random.randrange(4):
                    case 0:
                        calls.append(at.create({"id": entity, **values}))
                    case 1:
                        calls.append(at.delete(entity))
                    case _:
                        some = {name: value for name, value in values.items() if random.random() < 0.4}
                        calls.append(at.update(entity, some))
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert outcome is not None
                assert isinstance(outcome, dict | CollabError), outcome
            fresh = await one.tasks.find_many(query)
            for number in (0, 1):
                await until(partial(same, seen, number, fresh))
