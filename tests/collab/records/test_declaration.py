"""A collection's declaration is checked once, when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from collab.errors import ValidationFailed
from collab.records.declaration import CollectionDeclaration, declaration
from collab.records.field_types import schema_of
from collab.records.schema import Schemas


class Owner(msgspec.Struct):
    name: str


class Task(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    title: Annotated[str, msgspec.Meta(max_length=10)]
    owner: Owner | None = None
    createdAt: str = ""  # noqa: N815 (the record's name for it)


class Note(pydantic.BaseModel):
    id: str
    text: str
    stars: int = pydantic.Field(default=0, ge=0, le=5)


def test_a_struct_declares_its_fields() -> None:
    schemas = Schemas({"tasks": declaration(Task)})
    schemas.validate("tasks", {"id": "t1", "title": "Write", "owner": {"name": "Ada"}, "createdAt": "…"})
    with pytest.raises(ValidationFailed, match=r"title: is required"):
        schemas.validate("tasks", {"id": "t1"})
    with pytest.raises(ValidationFailed, match=r"colour: is not a declared field"):
        schemas.validate("tasks", {"title": "Write", "colour": "red"})
    assert "id" not in schema_of(Task)["properties"]


def test_a_pydantic_model_declares_its_fields() -> None:
    schemas = Schemas({"notes": declaration(Note)})
    schemas.validate("notes", {"text": "hello", "stars": 5})
    with pytest.raises(ValidationFailed, match="stars: 6 is greater than the maximum of 5"):
        schemas.validate("notes", {"text": "hello", "stars": 6})


@pytest.mark.parametrize("fields", [int, list[str], object, {"a": object()}, {"a": "\ud800"}])
def test_what_describes_no_fields_is_an_error(fields: Any) -> None:
    with pytest.raises(ValueError, match="fields"):
        declaration(fields)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "thing"}, "not a JSON Schema"),
        ({"properties": []}, "not a JSON Schema"),
        ({"properties": {"a": {"pattern": "("}}}, "not a JSON Schema"),
        ({"properties": {"a": {"$ref": "#/$defs/missing"}}}, "does not contain"),
        ({"properties": {"a": {"$ref": "https://example.com/schema.json"}}}, "does not contain"),
        ({"$ref": "file:///etc/passwd"}, "does not contain"),
        ({"$ref": "#"}, "infinite"),
    ],
)
def test_a_schema_that_makes_no_sense_or_reaches_outside_is_an_error(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        declaration(schema)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"content": {"fields": "map"}}, "holds the fields"),
        ({"content": {"body": "video"}}, "video"),
        ({"indexes": ["a..b"]}, "index"),
        ({"indexes": [str(number) for number in range(33)]}, "32"),
        ({"indexes": [["a", "b..c"]]}, "index must be"),
        ({"indexes": [[]]}, "length >= 1"),
        ({"indexes": [["a", ["b"]]]}, "indexes"),
        ({"indexes": [["a", "b.c", "a"]]}, "the index a, b.c, a has the member a twice"),
        ({"indexes": [["a", "b", "c", "d", "e", "f"]]}, "at most 5 members, not 6: a, b, c, d, e, f"),
        ({"indexes": [["a", 'b"c']]}, "cannot be indexed"),
        ({"indexes": ["back\\slash"]}, "cannot be indexed"),
        ({"mapped": {"in": "boards"}}, "root"),
        ({"mapped": {"in": "bo ards", "root": "tasks"}}, "mapped.in"),
        ({"mapped": {"in": "boards", "root": "fields"}}, "cannot hold other entities"),
        ({"mapped": {"in": "boards", "root": "tasks"}, "content": {"body": "text"}}, "cannot have content"),
        ({"fieldz": {}}, "fieldz"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_an_error(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        msgspec.convert(said, CollectionDeclaration)


def test_an_index_is_a_path_or_a_list_of_paths() -> None:
    said = declaration(indexes=["status", ["team", "profile.city"], ("status",), ["profile.city", "team"]])
    team, city = ("team",), ("profile", "city")
    assert said.index_paths() == ((("status",),), (team, city), (city, team))


def test_an_index_names_members_that_the_schema_allows() -> None:
    for known in ("title", "owner.name", "owner.age", "createdAt", "id"):
        assert len(declaration(Task, indexes=["title", [known, "updatedAt"]]).index_paths()) == 2
    with pytest.raises(ValueError, match=r"the index titl names no declared field; did you mean title\?"):
        declaration(Task, indexes=[["owner.name", "titl"]])
    with pytest.raises(ValueError, match=r"the index createdat names no declared field; did you mean createdAt\?"):
        declaration(Task, indexes=["createdat"])
    closed = {"properties": {"name": {}, "id": {}}, "patternProperties": {"^x-": {}}, "additionalProperties": False}
    with pytest.raises(ValueError, match=r"the index at\.nme names no declared field; did you mean name\?"):
        declaration({"properties": {"at": closed}}, indexes=["at.nme"])
    others = ["at.x-size", "at.name.deeper", "to.nme"]
    assert declaration({"properties": {"at": closed}}, indexes=others).indexes == others


class Typed(TypedDict):
    title: str
    tags: NotRequired[list[str]]


@dataclass
class Kept:
    title: str
    tags: list[str] | None = None


@pytest.mark.parametrize("fields", [Typed, Kept, {"title": str, "tags": list[str] | None}])
def test_fields_are_declared_by_a_class_or_by_types_by_name(fields: Any) -> None:
    schemas = Schemas({"tasks": declaration(fields)})
    schemas.validate("tasks", {"title": "Write"})
    schemas.validate("tasks", {"title": "Write", "tags": ["a"]})
    for wrong, field in (
        ({"title": 1}, "title"),
        ({"tags": ["a"]}, "title"),
        ({"title": "Write", "tags": [1]}, "tags"),
    ):
        with pytest.raises(ValidationFailed) as failed:
            schemas.validate("tasks", wrong)
        assert failed.value.details["errors"][0]["field"].startswith(field)


def test_types_by_name_are_all_fields_and_know_points_in_time() -> None:
    schemas = Schemas({"tasks": declaration({"due": datetime | None, "at": datetime, "id": str})})
    schemas.validate("tasks", {"at": "2026-01-01T10:00:00Z", "due": None})
    for wrong in ({"at": "tomorrow"}, {"at": "2026-01-01T10:00:00Z", "due": "tomorrow"}):
        with pytest.raises(ValidationFailed):
            schemas.validate("tasks", wrong)
    with pytest.raises(ValidationFailed, match="heading: is not a declared field"):
        schemas.validate("tasks", {"at": "2026-01-01T10:00:00Z", "heading": "x"})


@pytest.mark.parametrize("fields", [{"class": str}, {"a b": int}, {"a": object()}, {"a": str, "b": "text"}])
def test_a_type_by_name_that_says_nothing_is_refused(fields: Any) -> None:
    with pytest.raises(ValueError, match=r"is no|not supported"):
        declaration(fields)
