"""The hook ``before_write`` refuses and completes writes, whichever way they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from pycrdt import Doc, Map

from collab import (
    Collab,
    CollabError,
    Conflict,
    Hooks,
    Identity,
    InternalError,
    PermissionDenied,
    ProposedWrite,
    Request,
    RoomKey,
    Settings,
    Unavailable,
    ValidationFailed,
)
from collab.client import LumenizeClient
from collab.records.declaration import CollectionDeclaration, Mapped, declaration
from tests.collab.records.operations import Operations
from tests.collab.records.test_records import caller, running
from tests.collab.rooms.test_row_edits import both, card, editor, put, remove, type_text, who
from tests.collab.serving import serving

Answer = Callable[[ProposedWrite], Mapping[str, Any] | None]


class Asked(Hooks):
    """Answers with a function, and remembers what it was asked."""

    def __init__(self, answer: Answer = lambda write: None) -> None:
        self.answer = answer
        self.asked: list[ProposedWrite] = []

    async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
        self.asked.append(write)
        return self.answer(write)


def told(write: ProposedWrite) -> tuple[object, ...]:
    return (write.action, write.key.name, values(write.before), values(write.after))


def values(row: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if row is None else {name: value for name, value in row.items() if not name.endswith("At")}


async def test_the_hook_sees_each_write_as_it_is_and_as_it_would_be() -> None:
    hooks = Asked()
    async with running(hooks=hooks) as collab:
        tasks = Operations(collab.hub.records)
        ann = caller()
        await tasks.create(ann, "tasks", {"n": 1, "m": 1}, entity="t")
        await tasks.update(ann, "tasks", "t", {"n": 2}, unset=["m"])
        await tasks.delete(ann, "tasks", "t")
        await tasks.restore(ann, "tasks", "t")
        await tasks.restore(ann, "tasks", "t", version=1)
        await collab.erase(RoomKey("default", "tasks", "t"))
        assert [told(write) for write in hooks.asked] == [
            ("create", "tasks/t", None, {"id": "t", "n": 1, "m": 1}),
            ("update", "tasks/t", {"id": "t", "n": 1, "m": 1}, {"id": "t", "n": 2}),
            ("delete", "tasks/t", {"id": "t", "n": 2}, None),
            ("restore", "tasks/t", None, {"id": "t", "n": 2}),
            ("restore", "tasks/t", {"id": "t", "n": 2}, {"id": "t", "n": 1, "m": 1}),
            ("erase", "tasks/t", {"id": "t", "n": 1, "m": 1}, None),
        ]
        assert [(write.changes, write.unset) for write in hooks.asked[:2]] == [
            ({"n": 1, "m": 1}, frozenset()),
            ({"n": 2}, frozenset({"m"})),
        ]
        assert {write.identity.user_id for write in hooks.asked[:-1]} == {"ann"}
        assert not any(write.by_editor for write in hooks.asked)


async def test_the_hook_completes_what_is_written() -> None:
    def complete(write: ProposedWrite) -> Mapping[str, Any] | None:
        assert write.after is not None
        by = {"createdBy" if write.action == "create" else "updatedBy": write.identity.user_id}
        return {**by, "slug": write.after["title"].lower(), "kept": True}

    async with running(hooks=Asked(complete)) as collab:
        tasks = Operations(collab.hub.records)
        made = await tasks.create(caller(), "tasks", {"title": "One", "slug": "mine"}, entity="t")
        assert values(made.data) == {"id": "t", "title": "One", "slug": "one", "kept": True, "createdBy": "ann"}
        changed = await tasks.update(caller("bob"), "tasks", "t", {"title": "Two"}, unset=["kept"])
        assert values(changed.data) == {
            "id": "t",
            "title": "Two",
            "slug": "two",
            "kept": True,
            "createdBy": "ann",
            "updatedBy": "bob",
        }


@pytest.mark.parametrize("action", ["create", "update", "delete", "restore", "erase"])
async def test_what_the_hook_refuses_is_not_written(action: str) -> None:
    hooks = Asked()
    async with running(hooks=hooks) as collab:
        tasks = Operations(collab.hub.records)
        ann = caller()
        await tasks.create(ann, "tasks", {"n": 1}, entity="t")
        await tasks.create(ann, "tasks", {"n": 1}, entity="gone")
        await tasks.delete(ann, "tasks", "gone")

        def refuse(write: ProposedWrite) -> None:
            if write.action == action:
                raise PermissionDenied("not today")

        hooks.answer = refuse
        attempts: dict[str, Callable[[], Awaitable[object]]] = {
            "create": lambda: tasks.create(ann, "tasks", {"n": 2}, entity="new"),
            "update": lambda: tasks.update(ann, "tasks", "t", {"n": 2}),
            "delete": lambda: tasks.delete(ann, "tasks", "t"),
            "restore": lambda: tasks.restore(ann, "tasks", "gone"),
            "erase": lambda: collab.erase(RoomKey("default", "tasks", "t")),
        }
        with pytest.raises(PermissionDenied, match="not today"):
            await attempts[action]()
        assert [row["n"] for row in (await collab.collection("tasks").find_many()).rows] == [1]


async def test_who_may_not_write_does_not_reach_the_hook() -> None:
    hooks = Asked()
    async with running(hooks=hooks) as collab:
        tasks = Operations(collab.hub.records)
        with pytest.raises(PermissionDenied):
            await tasks.create(caller(rules=()), "tasks", {})
        assert hooks.asked == []


async def test_rights_and_schema_hold_for_what_the_hook_adds() -> None:
    hooks = Asked(lambda write: {"owner": "eve", "n": "text"})
    schema = {"tasks": declaration({"type": "object", "properties": {"n": {"type": "number"}}})}
    async with running(hooks=hooks, collections=schema) as collab:
        with pytest.raises(ValidationFailed):
            await collab.collection("tasks").create({"n": 1})
        hooks.answer = lambda write: {"owner": "eve"}
        mine = who({"tasks/*": {"access": "write", "where": {"owner": "ann"}}})
        with pytest.raises(PermissionDenied):
            await collab.collection("tasks", identity=mine).create({"owner": "ann"})
        hooks.answer = lambda write: {"id": "other"}
        with pytest.raises(ValidationFailed, match="read-only"):
            await collab.collection("tasks").create({})


@pytest.mark.parametrize("answer", [lambda write: 1 / 0, lambda write: ["x"], lambda write: 7])
async def test_a_hook_that_fails_refuses_the_write(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    async with running(hooks=Asked(answer)) as collab:
        with pytest.raises(InternalError, match="could not check the write"):
            await collab.collection("tasks").create({"n": 1})
        assert "the hook before_write failed" in caplog.text
        assert await collab.collection("tasks").count() == 0


async def test_a_deletion_cannot_be_completed() -> None:
    hooks = Asked()
    async with running(hooks=hooks) as collab:
        tasks = collab.collection("tasks")
        await tasks.create({"n": 1}, id="t")
        hooks.answer = lambda write: {"deletedBy": "ann"}
        with pytest.raises(InternalError):
            await tasks.delete("t")
        assert await tasks.count() == 1


async def test_the_hook_is_asked_again_if_others_write_meanwhile() -> None:
    went = asyncio.Event()
    waiting = asyncio.Event()

    class Slow(Hooks):
        async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
            if write.identity.user_id == "ann" and write.action == "update":
                waiting.set()
                await went.wait()
                assert write.before is not None
                return {"seen": write.before["n"]}
            return None

    async with running(hooks=Slow()) as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(caller(), "tasks", {"n": 1}, entity="t")
        update = asyncio.create_task(tasks.update(caller(), "tasks", "t", {"m": 1}))
        await waiting.wait()
        await tasks.update(caller("bob"), "tasks", "t", {"n": 2})
        went.set()
        assert (await update).data["seen"] == 2


async def test_a_hook_that_writes_the_same_entity_is_ended() -> None:
    class Endless(Hooks):
        depth = 0

        async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
            if write.action == "update" and write.identity.user_id == "ann":
                self.depth += 1
                await collab.collection("tasks", user="hook").update("t", {"n": self.depth})
            return None

    hooks = Endless()
    async with running(hooks=hooks) as collab:
        await collab.collection("tasks").create({"n": 0}, id="t")
        with pytest.raises(Unavailable, match="changes too fast"):
            await collab.collection("tasks", user="ann").update("t", {"m": 1})
        assert hooks.depth == 10


async def test_a_repeated_request_asks_once() -> None:
    hooks = Asked(lambda write: {"number": len(hooks.asked)})
    async with running(hooks=hooks) as collab:
        tasks = Operations(collab.hub.records)
        first = await tasks.create(caller(), "tasks", {"n": 1}, request="r")
        again = await tasks.create(caller(), "tasks", {"n": 1}, request="r")
        assert (first, len(hooks.asked)) == (again, 1)


async def test_compare_and_set_works_with_a_hook() -> None:
    async with running(hooks=Asked(lambda write: {"checked": True})) as collab:
        tasks = Operations(collab.hub.records)
        made = await tasks.create(caller(), "tasks", {"n": 1}, entity="t")
        await tasks.update(caller("bob"), "tasks", "t", {"n": 2}, version=made.version, on_conflict="reject")
        with pytest.raises(Conflict):
            await tasks.update(caller(), "tasks", "t", {"n": 3}, version=made.version, on_conflict="reject")


# editors


async def test_an_editors_edit_of_fields_is_asked_about_and_not_completed() -> None:
    hooks = Asked(lambda write: {"more": True})
    async with running(hooks=hooks) as collab:
        await collab.collection("tasks").create({"n": 1}, id="t1")
        hooks.asked.clear()
        ann = await editor(collab, identity=who({"*/*": "write"}))
        ann.edit(both(put(n=2), type_text), step=0)
        await ann.settled()
        assert [told(write)[2:] for write in hooks.asked] == [
            ({"id": "t1", "n": 1, "more": True}, {"id": "t1", "n": 2, "more": True})
        ]
        assert hooks.asked[0].by_editor
        ann.edit(type_text, step=0)
        await ann.settled()
        assert len(hooks.asked) == 1, "text is not asked about"
        assert ann.errors == []


async def test_an_editors_edit_that_the_hook_refuses_is_not_applied() -> None:
    def closed(write: ProposedWrite) -> None:
        if write.before is not None and write.before.get("closed"):
            raise PermissionDenied("this invoice is closed")

    async with running(hooks=Asked(closed)) as collab:
        await collab.collection("tasks").create({"n": 1, "closed": True}, id="t1")
        ann = await editor(collab, identity=who({"*/*": "write"}))
        ann.edit(put(n=2), step=0)
        await ann.settled()
        assert [error.message for error in ann.errors] == ["this invoice is closed"]
        assert (await collab.room("tasks/t1").json())["fields"] == {"n": 1, "closed": True}


async def test_entities_inside_a_document_are_asked_about_one_by_one() -> None:
    hooks = Asked()
    cards = {"cards": CollectionDeclaration(mapped=Mapped(collection="boards", root="cards"))}
    async with running(hooks=hooks, collections=cards) as collab:
        await collab.collection("cards").create({"n": 1}, id="b:old")
        await collab.collection("cards").create({"n": 1}, id="b:gone")
        hooks.asked.clear()
        ann = await editor(collab, "boards/b", who({"*/*": "write"}))
        ann.edit(both(card("new", n=3), card("old", n=2), remove("gone")), step=0)
        await ann.settled()
        assert ann.errors == []
        assert sorted(map(told, hooks.asked), key=str) == [
            ("create", "cards/b:new", None, {"id": "b:new", "n": 3}),
            ("delete", "cards/b:gone", {"id": "b:gone", "n": 1}, None),
            ("update", "cards/b:old", {"id": "b:old", "n": 1}, {"id": "b:old", "n": 2}),
        ]


async def test_the_servers_own_edits_of_a_document_are_not_asked_about() -> None:
    hooks = Asked()
    async with running(hooks=hooks) as collab:
        async with collab.room("tasks/t").edit(user="robot") as doc:
            put(n=1)(doc)
        assert hooks.asked == []


# over the network


async def test_the_hook_decides_over_http_and_realtime(tmp_path: Path) -> None:
    class Numbered(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            return Identity("default", "ann", rules=who({"*/*": "write"}).rules)

        async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
            if write.after is not None and write.after.get("title") == "":
                raise ValidationFailed("title: must not be empty")
            return {"by": write.identity.user_id} if write.action == "create" else None

    async with serving(Collab(Settings(data=str(tmp_path)), hooks=Numbered())) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
            made = await http.post("/api/v1/collections/tasks", json={"title": "a"})
            assert made.json()["data"]["by"] == "ann"
            refused = await http.post("/api/v1/collections/tasks", json={"title": ""})
            assert (refused.status_code, refused.json()["error"]["code"]) == (422, "VALIDATION_FAILED")
            doc: Doc[Any] = Doc()
            doc["fields"] = Map({"title": ""})
            edited = await http.post("/rooms/tasks/t", content=doc.get_update())
            assert (edited.status_code, edited.json()["error"]["message"]) == (422, "title: must not be empty")
            assert (await http.get("/api/v1/collections/tasks/t")).status_code == 404
        async with LumenizeClient(url=f"http://{address}") as client:
            task = await client.tasks.create({"title": "b"})
            assert task["by"] == "ann"
            with pytest.raises(CollabError, match="must not be empty"):
                await client.tasks.update(task["id"], {"title": ""})
