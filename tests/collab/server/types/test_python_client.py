"""The client that ``collab types --client`` writes: mypy takes right programs with it, and refuses wrong ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from collab.client import BaseClient
from collab.records.declaration import CollectionDeclaration, declaration
from collab.server.commands.types import TypesLanguage, written
from collab.server.types.python_client import CLIENT_MEMBERS
from tests.collab.server.types.test_types import loaded, mypy

LIBRARIES: tuple[TypesLanguage, ...] = ("pydantic", "msgspec", "typeddict")
FIELDS: dict[str, Any] = {
    "type": "object",
    "required": ["title", "status"],
    "properties": {
        "title": {"type": "string"},
        "status": {"enum": ["open", "done"]},
        "rank": {"type": ["number", "null"]},
        "due": {"type": "string", "format": "date-time"},
        "done": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "owner": {"$ref": "#/$defs/person"},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "anything": {},
        "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/person"}]},
        "a.b": {"type": "integer"},
        "OR": {"type": "boolean"},
        "ownerId": {"type": "string"},
    },
    "$defs": {
        "person": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "boss": {"$ref": "#/$defs/person"}},
        }
    },
}
DECLARED = {
    "tasks": declaration(
        FIELDS,
        relations={
            "assignee": {"one": "users", "by": "ownerId"},
            "comments": {"many": "comments", "by": "taskId"},
            "files": {"many": "files", "by": "taskId"},
        },
    ),
    "users": declaration({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}),
    "comments": declaration({"type": "object", "properties": {"taskId": {"type": "string"}, "n": {"type": "integer"}}}),
    "order-items": declaration({"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}}),
    "events": declaration({"type": "object", "properties": {"at": {"type": "string"}}}),
    "notes": CollectionDeclaration(),
}
NEW: dict[TypesLanguage, str] = {
    "pydantic": "Tasks(title='a', status='open')",
    "msgspec": "Tasks(title='a', status='open')",
    "typeddict": "{'title': 'a', 'status': 'open'}",
}
# `§title` is the member of a row: `.title`, or `["title"]` of a typed dict
USE = """
import datetime

from collab.client import Collection, LumenizeClient
from MODULE import Client, Tasks, TasksRow

client = Client()
now = datetime.datetime.now()


async def right() -> TasksRow:
    made = await client.tasks.create(NEW_TASK)
    await client.tasks.update(made§id, {"status": "done", "rank": None}, unset=["due"])
    title: str = made§title
    rows = await client.tasks.find_many(
        {"where": {"status": "open", "rank": {"gte": 1, "not": 5}, "title": {"startsWith": title}}, "limit": 5}
    )
    await client.tasks.count({"where": {"AND": [{"status": {"in": ["open"]}}, {"NOT": {"done": True}}]}})
    await client.tasks.count({"where": {"owner": {"name": "Ada", "boss": {"age": {"lt": 9}}}, "owner.age": 3}})
    await client.tasks.count({"where": {"owner.boss": None, "a\\\\.b": 1, "\\\\OR": True, "OR": [{"id": "t"}]}})
    await client.tasks.count({"where": {"due": {"gte": now}, "createdAt": {"lt": now}, "tags": {"contains": "x"}}})
    await client.tasks.count({"where": {"counts": {"opened": 2}, "anything": {"at": 1}, "either": "x"}})
    await client.tasks.count({"where": {"either": {"name": "x"}}})
    await client.tasks.find_many({"search": title, "order_by": {"rank": "desc"}, "condition": lambda: True})
    await client.tasks.find_many({"orderBy": [{"owner.name": "asc"}, {"id": "asc"}], "offset": 1}, fields=["title"])
    await client.tasks.aggregate({"group_by": ["status", "owner.name"], "sum": "rank", "max": ["due", "rank"]})
    rows = await client.tasks.find_many({"include": {"assignee": True, "comments": {"order_by": {"n": "desc"}}}})
    more = rows.included
    assert more is not None
    assignee = more[0]["assignee"]
    name: str = "" if assignee is None else assignee§name
    print(name, more[0]["comments"][0]§n, more[0]["files"][0]["whatever"])
    await client.tasks.find_many({"include": {"assignee": {"where": {"name": "x"}}, "files": {"limit": 1}}})
    total: float = (await client.order_items.find_by_id("o1"))§total
    client.events_.subscribe({"where": {"at": "x"}}, lambda rows: rows[0]§at)
    async with client.tasks.subscribe({"where": {"done": total > 1}}) as lists:
        async for each in lists:
            return each[0]
    untyped: Collection = client.notes
    print((await untyped.find_many())[0]["whatever"])
    return rows[0]


async def wrong() -> None:
    await client.task.find_many()  # wrong
    await client.tasks.create({"title": "a", "status": "closed"})  # wrong
    await client.tasks.update("t1", {"heading": "a"})  # wrong
    await client.tasks.update("t1", {"status": "closed"})  # wrong
    await client.tasks.update("t1", {}, unset=["heading"])  # wrong
    print((await client.tasks.find_by_id("t1"))§heading)  # wrong
    await client.tasks.count({"were": {}})  # wrong
    await client.tasks.count({"where": {"heading": "x"}})  # wrong
    await client.tasks.count({"where": {"status": "closed"}})  # wrong
    await client.tasks.count({"where": {"status": {"in": ["closed"]}}})  # wrong
    await client.tasks.count({"where": {"rank": {"gte": "1"}}})  # wrong
    await client.tasks.count({"where": {"rank": {"startsWith": "1"}}})  # wrong
    await client.tasks.count({"where": {"title": {"like": "x"}}})  # wrong
    await client.tasks.count({"where": {"done": {"gt": False}}})  # wrong
    await client.tasks.count({"where": {"tags": "x"}})  # wrong
    await client.tasks.count({"where": {"owner": {"nick": "x"}}})  # wrong
    await client.tasks.count({"where": {"owner.nick": "x"}})  # wrong
    await client.tasks.count({"where": {"owner.age": "x"}})  # wrong
    await client.tasks.count({"where": {"AND": [{"heading": "x"}]}})  # wrong
    await client.tasks.find_many({"order_by": {"heading": "asc"}})  # wrong
    await client.tasks.find_many({"order_by": {"title": "up"}})  # wrong
    await client.tasks.find_many({}, fields=["heading"])  # wrong
    await client.tasks.aggregate({"sum": "title"})  # wrong
    await client.tasks.aggregate({"group_by": "heading"})  # wrong
    await client.tasks.aggregate({"min": "done"})  # wrong
    client.tasks.subscribe({"where": {"heading": "x"}})  # wrong
    client.tasks.subscribe({}, lambda rows: rows[0]§heading)  # wrong
    await client.tasks.find_many({"include": {"owner": True}})  # wrong
    await client.tasks.find_many({"include": {"assignee": {"limit": 1}}})  # wrong
    await client.tasks.find_many({"include": {"comments": {"where": {"heading": "x"}}}})  # wrong
    await client.tasks.find_many({"include": {"comments": {"order_by": {"heading": "asc"}}}})  # wrong
    more = (await client.tasks.find_many()).included or []
    print(more[0]["assignee"]§name)  # wrong
    print(more[0]["comments"][0]§heading)  # wrong


async def by_hand() -> None:
    tasks = LumenizeClient().collection("tasks", TasksRow)
    row: TasksRow = await tasks.find_by_id("t1")
    other: str = await tasks.find_by_id("t1")  # wrong
    print(row§title, other)
"""


def errors_of_mypy(folder: Path, names: list[str]) -> dict[str, list[int]]:
    """The lines with errors, of each file."""
    errors = [line.split(":") for line in mypy(folder, *names)]
    return {name: sorted({int(error[1]) for error in errors if error[0] == name}) for name in names}


@pytest.mark.slow
def test_mypy_takes_right_programs_and_refuses_wrong_ones(tmp_path: Path) -> None:
    wrong: dict[str, list[int]] = {}
    for library in LIBRARIES:
        module = f"made_with_{library}"
        (tmp_path / f"{module}.py").write_text(written(DECLARED, library, client=True))
        use = USE.replace("MODULE", module).replace("NEW_TASK", NEW[library])
        use = re.sub(r"§(\w+)", r'["\1"]' if library == "typeddict" else r".\1", use)
        (tmp_path / f"use_{library}.py").write_text(use)
        wrong[f"{module}.py"] = []
        wrong[f"use_{library}.py"] = [at for at, line in enumerate(use.splitlines(), 1) if line.endswith("# wrong")]
    assert errors_of_mypy(tmp_path, list(wrong)) == wrong


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_collections_are_properties_with_the_classes_of_their_rows(tmp_path: Path, library: TypesLanguage) -> None:
    declared = {**DECLARED, "client": declaration({"type": "object", "properties": {"a": {}}})}
    made = loaded(written(declared, library, client=True), tmp_path, f"client_of_{library}")
    client = made.Client2()  # `Client` is the type of the collection of this name
    names = {"tasks": "tasks", "order_items": "order-items", "events_": "events", "client": "client", "notes": "notes"}
    names |= {"users": "users", "comments": "comments"}
    assert {attribute: getattr(client, attribute).name for attribute in names} == names
    with pytest.raises(AttributeError):
        client.task  # noqa: B018


@pytest.mark.slow
def test_a_collection_may_have_the_name_of_a_type(tmp_path: Path) -> None:
    fields = {"type": "object", "properties": {"a": {"type": "string"}}}
    names = ("Tasks", "NotesRow", "dict", "str", "typing", "Literal", "lumenize", "property")
    text = written({name: declaration(fields) for name in names}, "msgspec", client=True)
    (tmp_path / "made.py").write_text(text)
    (tmp_path / "use.py").write_text(
        "from made import Client, TasksRow\n\n\nasync def use(client: Client) -> TasksRow:\n"
        '    await client.dict.update("a", {"a": 1})  # wrong\n    return await client.Tasks.find_by_id("a")\n'
    )
    assert errors_of_mypy(tmp_path, ["made.py", "use.py"]) == {"made.py": [], "use.py": [5]}
    client = loaded(text, tmp_path, "named_as_types").Client()
    attributes = [*names[:-2], "lumenize_", "property_"]
    assert [getattr(client, attribute).name for attribute in attributes] == list(names)


def test_no_property_hides_a_member_of_the_client() -> None:
    client = BaseClient()
    assert {name for name in dir(client) if not name.startswith("_")} == CLIENT_MEMBERS
