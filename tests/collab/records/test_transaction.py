"""All writes of a transaction are made, or none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pycrdt
import pytest

from collab import Access, Collab, Hooks, RoomKey, Rule
from collab.access.rules import parse_rules
from collab.errors import (
    CollabError,
    Conflict,
    EntityDeleted,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unavailable,
    ValidationFailed,
)
from collab.hooks import ProposedWrite
from collab.records.declaration import declaration
from collab.rooms.live import faults
from collab.storage.base import CommitId, Committed
from collab.storage.memory import MemoryStorage
from collab.wire.realtime.messages import Create
from collab.wire.realtime.values import MOST_IN_TRANSACTION, AnyWrite, CreateOne, DeleteOne, UpdateOne
from tests.collab.records.test_records import caller, listen, running
from tests.collab.rooms.live.simulation import Client

BOARDS = {"cards": declaration(mapped={"in": "boards", "root": "cards"})}


def create(name: str, collection: str = "tasks", **data: Any) -> CreateOne:
    return CreateOne(collection=collection, data=data, entity=name)


def update(name: str, collection: str = "tasks", **changes: Any) -> UpdateOne:
    return UpdateOne(collection=collection, entity=name, changes=changes)


def delete(name: str, collection: str = "tasks") -> DeleteOne:
    return DeleteOne(collection=collection, entity=name)


async def rows(collab: Collab, *collections: str) -> dict[str, dict[str, Any]]:
    """Everything that is there, by collection and id, with the fields alone."""
    found = {}
    for collection in collections or ("tasks",):
        for row in (await collab.collection(collection).find_many()).rows:
            fields = {name: value for name, value in row.items() if name not in ("id", "createdAt", "updatedAt")}
            found[f"{collection}/{row['id']}"] = fields
    return found


class Recording(MemoryStorage):
    """Remembers the entities of each commit that has events."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[str]] = []

    async def commit(self, batch: Any, facts: Any = (), *, commit_id: CommitId | None = None) -> Committed:
        if facts:
            self.commits.append([f"{fact.event.type} {fact.entity.key.id}" for fact in facts])
        return await super().commit(batch, facts, commit_id=commit_id)


async def test_a38_all_writes_are_one_commit_with_their_events_in_order() -> None:
    storage = Recording()
    async with running(storage, collections=BOARDS) as collab:
        events = listen(collab)
        records = collab.hub.records
        await records.transact(caller(), [create("a", n=1), create("old", n=1), create("b1", "boards", title="x")])
        written = await records.transact(
            caller(),
            [
                update("a", n=2),
                create("new", n=5),
                delete("old"),
                update("b1", "boards", title="y"),
                create("b1:c1", "cards", title="one"),
                create("b1:c2", "cards", title="two"),
            ],
        )
        assert [(one.data["id"], one.version) for one in written] == [
            ("a", 2),
            ("new", 1),
            ("old", 2),
            ("b1", 2),
            ("b1:c1", 1),
            ("b1:c2", 1),
        ]
        assert len(storage.commits) == 2
        assert sorted(storage.commits[1]) == sorted(
            ["updated a", "created new", "deleted old", "updated b1", "created b1:c1", "created b1:c2"]
        )
        assert [event.position for event in events] == list(range(1, 10))
        assert await rows(collab, "tasks", "boards", "cards") == {
            "tasks/a": {"n": 2},
            "tasks/new": {"n": 5},
            "boards/b1": {"title": "y"},
            "cards/b1:c1": {"title": "one"},
            "cards/b1:c2": {"title": "two"},
        }
        # the documents are what the record says
        assert (await collab.room("boards/b1").json())["cards"] == {"c1": {"title": "one"}, "c2": {"title": "two"}}
        assert (await collab.room("tasks/a").json())["fields"] == {"n": 2}


async def test_a38_what_a_transaction_creates_is_ordered_by_time_as_it_is_listed() -> None:
    async with running(MemoryStorage()) as collab:
        ids = [f"t{number}" for number in (3, 1, 4, 0, 5, 2)]
        transaction = collab.transaction()
        for name in ids:
            transaction.create("tasks", {}, id=name)
        await transaction.commit()
        for member in ("createdAt", "updatedAt"):
            found = await collab.collection("tasks").find_many({"orderBy": {member: "asc"}})
            assert [row["id"] for row in found.rows] == ids


@pytest.mark.parametrize("write", [update("t1", n=1), delete("t1")], ids=["update", "delete"])
async def test_a38_no_entity_comes_into_being_because_it_is_to_be_changed(write: AnyWrite) -> None:
    class Seeding(Hooks):
        async def load(self, key: RoomKey) -> bytes | None:
            doc: pycrdt.Doc[Any] = pycrdt.Doc()
            doc.get("fields", type=pycrdt.Map)["seeded"] = True
            return doc.get_update()

    async with running(MemoryStorage(), hooks=Seeding(), collections=BOARDS) as collab:
        with pytest.raises(NotFound, match="there is no tasks/t1"):
            await collab.hub.records.transact(caller(), (create("t2"), write))
        assert await rows(collab) == {}
        await collab.hub.records.transact(caller(), (create("t2", n=1), create("b:c", "cards")))
        assert await rows(collab) == {"tasks/t2": {"n": 1}}


async def test_a38_who_writes_what_is_there_already_is_answered_with_it_once_it_is_committed() -> None:
    """The same values may be on their way to the record."""

    class Held(MemoryStorage):
        holds: asyncio.Event | None = None

        async def commit(self, batch: Any, facts: Any = (), *, commit_id: CommitId | None = None) -> Committed:
            if self.holds is not None:
                await self.holds.wait()
            return await super().commit(batch, facts, commit_id=commit_id)

    storage = Held()
    async with running(storage, collections=BOARDS) as collab:
        records = collab.hub.records
        await records.transact(caller(), [create("a", n=1), create("b", n=1)])
        storage.holds = asyncio.Event()
        writes = [update("a", n=2), update("b", n=2)]
        both = [asyncio.create_task(records.transact(caller(), writes, f"name-{number}")) for number in range(2)]
        while collab._registry.rooms[RoomKey("default", "tasks", "b")].bridge.main.now["n"] != 2:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(one.done() for one in both)
        storage.holds.set()
        for written in await asyncio.gather(*both):
            assert [(one.data["n"], one.version) for one in written] == [(2, 2), (2, 2)]


@pytest.mark.parametrize(
    ("writes", "error", "number"),
    [
        ([create("x"), create("there")], Conflict, 1),
        ([create("x"), update("none", n=1)], NotFound, 1),
        ([delete("none"), create("x")], NotFound, 0),
        ([create("x"), update("gone", n=1)], EntityDeleted, 1),
        ([create("x"), create("gone")], Conflict, 1),
        ([create("x"), create("y", "typed", n="one")], ValidationFailed, 1),
        ([create("x"), create("y", "secrets")], PermissionDenied, 1),
        ([update("there", n=9), update("there", "secrets", n=1)], PermissionDenied, 1),
        ([create("x"), UpdateOne(collection="tasks", entity="there", changes={"a.b": 1})], InvalidRequest, 1),
        ([create("x"), create("x")], InvalidRequest, 1),
        ([create("x"), CreateOne(collection="tasks", data={}, request="r")], InvalidRequest, 1),
        (
            [
                create("x"),
                UpdateOne(collection="tasks", entity="there", changes={"n": 2}, version=1, on_conflict="reject"),
            ],
            Conflict,
            1,
        ),
        ([create("x"), UpdateOne(collection="tasks", entity="there", on_conflict="reject")], InvalidRequest, 1),
        ([delete("b1", "boards"), create("b1:c9", "cards")], InvalidRequest, None),
    ],
)
async def test_a38_if_one_write_cannot_be_made_none_is(
    writes: list[AnyWrite], error: type[CollabError], number: int | None
) -> None:
    typed = {"typed": declaration({"type": "object", "properties": {"n": {"type": "integer"}}}), **BOARDS}
    async with running(collections=typed) as collab:
        tasks = collab.collection("tasks", user="bob")
        await tasks.create({"n": 0}, id="there")
        await tasks.update("there", {"n": 1})
        await tasks.create({}, id="gone")
        await tasks.delete("gone")
        await collab.collection("boards").create({}, id="b1")
        before, events = await rows(collab, "tasks", "typed", "boards", "cards"), listen(collab)
        rules = (Rule("secrets/*", Access.NONE), Rule("*/*", Access.WRITE))
        with pytest.raises(error) as met:
            await collab.hub.records.transact(caller(rules=rules), writes)
        assert met.value.details.get("write") == number
        assert await rows(collab, "tasks", "typed", "boards", "cards") == before
        assert not events


async def test_a38_deleting_a_document_deletes_what_lives_in_it_in_the_same_commit() -> None:
    storage = Recording()
    async with running(storage, collections=BOARDS) as collab:
        await collab.hub.records.transact(
            caller(), [create("b1", "boards"), *(create(f"b1:c{n}", "cards") for n in range(3)), create("t")]
        )
        await collab.hub.records.transact(caller(), [delete("b1", "boards"), update("t", n=1)])
        assert sorted(storage.commits[1]) == sorted(
            ["deleted b1", "deleted b1:c0", "deleted b1:c1", "deleted b1:c2", "updated t"]
        )
        assert await rows(collab, "tasks", "boards", "cards") == {"tasks/t": {"n": 1}}
        await collab.collection("boards").restore("b1")
        assert len(await rows(collab, "cards")) == 3


async def test_a38_no_more_entities_are_deleted_with_documents_than_one_turn_takes() -> None:
    async with running(collections=BOARDS) as collab:
        await collab.collection("cards").create_many([{"id": f"b{n % 2}:c{n}"} for n in range(202)])
        records = collab.hub.records
        with pytest.raises(InvalidRequest, match="202 entities"):
            await records.transact(caller(), [delete("b0", "boards"), delete("b1", "boards")])
        assert len(await rows(collab, "cards")) == 202
        await records.transact(caller(), [delete("b0", "boards"), create("t")])
        assert len(await rows(collab, "cards")) == 101


async def test_a39_a_named_transaction_has_effect_once_and_its_name_covers_all_of_it() -> None:
    async with running() as collab:
        events, records = listen(collab), collab.hub.records
        await records.transact(caller(), [create("same", n=1), create("t", n=1)])
        writes: list[AnyWrite] = [update("same", n=1), CreateOne(collection="tasks", data={"n": 7}), update("t", n=2)]
        first = await records.transact(caller(), writes, "once")
        both = await asyncio.gather(*(records.transact(caller(), writes, "once") for _ in range(3)))
        assert both == [first] * 3
        assert [one.version for one in first] == [1, 1, 2]
        assert len(events) == 4
        with pytest.raises(IdempotencyKeyReused):
            await records.transact(caller(), writes[:2], "once")
        with pytest.raises(IdempotencyKeyReused):
            await collab.collection("tasks", user="ann").create({"n": 7}, request="once")
        assert len(events) == 4
        # a refused one does not use its name up
        with pytest.raises(Conflict):
            await records.transact(caller(), [create("t")], "later")
        assert [one.version for one in await records.transact(caller(), [create("u")], "later")] == [1]


@pytest.mark.parametrize("erased", ["a", "b"])
async def test_a39_a_named_transaction_is_not_made_again_once_something_that_it_wrote_is_erased(erased: str) -> None:
    async with running() as collab:
        records, events = collab.hub.records, listen(collab)
        writes: list[AnyWrite] = [create("a"), create("b")]
        await records.transact(caller(), writes, "once")
        await collab.erase(RoomKey("default", "tasks", erased))
        told = len(events)
        for again in (writes, writes[:1]):
            with pytest.raises((NotFound, IdempotencyKeyReused)):
                await records.transact(caller(), again, "once")
        with pytest.raises(NotFound, match="erased"):
            await records.transact(caller(), writes, "once")
        assert len(events) == told
        assert set(await rows(collab)) == {f"tasks/{name}" for name in {"a", "b"} - {erased}}


async def test_a39_what_another_node_has_made_until_the_rooms_came_here_is_not_made_again() -> None:
    class Late(MemoryStorage):
        """Another node commits after this one has looked, and then gives its rooms back."""

        looks = 0

        async def request(self, project: str, caller: str, name: str) -> Any:
            self.looks -= 1
            return None if self.looks == 0 else await super().request(project, caller, name)

    storage = Late()
    async with running(storage) as collab:
        records, events = collab.hub.records, listen(collab)
        made = await records.transact(caller(), [create("a"), create("b")], "once")
        storage.looks = 1
        with pytest.raises(Unavailable, match="another server"):
            await records.transact(caller(), [create("a"), create("b")], "once")
        assert await records.transact(caller(), [create("a"), create("b")], "once") == made
        assert len(events) == 2


async def test_a39_a_named_single_write_is_no_transaction() -> None:
    async with running() as collab:
        await collab.collection("tasks", user="ann").create({"n": 7}, id="a", request="once")
        with pytest.raises(IdempotencyKeyReused):
            await collab.hub.records.transact(
                caller_of(collab), [CreateOne(collection="tasks", data={"n": 7}, entity="a")], "once"
            )


def caller_of(collab: Collab) -> Any:
    return collab.collection("tasks", user="ann")._caller


async def test_a38_the_application_is_asked_about_each_write_and_may_complete_it() -> None:
    asked: list[tuple[str, str]] = []

    class Completing(Hooks):
        async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
            asked.append((write.action, write.key.id))
            if write.key.id == "refused":
                raise PermissionDenied("not this one")
            return {"by": "hook"} if write.action != "delete" else None

    async with running(hooks=Completing()) as collab:
        records = collab.hub.records
        await records.transact(caller(), [create("a"), create("b")])
        await records.transact(caller(), [update("a", n=1), delete("b"), create("c")])
        assert await rows(collab) == {"tasks/a": {"by": "hook", "n": 1}, "tasks/c": {"by": "hook"}}
        assert asked[2:] == [("update", "a"), ("delete", "b"), ("create", "c")]
        with pytest.raises(PermissionDenied, match="not this one"):
            await records.transact(caller(), [update("a", n=2), create("refused")])
        assert await rows(collab) == {"tasks/a": {"by": "hook", "n": 1}, "tasks/c": {"by": "hook"}}


async def test_a38_a_check_counts_only_for_the_entity_that_it_has_seen() -> None:
    """While the application is asked about the second write, somebody takes the right to make the first."""

    class Slow(Hooks):
        def __init__(self) -> None:
            self.begun, self.over = asyncio.Event(), asyncio.Event()

        async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
            if write.key.id == "second" and write.action == "create":
                self.begun.set()
                await self.over.wait()
            return None

    hooks = Slow()
    async with running(hooks=hooks) as collab:
        own = tuple(parse_rules({"tasks/*": {"access": "write", "where": {"owner": "$userId"}}}, "ann"))
        await collab.collection("tasks").create({"owner": "ann"}, id="first")
        work = asyncio.create_task(
            collab.hub.records.transact(caller(rules=own), [update("first", n=1), create("second", owner="ann")])
        )
        await hooks.begun.wait()
        await collab.collection("tasks").update("first", {"owner": "bob"})
        hooks.over.set()
        with pytest.raises(PermissionDenied):
            await work
        assert await rows(collab) == {"tasks/first": {"owner": "bob"}}


async def test_conflicts_merge_unless_they_are_to_be_refused() -> None:
    async with running() as collab:
        records = collab.hub.records
        await records.transact(caller("ann"), [create("a", n=0), create("b", n=0)])
        await records.transact(caller("bob"), [update("a", n=1)])
        seen = [UpdateOne(collection="tasks", entity=name, changes={"n": 2}, version=1) for name in "ab"]
        first, second = await records.transact(caller("ann"), seen)
        assert [(one.field, one.theirs) for one in first.conflicts] == [("n", 1)]
        assert not second.conflicts


async def test_too_many_writes_are_refused_and_no_writes_are_none() -> None:
    async with running() as collab:
        with pytest.raises(InvalidRequest, match="101 writes"):
            await collab.hub.records.transact(caller(), [create(f"t{n}") for n in range(MOST_IN_TRANSACTION + 1)])
        assert await collab.hub.records.transact(caller(), []) == []


class Held(MemoryStorage):
    """Commits no events while it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.held: asyncio.Event | None = None
        self.begun = asyncio.Event()

    async def commit(self, batch: Any, facts: Any = (), *, commit_id: CommitId | None = None) -> Committed:
        if self.held is not None and facts:
            self.begun.set()
            await self.held.wait()
        return await super().commit(batch, facts, commit_id=commit_id)


async def test_a38_what_others_write_meanwhile_reaches_editors_after_the_transaction() -> None:
    storage = Held()
    async with running(storage) as collab:
        await collab.hub.records.transact(caller(), [create("a", n=0), create("b", n=0)])
        async with collab._registry.hold(RoomKey("default", "tasks", "a")) as room:
            heard: list[str | None] = []
            room.listeners.add(lambda update, user: heard.append(user))
            storage.held = asyncio.Event()
            work = asyncio.create_task(collab.hub.records.transact(caller(), [update("a", n=1), update("b", n=1)]))
            await storage.begun.wait()
            later = asyncio.create_task(collab.collection("tasks", user="bob").update("a", {"n": 2}))
            while room.read_field("fields", None, "n") != 2:
                await asyncio.sleep(0)
            assert not heard
            storage.held.set()
            await work
            await later
            assert heard == ["ann", "bob"]


async def test_a38_a_restoration_waits_for_the_transaction_that_its_document_is_in() -> None:
    storage = Held()
    async with running(storage) as collab:
        tasks = collab.collection("tasks", user="ann")
        await collab.hub.records.transact(caller(), [create("a", n=0), create("b", n=0)])
        async with collab.room("tasks/a").edit(user="ann") as doc:
            doc.get("text", type=pycrdt.Text).insert(0, "first")
        version = (await tasks.update("a", {"n": 1})).version
        async with collab.room("tasks/a").edit(user="ann") as doc:
            doc.get("text", type=pycrdt.Text).insert(0, "second ")
        async with collab._registry.hold(RoomKey("default", "tasks", "a")) as room:
            storage.held = asyncio.Event()
            work = asyncio.create_task(collab.hub.records.transact(caller(), [update("a", n=5), update("b", n=5)]))
            await storage.begun.wait()
            state = room.doc.get_state()
            restoring = asyncio.create_task(tasks.restore("a", version=version))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await asyncio.wait([restoring])
            assert room.doc.get_state() == state
            storage.held.set()
            await work
            await restoring
        assert await collab.room("tasks/a").json() == {"fields": {"n": 1}, "text": "first"}


async def test_a38_a_document_is_deleted_for_others_after_the_commit() -> None:
    storage = Held()
    async with running(storage) as collab:
        await collab.hub.records.transact(caller(), [create("a", n=0), create("b", n=0)])
        async with collab._registry.hold(RoomKey("default", "tasks", "a")) as room:
            editor = Client(room, "eve")
            editor.sync()
            storage.held = asyncio.Event()
            work = asyncio.create_task(collab.hub.records.transact(caller(), [delete("a"), update("b", n=1)]))
            await storage.begun.wait()
            opening = asyncio.create_task(collab.room("tasks/a").json())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await asyncio.wait([opening])
            assert editor.closed is None
            storage.held.set()
            await work
            with pytest.raises(EntityDeleted):
                await opening
            assert isinstance(editor.closed, EntityDeleted)


async def test_a38_editors_and_readers_get_the_updates_of_a_transaction_after_its_commit() -> None:
    storage = Held()
    async with running(storage) as collab:
        await collab.hub.records.transact(caller(), [create("a", n=0), create("b", n=0)])
        heard: list[str | None] = []
        async with collab._registry.hold(RoomKey("default", "tasks", "a")) as room:
            room.listeners.add(lambda update, user: heard.append(user))
            storage.held = asyncio.Event()
            work = asyncio.create_task(collab.hub.records.transact(caller(), [update("a", n=1), update("b", n=1)]))
            await storage.begun.wait()
            assert room.read_field("fields", None, "n") == 1
            assert not heard
            assert room.joining.withheld
            handle = collab.room("tasks/a")
            reads = [handle.json(), handle.text(), handle.update(), handle.update(b"\0"), handle.state_vector()]
            reading = [
                asyncio.create_task(read) for read in (*reads, collab.collection("tasks").find_by_id("a", content=True))
            ]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            storage.held.set()
            await work
            assert heard == ["ann"]
            assert not room.joining.withheld
            assert (await asyncio.gather(*reading))[0] == {"fields": {"n": 1}}


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_if_a_document_cannot_take_its_update_none_does(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as collab:
        records = collab.hub.records
        names = ["a", "b", "c"]
        await records.transact(caller(), [create(name, n=0) for name in names])
        real, calls = faults.take_in, 0

        def take_in(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise faults.NotApplied("a panic of the library")
            return real(*args, **options)

        monkeypatch.setattr("collab.rooms.live.applying.take_in", take_in)
        with pytest.raises(faults.NotApplied):
            await records.transact(caller(), [update(name, n=1) for name in names])
        monkeypatch.setattr("collab.rooms.live.applying.take_in", real)
        assert await rows(collab) == {f"tasks/{name}": {"n": 0} for name in names}
        for name in names:
            assert (await collab.room(f"tasks/{name}").json())["fields"] == {"n": 0}
        await records.transact(caller(), [update(name, n=2) for name in names])
        for name in names:
            assert (await collab.room(f"tasks/{name}").json())["fields"] == {"n": 2}


@pytest.mark.parametrize("seed", range(40))
async def test_a38_a_transaction_of_random_writes_with_one_that_fails_changes_nothing(seed: int) -> None:
    chance = random.Random(seed)
    collections = {**BOARDS, "typed": declaration({"type": "object", "properties": {"n": {"type": "integer"}}})}
    async with running(collections=collections) as collab:
        records = collab.hub.records
        everything: list[AnyWrite] = [
            *(create(f"t{n}", n=n) for n in range(4)),
            *(create(f"b{n}", "boards", n=n) for n in range(3)),
            *(create(f"b{n}:c{m}", "cards", m=m) for n in range(3) for m in range(2)),
        ]
        await records.transact(caller("bob"), everything)
        wrong: list[AnyWrite] = [
            create("t0"),
            update("none", n=1),
            delete("none"),
            create("y", "typed", n="one"),
            create("y", "secrets"),
            create("b0:c0", "cards"),
            update("b0:none", "cards", n=1),
        ]
        rules = (Rule("secrets/*", Access.NONE), Rule("*/*", Access.WRITE))
        for _ in range(5):
            possible: list[AnyWrite] = [
                *(update(f"t{n}", n=chance.random()) for n in range(1, 4)),
                *(create(f"new{n}", n=n) for n in range(3)),
                *(update(f"b{n}", "boards", x=chance.random()) for n in range(3)),
                *(update(f"b{n}:c1", "cards", x=chance.random()) for n in range(3)),
                *(create(f"b{n}:c{chance.randrange(5, 9)}", "cards", x=1) for n in range(3)),
                *chance.sample([delete("t3"), delete("b2", "boards"), delete("b1:c1", "cards")], 1),
            ]
            writes = chance.sample(possible, chance.randrange(1, 8))
            names = [(write.collection, write.entity) for write in writes]
            writes = [write for number, write in enumerate(writes) if names[number] not in names[:number]]
            documents = {f"boards/b{n}" for n in range(3)} | {f"tasks/t{n}" for n in range(4)}
            before = await rows(collab, "tasks", "boards", "cards", "typed")
            states = {name: await collab.room(name).json() for name in documents}
            events = listen(collab)
            failing = chance.choice(wrong)
            writes.insert(chance.randrange(len(writes) + 1), failing)
            with pytest.raises(CollabError):
                await records.transact(caller(rules=rules), writes)
            assert await rows(collab, "tasks", "boards", "cards", "typed") == before
            assert {name: await collab.room(name).json() for name in documents} == states
            assert not events


async def test_a_transaction_and_editors_keep_what_both_write() -> None:
    async with running() as collab:
        records = collab.hub.records
        await records.transact(caller(), [create("a", n=0), create("b", n=0)])

        async def edit() -> None:
            for _ in range(20):
                async with collab.room("tasks/a").edit() as doc:
                    text = doc.get("content", type=pycrdt.Text)
                    text += "x"

        async def transact() -> None:
            for n in range(20):
                await records.transact(caller(), [update("a", n=n + 1), update("b", n=n + 1)])

        await asyncio.gather(edit(), transact())
        assert await rows(collab) == {"tasks/a": {"n": 20}, "tasks/b": {"n": 20}}
        assert await collab.room("tasks/a").text("content") == "x" * 20


async def test_a38_a_document_may_be_created_with_what_lives_in_it_under_a_rule_about_its_row() -> None:
    """Like one after the other; without the document's own row, the rule does not allow it."""
    rules = parse_rules({"boards/*": {"access": "write", "where": {"owner": "$userId"}}, "cards/*": "write"}, "ann")
    ann = caller("ann", tuple(rules))
    async with running(collections=BOARDS) as collab:
        records = collab.hub.records
        for writes in (
            [create("b1:c1", "cards", n=1)],
            [create("b1:c1", "cards", n=1), create("b1", "boards", owner="bob")],
            [create("b1:c1", "cards", n=1), create("b2", "boards", owner="ann")],
        ):
            with pytest.raises(PermissionDenied):
                await records.transact(ann, writes)
        assert await rows(collab, "boards", "cards") == {}
        await records.transact(ann, [create("b1:c1", "cards", n=1), create("b1", "boards", owner="ann")])
        await records.transact(ann, [create("b2", "boards", owner="ann"), create("b2:c1", "cards", n=2)])
        assert await rows(collab, "boards", "cards") == {
            "boards/b1": {"owner": "ann"},
            "boards/b2": {"owner": "ann"},
            "cards/b1:c1": {"n": 1},
            "cards/b2:c1": {"n": 2},
        }


@pytest.mark.parametrize("data", [{}, {"n": 1}])
async def test_a34_of_creates_at_the_same_time_one_succeeds(data: dict[str, Any]) -> None:
    """Also of an entity without fields, alone and in a transaction."""
    async with running() as collab:
        records = collab.hub.records
        one = Create(id=1, collection="tasks", data=data, entity="one")
        outcomes = await asyncio.gather(*(records.create(caller(), one) for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(Conflict) == 2
        together = await asyncio.gather(
            *(records.transact(caller(), [create("both", **data), create(f"rest{n}")]) for n in range(3)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in together].count(Conflict) == 2
        assert sorted(await rows(collab)) == ["tasks/both", "tasks/one", "tasks/rest0"]
