"""Edits of a document as changes of its entities, and the events for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from collab.entities.bridge import Bridge, read_entry
from collab.entities.entity import EntityOp, Intent, WriteOutcome, derive
from collab.entities.stamps import Stamps
from collab.event import EntityEvent
from collab.gate.gate import Gate
from collab.json_values import same
from collab.names import RoomKey, is_part
from tests.fuzz.contents import histories

BOARD = RoomKey("default", "boards", "b1")


class Board:
    """A document with tasks in its map ``tasks``, as the server has it. Each applied update is a flush."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.gate = Gate(("tasks",))
        self.stamps = Stamps()
        self.bridge = Bridge(BOARD, mapped={"tasks": "tasks"})

    def ops(self, update: bytes, user: str = "ann", intent: Intent | None = None) -> list[EntityOp]:
        checked = self.gate.check(update)
        self.doc.apply_update(update)
        writes = self.gate.commit(checked, live=True)
        return self.bridge.ops(writes, user, 1.0, self._read, content=checked.content, intent=intent)

    def take(self, update: bytes, user: str = "ann", intent: Intent | None = None) -> list[EntityEvent]:
        facts, answers = derive([(0, self.ops(update, user, intent))], self.stamps)
        for answer in answers:
            answer.intent.told(answer.outcome)
        return [fact.event for fact in facts if fact.event.collection == "tasks"]

    def _read(self, root: str, child: str | None, key: str | None) -> Any:
        return read_entry(self.doc, root, child, key)


class Editor:
    """A replica that returns its edits as updates."""

    def __init__(self, client: int, board: Board | None = None) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.tasks: Map[Any] = self.doc.get("tasks", type=Map)
        if board is not None:
            self.doc.apply_update(board.doc.get_update())
        self._known = self.doc.get_state()

    def edited(self) -> bytes:
        known, self._known = self._known, self.doc.get_state()
        return self.doc.get_update(known)


def fields(event: EntityEvent) -> dict[str, Any]:
    return {name: value for name, value in event.data.items() if name not in {"id", "createdAt", "updatedAt"}}


def board_with(**task: Any) -> tuple[Board, Editor]:
    board, editor = Board(), Editor(1)
    editor.tasks["t1"] = Map(task)
    assert [event.type for event in board.take(editor.edited())] == ["created"]
    return board, editor


def test_a_child_that_is_put_back_after_its_deletion_has_only_its_new_fields() -> None:
    board, editor = board_with(title="one", tags=["a"])
    del editor.tasks["t1"]
    assert [(event.type, event.version) for event in board.take(editor.edited())] == [("deleted", 2)]
    editor.tasks["t1"] = Map({"title": "again"})
    (event,) = board.take(editor.edited())
    assert (event.type, event.version, fields(event)) == ("restored", 3, {"title": "again"})
    assert event.changes == {"title": {"from": "one", "to": "again"}, "tags": {"from": ["a"]}}


def test_a_child_comes_back_the_same_whether_or_not_its_document_was_closed_in_between() -> None:
    board, editor = board_with(title="one", tags=["a"])
    del editor.tasks["t1"]
    board.take(editor.edited())
    rows = [one.row(one.data) for one in (board.bridge.main, board.bridge.child(RoomKey("default", "tasks", "b1:t1")))]
    board.bridge = Bridge(BOARD, rows[0], rows[1:], {"tasks": "tasks"}, seq=2)
    editor.tasks["t1"] = Map({"title": "again"})
    (event,) = board.take(editor.edited())
    assert (event.type, event.version, fields(event)) == ("restored", 3, {"title": "again"})


def test_a_write_into_a_concurrently_deleted_child_does_not_restore_it() -> None:
    board, editor = board_with(title="one")
    late = Editor(2, board)
    del editor.tasks["t1"]
    board.take(editor.edited())
    late.tasks["t1"]["title"] = "late"
    assert board.take(late.edited()) == []
    late.doc.apply_update(board.doc.get_update())
    assert board.doc.get("tasks", type=Map).to_py() == late.tasks.to_py() == {}


def test_a_child_that_was_never_seen_is_not_deleted() -> None:
    board, editor = Board(), Editor(1)
    with editor.doc.transaction():
        editor.tasks["t1"] = Map({"title": "one"})
        del editor.tasks["t1"]
    assert board.take(editor.edited()) == []


def test_a_child_that_is_replaced_is_updated_where_it_differs_also_only_in_type() -> None:
    board, editor = board_with(title="one", done=0, tags=[1], kept=1)
    editor.tasks["t1"] = Map({"title": "one", "done": False, "tags": [True], "kept": 1})
    (event,) = board.take(editor.edited())
    assert event.changes == {"done": {"from": 0, "to": False}, "tags": {"from": [1], "to": [True]}}
    assert event.data["tags"][0] is True


def test_a_writer_is_notified_even_if_the_write_concerns_no_entity() -> None:
    board, editor = board_with(title="one")
    told: list[WriteOutcome] = []
    editor.tasks["no name for an entity"] = Map({"title": "two"})
    assert board.take(editor.edited(), intent=Intent("w", told.append)) == []
    assert [what.data["id"] for what in told] == ["b1"]


def test_a_write_to_a_childs_field_is_an_update_of_that_child_alone() -> None:
    board, editor = board_with(title="one")
    told: list[WriteOutcome] = []
    with editor.doc.transaction():
        editor.tasks["t1"]["title"] = "two"
        editor.tasks["t2"] = Map({"title": "other"})
        editor.doc.get("text", type=Text).insert(0, "x")
    events = board.take(editor.edited(), intent=Intent("w", told.append))
    assert [(event.id, event.type, event.changes) for event in events] == [
        ("b1:t1", "updated", {"title": {"from": "one", "to": "two"}}),
        ("b1:t2", "created", {"title": {"to": "other"}}),
    ]
    assert {what.data["id"] for what in told} == {"b1:t1", "b1:t2"}


def xml() -> XmlFragment:
    return XmlFragment([XmlElement("p", {"align": "left"}, [XmlText("hello")])])


ANY_PLACE = [
    pytest.param(lambda: xml(), '<p align="left">hello</p>', id="XML"),
    pytest.param(lambda: Text("hello"), "hello", id="a text"),
    pytest.param(lambda: b"\x01\x02", "AQI=", id="bytes"),
    pytest.param(lambda: Map({"body": xml()}), {"body": '<p align="left">hello</p>'}, id="XML in a map"),
    pytest.param(lambda: Array([xml(), b"\x01"]), ['<p align="left">hello</p>', "AQ=="], id="XML in an array"),
    pytest.param(
        lambda: Map({"rows": Array([Map({"body": xml(), "notes": Text("n")})])}),
        {"rows": [{"body": '<p align="left">hello</p>', "notes": "n"}]},
        id="XML in a map in an array in a map",
    ),
    pytest.param(lambda: [float("nan"), 2.0**60, b"\x01"], [None, 2.0**60, "AQ=="], id="plain values"),
]


@pytest.mark.parametrize(("make", "shown"), ANY_PLACE)
def test_a_field_of_a_child_may_hold_any_yjs_content(make: Callable[[], Any], shown: Any) -> None:
    board, editor = board_with(title="one")
    editor.tasks["t1"]["body"] = make()
    (event,) = board.take(editor.edited())
    assert event.changes == {"body": {"to": shown}}


@pytest.mark.parametrize(("make", "shown"), ANY_PLACE)
def test_a_child_may_be_created_with_any_yjs_content(make: Callable[[], Any], shown: Any) -> None:
    board, editor = Board(), Editor(1)
    editor.tasks["t1"] = Map({"body": make()})
    (event,) = board.take(editor.edited())
    assert fields(event) == {"body": shown}


@pytest.mark.parametrize(("make", "shown"), ANY_PLACE)
def test_a_field_of_the_document_may_hold_any_yjs_content(make: Callable[[], Any], shown: Any) -> None:
    board, editor = Board(), Editor(1)
    editor.doc.get("fields", type=Map)["body"] = make()
    assert board.ops(editor.edited())[0].changes == {"body": shown}
    assert read_entry(board.doc, "fields", None, "body") == shown


@pytest.mark.parametrize("key", ["", "é", "a/b", "a b", "x" * 126])
def test_a_member_that_no_name_can_reach_is_no_entity(key: str) -> None:
    board, editor = Board(), Editor(1)
    editor.tasks[key] = Map({"title": "one"})
    assert board.take(editor.edited()) == []
    (own,) = board.bridge.rows_after({"tasks": {key: {"title": "one"}}})
    assert own.key == BOARD
    assert board.bridge.row_inside(("tasks", key), lambda *place: {"title": "one"}) is None


def test_entities_equal_the_documents_fields_whatever_yjs_writes() -> None:
    for history in histories(300, 5, 150):
        board = Board()
        board.gate = Gate(("cards", "map"))
        board.bridge = Bridge(BOARD, mapped={"cards": "tasks", "map": "notes"})
        for update in history.updates:
            board.ops(update)
        for root, collection in (("cards", "tasks"), ("map", "notes")):
            for key in board.doc.get(root, type=Map):
                value = read_entry(board.doc, root, key, None)
                assert isinstance(json.dumps(value), str)
                entity = board.bridge.child(RoomKey("default", collection, f"b1:{key}"))
                if isinstance(value, dict) and key and is_part(entity.key.id):
                    assert entity.alive
                    assert same(entity.now, value)


def test_writing_inside_the_xml_of_a_field_is_a_change_of_the_field() -> None:
    board, editor = board_with(title="one", body=xml())
    editor.tasks["t1"]["body"].children[0].children[0].insert(5, "!")
    (event,) = board.take(editor.edited())
    assert event.changes == {"body": {"from": '<p align="left">hello</p>', "to": '<p align="left">hello!</p>'}}
