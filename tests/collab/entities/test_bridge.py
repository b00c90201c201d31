"""What is done to a document, as changes of its entities; and the events that these make."""

from __future__ import annotations

from typing import Any

from pycrdt import Doc, Map, Text

from collab.entities.bridge import Bridge, read_entry
from collab.entities.entity import Intent, Op, Told, derive
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.wire.update import Gate

BOARD = RoomKey("default", "boards", "b1")


class Board:
    """A document with tasks in its map ``tasks``, as the server has it. Each update that it takes is a flush."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.gate = Gate(("tasks",))
        self.bridge = Bridge(BOARD, mapped={"tasks": "tasks"})

    def ops(self, update: bytes, user: str = "ann", intent: Intent | None = None) -> list[Op]:
        checked = self.gate.check(update)
        self.doc.apply_update(update)
        writes = self.gate.commit(checked, live=True)
        return self.bridge.ops(writes, user, 1.0, self._read, content=checked.content, intent=intent)

    def take(self, update: bytes, user: str = "ann", intent: Intent | None = None) -> list[EntityEvent]:
        facts, told = derive([(0, self.ops(update, user, intent))])
        for whose, what in told:
            whose.told(what)
        return [fact.event for fact in facts if fact.event.collection == "tasks"]

    def _read(self, root: str, child: str | None, key: str | None) -> Any:
        return read_entry(self.doc, root, child, key)


class Editor:
    """A replica, whose edits are updates."""

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
    rows = [board.bridge.main.row(), board.bridge.child(RoomKey("default", "tasks", "b1:t1")).row()]
    board.bridge = Bridge(BOARD, rows[0], rows[1:], {"tasks": "tasks"}, seq=2)
    editor.tasks["t1"] = Map({"title": "again"})
    (event,) = board.take(editor.edited())
    assert (event.type, event.version, fields(event)) == ("restored", 3, {"title": "again"})


def test_who_writes_into_a_child_that_was_deleted_elsewhere_does_not_bring_it_back() -> None:
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


def test_whoever_writes_is_told_even_if_nothing_of_it_is_an_entitys() -> None:
    board, editor = board_with(title="one")
    told: list[Told] = []
    editor.tasks["no name for an entity"] = Map({"title": "two"})
    assert board.take(editor.edited(), intent=Intent("w", told.append)) == []
    assert [what.data["id"] for what in told] == ["b1"]


def test_a_write_to_a_childs_field_is_an_update_of_that_child_alone() -> None:
    board, editor = board_with(title="one")
    told: list[Told] = []
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
