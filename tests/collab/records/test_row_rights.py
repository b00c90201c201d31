"""Rights that depend on the row: asked of it as it was, as it is, and as it would be."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from pycrdt import Map, Text

from collab import Access, Collab, Hooks, Identity, RoomKey, Rule
from collab.errors import Conflict, PermissionDenied
from collab.query.parse import parse_where
from tests.collab.records.operations import Operations
from tests.collab.records.test_records import caller, running

ADMIN = caller("admin")


def only(where: dict[str, Any], access: Access = Access.WRITE) -> tuple[Rule, ...]:
    return (Rule("tasks/*", access, parse_where(where)),)


ALICE = caller("alice", only({"owner": "alice"}))


async def moved_to_alice(collab: Collab) -> None:
    """Version 1 is bob's, version 2 is alice's."""
    tasks = Operations(collab.hub.records)
    await tasks.create(ADMIN, "tasks", {"owner": "bob", "secret": "of bob"}, entity="t1")
    async with collab.room("tasks/t1").edit() as doc:
        text = doc.get("body", type=Text)
        text += "text of bob"
    async with collab.room("tasks/t1").edit() as doc:
        doc.get("body", type=Text).clear()
    await tasks.update(ADMIN, "tasks", "t1", {"owner": "alice", "secret": "for alice"})


async def test_nothing_is_restored_to_a_version_that_one_may_not_write() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await moved_to_alice(collab)
        with pytest.raises(PermissionDenied):
            await tasks.restore(ALICE, "tasks", "t1", version=1)
        now = await tasks.find_by_id(ALICE, "tasks", "t1", content=True)
        assert (now.data["owner"], now.data["secret"]) == ("alice", "for alice")
        assert now.content == {"body": ""}
        await tasks.update(ALICE, "tasks", "t1", {"secret": "of alice"})
        versions = [event.version for event in await tasks.history(ALICE, "tasks", "t1")]
        restored = await tasks.restore(ALICE, "tasks", "t1", version=versions[1])
        assert restored.data["secret"] == "for alice"


async def test_a_row_is_not_brought_back_for_who_may_not_write_it() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ADMIN, "tasks", {"owner": "bob"}, entity="t1")
        await tasks.delete(ADMIN, "tasks", "t1")
        with pytest.raises(PermissionDenied):
            await tasks.restore(ALICE, "tasks", "t1")
        with pytest.raises(PermissionDenied):
            await tasks.restore(ALICE, "tasks", "t1", version=1)


async def test_a_row_that_is_taken_away_while_its_old_content_is_read_is_not_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ALICE, "tasks", {"owner": "alice", "n": 1}, entity="t1")
        await tasks.update(ALICE, "tasks", "t1", {"n": 2})
        documents = collab.hub.documents
        restoring = documents.restoring

        async def taken_away(*args: Any) -> bytes | None:
            await tasks.update(ADMIN, "tasks", "t1", {"owner": "bob"})
            return await restoring(*args)

        monkeypatch.setattr(documents, "restoring", taken_away)
        with pytest.raises(PermissionDenied):
            await tasks.restore(ALICE, "tasks", "t1", version=1)
        now = await tasks.find_by_id(ADMIN, "tasks", "t1")
        assert (now.data["owner"], now.data["n"]) == ("bob", 2)


async def test_removing_the_field_that_a_rule_asks_for_is_a_write_like_others() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ALICE, "tasks", {"owner": "alice", "n": 1}, entity="t1")
        for changes, unset in ({"owner": "bob"}, ()), ({}, ("owner",)):
            with pytest.raises(PermissionDenied):
                await tasks.update(ALICE, "tasks", "t1", changes, unset=unset)
        assert (await tasks.update(ALICE, "tasks", "t1", {}, unset=("n",))).data["owner"] == "alice"


class Slow(Hooks):
    """Answers by the row it was asked about, after a while."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any] | None] = []
        self.go_on = asyncio.Event()

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        self.asked.append(data)
        if identity.user_id == "admin":
            return Access.WRITE
        await self.go_on.wait()
        return Access.WRITE if data is not None and not data.get("locked") else Access.READ


async def test_a_right_holds_for_the_row_that_is_there_when_it_is_used() -> None:
    hooks = Slow()
    async with running(hooks=hooks) as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ADMIN, "tasks", {"n": 1}, entity="t1")
        hooks.go_on.set()
        assert (await tasks.update(caller("eve"), "tasks", "t1", {"n": 2})).version == 2
        hooks.go_on.clear()
        late = asyncio.create_task(tasks.update(caller("eve"), "tasks", "t1", {"n": 3}))
        while hooks.asked[-1] is None or hooks.asked[-1].get("n") != 2:
            await asyncio.sleep(0)
        await tasks.update(ADMIN, "tasks", "t1", {"locked": True})
        hooks.go_on.set()
        with pytest.raises(PermissionDenied):
            await late
        assert (await tasks.find_by_id(ADMIN, "tasks", "t1")).data["n"] == 2


SECRETS = {"of bob", "older"}


async def test_history_tells_nothing_of_the_time_before_a_row_came_into_view() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await moved_to_alice(collab)
        await tasks.update(ALICE, "tasks", "t1", {"secret": "of alice"})
        await tasks.update(ADMIN, "tasks", "t1", {"owner": "bob", "secret": "of bob again"})
        await tasks.update(ADMIN, "tasks", "t1", {"secret": "of bob still"})
        await tasks.update(ADMIN, "tasks", "t1", {"owner": "alice"})
        seen = (await tasks.history(ALICE, "tasks", "t1"))[::-1]
        assert [(event.type, event.data.get("secret")) for event in seen] == [
            ("created", "for alice"),
            ("updated", "of alice"),
            ("deleted", None),
            ("created", "of bob still"),
        ]
        assert seen[0].changes == {"owner": {"to": "alice"}, "secret": {"to": "for alice"}}
        assert seen[1].changes == {"secret": {"from": "for alice", "to": "of alice"}}
        assert (seen[2].data, seen[2].changes, seen[2].user_id) == ({"id": "t1"}, {}, None)
        assert len(await tasks.history(ADMIN, "tasks", "t1")) > len(seen)


async def test_a_row_that_is_restored_into_view_tells_nothing_of_what_it_was_when_it_was_deleted() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ADMIN, "tasks", {"owner": "alice", "n": 1}, entity="t1")
        await tasks.update(ADMIN, "tasks", "t1", {"owner": "bob", "secret": "of bob"})
        await tasks.delete(ADMIN, "tasks", "t1")
        await tasks.restore(ADMIN, "tasks", "t1", version=1)
        seen = await tasks.history(ALICE, "tasks", "t1")
        assert "of bob" not in str(seen)
        assert seen[0].type == "created"


async def two_writes(collab: Collab) -> None:
    """Versions 1 and 2 are bob's, 3 is alice's; then somebody else writes 4."""
    tasks = Operations(collab.hub.records)
    await tasks.create(ADMIN, "tasks", {"owner": "bob", "secret": "older"}, entity="t1")
    await tasks.update(ADMIN, "tasks", "t1", {"secret": "of bob"})
    await tasks.update(caller("admin", writer="x"), "tasks", "t1", {"owner": "alice", "secret": "for alice"})


async def test_conflicts_do_not_tell_what_was_before_a_row_came_into_view() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await two_writes(collab)
        with pytest.raises(Conflict) as refused:
            await tasks.update(ALICE, "tasks", "t1", {"secret": "mine"}, version=2, on_conflict="reject")
        (told,) = refused.value.details["conflicts"]
        assert (told["base"], told["theirs"], told["userId"]) == (None, "for alice", "admin")
        for _ in range(2):
            written = await tasks.update(ALICE, "tasks", "t1", {"secret": "mine"}, version=2, request="r")
            (conflict,) = written.conflicts
            assert (conflict.base, conflict.theirs, conflict.yours) == (None, "for alice", "mine")
        history = str(await tasks.history(ALICE, "tasks", "t1"))
        assert not [secret for secret in SECRETS if secret in history]


async def test_who_wrote_while_a_row_was_out_of_view_is_not_told() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ADMIN, "tasks", {"owner": "bob", "secret": "older"}, entity="t1")
        await tasks.update(caller("bob"), "tasks", "t1", {"secret": "of bob"})
        await tasks.update(ADMIN, "tasks", "t1", {"owner": "alice"})
        (conflict,) = (await tasks.update(ALICE, "tasks", "t1", {"secret": "mine"}, version=1)).conflicts
        assert (conflict.base, conflict.theirs, conflict.user_id, conflict.at) == (None, "of bob", None, None)


async def test_conflicts_tell_all_of_what_one_could_see() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ALICE, "tasks", {"owner": "alice", "n": 1}, entity="t1")
        await tasks.update(ADMIN, "tasks", "t1", {"n": 2})
        (conflict,) = (await tasks.update(ALICE, "tasks", "t1", {"n": 3}, version=1)).conflicts
        assert (conflict.base, conflict.theirs, conflict.user_id) == (1, 2, "admin")
        (event, *_) = await tasks.history(ADMIN, "tasks", "t1")
        assert event.conflicts[0].base == 1
        (event, *_) = await tasks.history(ALICE, "tasks", "t1")
        assert (event.conflicts[0].base, event.conflicts[0].theirs) == (None, 2)


async def test_a_name_that_is_taken_by_what_one_may_not_see_is_refused_like_that_itself() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ADMIN, "tasks", {"owner": "bob"}, entity="t1")
        with pytest.raises(PermissionDenied) as taken:
            await tasks.create(ALICE, "tasks", {"owner": "alice"}, entity="t1")
        with pytest.raises(PermissionDenied) as hidden:
            await tasks.find_by_id(ALICE, "tasks", "t1")
        assert taken.value.message == hidden.value.message
        await tasks.create(ALICE, "tasks", {"owner": "alice"}, entity="t2")
        with pytest.raises(Conflict, match="already exists"):
            await tasks.create(ALICE, "tasks", {"owner": "alice"}, entity="t2")


async def test_a_field_that_an_editor_calls_id_is_not_the_name_of_the_row() -> None:
    async with running() as collab:
        async with collab.room("tasks/t1").edit() as doc:
            for name in "id", "createdAt", "updatedAt":
                doc.get("fields", type=Map)[name] = "public"
            doc.get("fields", type=Map)["n"] = 1
        tasks = Operations(collab.hub.records)
        for _ in range(2):
            (row,) = (await tasks.find_many(ADMIN, "tasks", {})).rows
            assert (row["id"], row["n"]) == ("t1", 1)
            assert "public" not in row.values()
            assert not (await tasks.find_many(ADMIN, "tasks", {"where": {"id": "public"}})).rows
            hidden = caller("eve", (Rule("tasks/t1", Access.NONE), Rule("tasks/*", Access.READ)))
            assert not (await tasks.find_many(hidden, "tasks", {})).rows
            await tasks.update(ADMIN, "tasks", "t1", {"m": 1})


async def test_without_a_row_the_least_counts_that_it_could_be() -> None:
    async with running() as collab:
        rights = collab.hub.records._rights
        for rules in only({"owner": "alice"}), (*only({"owner": "alice"}), Rule("tasks/*", Access.READ)):
            identity = caller("alice", rules).identity
            key = RoomKey("default", "tasks", "t1")
            assert await rights.access(identity, key) == await rights.access(identity, key, None) < Access.WRITE
            assert await rights.access(identity, RoomKey("default", "system", "erase")) == Access.NONE
