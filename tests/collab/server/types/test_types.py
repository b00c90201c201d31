"""Types of declared collections: compilers take them, and they take whatever the schema takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import msgspec
import pydantic
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collab.records.declaration import CollectionDeclaration, declaration
from collab.server.commands.types import TypesLanguage, written
from tests.collab.server.command_line import run
from tools.machine import node

ROOT = Path(__file__).parents[4]
TSC = ROOT / "js" / "node_modules" / "typescript" / "bin" / "tsc"

FIELDS: dict[str, Any] = {
    "type": "object",
    "description": 'What is to be done */ """',
    "required": ["title", "class", "owner"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "title": {"type": "string", "description": "Shown in lists"},
        "class": {"enum": ["bug", "feature", None]},
        "done-at": {"type": ["string", "null"], "format": "date-time"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "owner": {"$ref": "#/$defs/person"},
        "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
        "place": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/person"}, {"type": "object"}]},
        "both": {"allOf": [{"$ref": "#/$defs/person"}, {"properties": {"more": {"const": 1}}, "required": ["more"]}]},
        "any": {},
        "model_x": {"type": "boolean"},
        "_hidden": {"type": "boolean"},
        "json": {"type": "boolean"},
    },
    "$defs": {
        "person": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        "step": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "inside": {"type": "array", "items": {"$ref": "#/$defs/step"}}},
        },
    },
}
DECLARED = {
    "tasks": declaration(FIELDS),
    "order-items": declaration({"type": "object", "properties": {"n": {"type": "integer"}}}),
    "notes": CollectionDeclaration(),
    "schema": declaration({"type": "object", "properties": {"Schema": {"type": "string"}}}),
}
TASK = {
    "title": "Write",
    "class": "bug",
    "done-at": None,
    "tags": ["a"],
    "owner": {"name": "Ada"},
    "steps": [{"text": "1", "inside": [{"text": "1.1"}]}],
    "place": {"lat": 1.5},
    "counts": {"x": 1},
    "either": {"free": True},
    "both": {"name": "Bob", "more": 1},
    "any": [1, "two", None],
    "model_x": True,
    "_hidden": True,
    "json": True,
}
ROW = {**TASK, "id": "t1", "createdAt": "2026-01-01T00:00:00.000000Z", "updatedAt": "2026-01-01T00:00:00.000000Z"}


def loaded(text: str, folder: Path, name: str = "made") -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# TypeScript

USE = """
import { LumenizeClient } from "@lumenize/client"
import type { Schema, Tasks } from "./made"

const client = new LumenizeClient<Schema>({ url: "http://127.0.0.1:8000" })
const task: Tasks = { title: "a", class: "bug", owner: { name: "Ada" } }

export async function use(): Promise<string> {
  const made = await client.tasks.create(task)
  await client.collection("order-items").create({ n: 1 })
  // @ts-expect-error a field that is not declared
  await client.tasks.create({ ...task, tytle: "a" })
  // @ts-expect-error a value that is not one of those declared
  const wrong: Tasks = { ...task, class: "mistake" }
  // @ts-expect-error a required field is missing
  const less: Tasks = { title: "a", class: null }
  return made.title + made.id + String(wrong) + String(less) + (made.steps?.[0]?.inside?.[0]?.text ?? "")
}
"""


@pytest.mark.slow
def test_typescript_compiles_strictly_and_a_wrong_field_does_not() -> None:
    folder = ROOT / "js" / "tests" / f".types-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "made.ts").write_text(written(DECLARED, "typescript"))
        (folder / "use.ts").write_text(USE)
        options = [
            "--ignoreConfig",
            "--noEmit",
            "--strict",
            "--target",
            "es2022",
            "--module",
            "esnext",
            "--moduleResolution",
            "bundler",
        ]
        command = [str(node()), str(TSC), *options, "--skipLibCheck", str(folder / "use.ts")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.stdout == ""
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_typescript_is_as_documented() -> None:
    text = written(
        {"tasks": declaration({"type": "object", "properties": {"title": {"type": "string"}}})}, "typescript"
    )
    types = "export type Tasks = {\n  title?: string\n}\n\nexport type Schema = {\n  tasks: Tasks\n}\n"
    assert types in text
    assert text.endswith('declare module "@lumenize/client" {\n  interface Register {\n    schema: Schema\n  }\n}\n')


def test_the_types_that_the_packages_are_checked_with_are_those_that_are_written() -> None:
    folder = ROOT / "js" / "tests" / "registered"
    declared = run("types", "typescript", "--config", str(folder / "collab.toml"))
    assert declared.stdout == (folder / "schema.ts").read_text()


# Python


@pytest.mark.parametrize("library", ["pydantic", "msgspec"])
def test_python_types_read_rows_and_refuse_what_does_not_fit(tmp_path: Path, library: TypesLanguage) -> None:
    made = loaded(written(DECLARED, library), tmp_path)

    def read(name: str, value: Any) -> Any:
        kind = getattr(made, name)
        if library == "pydantic":
            return kind.model_validate(value)
        return msgspec.json.decode(msgspec.json.encode(value), type=kind)

    for name, value in (("Tasks", TASK), ("TasksRow", ROW)):
        task = read(name, value)
        assert task.title == "Write"
        assert task.class_ == "bug"
        assert task.done_at is None
        assert task.steps[0].inside[0].text == "1.1"
    assert task.id == "t1"
    read("OrderItems", {"n": 1})
    read("Notes", {"anything": [1]})
    for wrong in ({**TASK, "title": 1}, {**TASK, "class": "mistake"}, {**TASK, "owner": {}}, {**TASK, "tytle": ""}):
        with pytest.raises((pydantic.ValidationError, msgspec.ValidationError)):
            read("Tasks", wrong)


@pytest.mark.parametrize("library", ["pydantic", "msgspec"])
def test_what_a_type_writes_fits_the_declaration(tmp_path: Path, library: TypesLanguage) -> None:
    made = loaded(written(DECLARED, library), tmp_path)
    if library == "pydantic":
        task = made.Tasks.model_validate(TASK).model_dump(mode="json", by_alias=True, exclude_unset=True)
    else:
        task = msgspec.json.decode(msgspec.json.encode(msgspec.convert(TASK, made.Tasks)))
    assert task == TASK
    jsonschema.validate(task, FIELDS)


def mypy(folder: Path, *names: str) -> list[str]:
    """The errors of mypy in these files, in order."""
    options = ["--strict", "--no-error-summary", "--config-file", os.devnull, "--cache-dir", os.devnull]
    command = [sys.executable, "-m", "mypy", *options, "--follow-imports", "silent", *names]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert done.returncode == bool(errors), done.stdout + done.stderr  # 2: it has checked nothing
    return errors


GOOD: dict[str, str] = {
    "pydantic": "Tasks.model_validate({})",
    "msgspec": "Tasks(title='a', class_='bug', owner=TasksPerson(name='Ada'))",
    "typeddict": "{'title': 'a', 'class': 'bug', 'owner': {'name': 'Ada'}, 'tags': ['a']}",
}
WRONG: dict[str, list[str]] = {
    "pydantic": ["TasksPerson(name='Ada')", "Tasks.model_validate({}).tytle"],
    "msgspec": [
        "Tasks(title=1, class_='bug', owner=TasksPerson(name='Ada'))",
        "Tasks(title='a', class_='mistake', owner=TasksPerson(name='Ada'))",
        "Tasks(title='a', class_='bug')",
        "Tasks(title='a', class_='bug', owner=TasksPerson(name='Ada'), tytle='a')",
    ],
    "typeddict": [
        "{'title': 1, 'class': 'bug', 'owner': {'name': 'Ada'}}",
        "{'title': 'a', 'class': 'mistake', 'owner': {'name': 'Ada'}}",
        "{'title': 'a', 'class': 'bug'}",
        "{'title': 'a', 'class': 'bug', 'owner': {'name': 'Ada'}, 'tytle': 'a'}",
    ],
}


@pytest.mark.parametrize("library", ["pydantic", "msgspec", "typeddict"])
def test_mypy_takes_what_the_types_allow_and_refuses_the_rest(tmp_path: Path, library: TypesLanguage) -> None:
    (tmp_path / "made.py").write_text(written(DECLARED, library))
    assert mypy(tmp_path, "made.py") == []
    head = "from made import Tasks, TasksPerson, TasksRow\n"
    wrong = "".join(f"w{at}: Tasks = {each}\n" for at, each in enumerate(WRONG[library]))
    row = 'row["title"]' if library == "typeddict" else "row.title"
    use = f"def use(row: TasksRow) -> str:\n    return {row}\n"
    (tmp_path / "use.py").write_text(f"{head}good: Tasks = {GOOD[library]}\n{use}{wrong}")
    lines = [int(error.split(":")[1]) for error in mypy(tmp_path, "use.py")]
    assert list(dict.fromkeys(lines)) == [5 + at for at in range(len(WRONG[library]))]


def test_a_field_that_may_be_missing_is_none_then_whatever_is_inside_it(tmp_path: Path) -> None:
    inner = {"anyOf": [{"type": "null"}, {"type": "integer"}]}
    fields = {"type": "object", "properties": {"a": {"type": "array", "items": inner}, "b": inner}}
    text = written({"tasks": declaration(fields)}, "pydantic")
    assert "    a: list[None | int] | None = None\n    b: None | int = None\n" in text
    (tmp_path / "made.py").write_text(text)
    assert mypy(tmp_path, "made.py") == []


def test_typed_dicts_can_be_checked_while_a_program_runs(tmp_path: Path) -> None:
    fields = {"type": "object", "required": ["class"], "properties": {"class": {"type": "string"}}}
    made = loaded(written({"tasks": declaration(fields)}, "typeddict"), tmp_path)
    row = {"class": "bug", "id": "t1", "createdAt": "", "updatedAt": ""}
    assert msgspec.convert(row, made.TasksRow) == row
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**row, "class": 1}, made.TasksRow)


# the law: types take whatever the schema takes

NAMES = st.sampled_from(["a", "b", "class", "x-y", "json", "_z", "1st", "model_a", "Any", "Tasks", "é", "éa"])
SCALARS = st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(lambda name: {"type": name})
ENUMS = st.lists(st.sampled_from(["s", "t", 1, 2, None, True]), min_size=1, max_size=3).map(lambda each: {"enum": each})


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda properties, required, closed: {
            "type": "object",
            "properties": properties,
            "required": sorted(set(required) & properties.keys()),
            **({"additionalProperties": False} if closed else {}),
        },
        st.dictionaries(NAMES, inner, max_size=4),
        st.lists(NAMES, max_size=4),
        st.booleans(),
    )


SCHEMAS = st.recursive(
    SCALARS | ENUMS | st.just({}),
    lambda inner: (
        objects(inner)
        | inner.map(lambda each: {"type": "array", "items": each})
        | inner.map(lambda each: {"type": "object", "additionalProperties": each})
        | st.lists(inner, min_size=1, max_size=3).map(lambda each: {"anyOf": each})
        | st.lists(inner, min_size=2, max_size=2).map(lambda each: {"allOf": each})
    ),
    max_leaves=8,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["s", "t", "u", 0.5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def instance(schema: dict[str, Any], draw: Any) -> Any:
    """A value that probably fits a schema."""
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    for word in ("anyOf", "allOf"):
        if word in schema:
            return instance(draw(st.sampled_from(schema[word])), draw)
    match schema.get("type"):
        case "string":
            return draw(st.sampled_from(["s", "x"]))
        case "integer":
            return draw(st.integers(-9, 9))
        case "number":
            return draw(st.sampled_from([0.5, 2]))
        case "boolean":
            return draw(st.booleans())
        case "null":
            return None
        case "array":
            return [instance(schema["items"], draw) for _ in range(draw(st.integers(0, 2)))]
        case "object":
            rest = schema.get("additionalProperties")
            if isinstance(rest, dict):
                return {"k": instance(rest, draw)}
            required = schema.get("required", [])
            return {
                name: instance(inner, draw)
                for name, inner in schema.get("properties", {}).items()
                if name in required or draw(st.booleans())
            }
    return draw(VALUES)


@settings(max_examples=150, deadline=None)
@given(objects(SCHEMAS), st.data())
def test_whatever_fits_the_schema_fits_the_types(
    tmp_path_factory: pytest.TempPathFactory, schema: dict[str, Any], data: st.DataObject
) -> None:
    value = instance(schema, data.draw)
    assume(jsonschema.Draft202012Validator(schema).is_valid(value))
    declared = {"tasks": declaration(schema)}
    folder = tmp_path_factory.mktemp("types")
    try:
        made = loaded(written(declared, "pydantic"), folder)
        made.Tasks.model_validate(value)
        made = loaded(written(declared, "msgspec"), folder, "others")
        msgspec.json.decode(json.dumps(value), type=made.Tasks)
        loaded(written(declared, "typeddict", client=True), folder, "clients").Client().tasks  # noqa: B018
        assert written(declared, "typescript")
    finally:
        for path in folder.glob("*.py"):
            path.unlink()
