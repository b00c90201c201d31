import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pycrdt import Doc, Map, Text

from collab import Access, Collab, Hooks, Identity, RoomKey, Rule, Settings
from collab.errors import (
    CollabError,
    Conflict,
    EntityDeleted,
    InvalidName,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    TooLarge,
    ValidationFailed,
)
from collab.event import EntityEvent
from collab.query.parse import parse_where
from collab.records.declaration import CollectionDeclaration, declaration
from collab.records.reads import Caller
from collab.storage.memory import MemoryStorage
from collab.wire.realtime.values import Written
from tests.collab.records.operations import Operations

ALL = (Rule("*/*", Access.WRITE),)


def caller(user: str | None = "ann", rules: tuple[Rule, ...] = ALL, writer: str | None = None) -> Caller:
    return Caller(Identity("default", user, rules=rules), writer or f"session of {user}")


@asynccontextmanager
async def running(
    storage: MemoryStorage | None = None,
    hooks: Hooks | None = None,
    collections: dict[str, CollectionDeclaration] | None = None,
    **settings: Any,
) -> AsyncIterator[Collab]:
    collab = Collab(
        Settings(collections=collections or {}, **settings),
        storage=storage if storage is not None else MemoryStorage(),
        hooks=hooks,
    )
    async with collab.lifespan():
        yield collab


def listen(collab: Collab) -> list[EntityEvent]:
    events: list[EntityEvent] = []
    collab.feed.subscribe(lambda project, event: events.append(event))
    return events


async def test_what_is_created_is_found() -> None:
    async with running() as collab:
        written = await Operations(collab.hub.records).create(
            caller(), "tasks", {"title": "a", "tags": ["x", {"y": None}]}
        )
        found = await Operations(collab.hub.records).find_by_id(caller(), "tasks", written.data["id"])
        assert found.data == written.data
        assert found.data["tags"] == ["x", {"y": None}]
        assert found.version == 1


async def test_a34_an_id_is_taken_from_the_data_or_given_and_only_once() -> None:
    async with running() as collab:
        tasks = collab.collection("tasks")
        assert (await tasks.create({"id": "t1"})).data["id"] == "t1"
        assert (await tasks.create({}, id="t2")).data["id"] == "t2"
        for again in ("t1", "t2"):
            with pytest.raises(Conflict, match="already exists"):
                await tasks.create({"n": 1}, id=again)
        with pytest.raises(InvalidName):
            await tasks.create({"id": "a/b"})
        with pytest.raises(InvalidName):
            await tasks.create({"id": 5})


class Legacy(Hooks):
    """Fills every document that is opened before anybody wrote it."""

    def __init__(self) -> None:
        self.asked: list[RoomKey] = []

    async def load(self, key: RoomKey) -> bytes | None:
        self.asked.append(key)
        await asyncio.sleep(0)
        doc: Doc[Any] = Doc()
        doc["content"] = Text("from elsewhere")
        return doc.get_update()


async def test_who_creates_an_entity_says_what_is_in_it_and_nothing_is_seeded() -> None:
    hooks = Legacy()
    async with running(hooks=hooks) as collab:
        tasks = collab.collection("tasks")
        written = await tasks.create({"title": "a"}, id="t1")
        assert (await tasks.create({"title": "b"})).version == written.version == 1
        assert not hooks.asked
        assert await collab.room("tasks/t1").json() == {"fields": {"title": "a"}}
        assert await collab.room("notes/n1").text("content") == "from elsewhere"
        assert hooks.asked == [RoomKey("default", "notes", "n1")]


async def test_what_does_not_exist_is_not_found_and_may_still_be_seeded() -> None:
    hooks = Legacy()
    async with running(hooks=hooks) as collab:
        tasks = collab.collection("tasks")
        for attempt in (tasks.update("t1", {"title": "a"}), tasks.delete("t1"), tasks.restore("t1")):
            with pytest.raises(NotFound):
                await attempt
        assert not hooks.asked
        assert (await tasks.find_many()).rows == []
        assert await collab.room("tasks/t1").text("content") == "from elsewhere"
        # whoever opens a document while others ask for what is not there finds it seeded
        opened = collab.room("tasks/t2").text("content")
        found = await asyncio.gather(*(tasks.update("t2", {"n": 1}) for _ in range(5)), opened, return_exceptions=True)
        assert found[-1] == "from elsewhere"


async def test_a34_of_a_document_that_was_opened_first_create_gives_it_its_fields() -> None:
    async with running(hooks=Legacy()) as collab:
        tasks = collab.collection("tasks", user="ann")
        async with collab.room("tasks/t1").edit(user="bob") as doc:
            content = doc.get("content", type=Text)
            content += "!"
        written = await tasks.create({"title": "a"}, id="t1")
        assert written.data["title"] == "a"
        assert await collab.room("tasks/t1").text("content") == "from elsewhere!"
        with pytest.raises(Conflict):
            await tasks.create({"title": "b"}, id="t1")


async def test_a34_what_is_created_again_after_it_was_deleted_begins_anew() -> None:
    async with running() as collab:
        events = listen(collab)
        likes = collab.collection("likes", user="ann")
        await likes.create({"on": "post 1", "mood": "happy"}, id="like-1")
        async with collab.room("likes/like-1").edit(user="ann") as doc:
            doc["content"] = Text("secret")
        await likes.delete("like-1")
        del events[:]
        again = await likes.create({"on": "post 2"}, id="like-1")
        assert {name: again.data[name] for name in again.data if not name.endswith("At")} == {
            "id": "like-1",
            "on": "post 2",
        }
        assert [(event.type, event.version) for event in events if event.type != "updated"] == [
            ("restored", again.version)
        ]
        assert (await likes.find_by_id("like-1")).data == again.data
        assert (await collab.room("likes/like-1").json()).get("content", "") == ""
        with pytest.raises(Conflict):
            await likes.create({"on": "post 3"}, id="like-1")
        await likes.delete("like-1")
        assert (await likes.create({"on": "post 2"}, id="like-1")).data["on"] == "post 2"
        await likes.delete("like-1")
        empty = await likes.create({}, id="like-1")
        assert empty.data.keys() == {"id", "createdAt", "updatedAt"}


async def test_a_deleted_entity_that_may_not_be_written_is_not_begun_anew() -> None:
    mine = (Rule("tasks/*", Access.WRITE, where=parse_where({"owner": "bob"})),)
    async with running() as collab:
        await collab.collection("tasks").create({"owner": "ann"}, id="t1")
        await collab.collection("tasks").delete("t1")
        with pytest.raises(PermissionDenied):
            await Operations(collab.hub.records).create(caller("bob", mine), "tasks", {"id": "t1", "owner": "bob"})


async def test_an_editor_and_an_application_write_the_same_fields() -> None:
    async with running() as collab:
        events = listen(collab)
        tasks = collab.collection("tasks", user="ann")
        await tasks.create({"title": "a"}, id="t1")
        async with collab.room("tasks/t1").edit(user="bob") as doc:
            fields = doc.get("fields", type=Map)
            assert fields["title"] == "a"
            fields["title"] = "b"
            fields["nested"] = Map({"deep": 1})
        await tasks.update("t1", {"title": "c"}, unset=["nested"])
        assert [(event.type, event.user_id, event.version) for event in events] == [
            ("created", "ann", 1),
            ("updated", "bob", 2),
            ("updated", "ann", 3),
        ]
        assert events[1].changes == {"title": {"from": "a", "to": "b"}, "nested": {"to": {"deep": 1}}}
        assert events[2].changes == {"title": {"from": "b", "to": "c"}, "nested": {"from": {"deep": 1}}}
        assert (await collab.room("tasks/t1").json())["fields"] == {"title": "c"}


async def test_a_deleted_entity_is_gone_until_it_is_restored() -> None:
    async with running() as collab:
        tasks = collab.collection("tasks")
        await tasks.create({"n": 1}, id="t1")
        await tasks.delete("t1")
        for gone in (tasks.find_by_id("t1"), tasks.update("t1", {"n": 2}), tasks.delete("t1")):
            with pytest.raises(EntityDeleted):
                await gone
        assert (await tasks.find_many()).rows == []
        with pytest.raises(EntityDeleted):
            await collab.room("tasks/t1").json()
        back = await tasks.restore("t1")
        assert (back.version, back.data["n"]) == (3, 1)
        await tasks.update("t1", {"n": 2})
        assert [event.type for event in await tasks.history("t1")] == ["updated", "restored", "deleted", "created"]
        with pytest.raises(InvalidRequest, match="not deleted"):
            await tasks.restore("t1")


async def test_a34_what_is_not_there_is_not_found() -> None:
    async with running() as collab:
        tasks = collab.collection("tasks")
        for nothing in (
            tasks.find_by_id("t1"),
            tasks.update("t1", {"n": 2}),
            tasks.delete("t1"),
            tasks.restore("t1"),
            tasks.find_by_id("t1", version=1),
        ):
            with pytest.raises(NotFound):
                await nothing


async def test_concurrent_writes_merge_and_are_told() -> None:
    async with running() as collab:
        collections = Operations(collab.hub.records)
        await collections.create(caller("ann"), "tasks", {"status": "open", "title": "a"}, entity="t1")
        await collections.update(caller("ann"), "tasks", "t1", {"status": "done"}, version=1)
        written = await collections.update(caller("bob"), "tasks", "t1", {"status": "late", "title": "b"}, version=1)
        (conflict,) = written.conflicts
        assert (conflict.field, conflict.base, conflict.theirs, conflict.yours, conflict.user_id) == (
            "status",
            "open",
            "done",
            "late",
            "ann",
        )
        assert written.data["status"] == "late"


async def test_compare_and_set_is_refused_with_the_latest_data() -> None:
    async with running() as collab:
        collections = Operations(collab.hub.records)
        await collections.create(caller("ann"), "tasks", {"status": "open"}, entity="t1")
        # not committed yet when the other one is asked
        mine = asyncio.create_task(collections.update(caller("ann"), "tasks", "t1", {"status": "done"}, version=1))
        await asyncio.sleep(0)
        with pytest.raises(Conflict) as refused:
            await collections.update(caller("bob"), "tasks", "t1", {"status": "late"}, version=1, on_conflict="reject")
        await mine
        assert refused.value.details["data"]["status"] == "done"
        assert refused.value.details["version"] == 2
        (conflict,) = refused.value.details["conflicts"]
        assert (conflict["field"], conflict["theirs"], conflict["yours"], conflict["winner"]) == (
            "status",
            "done",
            "late",
            "theirs",
        )
        written = await collections.update(caller("bob"), "tasks", "t1", {"other": 1}, version=1, on_conflict="reject")
        assert written.data == {**refused.value.details["data"], "other": 1, "updatedAt": written.data["updatedAt"]}
        with pytest.raises(InvalidRequest, match="version"):
            await collections.update(caller(), "tasks", "t1", {"n": 1}, on_conflict="reject")


async def test_a_named_write_has_effect_once() -> None:
    async with running() as collab:
        events = listen(collab)
        tasks = collab.collection("tasks")
        first, again = await asyncio.gather(
            tasks.create({"n": 1}, id="t1", request="r1"), tasks.create({"n": 1}, id="t1", request="r1")
        )
        later = await tasks.create({"n": 1}, id="t1", request="r1")
        assert first.data == again.data == later.data
        assert len(events) == 1
        with pytest.raises(InvalidRequest, match="different request"):
            await collab.collection("other").create({}, id="t1", request="r1")


async def test_a_write_that_changes_nothing_is_no_event() -> None:
    async with running() as collab:
        events = listen(collab)
        tasks = collab.collection("tasks")
        created = await tasks.create({"n": 1}, id="t1")
        assert (await tasks.update("t1", {}, unset=["nothing"])).version == 1
        assert (await tasks.update("t1", {"id": "t1", "createdAt": created.data["createdAt"]})).version == 1
        assert len(events) == 1


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"createdAt": "2024-01-01"}, "createdAt"),
        ({"": 1}, ""),
        ({"n": float("nan")}, "n"),
        ({"n": 2**60}, "n"),
        ({"a": {"b": [1, float("inf")]}}, "a.b[1]"),
        ({"t": "\ud800"}, "t"),
        ({"t": object()}, "t"),
    ],
)
async def test_what_is_no_field_is_refused_and_named(fields: dict[str, Any], name: str) -> None:
    async with running() as collab:
        with pytest.raises(ValidationFailed) as refused:
            await collab.collection("tasks").create(fields)
        assert refused.value.details["errors"][0]["field"] == name


async def test_an_entity_has_bounds() -> None:
    async with running(max_entity_bytes=1024) as collab:
        tasks = collab.collection("tasks")
        await tasks.create({"a": "x" * 600}, id="t1")
        with pytest.raises(TooLarge):
            await tasks.update("t1", {"b": "x" * 600})
        deep: Any = 1
        for _ in range(40):
            deep = [deep]
        with pytest.raises(ValidationFailed):
            await tasks.update("t1", {"deep": deep})


async def test_a_declared_schema_holds_for_the_whole_entity() -> None:
    declared = declaration({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    async with running(collections={"tasks": declared}) as collab:
        tasks = collab.collection("tasks")
        with pytest.raises(ValidationFailed):
            await tasks.create({"m": 1})
        await tasks.create({"n": 1}, id="t1")
        with pytest.raises(ValidationFailed) as refused:
            await tasks.update("t1", {"n": "one"})
        assert refused.value.details["errors"][0]["field"] == "n"
        with pytest.raises(ValidationFailed):
            await tasks.update("t1", {}, unset=["n"])


OWN_ROWS = (Rule("tasks/*", Access.WRITE, parse_where({"owner": "ann"})), Rule("notes/*", Access.READ))


async def test_rows_outside_the_filter_are_neither_read_nor_written() -> None:
    async with running() as collab:
        collections = Operations(collab.hub.records)
        ann = caller("ann", OWN_ROWS)
        await collab.collection("tasks").create({"owner": "bob"}, id="theirs")
        await collections.create(ann, "tasks", {"owner": "ann"}, entity="mine")
        assert [row["id"] for row in (await collections.find_many(ann, "tasks", {})).rows] == ["mine"]
        assert await collections.count(ann, "tasks", {}) == 1
        refused: list[Any] = [
            collections.find_by_id(ann, "tasks", "theirs"),
            collections.find_by_id(ann, "tasks", "theirs", version=1),
            collections.update(ann, "tasks", "theirs", {"n": 1}),
            collections.delete(ann, "tasks", "theirs"),
            collections.history(ann, "tasks", "theirs"),
            collections.create(ann, "tasks", {"owner": "bob"}),
            collections.update(ann, "tasks", "mine", {"owner": "bob"}),
            collections.create(ann, "notes", {}),
            collections.find_many(ann, "secrets", {}),
        ]
        for attempt in refused:
            with pytest.raises(PermissionDenied):
                await attempt
        found = await collections.find_by_id(ann, "tasks", "mine", include_permissions=True)
        assert found.permissions == {"read": True, "write": True}


async def test_an_application_decides_about_rows_itself() -> None:
    class Public(Hooks):
        async def authorize_row(self, identity: Identity, key: RoomKey, data: Any) -> Access:
            return Access.READ if data is not None and data.get("public") else Access.NONE

        async def visible(self, identity: Identity, collection: str) -> Any:
            return parse_where({"public": True})

    async with running(hooks=Public()) as collab:
        collections = Operations(collab.hub.records)
        anyone = caller("ann")
        with pytest.raises(PermissionDenied):
            await collections.create(anyone, "tasks", {"public": True})
        assert (await collections.find_many(anyone, "tasks", {})).rows == []


async def test_pages_follow_each_other_without_gaps() -> None:
    async with running() as collab:
        tasks = collab.collection("tasks")
        for number in range(7):
            await tasks.create({"n": number % 3}, id=f"t{number}")
        query: dict[str, Any] = {"orderBy": {"n": "desc"}, "limit": 3}
        seen: list[str] = []
        page = await tasks.find_many(query)
        while True:
            seen += [row["id"] for row in page.rows]
            if page.next is None:
                break
            page = await tasks.find_many({**query, "after": page.next})
        assert seen == ["t2", "t5", "t1", "t4", "t0", "t3", "t6"]


async def test_only_selected_fields_are_sent() -> None:
    async with running() as collab:
        tasks = collab.collection("tasks")
        await tasks.create({"a": 1, "b": 2}, id="t1")
        assert (await tasks.find_many(fields=["b", "nothing"])).rows == [{"id": "t1", "b": 2}]


async def test_a_document_is_read_as_it_was_and_brought_back() -> None:
    async with running(content_event_seconds=0.05) as collab:
        events = listen(collab)
        notes = collab.collection("notes", user="ann")
        await notes.create({"title": "a"}, id="n1")
        async with collab.room("notes/n1").edit(user="ann") as doc:
            doc["text"] = text = Text()
            text += "first"
        while len(events) < 2:
            await asyncio.sleep(0.01)
        async with collab.room("notes/n1").edit(user="bob") as doc:
            doc.get("text", type=Text).clear()
            doc.get("text", type=Text).insert(0, "second 🎉")
            doc.get("fields", type=Map)["title"] = "b"
        while len(events) < 4:
            await asyncio.sleep(0.01)
        now = await notes.find_by_id("n1", content=True)
        assert (now.data["title"], now.content) == ("b", {"text": "second 🎉"})
        then = await notes.find_by_id("n1", content=True, version=2)
        assert (then.data["title"], then.content) == ("a", {"text": "first"})
        assert (await notes.find_by_id("n1", at=events[1].at)).version == 2
        back = await notes.restore("n1", version=2)
        assert back.data["title"] == "a"
        assert await collab.room("notes/n1").text("text") == "first"


async def test_events_of_content_tell_what_was_typed_and_by_whom() -> None:
    async with running(content_event_seconds=0.05) as collab:
        events = listen(collab)
        async with collab.room("d").edit(user="ann") as doc:
            doc["text"] = Text("hé🎉")
        async with collab.room("d").edit(user="bob") as doc:
            doc.get("text", type=Text).insert(len("hé🎉".encode()), "!")
        while len(events) < 3:
            await asyncio.sleep(0.01)
        assert [(event.type, event.user_id) for event in events] == [
            ("created", "ann"),
            ("updated", "ann"),
            ("updated", "bob"),
        ]
        assert events[1].changes == {"text": {"delta": [{"insert": "hé🎉"}]}}
        assert events[2].changes == {"text": {"delta": [{"retain": 4}, {"insert": "!"}]}}


async def test_content_that_was_committed_and_not_told_is_told_after_a_restart() -> None:
    storage = MemoryStorage()
    async with running(storage, content_event_seconds=3600) as collab, collab.room("d").edit(user="ann") as doc:
        doc["text"] = Text("kept")
    async with running(storage, content_event_seconds=0.05) as collab:
        events = listen(collab)
        while not events:
            await asyncio.sleep(0.01)
        assert events[0].changes == {"text": {"delta": [{"insert": "kept"}]}}
        assert events[0].user_id == "ann"
        assert await storage.uncovered() == []
    async with running(storage, content_event_seconds=0.05) as collab:
        assert [event.version for event in await collab.collection("documents").history("d")] == [2, 1]


BOARDS = {"tasks": declaration(mapped={"in": "boards", "root": "tasks"})}


async def test_entities_may_live_inside_a_document() -> None:
    async with running(collections=BOARDS) as collab:
        events = listen(collab)
        async with collab.room("boards/b1").edit(user="ann") as doc:
            doc.get("tasks", type=Map)["t1"] = Map({"title": "a"})
        tasks = collab.collection("tasks", user="bob")
        assert (await tasks.find_by_id("b1:t1")).data["title"] == "a"
        await tasks.update("b1:t1", {"title": "b"})
        await tasks.create({"title": "c"}, id="b1:t2")
        assert (await collab.room("boards/b1").json())["tasks"] == {"t1": {"title": "b"}, "t2": {"title": "c"}}
        await tasks.delete("b1:t1")
        with pytest.raises(EntityDeleted):
            await tasks.find_by_id("b1:t1")
        with pytest.raises(CollabError):
            await tasks.update("b1:t1", {"title": "d"})
        await tasks.restore("b1:t1")
        assert (await collab.room("boards/b1").json())["tasks"]["t1"] == {"title": "b"}
        assert [(event.collection, event.id, event.type, event.user_id) for event in events] == [
            ("boards", "b1", "created", "ann"),
            ("tasks", "b1:t1", "created", "ann"),
            ("tasks", "b1:t1", "updated", "bob"),
            ("tasks", "b1:t2", "created", "bob"),
            ("tasks", "b1:t1", "deleted", "bob"),
            ("tasks", "b1:t1", "restored", "bob"),
        ]
        with pytest.raises(InvalidName):
            await tasks.create({"title": "x"}, id="nowhere")
        with pytest.raises(InvalidName):
            await collab.room("tasks/b1:t1").json()


class Slow(Hooks):
    """Rules that ask a database first."""

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Any) -> Access:
        await asyncio.sleep(0.02)
        return Access.WRITE


async def outcomes(*writes: Any) -> list[str]:
    """The outcomes of concurrent writes, sorted."""
    async with asyncio.timeout(40):
        done = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(one, Written | CollabError) for one in done), done
    return sorted(type(one).__name__ for one in done)


@pytest.mark.parametrize("name", ["tasks/b1:t1", "notes/n1"])
async def test_of_two_who_delete_at_the_same_time_one_is_told_that_it_is_gone(name: str) -> None:
    async with running(hooks=Slow(), collections=BOARDS) as collab:
        events = listen(collab)
        collection, _, entity = name.partition("/")
        things = Operations(collab.hub.records)
        await things.create(caller(), collection, {"n": 1}, entity=entity)
        gone = "NotFound" if collection == "tasks" else "EntityDeleted"
        deletions = [things.delete(caller(), collection, entity) for _ in range(2)]
        assert await outcomes(*deletions) == sorted(["Written", gone])
        assert [event.type for event in events if event.collection == collection] == ["created", "deleted"]


async def test_a_child_that_is_deleted_while_somebody_updates_it_does_not_come_back_in_part() -> None:
    async with running(hooks=Slow(), collections=BOARDS) as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(caller(), "tasks", {"title": "a", "n": 1}, entity="b1:t1")
        update = tasks.update(caller(), "tasks", "b1:t1", {"n": 2})
        assert await outcomes(tasks.delete(caller(), "tasks", "b1:t1"), update) == ["NotFound", "Written"]
        assert (await collab.room("boards/b1").json()).get("tasks", {}) == {}


async def test_compare_and_set_has_one_winner_however_long_rules_take() -> None:
    async with running(hooks=Slow()) as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(caller(), "tasks", {"n": 0}, entity="t1")
        writes = [
            tasks.update(caller(name), "tasks", "t1", {"n": name}, version=1, on_conflict="reject")
            for name in ("ann", "bob", "eve")
        ]
        assert await outcomes(*writes) == ["Conflict", "Conflict", "Written"]


async def test_of_two_who_bring_back_the_same_version_both_are_answered() -> None:
    async with running(content_event_seconds=0.05) as collab:
        events = listen(collab)
        notes = Operations(collab.hub.records)
        await notes.create(caller(), "notes", {"title": "a"}, entity="n1")
        for word in ("first", " second"):
            known = len(events)
            async with collab.room("notes/n1").edit(user="ann") as doc:
                text = doc.get("text", type=Text)
                text += word
            while len(events) == known:
                await asyncio.sleep(0.01)
        restores = [notes.restore(caller(), "notes", "n1", version=2) for _ in range(2)]
        assert await outcomes(*restores) == ["Written", "Written"]
        assert await collab.room("notes/n1").text("text") == "first"


async def test_a_list_that_differs_only_in_the_types_of_its_elements_is_another() -> None:
    async with running() as collab:
        tasks = collab.collection("tasks")
        await tasks.create({"tags": [1, {"a": 0}]}, id="t1")
        written = await tasks.update("t1", {"tags": [True, {"a": False}]})
        assert written.version == 2
        found = await tasks.find_by_id("t1")
        assert found.data["tags"][0] is True
        assert found.data["tags"][1]["a"] is False


async def test_a_handler_is_called_with_every_event_in_order() -> None:
    async with running() as collab:
        seen: list[int] = []
        done = asyncio.Event()

        async def handle(event: EntityEvent) -> None:
            await asyncio.sleep(0)
            seen.append(event.data["n"])
            if event.data["n"] == 1:
                raise ValueError("of the application")
            if event.data["n"] == 9:
                done.set()

        tasks = collab.collection("tasks")
        close = tasks.on(handle)
        await asyncio.gather(*(tasks.create({"n": number}) for number in range(9)))
        await collab.collection("other").create({"n": 100})
        await tasks.create({"n": 9})
        await done.wait()
        assert sorted(seen) == list(range(10))
        close()
