"""Writes are checked against the declarations of their collections, with an error for each field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.errors import NotFound, ValidationFailed
from collab.query.query import Query, Search
from collab.query.search import CONTENTS, parse_words
from collab.records.declaration import CollectionDeclaration, declaration
from collab.records.schema import Schemas
from collab.storage.sqlite.storage import SqliteStorage
from tests.collab.storage.database import raw

TASK = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 10},
        "status": {"enum": ["open", "done"]},
        "due": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "owner": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title"],
    "additionalProperties": False,
}


def refused(data: dict[str, Any], schema: dict[str, Any] = TASK) -> ValidationFailed:
    with pytest.raises(ValidationFailed) as error:
        Schemas({"tasks": declaration(schema)}).validate("tasks", data)
    return error.value


# writes


def test_what_fits_passes_and_the_records_own_members_are_not_looked_at() -> None:
    record = {"id": "t1", "createdAt": "2024-01-01T00:00:00.000Z", "updatedAt": "2024-01-01T00:00:00.000Z"}
    Schemas({"tasks": declaration(TASK)}).validate("tasks", {**record, "title": "Write", "tags": ["a"]})


def test_the_message_has_the_first_fault_and_the_number_of_the_others() -> None:
    assert refused({"title": "Write", "colour": 1}).message == "colour: is not a declared field"
    error = refused({"colour": 1, "size": 2})
    assert error.message.endswith(" (and 2 more)")
    assert len(error.details["errors"]) == 3


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"title": 1}, "title", "1 is not of type 'string'"),
        ({"status": "late"}, "status", "'late' is not one of ['open', 'done']"),
        ({"owner": {}}, "owner.name", "is required"),
        ({"owner": {"name": None}}, "owner.name", "None is not of type 'string'"),
        ({"tags": ["a", 2]}, "tags.1", "2 is not of type 'string'"),
        ({"colour": "red"}, "colour", "is not a declared field"),
        ({"due": "tomorrow"}, "due", "'tomorrow' is not a 'date-time'"),
        ({"due": "2024-02-30T00:00:00Z"}, "due", "'2024-02-30T00:00:00Z' is not a 'date-time'"),
        ({"due": "2024-02-01"}, "due", "'2024-02-01' is not a 'date-time'"),
        ({"day": "20240201"}, "day", "'20240201' is not a 'date'"),
    ],
)
def test_an_error_names_the_field_and_what_is_wrong_with_it(changes: dict[str, Any], field: str, message: str) -> None:
    error = refused({"title": "Write", **changes})
    assert error.details == {"errors": [{"field": field, "message": message}]}
    assert error.message == f"{field}: {message}"
    assert error.code == "VALIDATION_FAILED"


def test_dates_as_the_rest_of_the_protocol_reads_them_are_dates() -> None:
    schemas = Schemas({"tasks": declaration(TASK)})
    for moment in ("2024-01-31T12:00:00Z", "2024-01-31T12:00:00.123+02:00"):
        schemas.validate("tasks", {"title": "Write", "due": moment, "day": "2024-02-29"})


def test_all_that_is_wrong_is_told_at_once_and_each_thing_once() -> None:
    error = refused({"status": "late", "colour": "red"}, TASK | {"required": ["title", "status", "due"]})
    assert {each["field"] for each in error.details["errors"]} == {"title", "due", "status", "colour"}
    assert len(error.details["errors"]) == 4


def test_errors_are_bounded_in_number_and_length() -> None:
    error = refused({"title": "x" * 100_000, "tags": list(range(1000))})
    assert len(error.details["errors"]) == 20
    assert max(len(each["message"]) for each in error.details["errors"]) <= 300
    assert len(error.message) < 400
    error = refused({"title": "Write", "x" * 100_000: 1, "owner": {"name": "a", **dict.fromkeys(("y" * 9999,), 1)}})
    assert max(len(each["field"]) for each in error.details["errors"]) <= 300


def test_a_schema_that_refers_to_itself_checks_as_deep_as_the_data() -> None:
    schema = {"properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}}}
    assert refused({"child": {"child": {"n": "one"}}}, schema).details["errors"][0]["field"] == "child.child.n"


def test_what_is_not_declared_is_not_checked_unless_only_declared_collections_may_be_used() -> None:
    Schemas().validate("notes", {"anything": ["goes"]})
    Schemas().check_collection("notes")
    strict = Schemas({"tasks": declaration()}, strict=True)
    strict.check_collection("tasks")
    strict.validate("tasks", {"anything": ["goes"]})
    with pytest.raises(NotFound, match="no collection notes"):
        strict.check_collection("notes")


NAMES = st.text("abc", min_size=1, max_size=2)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
KINDS = st.sampled_from(["string", "integer", "boolean", "null", "array", "object"])


@given(st.dictionaries(NAMES, KINDS, max_size=4), st.dictionaries(NAMES, VALUES, max_size=4))
def test_a_write_is_refused_for_exactly_the_fields_that_do_not_fit(kinds: dict[str, str], data: dict[str, Any]) -> None:
    fits = {
        "string": lambda value: isinstance(value, str),
        "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
        "boolean": lambda value: isinstance(value, bool),
        "null": lambda value: value is None,
        "array": lambda value: isinstance(value, list),
        "object": lambda value: isinstance(value, dict),
    }
    schemas = Schemas({"tasks": declaration({"properties": {name: {"type": kind} for name, kind in kinds.items()}})})
    wrong = {name for name, kind in kinds.items() if name in data and not fits[kind](data[name])}
    try:
        schemas.validate("tasks", data)
        told = set()
    except ValidationFailed as error:
        told = {each["field"] for each in error.details["errors"]}
    assert told == wrong


def test_a_root_holds_one_collection_and_no_collection_is_mapped_twice_over() -> None:
    boards = Schemas({"tasks": declaration(mapped={"in": "boards", "root": "tasks"})})
    boards.declare("cards", declaration(mapped={"in": "boards", "root": "cards"}))
    assert boards.mapped_in("boards") == {"tasks": "tasks", "cards": "cards"}
    assert boards.mapped_in("tasks") == {}
    with pytest.raises(ValueError, match="another collection"):
        boards.declare("notes", declaration(mapped={"in": "boards", "root": "tasks"}))
    with pytest.raises(ValueError, match="mapped itself"):
        boards.declare("steps", declaration(mapped={"in": "tasks", "root": "steps"}))
    with pytest.raises(ValueError, match="mapped itself"):
        boards.declare("boards", declaration(mapped={"in": "walls", "root": "boards"}))
    with pytest.raises(ValueError, match="mapped itself"):
        boards.declare("self", declaration(mapped={"in": "self", "root": "self"}))
    with pytest.raises(ValueError, match="name must be"):
        boards.declare("a/b", declaration())


# versions


@pytest.fixture
async def storage(tmp_path: Any) -> Any:
    storage = SqliteStorage(tmp_path)
    await storage.open()
    yield storage
    await storage.close()


async def start(
    storage: SqliteStorage, declared: dict[str, CollectionDeclaration], *, others: bool = False
) -> tuple[Schemas, Sequence[Any]]:
    schemas = Schemas(declared)
    return schemas, await schemas.save(storage, 0.0, others=others)


async def test_a_changed_declaration_has_the_next_version_and_is_announced(storage: SqliteStorage) -> None:
    _, events = await start(storage, {"tasks": declaration(TASK)})
    assert [event["version"] for event in events] == [1]
    again, events = await start(storage, {"tasks": declaration(TASK)})
    assert (again.version("tasks"), events) == (1, [])
    changed, events = await start(storage, {"tasks": declaration(TASK | {"required": []})})
    at = "1970-01-01T00:00:00.000Z"
    assert events == [{"type": "schema_updated", "entityName": "tasks", "version": 2, "at": at}]
    assert changed.describe() == {"tasks": {"schema": TASK | {"required": []}, "content": {}, "version": 2}}


async def test_an_index_more_is_no_change_to_applications(storage: SqliteStorage) -> None:
    await start(storage, {"tasks": declaration(TASK)})
    schemas, events = await start(storage, {"tasks": declaration(TASK, indexes=["status"])})
    assert (schemas.version("tasks"), events) == (1, [])


async def test_content_and_mapping_belong_to_the_declaration(storage: SqliteStorage) -> None:
    await start(storage, {"tasks": declaration(), "notes": declaration()})
    declared = {
        "tasks": declaration(mapped={"in": "boards", "root": "tasks"}),
        "notes": declaration(content={"body": "text"}),
    }
    schemas, events = await start(storage, declared)
    assert [(event["entityName"], event["version"]) for event in events] == [("tasks", 2), ("notes", 2)]
    assert schemas.describe()["tasks"]["mapped"] == {"in": "boards", "root": "tasks"}
    assert schemas.describe()["notes"]["content"] == {"body": "text"}


async def test_an_older_declaration_that_comes_back_beside_other_nodes_changes_nothing(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[str, ...]] = []
    index = storage.index

    async def build(collection: str, indexes: Sequence[Any]) -> None:
        built.append(tuple(".".join(path) for paths in indexes for path in paths))
        await index(collection, indexes)

    monkeypatch.setattr(storage, "index", build)
    old = {"tasks": declaration(TASK, indexes=["status"])}
    more = {"tasks": declaration(TASK, indexes=["status", "title"])}
    new = {"tasks": declaration(TASK | {"required": []}, indexes=["title"])}
    for declared, versions, announced in (
        (old, 1, 1),
        (more, 1, 0),
        (new, 2, 1),
        (old, 1, 0),
        (new, 2, 0),
        (more, 1, 0),
    ):
        schemas, events = await start(storage, declared, others=True)
        assert (schemas.version("tasks"), len(events)) == (versions, announced)
    assert built == [("status",), ("status", "title"), ("title",), ("title",)]
    schemas, events = await start(storage, old)
    assert (schemas.version("tasks"), len(events)) == (3, 1), "alone it is a change like others"
    schemas, events = await start(storage, new, others=True)
    assert (schemas.version("tasks"), len(events)) == (2, 0)


async def test_what_an_earlier_release_has_saved_is_the_newest_declaration(storage: SqliteStorage) -> None:
    said = declaration(TASK)
    await storage.save_schema("*", "tasks", 7, said.fingerprint())
    for _ in range(2):
        schemas, events = await start(storage, {"tasks": said}, others=True)
        assert (schemas.version("tasks"), events) == (7, [])


async def test_what_a_relation_finds_is_indexed_also_in_a_collection_that_declares_nothing(
    storage: SqliteStorage, tmp_path: Path
) -> None:
    """Without an index, what is related to a thousand rows is read by a thousand searches of the whole collection."""

    def indexes() -> dict[str, int]:
        with raw(tmp_path) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'query%:%'")
            return dict(Counter(name.partition(":")[2] for (name,) in names))

    relations = {
        "owner": {"one": "users", "by": "ownerId"},
        "comments": {"many": "comments", "by": "taskId"},
        "files": {"many": "files", "by": "taskId"},
        "parts": {"many": "tasks", "by": "parentId"},
    }
    files = declaration(indexes=[["taskId", "n"], "n"])
    await start(storage, {"tasks": declaration(relations=relations), "files": files})
    assert indexes() == {"tasks": 1, "comments": 1, "files": 2}
    await start(storage, {"tasks": declaration(), "files": declaration(), "comments": declaration()})
    assert indexes() == {}


async def test_a_declaration_that_another_process_has_replaced_differs_from_the_newest(storage: SqliteStorage) -> None:
    old, _ = await start(storage, {"tasks": declaration(TASK), "notes": declaration()})
    assert await old.differing(storage) == []
    new, _ = await start(storage, {"tasks": declaration(TASK, indexes=["status"])}, others=True)
    assert (await old.differing(storage), await new.differing(storage)) == (["tasks"], [])
    again, _ = await start(storage, {"tasks": declaration(TASK)}, others=True)
    assert await again.differing(storage) == ["tasks"]
    assert await Schemas({"boards": declaration()}).differing(storage) == []


def test_roots_with_entities_of_others_are_no_contents_that_are_searched() -> None:
    """A declaration of these changes what is searched, so documents are read anew."""
    boards = declaration(search=["title"], search_content=True)
    mapped = {
        "cards": declaration(mapped={"in": "boards", "root": "cards"}),
        "areas": declaration(mapped={"in": "boards", "root": "areas"}),
        "lines": declaration(mapped={"in": "pages", "root": "lines"}),
    }
    query = Query(search=Search(parse_words("whale")))
    for others, contents in (({}, CONTENTS), (mapped, (*CONTENTS, "areas", "cards"))):
        found = Schemas({"boards": boards, **others}).search("boards", query)
        assert found.search is not None
        assert found.search.paths == (contents, ("title",))
        assert Schemas({"boards": boards, **others}).contents_paths == {"boards": contents}


def test_contents_are_searched_beside_members_and_not_announced() -> None:
    """Of documents, which entities inside others do not have; and only if their contents are read."""
    said = declaration(search=["title"], search_content=True)
    assert said.search_paths() == (CONTENTS, ("title",))
    assert declaration(search_content=True).search_paths() == (CONTENTS,)
    assert said.fingerprint() == declaration().fingerprint()
    assert Schemas({"pages": said}).contents_paths == {"pages": CONTENTS}
    assert Schemas({"pages": declaration(search=["title"])}).contents_paths == {}
    with pytest.raises(msgspec.ValidationError, match="search_contents"):
        msgspec.convert({"search_contents": True}, CollectionDeclaration)
    with pytest.raises(ValueError, match="a mapped collection cannot have content"):
        declaration(mapped={"in": "boards", "root": "cards"}, search_content=True)
    with pytest.raises(ValueError, match="search_content of pages needs content_event_seconds, which is 0"):
        Schemas({"pages": said}, reads_content=False)
