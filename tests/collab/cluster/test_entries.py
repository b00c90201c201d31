"""Each operation does the same through an edge as at the owner of the room, whichever way it comes in.

A case is a script of operations on the entity ``{id}``. It runs twice: on an entity of another node, and on one of the
node that is asked. The two must tell the same. The tables are compared with the operations that there are: a new one
without a case fails.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import anyio
import msgspec
import pycrdt
import pytest

from collab import Identity
from collab.access.rules import parse_rules
from collab.errors import CollabError
from collab.records.declaration import declaration
from collab.records.handle import Collection
from collab.rooms.handle import RoomHandle
from collab.server.http.api.operations import OPERATIONS
from collab.wire.realtime import messages as realtime
from collab.wire.realtime.values import WriteResult, Written
from tests.collab.cluster.entries import PATHS, Http, Realtime, base64, told
from tests.collab.cluster.nodes_world import Node, World, cluster

WRITE = {"*/*": "write"}
READ = {"*/*": "read"}
OWN = {"tasks/*": {"access": "write", "where": {"owner": "$userId"}}, "*/*": "read"}
NOT_ERASE = {"system/*": "none", "*/*": "write"}
DECLARED = {
    "tasks": declaration(),
    "books": declaration(fields={"type": "object", "properties": {"pages": {"type": "integer"}}}),
    "boards": declaration(),
    "cards": declaration(mapped={"in": "boards", "root": "cards"}),
}

Step = tuple[str, dict[str, Any]]


def step(name: str, **what: Any) -> Step:
    return name, what


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with cluster(2, jwt_secret="s" * 32, collections=DECLARED, content_event_seconds=0.02) as found:
        yield found


def plain(value: Any, entity: str) -> Any:
    """Without what differs between any two runs: the entity's id, times, and positions."""
    text = json.dumps(value, default=repr).replace(entity, "{id}")
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "{time}", text)
    return json.loads(re.sub(r'"position": \d+', '"position": 0', text))


def filled(what: Any, entity: str) -> Any:
    """A step's arguments for an entity."""
    return msgspec.json.decode(msgspec.json.encode(what).replace(b"{id}", entity.encode()))


async def compare(world: World, case: str, entry: str, run: Callable[[Node, str], Awaitable[Any]]) -> Any:
    """Run a case through the edge and at the owner. Returns what both tell."""
    edge, owner = world.nodes
    results = []
    for node, way in ((edge, "edge"), (owner, "home")):
        entity = f"{case}-{entry}-{way}"[:60].replace(" ", "_")
        for collection in ("tasks", "books", "boards"):
            await owner.opens(f"{collection}/{entity}")
        results.append(plain(await run(node, entity), entity))
        registry = node.collab._registry
        assert not [key for key in registry.rooms if key.id == entity] or node is owner
    assert results[0] == results[1]
    return results[0]


# entities

HTTP_CASES: Mapping[str, tuple[Mapping[str, Any], list[Step]]] = {
    "create": (
        WRITE,
        [
            step("create", body={"id": "{id}", "title": "a", "tags": ["x", {"y": None}]}),
            step("create", body={"id": "{id}", "title": "b"}),
            step("create", body={"id": "{id}", "__proto__": 1}),
            step("create", body={"id": "{id}", "n": 2**60}),
            step("create", body={"id": "{id}/x"}),
            step("create", collection="books", body={"id": "{id}", "pages": "many"}),
            step("create", collection="books", body={"id": "{id}", "pages": 7}),
            step("create", collection="books", body={"id": "{id}", "text": "x" * 1_200_000}),
            step("delete", id="{id}"),
            step("create", body={"id": "{id}", "title": "again"}),
            step("read", id="{id}"),
        ],
    ),
    "create named": (
        WRITE,
        [
            step("create", body={"id": "{id}", "title": "a"}, request="create {id}"),
            step("create", body={"id": "{id}", "title": "a"}, request="create {id}"),
            step("create", body={"id": "{id}", "title": "b"}, request="create {id}"),
            step("create", body={"id": "{id}", "title": "b"}, request="x" * 65),
        ],
    ),
    "create may not": (READ, [step("create", body={"id": "{id}"})]),
    "create of another": (
        OWN,
        [
            step("create", body={"id": "{id}", "owner": "bob"}),
            step("create", body={"id": "{id}", "owner": "ann"}),
            step("update", id="{id}", body={"changes": {"owner": "bob"}}),
            step("update", id="{id}", body={"changes": {"title": "mine"}}),
        ],
    ),
    "create inside": (
        WRITE,
        [
            step("create", collection="cards", body={"id": "{id}:c1", "title": "a"}),
            step("create", collection="cards", body={"id": "{id}:c1", "title": "b"}),
            step("update", collection="cards", id="{id}:c1", body={"changes": {"title": "c"}}),
            step("delete", collection="cards", id="{id}:c1"),
            step("delete", collection="cards", id="{id}:c1"),
            step("restore", collection="cards", id="{id}:c1", body={}),
            step("read", collection="cards", id="{id}:c1"),
            step("create", collection="cards", body={"id": "c1"}),
            step("list", collection="cards", params={"where": '{"id": {"startsWith": "{id}:"}}'}),
            step("delete", collection="cards", id="{id}:c1", params={"erase": "true"}),
            step("delete", collection="boards", id="{id}"),
            step("create", collection="boards", body={"id": "{id}"}),
            step("delete", collection="boards", id="{id}"),
            step("restore", collection="boards", id="{id}", body={}),
            step("delete", collection="boards", id="{id}", params={"erase": "true"}),
        ],
    ),
    "update": (
        WRITE,
        [
            step("update", id="{id}", body={"changes": {"title": "a"}}),
            step("create", body={"id": "{id}", "title": "a", "n": 1, "gone": True}),
            step("update", id="{id}", body={"changes": {"n": 2}, "unset": ["gone"]}),
            step("update", id="{id}", body={"changes": {"n": 3}}, request="update {id}"),
            step("update", id="{id}", body={"changes": {"n": 3}}, request="update {id}"),
            step("update", id="{id}", body={"changes": {"n": 4}}, request="update {id}"),
            step("update", id="{id}", body={"changes": {"n": 5}, "version": 1}),
            step("update", id="{id}", body={"changes": {"n": 6}, "version": 1, "onConflict": "reject"}),
            step("update", id="{id}", body={"changes": {"n": 7}, "onConflict": "reject"}),
            step("update", id="{id}", body={"changes": {"n": 2**60}}),
            step("update", id="{id}", body={"changes": {"createdAt": "x"}}),
            step("update", id="{id}", body={"changes": {"a.b": 1}}),
            step("update", id="{id}", body={"changes": {"text": "x" * 1_200_000}}),
            step("update", id="{id}", body={"changes": {}}),
            step("read", id="{id}"),
            step("history", id="{id}"),
        ],
    ),
    "many": (
        WRITE,
        [
            step(
                "writeMany",
                body={
                    "writes": [
                        {"type": "create", "collection": "tasks", "data": {"id": "{id}", "n": 1}, "request": "m {id}"},
                        {"type": "update", "collection": "tasks", "entity": "{id}", "changes": {"n": 2}},
                        {"type": "create", "collection": "books", "entity": "{id}", "data": {"pages": "many"}},
                        {"type": "delete", "collection": "tasks", "entity": "{id}"},
                        {"type": "delete", "collection": "boards", "entity": "{id}"},
                        {"type": "create", "collection": "tasks", "data": {"id": "{id}", "n": 1}, "request": "m {id}"},
                    ]
                },
            ),
            step("writeMany", body={"writes": [{"type": "erase", "collection": "tasks", "entity": "{id}"}]}),
        ],
    ),
    "transaction": (
        WRITE,
        [
            step("create", body={"id": "{id}", "n": 1}),
            step(
                "transaction",
                body={
                    "writes": [
                        {"type": "update", "collection": "tasks", "entity": "{id}", "changes": {"n": 2}},
                        {"type": "create", "collection": "books", "entity": "{id}", "data": {"pages": "many"}},
                    ]
                },
            ),
            step(
                "transaction",
                body={
                    "writes": [
                        {"type": "update", "collection": "tasks", "entity": "{id}", "changes": {"n": 2**60}},
                        {"type": "create", "collection": "books", "entity": "{id}", "data": {"pages": 7}},
                        {"type": "create", "collection": "cards", "entity": "{id}:c1", "data": {"x": 1}},
                    ]
                },
                request="t {id}",
            ),
            step(
                "transaction",
                body={"writes": [{"type": "update", "collection": "tasks", "entity": "{id}", "changes": {"n": 5}}]},
                request="t {id}",
            ),
            step("transaction", body={"writes": [{"type": "delete", "collection": "boards", "entity": "{id}"}]}),
            step("history", id="{id}"),
        ],
    ),
    "update may not": (
        OWN,
        [step("update", id="{id}", body={"changes": {"title": "a"}}), step("read", id="{id}")],
    ),
    "delete": (
        WRITE,
        [
            step("delete", id="{id}"),
            step("create", body={"id": "{id}", "title": "a"}),
            step("delete", id="{id}", request="delete {id}"),
            step("delete", id="{id}", request="delete {id}"),
            step("delete", id="{id}"),
            step("update", id="{id}", body={"changes": {"title": "b"}}),
            step("read", id="{id}"),
            step("delete", id="{id}", params={"erase": "true"}),
            step("delete", id="{id}", params={"erase": "true"}),
            step("read", id="{id}"),
        ],
    ),
    "delete may not": (
        NOT_ERASE,
        [
            step("create", body={"id": "{id}"}),
            step("delete", id="{id}", params={"erase": "true"}),
            step("read", id="{id}"),
        ],
    ),
    "restore": (
        WRITE,
        [
            step("restore", id="{id}", body={}),
            step("create", body={"id": "{id}", "title": "a"}),
            step("restore", id="{id}", body={}),
            step("update", id="{id}", body={"changes": {"title": "b"}}),
            step("restore", id="{id}", body={"version": 1}, request="restore {id}"),
            step("restore", id="{id}", body={"version": 1}, request="restore {id}"),
            step("restore", id="{id}", body={"version": 99}),
            step("delete", id="{id}"),
            step("restore", id="{id}", body={}),
            step("history", id="{id}"),
        ],
    ),
    "read": (
        WRITE,
        [
            step("read", id="{id}"),
            step("create", body={"id": "{id}", "title": "a"}),
            step("read", id="{id}", params={"content": "true", "includePermissions": "true"}),
            step("read", id="{id}", params={"content": "true", "version": "1"}),
            step("read", id="{id}", params={"content": "true", "version": "9"}),
            step("query", body={"where": {"id": "{id}"}, "includePermissions": True}),
            step("count", body={"where": {"id": "{id}"}}),
            step("aggregate", body={"where": {"id": "{id}"}, "groupBy": "title"}),
            step("listGroups", params={"where": '{"id": "{id}"}'}),
            step("list", params={"where": '{"id": "{id}"}'}),
            step("history", id="{id}"),
            step("present", id="{id}"),
            step("delete", id="{id}"),
            step("present", id="{id}"),
        ],
    ),
}

NO_ROOM_OVER_HTTP = {
    *("subscribe", "emit", "permissionsChanged", "sessions", "disconnect", "revoke", "schema", "health"),
}
"""Operations that need no owner: they are about the record, or about all nodes."""


@pytest.mark.parametrize("case", HTTP_CASES)
async def test_over_http(world: World, case: str) -> None:
    access, steps = HTTP_CASES[case]

    async def run(node: Node, entity: str) -> Any:
        entry = Http(node, "ann", access)
        try:
            return [await entry.call(name, **filled(what, entity)) for name, what in steps]
        finally:
            await entry.close()

    await compare(world, case, "http", run)


def test_each_operation_over_http_has_a_case() -> None:
    used = {name for _, steps in HTTP_CASES.values() for name, _ in steps}
    assert used == set(PATHS)
    assert used | NO_ROOM_OVER_HTTP == {operation.name for operation in OPERATIONS}
    assert {(one.name, one.method, one.path) for one in OPERATIONS if one.name in PATHS} == {
        (name, *path) for name, path in PATHS.items()
    }


TASK = {"collection": "tasks", "entity": "{id}"}

REALTIME_CASES: Mapping[str, tuple[Mapping[str, Any], list[Step]]] = {
    "many": (
        WRITE,
        [
            step(
                "writeMany",
                writes=[
                    {"type": "create", **TASK, "data": {"n": 1}},
                    {"type": "create", **TASK, "data": {"n": 1}},
                    {"type": "update", **TASK, "changes": {"n": 2}, "version": 1, "onConflict": "reject"},
                    {"type": "delete", **TASK},
                ],
            )
        ],
    ),
    "transaction": (
        WRITE,
        [
            step("transaction", writes=[{"type": "create", **TASK, "data": {"n": 1}}], request="t {id}"),
            step("transaction", writes=[{"type": "create", **TASK, "data": {"n": 1}}], request="t {id}"),
            step("transaction", writes=[{"type": "create", **TASK, "data": {"n": 1}}]),
            step("update", **TASK, changes={"n": 2}, version=1, onConflict="reject"),
            step("transaction", writes=[{"type": "update", **TASK, "changes": {"n": 3}, "version": 1}]),
            step("transaction", writes=[{"type": "delete", **TASK}]),
        ],
    ),
    "create": (
        WRITE,
        [
            step("create", **TASK, data={"title": "a"}),
            step("create", **TASK, data={"title": "a"}),
            step("create", collection="tasks", data={"id": "{id}"}, request="new {id}"),
            step("create", collection="tasks", data={"id": 5}),
        ],
    ),
    "update": (
        WRITE,
        [
            step("update", **TASK, changes={"n": 1}),
            step("create", **TASK, data={"n": 0}),
            step("update", **TASK, changes={"n": 1}),
            # the session's own writes are no conflicts
            step("update", **TASK, changes={"n": 2}, version=1, onConflict="reject"),
            step("update", **TASK, changes={"n": 2}, request="update {id}"),
            step("update", **TASK, changes={"n": 2}, request="update {id}"),
            step("history", **TASK),
        ],
    ),
    "delete": (
        WRITE,
        [
            step("delete", **TASK),
            step("create", **TASK, data={}),
            step("delete", **TASK),
            step("restore", **TASK),
            step("restore", **TASK),
            step("findById", **TASK, content=True),
            step("findMany", collection="tasks", query={"where": {"id": "{id}"}}),
            step("count", collection="tasks", query={"where": {"id": "{id}"}}),
            step("aggregate", collection="tasks", query={"where": {"id": "{id}"}}),
        ],
    ),
    "may not": (READ, [step("create", **TASK, data={}), step("delete", **TASK), step("restore", **TASK)]),
}

NO_ROOM_IN_SESSIONS = {
    *("schema", "subscribe", "unsubscribe", "authenticate", "emit", "joinChannel", "leaveChannel"),
}
PRESENCE = {"joinPresence", "updatePresence", "leavePresence"}
"""tests/collab/cluster/test_presence.py"""


@pytest.mark.parametrize("case", REALTIME_CASES)
async def test_in_sessions(world: World, case: str) -> None:
    access, steps = REALTIME_CASES[case]

    async def run(node: Node, entity: str) -> Any:
        session = await Realtime.open(node, "ann", access)
        try:
            return [await session.call(name, **filled(what, entity)) for name, what in steps]
        finally:
            await session.close()

    await compare(world, case, "session", run)


def test_each_request_of_a_session_has_a_case() -> None:
    used = {name for _, steps in REALTIME_CASES.values() for name, _ in steps}
    requests = {
        kind.__struct_config__.tag
        for kind in vars(realtime).values()
        if inspect.isclass(kind) and issubclass(kind, realtime.Asked) and kind is not realtime.Asked
    }
    assert used | NO_ROOM_IN_SESSIONS | PRESENCE == requests


def collection_of(node: Node) -> Collection:
    return node.collab.collection("tasks", user="ann")


WRONG: list[Any] = [float("nan"), object(), "\ud800", 2**70, b"x", {1}, {"a": {1: 2}}, (1, 2), [[]], {"__proto__": 1}]
PYTHON_CASES: Mapping[str, Callable[[Collection, str], list[Callable[[], Awaitable[Any]]]]] = {
    "many": lambda tasks, entity: [
        lambda: several(tasks.create_many([{"id": entity, "n": 1}, {"id": entity}, {"id": 7}])),
        lambda: several(tasks.update_many([{"id": entity, "changes": {"n": 2}}, {"id": entity, "unset": ["n"]}])),
        lambda: several(tasks.delete_many([entity, entity])),
    ],
    "create": lambda tasks, name: [
        lambda: tasks.create({"title": "a"}, id=name),
        lambda: tasks.create({"title": "a"}, id=name),
        lambda: tasks.create({"title": float("nan")}, id=name),
        lambda: tasks.create({"title": object()}, id=name),
        lambda: tasks.create({"title": "\ud800"}, id=name),
    ],
    "update": lambda tasks, name: [
        lambda: tasks.update(name, {"n": 1}),
        lambda: tasks.create({"n": 0}, id=name),
        lambda: tasks.update(name, {"n": 1}, unset=["gone"], version=1),
        *[lambda value=value: tasks.update(name, {"n": value}) for value in WRONG],
        lambda: tasks.update(name, {"\ud800": 1}),
        lambda: tasks.update(name, {"x": 1}, unset=["\ud800"]),
        lambda: tasks.find_by_id(name),
    ],
    "delete": lambda tasks, name: [
        lambda: tasks.delete(name),
        lambda: tasks.create({}, id=name),
        lambda: tasks.delete(name),
        lambda: tasks.restore(name),
        lambda: tasks.erase(name),
        lambda: tasks.erase(name),
        lambda: tasks.restore(name, version=1),
    ],
    "read": lambda tasks, name: [
        lambda: tasks.create({"title": "a"}, id=name),
        lambda: tasks.find_by_id(name, content=True),
        lambda: tasks.find_by_id(name, content=True, version=1),
        lambda: tasks.find_many({"where": {"id": name}}),
        lambda: tasks.count({"where": {"id": name}}),
        lambda: tasks.aggregate({"where": {"id": name}}),
        lambda: tasks.history(name),
    ],
}


async def several(outcomes: Awaitable[list[Written | CollabError]]) -> list[Any]:
    """The outcomes of several writes, as values."""
    return [msgspec.to_builtins(WriteResult.of(outcome)) for outcome in await outcomes]


@pytest.mark.parametrize("case", PYTHON_CASES)
async def test_from_python(world: World, case: str) -> None:
    async def run(node: Node, entity: str) -> Any:
        return [await told(work()) for work in PYTHON_CASES[case](collection_of(node), entity)]

    await compare(world, case, "python", run)


def test_each_method_of_a_collection_has_a_case() -> None:
    methods = {name for name, value in vars(Collection).items() if inspect.isfunction(value) and name[0] != "_"}
    source = inspect.getsource(inspect.getmodule(compare))  # type: ignore[arg-type]
    assert {name for name in methods if f"tasks.{name}(" not in source} == {"on"}  # handlers read the record


# documents


def typed(text: str, root: str = "t", client: int = 7) -> bytes:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=client)
    doc[root] = pycrdt.Text(text)
    return doc.get_update()


async def follow(room: RoomHandle, work: Callable[[], Awaitable[Any]]) -> Any:
    """The first update that a follower of a room gets while something is done."""
    async with aclosing(room.updates()) as updates, anyio.create_task_group() as group:  # type: ignore[type-var]
        found: list[Any] = []

        async def hear() -> None:
            update = await anext(updates)
            found.append((update.user_id, len(update.update) > 2))
            group.cancel_scope.cancel()

        group.start_soon(hear)
        with anyio.fail_after(20):
            while not found:
                await work()
                await anyio.sleep(0.01)
    return found[0]


async def edit(room: RoomHandle, text: str) -> None:
    async with room.edit(user="ann") as doc:
        held = doc.get("t", type=pycrdt.Text)
        held += text


async def edit_root(room: RoomHandle, name: str, value: Any) -> None:
    async with room.edit() as doc:
        doc[name] = value


async def empty_map(room: RoomHandle, name: str) -> None:
    async with room.edit() as doc:
        doc.get(name, type=pycrdt.Map).clear()


async def fail_in_edit(room: RoomHandle) -> None:
    async with room.edit() as doc:
        doc["t"] = pycrdt.Text("never")
        raise ZeroDivisionError


ANN = Identity("default", "ann", rules=parse_rules(WRITE))
BOB = Identity("default", "bob", rules=parse_rules(OWN, "bob"))

ROOM_CASES: Mapping[str, Callable[[RoomHandle], list[Callable[[], Awaitable[Any]]]]] = {
    "rich text": lambda room: [
        lambda: room.markdown(),
        lambda: room.set_markdown("# a *b*", "ann", root="rich", identity=ANN),
        lambda: room.set_html("<h1>a <i>b</i> c</h1>"),
        lambda: room.set_rich("markdown", "no root", root="m", schema="quill"),
        lambda: room.set_text("let x", root="m"),
        lambda: room.set_prosemirror({"type": "text"}, root="rich"),
        lambda: room.markdown(),
        lambda: room.html("rich"),
        lambda: room.prosemirror("rich"),
        lambda: room.delta("m"),
        lambda: room.delta("rich"),
        lambda: room.rich("markdown", "m"),
    ],
    "emptied roots": lambda room: [
        lambda: edit_root(room, "m", pycrdt.Map({"a": 1})),
        lambda: empty_map(room, "m"),
        lambda: room.set_markdown("a", root="m"),
        lambda: room.set_markdown("a", root="code", schema="quill"),
        lambda: room.set_text("", root="code"),
        lambda: room.markdown(),
        lambda: room.set_markdown("b"),
        lambda: room.delta(),
    ],
    "empty": lambda room: [room.json, room.encoded_json, room.text, room.update, room.state_vector],
    "edit": lambda room: [
        lambda: edit(room, "one "),
        lambda: edit(room, "two"),
        room.text,
        lambda: room.text("t"),
        lambda: room.text("other"),
        room.json,
        room.encoded_json,
    ],
    "apply": lambda room: [
        lambda: room.apply(typed("words")),
        lambda: room.apply(typed("words")),
        lambda: room.apply(b"junk"),
        lambda: room.apply(typed("more", client=8), "ann", identity=ANN),
        lambda: room.apply(typed("more", root="u", client=9), "bob", identity=BOB),
        room.state_vector,
        room.update,
        lambda: room.update(b"\x01\x07\x02"),
        lambda: room.update(b"\xff"),
        room.text,
        room.json,
    ],
    "large": lambda room: [lambda: room.apply(typed("x" * 3_000_000)), room.state_vector, room.update, room.text],
    "updates": lambda room: [lambda: follow(room, lambda: edit(room, "x"))],
}


@pytest.mark.parametrize("case", ROOM_CASES)
async def test_documents_from_python(world: World, case: str) -> None:
    async def run(node: Node, entity: str) -> Any:
        room = node.collab.room(f"tasks/{entity}")
        return [await told(work()) for work in ROOM_CASES[case](room)]

    await compare(world, case, "room", run)


async def test_an_exception_in_an_edit_changes_nothing(world: World) -> None:
    async def run(node: Node, entity: str) -> Any:
        room = node.collab.room(f"tasks/{entity}")
        with pytest.raises(ZeroDivisionError):
            await fail_in_edit(room)
        return await room.json()

    assert await compare(world, "fail", "room", run) == {}


def test_each_method_of_a_document_has_a_case() -> None:
    methods = {name for name, value in vars(RoomHandle).items() if inspect.isfunction(value) and name[0] != "_"}
    source = inspect.getsource(inspect.getmodule(compare))  # type: ignore[arg-type]
    assert {name for name in methods if f"room.{name}" not in source} == set()


async def test_documents_over_http(world: World) -> None:
    async def run(node: Node, entity: str) -> Any:
        entry = Http(node, "ann", WRITE)
        name = f"tasks/{entity}"
        try:
            return [
                await entry.document(name),
                await entry.apply(name, typed("words")),
                await entry.apply(name, b"junk"),
                await entry.document(name),
                await entry.document(name, format="text"),
                await entry.document(name, format="text", root="other"),
                await entry.document(name, format="update"),
                await entry.document(name, format="update", sv=base64(b"\x01\x07\x02")),
                await entry.document(name, format="update", sv=base64(b"\xff")),
            ]
        finally:
            await entry.close()

    await compare(world, "documents", "http", run)


async def test_who_may_only_write_some_rows_may_not_apply_more(world: World) -> None:
    async def run(node: Node, entity: str) -> Any:
        await collection_of(node).create({"owner": "ann"}, id=entity)
        entry = Http(node, "bob", OWN)
        try:
            return [await entry.apply(f"tasks/{entity}", typed("words")), await entry.document(f"tasks/{entity}")]
        finally:
            await entry.close()

    await compare(world, "rows", "http", run)
