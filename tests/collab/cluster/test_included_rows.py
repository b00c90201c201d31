"""Included rows at any node: once over HTTP, and live at one that owns none of the documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from collab import declaration
from collab.client import LumenizeClient
from tests.collab.cluster.entries import Http
from tests.collab.cluster.nodes_world import Node, World, cluster, until

TASKS = {
    "tasks": declaration(
        relations={"owner": {"one": "users", "by": "ownerId"}, "comments": {"many": "comments", "by": "taskId"}}
    )
}
INCLUDE: dict[str, Any] = {
    "owner": {"fields": ["name"]},
    "comments": {"where": {"hidden": None}, "orderBy": {"n": "desc"}, "limit": 2},
}
QUERY: dict[str, Any] = {"orderBy": {"title": "asc"}, "include": INCLUDE}
ALL = {"*/*": "write"}
SOME = {"tasks/*": "read", "comments/*": "read", "users/*": {"access": "read", "where": {"open": True}}}
"""Rights that a row of ``users`` decides about."""
NAMES = ("tasks/a", "tasks/b", "users/ada", "users/bob", "comments/1", "comments/2", "comments/3")


@pytest.fixture(params=["in memory", "on databases"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Three nodes: who owns all documents, who writes them, who reads them."""
    options: dict[str, Any] = {"jwt_secret": "s" * 32, "collections": TASKS, "content_event_seconds": 0.05}
    if request.param == "in memory":
        async with cluster(3, **options) as found:
            yield found
    else:
        redis = request.getfixturevalue("redis")
        with request.getfixturevalue("postgres").records() as lend:
            async with cluster(3, database=lend(), redis=redis.url, **options) as found:
                yield found


@asynccontextmanager
async def client(node: Node, access: Mapping[str, Any] = ALL) -> AsyncIterator[LumenizeClient]:
    async with LumenizeClient(f"http://{node.address}", token=lambda: node.collab.mint("ann", access=access)) as made:
        yield made


async def fill(owner: Node, writer: LumenizeClient) -> None:
    """Two tasks with their people and comments, all of which ``owner`` keeps open."""
    for name in NAMES:
        await owner.opens(name)
    await writer.users.create({"id": "ada", "name": "Ada", "open": True})
    await writer.users.create({"id": "bob", "name": "Bob", "open": True})
    await writer.tasks.create({"id": "a", "title": "a", "ownerId": "ada"})
    await writer.tasks.create({"id": "b", "title": "b", "ownerId": "nobody"})
    for n in (1, 2, 3):
        await writer.comments.create({"id": str(n), "taskId": "a", "n": n})


class Watched:
    """The rows of the query as a client follows them."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def show(self, rows: Any) -> None:
        self.told.append(
            [
                (row["id"], more["owner"] and more["owner"]["name"], [one["n"] for one in more["comments"]])
                for row, more in zip(rows, rows.included, strict=True)
            ]
        )

    async def shows(self, *wanted: tuple[str, str | None, list[int]]) -> None:
        """Wait until these rows are shown: id, name of the owner, numbers of the comments."""
        await until(lambda: self.told and self.told[-1] == list(wanted))


async def test_i6_i9_a_node_that_owns_none_of_the_documents_follows_what_is_related_to_its_rows(world: World) -> None:
    owner, through, reader = world.nodes
    async with client(through) as writer, client(reader) as follower:
        await fill(owner, writer)
        seen = Watched()
        await follower.tasks.subscribe(QUERY, seen.show).ready()
        await seen.shows(("a", "Ada", [3, 2]), ("b", None, []))

        await writer.users.update("ada", {"name": "Eve"})
        await seen.shows(("a", "Eve", [3, 2]), ("b", None, []))
        await writer.comments.update("3", {"taskId": "b"})  # leaves one list for another; one behind the limit follows
        await seen.shows(("a", "Eve", [2, 1]), ("b", None, [3]))
        await writer.comments.update("3", {"taskId": "a"})
        await seen.shows(("a", "Eve", [3, 2]), ("b", None, []))
        await writer.comments.update("2", {"hidden": True})
        await seen.shows(("a", "Eve", [3, 1]), ("b", None, []))
        await writer.comments.update("2", {"n": 4}, unset=["hidden"])
        await seen.shows(("a", "Eve", [4, 3]), ("b", None, []))
        await writer.comments.delete("3")
        await seen.shows(("a", "Eve", [4, 1]), ("b", None, []))
        await writer.comments.restore("3")
        await seen.shows(("a", "Eve", [4, 3]), ("b", None, []))

        await writer.tasks.update("b", {"ownerId": "bob"})  # a key that nobody has read before
        await seen.shows(("a", "Eve", [4, 3]), ("b", "Bob", []))
        await writer.users.delete("bob")
        await seen.shows(("a", "Eve", [4, 3]), ("b", None, []))
        await writer.users.restore("bob")
        await seen.shows(("a", "Eve", [4, 3]), ("b", "Bob", []))
        await writer.tasks.delete("a")
        await seen.shows(("b", "Bob", []))
        await writer.comments.update("1", {"n": 5})
        await writer.tasks.restore("a")
        await seen.shows(("a", "Eve", [5, 4]), ("b", "Bob", []))
        for name in NAMES:
            assert [node.has_open(name) for node in world.nodes] == [True, False, False]

        await world.kill(owner)
        await writer.users.update("ada", {"name": "Ada"})
        await writer.comments.update("1", {"taskId": "b"})
        await seen.shows(("a", "Ada", [4, 3]), ("b", "Bob", [5]))


async def test_i4_a_related_row_that_the_reader_may_see_no_longer_goes_at_its_node(world: World) -> None:
    owner, through, reader = world.nodes
    async with client(through) as writer, client(reader, SOME) as follower:
        await fill(owner, writer)
        seen = Watched()
        await follower.tasks.subscribe(QUERY, seen.show).ready()
        await seen.shows(("a", "Ada", [3, 2]), ("b", None, []))
        await writer.users.update("ada", {"open": False, "name": "Eve"})
        await seen.shows(("a", None, [3, 2]), ("b", None, []))
        await writer.users.update("ada", {"open": True, "name": "Ada"})
        await seen.shows(("a", "Ada", [3, 2]), ("b", None, []))
        assert "Eve" not in str(seen.told)


async def test_i3_i4_each_node_answers_over_http_with_the_same_related_rows(world: World) -> None:
    owner, through, _ = world.nodes
    async with client(through) as writer:
        await fill(owner, writer)
        await writer.comments.update("3", {"taskId": "b"})
        await writer.users.update("ada", {"open": False})
    for access, people in ((ALL, {"ada": [{"id": "ada", "name": "Ada"}]}), (SOME, {})):
        entries = [Http(node, "ann", access) for node in world.nodes]
        found = [await entry.call("query", body=QUERY) for entry in entries]
        listed = [
            await entry.call(
                "list", params={"orderBy": "title", "include": '{"owner": true, "comments": {"limit": 2}}'}
            )
            for entry in entries
        ]
        assert [found[0]] * 3 == found
        assert [listed[0]] * 3 == listed
        included = found[0]["included"]
        assert [row["id"] for row in found[0]["rows"]] == ["a", "b"]
        assert included["owner"]["rows"] == people
        comments = {key: [row["n"] for row in rows] for key, rows in included["comments"]["rows"].items()}
        assert comments == {"a": [2, 1], "b": [3]}
        assert listed[0]["included"]["owner"]["rows"].keys() == people.keys()
        await asyncio.gather(*(entry.close() for entry in entries))
