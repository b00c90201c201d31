"""What keeps nodes apart in PostgreSQL, and that each part of it is needed: without it, a test of it fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from collab.names import RoomKey
from collab.storage.base import CommitId, IdempotencyKey, StorageError
from collab.storage.postgres.functions import FUNCTIONS_1
from collab.storage.postgres.node_functions import NODE_FUNCTIONS_1
from collab.storage.postgres.storage import PostgresStorage
from collab.testing.nodes_contract import assert_fenced, assert_made_once, assert_no_holes
from collab.testing.storage_case import KEY, entry, fact, updates
from tests.postgres import PostgresServer

Checker = Callable[[str], Coroutine[Any, Any, None]]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Of a database that holds no record."""
    with postgres.records() as lend:
        yield lend()


@asynccontextmanager
async def joined(url: str, count: int) -> AsyncIterator[list[PostgresStorage]]:
    """This many nodes of one database."""
    nodes = [PostgresStorage(url, opens="join") for _ in range(count)]
    try:
        for node in nodes:
            await node.open()
        yield nodes
    finally:
        for node in nodes:
            await node.close()


@asynccontextmanager
async def locked(url: str, statement: str) -> AsyncIterator[Callable[[int], Coroutine[Any, Any, None]]]:
    """What a statement locks is locked inside the block. Yields what waits until so many others wait for a lock."""
    connection, watching = [await asyncpg.connect(url) for _ in range(2)]

    async def waiting(count: int) -> None:
        while count > await watching.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.005)

    async with connection.transaction():
        await connection.execute(statement)
        yield waiting
    await connection.close()
    await watching.close()


BEFORE_POSITIONS = "SELECT collab.lock_positions_1('{acme}')"
"""Locks what a commit needs to assign positions."""

BEHIND_POSITIONS = "LOCK collab.requests IN EXCLUSIVE MODE"
"""Locks what a commit of named writes needs when it has assigned positions."""


async def the_dead_write_nothing(url: str) -> None:
    async with joined(url, 2) as (first, second):
        await first.commit([entry(b"1")], [fact(1, row=0)])
        await assert_fenced(first, second)


async def a_declaration_waits_for_a_commit_that_has_begun(url: str) -> None:
    async with joined(url, 2) as (first, second):
        await first.commit([entry(b"1")], [fact(1, row=0)])
        async with locked(url, BEFORE_POSITIONS) as waiting:
            commit = asyncio.create_task(first.commit([entry(b"2")], [fact(2, row=0)]))
            await waiting(1)
            declaration = asyncio.create_task(second.declare_dead(first.nid, 0))
            both = asyncio.create_task(waiting(2))
            await asyncio.wait((both, declaration), return_when=asyncio.FIRST_COMPLETED)
            both.cancel()
            seen = updates(await second.load(KEY)) if declaration.done() else None
        assert await declaration
        await asyncio.gather(commit, return_exceptions=True)
        assert seen is None or seen == updates(await second.load(KEY)), "it was committed behind the declaration"
        assert updates(await second.load(KEY)) == [b"1", b"2"]


async def a_commit_that_is_repeated_has_effect_once(url: str) -> None:
    async with joined(url, 1) as (node,):
        await assert_made_once(node, "d1", 1)


async def a_commit_that_is_repeated_while_it_still_runs_has_effect_once(url: str) -> None:
    async with joined(url, 1) as (node,):
        await node.commit([entry(b"1")], [fact(1, row=0)])
        async with locked(url, BEFORE_POSITIONS) as waiting:
            attempts = [
                asyncio.create_task(node.commit([entry(b"2")], [fact(2, row=0)], commit_id=CommitId("w", 1)))
                for _ in range(2)
            ]
            await waiting(2)
        first, second = await asyncio.gather(*attempts)
        assert (list(first.seqs), list(first.positions)) == (list(second.seqs), list(second.positions)) == ([2], [2])
        assert updates(await node.load(KEY)) == [b"1", b"2"]


async def nodes_number_the_events_of_a_project_one_after_the_other(url: str) -> None:
    async with joined(url, 2) as nodes:
        keys = [RoomKey("acme", "tasks", f"t{number}") for number in range(2)]
        await nodes[0].commit([], [fact(1)])
        async with locked(url, BEHIND_POSITIONS) as waiting:
            commits = [
                asyncio.create_task(node.commit([], [fact(1, key=key, request=IdempotencyKey("ada", key.id, b""))]))
                for node, key in zip(nodes, keys, strict=True)
            ]
            await waiting(2)
        assert {(await commit).positions[0] for commit in commits} == {2, 3}


async def nodes_number_the_events_of_a_project_without_holes(url: str) -> None:
    async with joined(url, 4) as (reader, *writers):
        await assert_no_holes(reader, writers, 40)


async def a_living_owner_keeps_its_room(url: str) -> None:
    async with joined(url, 2) as (first, second):
        assert await first.acquire(KEY) == first.nid
        assert await second.acquire(KEY) == first.nid


async def who_has_beaten_is_not_declared_dead(url: str) -> None:
    async with joined(url, 2) as (first, second):
        await first.beat()
        assert not await second.declare_dead(first.nid, 0)
        await first.commit([entry(b"1")])


CHECKERS: list[Checker] = [
    the_dead_write_nothing,
    a_declaration_waits_for_a_commit_that_has_begun,
    a_commit_that_is_repeated_has_effect_once,
    a_commit_that_is_repeated_while_it_still_runs_has_effect_once,
    nodes_number_the_events_of_a_project_one_after_the_other,
    nodes_number_the_events_of_a_project_without_holes,
    a_living_owner_keeps_its_room,
    who_has_beaten_is_not_declared_dead,
]


@pytest.mark.parametrize("check", CHECKERS)
async def test_nodes_are_kept_apart(url: str, check: Checker) -> None:
    await check(url)


@pytest.mark.parametrize(
    ("before", "after", "check"),
    [
        pytest.param(
            "IF gone IS DISTINCT FROM false", "IF false", the_dead_write_nothing, id="the question who is dead"
        ),
        pytest.param(
            "n.nid = me FOR SHARE;",
            "n.nid = me;",
            a_declaration_waits_for_a_commit_that_has_begun,
            id="the lock of the node",
        ),
        pytest.param(
            "IF known = p_number THEN", "IF false THEN", a_commit_that_is_repeated_has_effect_once, id="the receipt"
        ),
        pytest.param(
            "PERFORM pg_advisory_xact_lock(1279487853, me);",
            "",
            a_commit_that_is_repeated_while_it_still_runs_has_effect_once,
            id="the lock of a node's writes",
        ),
        pytest.param(
            "PERFORM collab.lock_positions_1(p_project);",
            "",
            nodes_number_the_events_of_a_project_one_after_the_other,
            id="the lock of the positions",
        ),
        pytest.param(
            "AS n WHERE n.dead)\n            RETURNING",
            "AS n)\n            RETURNING",
            a_living_owner_keeps_its_room,
            id="the owner",
        ),
        pytest.param(" AND b.n = p_beats", "", who_has_beaten_is_not_declared_dead, id="the beats"),
    ],
)
async def test_without_one_of_the_guards_a_test_fails(
    postgres: PostgresServer, before: str, after: str, check: Checker
) -> None:
    url = postgres.database()
    functions = NODE_FUNCTIONS_1 + FUNCTIONS_1
    assert functions.count(before) == 1
    async with joined(url, 1):
        connection = await asyncpg.connect(url)
        await connection.execute(functions.replace(before, after).replace("CREATE FUN", "CREATE OR REPLACE FUN"))
        await connection.close()
    with pytest.raises((AssertionError, StorageError, ValueError, pytest.fail.Exception)):
        await asyncio.wait_for(check(url), 60)


async def test_the_rooms_of_a_node_are_nobodys_though_it_dies_while_another_enters(url: str) -> None:
    async with joined(url, 1) as (old,):
        await old.acquire(KEY)
        connection = await asyncpg.connect(url)
        await connection.execute(
            "INSERT INTO collab.nodes OVERRIDING SYSTEM VALUE VALUES (2, '', '', 0, true, '');"
            "INSERT INTO collab.rooms VALUES ('acme', 'tasks', 'of-the-dead', 2);"
            "ALTER TABLE collab.nodes ALTER nid RESTART WITH 200"
        )
        async with locked(url, "SELECT 1 FROM collab.rooms WHERE nid = 2 FOR UPDATE") as waiting:
            new = PostgresStorage(url, opens="join")
            entering = asyncio.create_task(new.open())
            await waiting(1)
            await connection.execute("UPDATE collab.nodes SET dead = true WHERE nid = 1")
        await connection.close()
        await entering
        try:
            assert await new.acquire(KEY) == new.nid == 200
        finally:
            await new.close()
