"""Entities inside a document go with it, and come back with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
from pycrdt import Doc, Map, Text

from collab import Access, Collab, Hooks, Identity, RoomKey, Rule, Settings
from collab.errors import EntityDeleted, InvalidName, NotFound, PermissionDenied, Unavailable
from collab.event import EntityEvent
from collab.query.parse import parse_where
from collab.records.declaration import declaration
from collab.records.reads import Caller
from collab.rooms.live.room import Room
from collab.storage.memory import MemoryStorage
from collab.testing.storage_case import fact
from tests.collab.records.operations import Operations

CARDS = {
    "cards": declaration(mapped={"in": "boards", "root": "cards"}),
    "notes": declaration(mapped={"in": "boards", "root": "notes"}),
}
BOARD = RoomKey("default", "boards", "b")


@asynccontextmanager
async def running(storage: MemoryStorage | None = None, hooks: Hooks | None = None) -> AsyncIterator[Collab]:
    collab = Collab(Settings(collections=CARDS), storage=storage or MemoryStorage(), hooks=hooks)
    async with collab.lifespan():
        yield collab


def listen(collab: Collab) -> list[tuple[str, str, str, int]]:
    told: list[tuple[str, str, str, int]] = []

    def hear(project: str, event: EntityEvent) -> None:
        told.append((event.type, event.collection, event.id, event.version))

    collab.feed.subscribe(hear)
    return told


def caller(*rules: Rule) -> Caller:
    return Caller(Identity("default", "ann", rules=rules), "s")


async def fill(collab: Collab, cards: int = 2, notes: int = 1) -> None:
    await collab.collection("boards").create({"title": "board"}, id="b")
    async with collab.room("boards/b").edit() as doc:
        doc["body"] = Text("text of the board")
        for root, number in (("cards", cards), ("notes", notes)):
            held = doc.get(root, type=Map)
            for n in range(number):
                held[f"c{n}"] = Map({"n": n})


async def living(collab: Collab, collection: str = "cards") -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name not in {"createdAt", "updatedAt"}}
        for row in (await collab.collection(collection).find_many()).rows
    ]


async def test_a35_with_a_board_go_its_cards_each_with_an_event() -> None:
    async with running() as collab:
        await fill(collab)
        cards = collab.collection("cards", user="ann")
        await cards.delete("b:c1")
        told = listen(collab)
        await collab.collection("boards", user="ann").delete("b")
        assert told == [
            ("deleted", "boards", "b", 2),
            ("deleted", "cards", "b:c0", 2),
            ("deleted", "notes", "b:c0", 2),
        ]
        assert await living(collab) == await living(collab, "notes") == []
        assert await cards.count() == 0
        with pytest.raises(EntityDeleted):
            await cards.find_by_id("b:c0")
        assert [event.type for event in await cards.history("b:c0")] == ["deleted", "created"]
        assert (await cards.find_by_id("b:c0", version=1)).data["n"] == 0
        for attempt in (
            cards.update("b:c0", {"n": 5}),
            cards.restore("b:c0"),
            cards.restore("b:c0", version=1),
            cards.create({}, id="b:c0"),
            cards.create({}, id="b:new"),
        ):
            with pytest.raises(EntityDeleted):
                await attempt
        with pytest.raises(NotFound):
            await cards.delete("b:c0")
        assert await living(collab) == []


async def test_no_board_has_a_name_under_which_its_cards_would_be_those_of_another_board() -> None:
    """The card ``d`` of a board ``b:c`` would be named like the card ``c:d`` of the board ``b``."""
    async with running() as collab:
        await fill(collab)
        boards = collab.collection("boards")
        with pytest.raises(InvalidName, match="must not contain a colon"):
            await boards.create({"title": "other"}, id="b:c")
        with pytest.raises(InvalidName, match="must not contain a colon"):
            await collab.transaction().create("boards", {"title": "other"}, id="b:c").commit()
        with pytest.raises(InvalidName, match="must not contain a colon"):
            async with collab.room("boards/b:c").edit() as doc:
                doc.get("cards", type=Map)["d"] = Map({"n": 1})
        await collab.collection("cards").create({"n": 9}, id="b:c:d")
        await collab.collection("tasks").create({"title": "nothing lives in it"}, id="b:c")
        assert [row["id"] for row in await living(collab)] == ["b:c0", "b:c1", "b:c:d"]
        assert [row["id"] for row in await living(collab, "boards")] == ["b"]


async def test_a35_with_a_board_come_the_cards_that_it_had() -> None:
    async with running() as collab:
        await fill(collab, cards=3)
        cards = collab.collection("cards")
        await cards.delete("b:c1")
        await cards.update("b:c2", {"n": 22})
        before = await living(collab), (await collab.room("boards/b").json())["cards"]
        boards = collab.collection("boards")
        await boards.delete("b")
        told = listen(collab)
        await boards.restore("b")
        assert [one[:3] for one in told] == [
            ("restored", "cards", "b:c0"),
            ("restored", "cards", "b:c2"),
            ("restored", "notes", "b:c0"),
            ("restored", "boards", "b"),
        ]
        assert (await living(collab), (await collab.room("boards/b").json())["cards"]) == before
        await cards.update("b:c0", {"n": 1})
        await cards.restore("b:c1")
        assert [row["n"] for row in await living(collab)] == [1, 1, 22]


async def test_a35_a_board_that_is_restored_to_a_version_comes_after_its_cards() -> None:
    async with running() as collab:
        await fill(collab)
        boards = collab.collection("boards")
        first = (await boards.find_by_id("b")).version
        await boards.update("b", {"title": "later"})
        await boards.delete("b")
        told = listen(collab)
        restored = await boards.restore("b", version=first)
        assert restored.data["title"] == "board"
        assert {one[0] for one in told} == {"restored"}
        assert [one[1] for one in told].index("boards") == len(told) - 1
        assert await living(collab) != []


async def test_a_board_that_is_created_anew_is_empty() -> None:
    async with running() as collab:
        await fill(collab)
        boards = collab.collection("boards")
        await boards.delete("b")
        told = listen(collab)
        await boards.create({"title": "new"}, id="b")
        assert told == [("restored", "boards", "b", 3)]
        held = await collab.room("boards/b").json()
        assert {name: value for name, value in held.items() if value} == {"fields": {"title": "new"}}
        assert await living(collab) == await living(collab, "notes") == []
        await collab.collection("cards").create({"n": 7}, id="b:c0")
        assert await living(collab) == [{"id": "b:c0", "n": 7}]


async def test_a_board_without_fields_is_created_anew_with_one_event() -> None:
    async with running() as collab:
        boards = collab.collection("boards")
        for kept in (False, True):
            async with collab.room("boards/b").edit() as doc:
                doc.get("cards", type=Map)["c0"] = Map({"n": 1})
            await boards.delete("b")
            told = listen(collab)
            await boards.create({}, id="b")
            assert [one[0] for one in told] == ["restored"], kept
            assert await living(collab) == []


async def test_a35_many_cards_go_and_come_while_others_are_served() -> None:
    async with running() as collab:
        await fill(collab, cards=1050)
        boards, tasks = collab.collection("boards"), collab.collection("tasks")
        told = listen(collab)
        deleting = asyncio.ensure_future(boards.delete("b"))
        others = 0
        while not deleting.done():
            await tasks.create({"n": others})
            others += 1
        await deleting
        assert others >= 3
        assert [one[:2] for one in told if one[1] == "boards"] == [("deleted", "boards")]
        assert len([one for one in told if one[:2] == ("deleted", "cards")]) == 1050
        assert await living(collab) == []
        del told[:]
        await boards.restore("b")
        assert told[-1][:2] == ("restored", "boards")
        assert len(told) == 1052
        assert len(await living(collab)) == 1050


async def test_a35_cards_that_are_there_without_their_board_are_deleted_at_the_next_start() -> None:
    storage = MemoryStorage()
    async with running(storage) as collab:
        await fill(collab, cards=450)
    row = await storage.entity(BOARD)
    assert row is not None
    await storage.open()
    await storage.commit([], [fact(row.version + 1, {"title": "board"}, BOARD, kind="deleted", at=time(), heads=b"")])
    async with running(storage) as collab:
        async with asyncio.timeout(40):
            while await living(collab) or await living(collab, "notes"):
                await asyncio.sleep(0.01)
        await collab.collection("boards").restore("b")
        assert len(await living(collab)) == 450


async def test_a35_who_may_not_write_a_card_can_neither_delete_nor_restore_its_board() -> None:
    own = Rule("cards/*", Access.WRITE, where=parse_where({"owner": "ann"}))
    async with running() as collab:
        await collab.collection("boards").create({}, id="b")
        cards = collab.collection("cards")
        await cards.create({"owner": "ann"}, id="b:mine")
        await cards.create({"owner": "bob"}, id="b:hers")
        collections = Operations(collab.hub.records)
        boards = Rule("boards/*", Access.WRITE)
        for rules in ((boards,), (boards, own), (boards, Rule("cards/*", Access.READ))):
            with pytest.raises(PermissionDenied) as refused:
                await collections.delete(caller(*rules), "boards", "b")
            assert "hers" not in str(refused.value)
        await collections.find_by_id(caller(boards), "boards", "b")
        assert len(await living(collab)) == 2
        await collab.collection("boards").delete("b")
        with pytest.raises(PermissionDenied):
            await collections.restore(caller(boards, own), "boards", "b")
        with pytest.raises(PermissionDenied):
            await collections.erase(caller(boards, own, Rule("system/erase", Access.WRITE)), "boards", "b")
        assert await living(collab) == []
        await collab.collection("boards").restore("b")
        await cards.delete("b:hers")
        await collections.delete(caller(boards, own), "boards", "b")
        await collections.restore(caller(boards, own), "boards", "b")
        assert [row["id"] for row in await living(collab)] == ["b:mine"]


async def test_what_is_erased_with_a_board_is_told_as_deleted_first() -> None:
    async with running() as collab:
        await fill(collab)
        told = listen(collab)
        await collab.collection("boards").erase("b")
        assert [one[:3] for one in told] == [
            ("deleted", "boards", "b"),
            ("deleted", "cards", "b:c0"),
            ("deleted", "cards", "b:c1"),
            ("deleted", "notes", "b:c0"),
        ]
        with pytest.raises(NotFound):
            await collab.collection("cards").find_by_id("b:c0")
        await collab.collection("boards").create({}, id="b")
        assert await living(collab) == []


async def test_a_deletion_and_a_restoration_at_once_leave_one_of_both() -> None:
    async with running() as collab:
        await fill(collab, cards=600)
        boards = collab.collection("boards")
        for _ in range(3):
            await asyncio.gather(
                boards.delete("b"),
                boards.restore("b"),
                boards.delete("b"),
                boards.create({}, id="b"),
                return_exceptions=True,
            )
            try:
                await boards.find_by_id("b")
            except EntityDeleted:
                assert await living(collab) == []
            else:
                held = (await collab.room("boards/b").json()).get("cards", {})
                assert {row["id"] for row in await living(collab)} == {f"b:{name}" for name in held}


async def test_a36_text_that_is_worked_out_after_the_deletion_brings_nothing_back(tmp_path: Path) -> None:
    collab = Collab(Settings(data=str(tmp_path), content_event_seconds=0.05))
    async with collab.lifespan():
        documents = collab.collection("documents")
        await documents.create({"a": 1}, id="d")
        async with collab.room("documents/d").edit() as doc:
            doc["body"] = Text("written a moment before")
        told = listen(collab)
        await documents.delete("d")
        async with asyncio.timeout(40):
            while await collab._storage.uncovered():
                await asyncio.sleep(0.01)
        assert [one[0] for one in told] == ["deleted"]
        with pytest.raises(EntityDeleted):
            await documents.find_by_id("d")
        await documents.restore("d")
        assert await collab.room("documents/d").text("body") == "written a moment before"


class Restless(Hooks):
    """Whenever somebody else is asked about, an administrator adds a card to the board."""

    def __init__(self) -> None:
        self.board: Room | None = None
        self.cards = 0

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        if self.board is not None and key.collection == "cards":
            doc: Doc[Any] = Doc()
            doc.apply_update(self.board.diff())
            before = doc.get_state()
            self.cards += 1
            doc.get("cards", type=Map)[f"new{self.cards}"] = Map({"n": self.cards})
            self.board.edit(doc.get_update(before), "admin", monotonic(), lambda: None)
        return Access.WRITE


async def test_a_board_that_changes_faster_than_it_is_checked_is_not_deleted_for_now() -> None:
    hooks = Restless()
    async with running(hooks=hooks) as collab:
        await fill(collab)
        async with collab._registry.hold(BOARD) as room:
            hooks.board = room
            with pytest.raises(Unavailable, match="changes too fast"):
                await Operations(collab.hub.records).delete(caller(Rule("*/*", Access.WRITE)), "boards", "b")
            hooks.board = None
        assert (await collab.collection("boards").find_by_id("b")).version == 1
        assert len(await living(collab)) == 2 + hooks.cards
