"""Several writes in one request: each has its own outcome."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from collab import Access, Rule
from collab.errors import (
    CollabError,
    Conflict,
    IdempotencyKeyReused,
    InvalidName,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ValidationFailed,
)
from collab.records.declaration import declaration
from collab.storage.base import CommitId, Committed
from collab.storage.memory import MemoryStorage
from collab.wire.realtime.values import MOST_WRITES, CreateOne, DeleteOne, UpdateOne, Written
from tests.collab.records.test_records import caller, listen, running


class Counting(MemoryStorage):
    """Counts the commits that have events."""

    commits = 0

    async def commit(self, batch: Any, facts: Any = (), *, commit_id: CommitId | None = None) -> Committed:
        self.commits += bool(facts)
        return await super().commit(batch, facts, commit_id=commit_id)


def kinds(outcomes: list[Written | CollabError]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


async def test_a37_each_write_has_its_own_outcome_in_order() -> None:
    collections = {"tasks": declaration({"type": "object", "properties": {"n": {"type": "integer"}}})}
    async with running(collections=collections) as collab:
        records = collab.hub.records
        await records.write_many(caller(), [CreateOne(collection="tasks", data={"n": 1}, entity="there")])
        outcomes = await records.write_many(
            caller(rules=(Rule("tasks/*", Access.WRITE),)),
            [
                CreateOne(collection="tasks", data={"n": 1}, entity="a"),
                CreateOne(collection="tasks", data={"n": "one"}, entity="b"),
                CreateOne(collection="tasks", data={"n": 1}, entity="there"),
                UpdateOne(collection="tasks", entity="missing", changes={"n": 2}),
                CreateOne(collection="secrets", data={}),
                UpdateOne(collection="tasks", entity="there", changes={"n": 2}),
                DeleteOne(collection="tasks", entity="/"),
                CreateOne(collection="tasks", data={"n": 7}),
            ],
        )
        assert kinds(outcomes) == [
            Written,
            ValidationFailed,
            Conflict,
            NotFound,
            PermissionDenied,
            Written,
            InvalidName,
            Written,
        ]
        last = outcomes[-1]
        assert isinstance(last, Written)
        assert last.data["id"]
        assert last.data["n"] == 7


async def test_a37_writes_to_one_entity_are_made_in_order() -> None:
    async with running() as collab:
        outcomes = await collab.hub.records.write_many(
            caller(),
            [
                CreateOne(collection="tasks", data={"id": "t", "n": 0}),
                *(UpdateOne(collection="tasks", entity="t", changes={"n": n}, version=1) for n in range(1, 20)),
                DeleteOne(collection="tasks", entity="t"),
                UpdateOne(collection="tasks", entity="t", changes={"n": 99}),
            ],
        )
        written = [outcome for outcome in outcomes if isinstance(outcome, Written)]
        assert [one.data.get("n") for one in written] == [*range(20), 19]
        assert not any(one.conflicts for one in written)
        assert isinstance(outcomes[-1], NotFound)


async def test_a37_many_writes_take_few_commits() -> None:
    storage = Counting()
    async with running(storage) as collab:
        events = listen(collab)
        outcomes = await collab.hub.records.write_many(
            caller(), [CreateOne(collection="tasks", data={"n": n}) for n in range(500)]
        )
        assert kinds(outcomes) == [Written] * 500
        assert len(events) == 500
        assert storage.commits < 50


async def test_a37_each_write_has_effect_once_under_its_own_name() -> None:
    async with running() as collab:
        events = listen(collab)
        writes = [CreateOne(collection="tasks", data={"n": n}, request=f"r{n}") for n in range(5)]
        first = await collab.hub.records.write_many(caller(), writes[:3])
        both = await collab.hub.records.write_many(caller(), writes)
        assert first == both[:3]
        assert len(events) == 5
        [reused] = await collab.hub.records.write_many(
            caller(), [CreateOne(collection="tasks", data={"n": 9}, request="r0")]
        )
        assert isinstance(reused, IdempotencyKeyReused)
        assert len(events) == 5


async def test_a37_too_many_writes_are_refused_before_any_is_made() -> None:
    async with running() as collab:
        events = listen(collab)
        writes = [CreateOne(collection="tasks", data={}) for _ in range(MOST_WRITES + 1)]
        with pytest.raises(InvalidRequest, match="1001 writes"):
            await collab.hub.records.write_many(caller(), writes)
        assert not events


async def test_a37_a_fault_of_one_write_is_told_to_nobody_else() -> None:
    class Faulty(MemoryStorage):
        async def request(self, project: str, caller: str, name: str) -> Any:
            if name == "broken":
                raise RuntimeError("a fault of the storage")
            return await super().request(project, caller, name)

    async with running(Faulty()) as collab:
        outcomes = await collab.hub.records.write_many(
            caller(), [CreateOne(collection="tasks", data={}, request=name) for name in ("fine", "broken", "good")]
        )
        assert [getattr(outcome, "code", "written") for outcome in outcomes] == ["written", "INTERNAL_ERROR", "written"]


async def test_others_are_served_while_many_writes_are_made() -> None:
    async with running() as collab:
        turns = 0
        over = anyio.Event()

        async def count() -> None:
            nonlocal turns
            while not over.is_set():
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            await collab.hub.records.write_many(
                caller(), [CreateOne(collection="tasks", data={"n": n}) for n in range(300)]
            )
            over.set()
        assert turns > 10


async def test_python_code_writes_many_entities_of_a_collection() -> None:
    async with running() as collab:
        tasks = collab.collection("tasks", user="ann")
        created = await tasks.create_many([{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "a"}])
        assert kinds(created) == [Written, Written, Conflict]
        updated = await tasks.update_many(
            [{"id": "a", "changes": {"n": 5}}, {"id": "b", "unset": ["n"], "version": 1}, {"id": "c", "changes": {}}]
        )
        assert kinds(updated) == [Written, Written, NotFound]
        assert [row["id"] for row in (await tasks.find_many({"where": {"n": 5}})).rows] == ["a"]
        deleted = await tasks.delete_many(["a", "b", "c"])
        assert kinds(deleted) == [Written, Written, NotFound]
        with pytest.raises(InvalidRequest, match="did you mean on_conflict"):
            await tasks.update_many([{"id": "a", "changes": {}, "onconflict": "reject"}])
        with pytest.raises(InvalidRequest, match="id"):
            await tasks.update_many([{"changes": {}}])
