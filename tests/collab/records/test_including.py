"""Queries with ``include``: shapes, rights, limits, and what they refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from collab import Collab, Hooks, Identity, Settings, declaration
from collab.access.rules import parse_rules
from collab.errors import InvalidRequest
from collab.query.include import MAX_INCLUDES
from collab.query.query import Condition
from collab.records import including
from collab.storage.memory import MemoryStorage

DECLARED = {
    "tasks": declaration(
        relations={
            "owner": {"one": "users", "by": "ownerId"},
            "comments": {"many": "comments", "by": "taskId"},
            **{f"more{number}": {"one": "users", "by": "ownerId"} for number in range(MAX_INCLUDES)},
        }
    )
}
EVERYTHING = {"*/*": "read"}


@asynccontextmanager
async def running(hooks: Hooks | None = None) -> AsyncIterator[Collab]:
    collab = Collab(Settings(collections=DECLARED), storage=MemoryStorage(), hooks=hooks)
    async with collab.lifespan():
        users, tasks, comments = (collab.collection(name) for name in ("users", "tasks", "comments"))
        await users.create({"name": "Ada", "open": True}, id="u1")
        await users.create({"name": "Bob", "open": False}, id="u2")
        for number, owner in enumerate(["u1", "u1", "u2", "u3", 7, None, ["u1"]]):
            await tasks.create({"ownerId": owner}, id=f"t{number}")
        for number in range(6):
            await comments.create({"taskId": f"t{number % 2}", "n": number, "open": number < 4}, id=f"c{number}")
        yield collab


async def related(collab: Collab, include: Mapping[str, Any], rules: Mapping[str, Any] = EVERYTHING) -> Any:
    """What is related to each task, by id; of a list, only the ids."""
    identity = Identity("default", "ann", rules=parse_rules(rules))
    found = await collab.collection("tasks", identity=identity).find_many({"include": include})
    return {
        row["id"]: {
            name: [one["id"] for one in each] if isinstance(each, list) else each and each["id"]
            for name, each in found.related(row).items()
        }
        for row in found.rows
    }


async def test_i2_one_is_by_a_field_of_the_row_and_many_by_a_field_of_theirs() -> None:
    async with running() as collab:
        found = await related(collab, {"owner": True, "comments": {"orderBy": {"n": "desc"}, "limit": 2}})
        assert {name: each["owner"] for name, each in found.items()} == {
            "t0": "u1",
            "t1": "u1",
            "t2": "u2",
            **dict.fromkeys(["t3", "t4", "t5", "t6"]),
        }
        assert [found[name]["comments"] for name in ("t0", "t1", "t2")] == [["c4", "c2"], ["c5", "c3"], []]


async def test_a_key_may_not_be_what_no_object_may_have() -> None:
    async with running() as collab:
        await collab.collection("users").create({}, id="__proto__")
        await collab.collection("tasks").create({"ownerId": "__proto__"}, id="t9")
        found = await collab.collection("tasks").find_many({"where": {"id": "t9"}, "include": {"owner": True}})
        assert found.related(found.rows[0]) == {"owner": None}


async def test_i3_rows_with_one_key_share_what_is_related_to_it() -> None:
    async with running() as collab:
        found = await collab.collection("tasks").find_many({"include": {"owner": True}})
        assert found.included is not None
        owner = found.included["owner"]
        assert (owner.collection, owner.by, owner.member, owner.one) == ("users", "ownerId", "id", True)
        assert {key: [row["name"] for row in rows] for key, rows in owner.rows.items()} == {
            "u1": ["Ada"],
            "u2": ["Bob"],
        }
        assert owner.versions == {"u1": [1], "u2": [1]}
        assert (await collab.collection("tasks").find_many({})).included is None
        assert (await collab.collection("tasks").find_many({"include": {"owner": False}})).included is None


@pytest.mark.parametrize(
    "rules",
    [
        {"tasks/*": "read"},
        {"tasks/*": "read", "users/*": "none", "comments/*": "none"},
        {"users/*": {"access": "none", "where": {"id": {"isNull": False}}}, "tasks/*": "read"},
        {
            "tasks/*": "read",
            **{f"{name}/*": {"access": "read", "where": {"name": "x"}} for name in ("users", "comments")},
        },
    ],
)
async def test_i4_who_may_read_none_of_them_sees_none_and_no_error(rules: dict[str, Any]) -> None:
    async with running() as collab:
        found = await related(collab, {"owner": True, "comments": True}, rules)
        assert len(found) == 7
        assert all(each == {"owner": None, "comments": []} for each in found.values())


async def test_i4_limits_and_orders_count_only_what_the_caller_may_read() -> None:
    rules = {
        "tasks/*": "read",
        **{f"{name}/*": {"access": "read", "where": {"open": True}} for name in ("users", "comments")},
    }
    async with running() as collab:
        found = await related(collab, {"owner": True, "comments": {"orderBy": {"n": "desc"}, "limit": 1}}, rules)
        assert [(found[name]["owner"], found[name]["comments"]) for name in ("t0", "t1", "t2")] == [
            ("u1", ["c2"]),
            ("u1", ["c3"]),
            (None, []),
        ]


async def test_i4_an_application_decides_what_is_related() -> None:
    class Mine(Hooks):
        async def visible(self, identity: Identity, collection: str) -> Condition | None:
            return None if collection == "users" else await super().visible(identity, collection)

    async with running(Mine()) as collab:
        found = await related(collab, {"owner": True, "comments": True})
        assert (found["t0"]["owner"], found["t0"]["comments"]) == (None, ["c0", "c2", "c4"])


async def test_i5_fields_are_those_asked_for_and_the_keys() -> None:
    async with running() as collab:
        query = {"where": {"id": "t0"}, "include": {"owner": {"fields": ["name"]}, "comments": {"fields": ["n"]}}}
        found = await collab.collection("tasks").find_many(query, fields=["title"])
        assert found.rows == [{"id": "t0", "ownerId": "u1"}]
        assert found.related(found.rows[0]) == {
            "owner": {"id": "u1", "name": "Ada"},
            "comments": [{"id": f"c{number}", "n": number} for number in (0, 2, 4)],
        }


REFUSED: list[tuple[Any, str]] = [
    ({"nobody": True}, "include: tasks has no relation 'nobody'"),
    ({"comment": True}, "did you mean comments?"),
    ({"owner": {"limit": 1}}, "include.owner: there is at most one"),
    ({"owner": {"orderBy": {"n": "asc"}}}, "include.owner: there is at most one"),
    ({"comments": {"limit": 1_001}}, "include.comments.limit: must be from 1 to 1,000"),
    ({"comments": {"limit": 0}}, "include.comments.limit: must be from 1 to 1,000"),
    ({"comments": {"limit": True}}, "include.comments.limit: must be an integer"),
    ({"comments": {"offset": 1}}, "include.comments: has no member 'offset'"),
    ({"comments": {"include": {"author": True}}}, "include.comments: has no member 'include'"),
    ({"comments": {"where": {"n": {"$gt": 1}}}}, "include.comments.where.n.$gt"),
    ({"comments": {"fields": []}}, "include.comments.fields: must name 1 to 200"),
    ({"comments": {"fields": "n"}}, "include.comments.fields: must be a list"),
    ({"comments": {"fields": [1]}}, "include.comments.fields[0]: must be a string"),
    ({"comments": 1}, "include.comments: must be true, or an object"),
    ({"comments": None}, "include.comments: must be true, or an object"),
    ([], "include: must be an object"),
    ("owner", "include: must be an object"),
    ({f"more{number}": True for number in range(MAX_INCLUDES)} | {"owner": True}, "include: has at most 5 relations"),
]


@pytest.mark.parametrize(("include", "message"), REFUSED)
async def test_i1_what_makes_no_sense_is_refused(include: Any, message: str) -> None:
    async with running() as collab:
        with pytest.raises(InvalidRequest) as refused:
            await collab.collection("tasks").find_many({"include": include})
        assert message in refused.value.message


async def test_i1_a_collection_without_relations_says_so() -> None:
    async with running() as collab:
        with pytest.raises(InvalidRequest, match=r"^include: nothing declares no relations$"):
            await collab.collection("nothing").find_many({"include": {"owner": True}})


async def test_i1_i8_only_lists_include_and_only_so_much() -> None:
    async with running() as collab:
        tasks = collab.collection("tasks")
        with pytest.raises(InvalidRequest, match="include"):
            await tasks.count({"include": {"owner": True}})
        with pytest.raises(InvalidRequest, match="include"):
            await tasks.aggregate({"include": {"owner": True}})
        with pytest.raises(InvalidRequest, match="1,000 in a query with include"):
            await tasks.find_many({"limit": 1_001, "include": {"owner": True}})


async def test_i8_an_answer_has_so_many_rows_with_the_included_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as collab:
        tasks = collab.collection("tasks")
        monkeypatch.setattr(including, "MAX_WITH_RELATED", 13)
        await tasks.find_many({"include": {"comments": True}})
        monkeypatch.setattr(including, "MAX_WITH_RELATED", 12)
        with pytest.raises(InvalidRequest, match="more than"):
            await tasks.find_many({"include": {"comments": True}})


WRONG: list[tuple[Any, str]] = [
    ({"owner": {"by": "ownerId"}}, "either one or many"),
    ({"owner": {"one": "users", "many": "users", "by": "ownerId"}}, "either one or many"),
    ({"owner": {"one": "no/name", "by": "ownerId"}}, "name of a collection"),
    ({"owner": {"one": "users", "by": "id"}}, "by a field"),
    ({"owner": {"one": "users", "by": "owner"}}, "names no declared field"),
    ({"the owner": {"one": "users", "by": "ownerId"}}, "letters, digits"),
    ({f"r{number}": {"one": "users", "by": "ownerId"} for number in range(33)}, "at most 32 relations"),
]


@pytest.mark.parametrize(("relations", "message"), WRONG)
def test_a_wrong_relation_is_refused_when_it_is_declared(relations: Any, message: str) -> None:
    fields = {"properties": {"ownerId": {"type": "string"}}, "additionalProperties": False}
    with pytest.raises(ValueError, match=message):
        declaration(fields, relations=relations)
