"""Every entry, operation, form of rule, right and row: what is allowed is what a small model of rules says.

Which entries there are is read from the server: one that is added without a line here fails.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import anyio
import anyio.lowlevel
import httpx
import jwt
import msgspec
import pycrdt
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from collab import Access, Collab, Hooks, Identity, Request, RoomKey, Settings, Transaction
from collab.access.rules import parse_rules
from collab.query.query import Condition
from collab.records.declaration import declaration
from collab.records.handle import Collection
from collab.rooms.handle import RoomHandle
from collab.server.http.api.operations import OPERATIONS
from collab.storage.memory import MemoryStorage
from collab.wire import hocuspocus, yjs
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as realtime_values
from collab.wire.realtime.messages import Subscribe, Subscription
from collab.wire.realtime.values import Aggregated, Custom, Entities, Presence, Rows, Written
from presence.lib0 import encode_string
from tests.collab.server.rights_model import OURS, READ, ROWS, THEIRS, WORDS, WRITE, Rights, Row, Rule, forms
from tests.collab.server.rights_world import AWARENESS, BROADCAST, SECRET, World, presence
from tests.collab.serving import serving

Probe: TypeAlias = Callable[[World, Rights, str, Row], Awaitable[bool]]
"""Whether somebody with these rights can do it to an entity of this name and row, which is there unless it is made."""

Expected: TypeAlias = Callable[[Rights, str, Row], bool]

numbers = count()


Whole: TypeAlias = Literal["", "open", "edit", "text"]


class Cell(NamedTuple):
    """One operation through one entry. ``collection``: what the rules are about.

    ``whole``: what it does to a document as a whole, in which other tasks may live, too; nothing, if it is about the
    one entity. ``mapped``: it is possible for tasks that live in boards.
    """

    probe: Probe
    expected: Expected
    collection: str = "tasks"
    made: bool = False  # the operation makes the row
    whole: Whole = ""
    mapped: bool = True

    def allows(self, axis: Axis, rights: Rights, entity: str, row: Row) -> bool:
        """The answer that the model expects."""
        if not axis.mapped or not self.whole:
            return self.expected(rights, entity, row)
        # who is in a document can read all that is in it: rules must allow whatever could be there, hooks what is
        can_open = rights.to("tasks", entity, row) if axis.hooks else rights.whatever("tasks", entity)
        if can_open < READ or rights.to("boards", entity.partition(":")[0], {}) < READ:
            return False
        return self.whole != "edit" or self.expected(rights, entity, row)


class Axis(NamedTuple):
    """Where tasks live, and who decides: ``hooks`` of an application, or rules in the credential."""

    mapped: bool = False
    hooks: bool = False

    def __str__(self) -> str:
        return f"{'in boards' if self.mapped else 'alone'}, by {'hooks' if self.hooks else 'rules'}"


Entry: TypeAlias = Mapping[str, Cell]
FREE: Entry = {}
"""Requests that need no right, because they neither show nor change data."""


# the model


def may(wanted: int, collection: str = "tasks") -> Expected:
    return lambda rights, entity, row: rights.to(collection, entity, row) >= wanted


def may_become(**after: Any) -> Expected:
    """It may be written as it is, and as it would be."""
    return lambda rights, entity, row: (
        rights.to("tasks", entity, row) >= WRITE and rights.to("tasks", entity, {**row, **after}) >= WRITE
    )


def may_whatever(wanted: int, collection: str, entity: str | None = None) -> Expected:
    return lambda rights, name, row: rights.whatever(collection, entity or name) >= wanted


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "another field": {"n": 2},
    "the owner": {"owner": THEIRS["owner"]},
    "team and lock": {"team": THEIRS["team"], "locked": True},
    "into our hands": dict(OURS),
}


def allowed(answer: Any) -> bool:
    return bool(answer != "PERMISSION_DENIED")


# HTTP


def path(entity: str, more: str = "") -> str:
    return f"/api/v1/collections/tasks/{entity}{more}"


async def http_says(
    method: str, where: Callable[[str], str], world: World, rights: Rights, entity: str, row: Row
) -> bool:
    answer = await world.http(rights, method, where(entity))
    assert answer.status_code in (200, 201, 403), answer.text
    return answer.status_code < 300


async def http_lists(world: World, rights: Rights, entity: str, row: Row) -> bool:
    answer = await world.http(rights, "GET", "/api/v1/collections/tasks", params={"where": f'{{"id": "{entity}"}}'})
    return answer.status_code == 200 and bool(answer.json()["rows"])


async def http_queries(world: World, rights: Rights, entity: str, row: Row) -> bool:
    asked = {"where": {"id": entity}}
    answer = await world.http(rights, "POST", "/api/v1/collections/tasks/query", json=asked)
    return answer.status_code == 200 and bool(answer.json()["rows"])


async def points_to(world: World, rights: Rights, entity: str) -> tuple[Rights, dict[str, Any]]:
    """Create a row that everybody may read, to which the task is related. Returns a query that includes the task."""
    pointer = f"p{next(numbers)}"
    await world.collab.collection("pointers").create({"taskId": entity}, id=pointer)
    everybody = Rights([Rule("pointers/*", "read"), *rights.rules])
    return everybody, {"where": {"id": pointer}, "include": {"task": True}}


def includes(answer: dict[str, Any]) -> bool:
    """Whether a task is included. The row to which it is related is there, and nothing tells one from the other."""
    (row,) = answer["rows"]
    assert row["taskId"]
    included = answer["included"]["task"]
    assert included.keys() >= {"collection", "by", "member", "one"}
    return bool(included.get("rows"))


async def http_includes(method: str, world: World, rights: Rights, entity: str, row: Row) -> bool:
    everybody, asked = await points_to(world, rights, entity)
    where = "/api/v1/collections/pointers"
    if method == "POST":
        answer = await world.http(everybody, "POST", f"{where}/query", json=asked)
    else:
        said = {name: json.dumps(value) for name, value in asked.items()}
        answer = await world.http(everybody, "GET", where, params=said)
    return includes(answer.json())


async def says_includes(world: World, rights: Rights, entity: str, row: Row) -> bool:
    everybody, asked = await points_to(world, rights, entity)
    return includes(await world.ask(everybody, realtime.FindMany(id=1, collection="pointers", query=asked)))


async def watches_included(world: World, rights: Rights, entity: str, row: Row) -> bool:
    """Whether a live query includes the task, at first and again after it has changed."""
    everybody, asked = await points_to(world, rights, entity)
    async with world.session(everybody) as socket:
        target = Rows(collection="pointers", query=asked)
        message = Subscribe(id=1, subscriptions=(Subscription(sub=1, target=target),))
        await socket.send(msgspec.json.encode(message).decode())
        while (answer := msgspec.json.decode(await socket.recv()))["type"] != "rows":
            pass
        seen = includes(answer)
        await world.collab.collection("tasks").update(entity, {"seen": seen})
        await world.collab.collection("pointers").update(asked["where"]["id"], {"seen": seen})
        told: list[Any] = []
        while not any("steps" in one for one in told):
            told.append(msgspec.json.decode(await socket.recv()))
        assert any(one.get("included") for one in told) == seen
        return seen


async def http_searches(world: World, rights: Rights, entity: str, row: Row) -> bool:
    asked = {"where": json.dumps({"id": entity}), "search": row["owner"]}
    answer = await world.http(rights, "GET", "/api/v1/collections/tasks", params=asked)
    return answer.status_code == 200 and bool(answer.json()["rows"])


async def http_counts_found(world: World, rights: Rights, entity: str, row: Row) -> bool:
    asked = {"where": {"id": entity}, "search": row["owner"]}
    answer = await world.http(rights, "POST", "/api/v1/collections/tasks/count", json=asked)
    return answer.status_code == 200 and answer.json()["count"] == 1


async def http_counts(world: World, rights: Rights, entity: str, row: Row) -> bool:
    asked = {"where": {"id": entity}}
    answer = await world.http(rights, "POST", "/api/v1/collections/tasks/count", json=asked)
    return answer.status_code == 200 and answer.json()["count"] == 1


async def http_adds_up(method: str, world: World, rights: Rights, entity: str, row: Row) -> bool:
    where = "/api/v1/collections/tasks/aggregate"
    asked = {"where": {"id": entity}}
    said: dict[str, Any] = {"json": asked} if method == "POST" else {"params": {"where": json.dumps(asked["where"])}}
    answer = await world.http(rights, method, where, **said)
    return answer.status_code == 200 and answer.json()["groups"][0]["count"] == 1


async def http_creates(world: World, rights: Rights, entity: str, row: Row) -> bool:
    answer = await world.http(rights, "POST", "/api/v1/collections/tasks", json={"id": entity, **row})
    assert answer.status_code in (201, 403)
    assert (await world.now("tasks", entity) is not None) == (answer.status_code == 201)
    return answer.status_code == 201


async def http_updates(changes: Row, world: World, rights: Rights, entity: str, row: Row) -> bool:
    answer = await world.http(rights, "PATCH", path(entity), json={"changes": changes})
    return await changed(world, entity, row, {**row, **changes}, answer.status_code == 200)


async def http_unsets(world: World, rights: Rights, entity: str, row: Row) -> bool:
    answer = await world.http(rights, "PATCH", path(entity), json={"unset": ["owner", "team"]})
    after = {name: value for name, value in row.items() if name not in ("owner", "team")}
    return await changed(world, entity, row, after, answer.status_code == 200)


def first(answer: Any) -> bool:
    """Whether the first of several writes was made; it was refused by rights alone."""
    [result] = answer
    assert "error" not in result or result["error"]["code"] == "PERMISSION_DENIED"
    return "error" not in result


async def http_writes(write: Row, after: Row | None, world: World, rights: Rights, entity: str, row: Row) -> bool:
    asked = {"collection": "tasks", "entity": entity, **write}
    answer = await world.http(rights, "POST", "/api/v1/writes", json={"writes": [asked]})
    assert answer.status_code == 200, answer.text
    return await made(world, entity, row, after, first(answer.json()["results"]))


async def http_transacts(write: Row, after: Row | None, world: World, rights: Rights, entity: str, row: Row) -> bool:
    asked = {"collection": "tasks", "entity": entity, **write}
    answer = await world.http(rights, "POST", "/api/v1/transaction", json={"writes": [asked]})
    assert answer.status_code in (200, 403), answer.text
    return await made(world, entity, row, after, answer.status_code == 200)


async def says_transacts(write: Row, after: Row | None, world: World, rights: Rights, entity: str, row: Row) -> bool:
    one = msgspec.convert({"collection": "tasks", "entity": entity, **write}, realtime_values.AnyWrite)
    answer = await world.ask(rights, realtime.Transaction(id=1, writes=(one,)))
    return await made(world, entity, row, after, allowed(answer))


def creates(does: Callable[..., Awaitable[bool]]) -> Probe:
    async def create(world: World, rights: Rights, entity: str, row: Row) -> bool:
        return await does({"type": "create", "data": dict(row)}, row, world, rights, entity, row)

    return create


async def made(world: World, entity: str, row: Row, after: Row | None, done: bool) -> bool:
    """Whether a write was made; it created the row, deleted it (``after`` is ``None``), or changed it."""
    if after is row:
        assert (await world.now("tasks", entity) is not None) == done
        return done
    if after is None:
        assert (await world.now("tasks", entity) is None) == done
        return done
    return await changed(world, entity, row, {**row, **after}, done)


async def says_writes(write: Row, after: Row | None, world: World, rights: Rights, entity: str, row: Row) -> bool:
    one = msgspec.convert({"collection": "tasks", "entity": entity, **write}, realtime_values.AnyWrite)
    return await made(
        world, entity, row, after, first(await world.ask(rights, realtime.WriteMany(id=1, writes=(one,))))
    )


def several(does: Callable[..., Awaitable[bool]]) -> dict[str, Cell]:
    """Requests of several writes, each kind of which has a line."""
    return {
        "create": Cell(creates(does), may(WRITE), made=True),
        "delete": Cell(partial(does, {"type": "delete"}, None), may(WRITE)),
        **{
            f"update {name}": Cell(
                partial(does, {"type": "update", "changes": changes}, changes), may_become(**changes)
            )
            for name, changes in CHANGES.items()
        },
    }


async def http_restores(world: World, rights: Rights, entity: str, row: Row) -> bool:
    before = dict(OURS if row is THEIRS else THEIRS)
    other = f"{entity}-r"
    await world.put("tasks", other, before, row)
    answer = await world.http(rights, "POST", path(other, "/restore"), json={"version": 1})
    return await changed(world, other, row, before, answer.status_code == 200)


async def changed(world: World, entity: str, row: Row, after: Row, done: bool) -> bool:
    """Whether it is done; and all of it, or nothing."""
    assert await world.now("tasks", entity) == (dict(after) if done else dict(row))
    return done


async def http_streams(world: World, rights: Rights, entity: str, row: Row) -> bool:
    status = await world.streams(rights, f"/api/v1/collections/tasks/subscribe?entity={entity}")
    assert status in (200, 403)
    return status == 200


async def http_emits(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return (await world.http(rights, "POST", "/api/v1/events", json={"type": entity})).status_code == 200


async def http_says_that_rights_changed(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return (await world.http(rights, "POST", "/api/v1/permissions-changed", json={})).status_code == 202


async def http_shows_who_is_here(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return await http_says("GET", lambda name: f"/api/v1/presence/{world.document(name)}", world, rights, entity, row)


async def http_posts(where: str, body: Row, world: World, rights: Rights, entity: str, row: Row) -> bool:
    answer = await world.http(rights, "POST", f"/api/v1/{where}", json=body)
    assert answer.status_code in (200, 403), answer.text
    return answer.status_code == 200


async def http_describes(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return "tasks" in (await world.http(rights, "GET", "/api/v1/schema")).json()["collections"]


def writes(update: Callable[..., Awaitable[bool]]) -> dict[str, Cell]:
    return {name: Cell(partial(update, changes), may_become(**changes)) for name, changes in CHANGES.items()}


UNSET = Cell(http_unsets, may_become(owner=None, team=None))
RESTORED = Cell(
    http_restores,
    lambda rights, entity, row: all(rights.to("tasks", entity, one) >= WRITE for one in (OURS, THEIRS)),
)
SOME = Cell(http_describes, lambda rights, entity, row: rights.sees_some("tasks"))

HTTP: Mapping[str, Entry] = {
    "list": {
        "": Cell(http_lists, may(READ)),
        "included": Cell(partial(http_includes, "GET"), may(READ)),
        "searched": Cell(http_searches, may(READ)),
    },
    "query": {"": Cell(http_queries, may(READ)), "included": Cell(partial(http_includes, "POST"), may(READ))},
    "count": {"": Cell(http_counts, may(READ)), "searched": Cell(http_counts_found, may(READ))},
    "aggregate": {"": Cell(partial(http_adds_up, "POST"), may(READ))},
    "listGroups": {"": Cell(partial(http_adds_up, "GET"), may(READ))},
    "create": {"": Cell(http_creates, may(WRITE), made=True)},
    "subscribe": {"": Cell(http_streams, may(READ))},
    "read": {"": Cell(partial(http_says, "GET", path), may(READ))},
    "update": {**writes(http_updates), "removes fields": UNSET},
    "delete": {
        "": Cell(partial(http_says, "DELETE", path), may(WRITE)),
        "for good": Cell(
            partial(http_says, "DELETE", lambda entity: path(entity, "?erase=1")),
            lambda rights, entity, row: (
                min(rights.to("tasks", entity, row), rights.whatever("system", "erase")) >= WRITE
            ),
            mapped=False,
        ),
    },
    "restore": {"": RESTORED},
    "writeMany": several(http_writes),
    "transaction": several(http_transacts),
    "history": {"": Cell(partial(http_says, "GET", lambda entity: path(entity, "/history")), may(READ))},
    "emit": {"": Cell(http_emits, may_whatever(WRITE, "events"), "events")},
    "permissionsChanged": {
        "": Cell(http_says_that_rights_changed, may_whatever(WRITE, "system", "permissions"), "system")
    },
    "present": {"": Cell(http_shows_who_is_here, may(READ), whole="open")},
    "sessions": {
        "": Cell(
            partial(http_says, "GET", lambda entity: "/api/v1/sessions"),
            may_whatever(READ, "system", "sessions"),
            "system",
        )
    },
    "disconnect": {
        "": Cell(
            partial(http_posts, "disconnect", {"userId": "nobody"}),
            may_whatever(WRITE, "system", "sessions"),
            "system",
        )
    },
    "revoke": {
        "": Cell(
            partial(http_posts, "revoke", {"userId": "nobody"}), may_whatever(WRITE, "system", "sessions"), "system"
        )
    },
    "schema": {"": SOME},
    "health": FREE,
}


async def rooms_get(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return await http_says(
        "GET", lambda name: f"/rooms/{world.document(name)}?format=update", world, rights, entity, row
    )


async def rooms_post(changes: Row, world: World, rights: Rights, entity: str, row: Row) -> bool:
    update = await world.edit(entity, changes)
    answer = await world.http(rights, "POST", f"/rooms/{world.document(entity)}", content=update)
    after = {**row, **changes}
    return await changed(world, entity, row, after, answer.status_code == 204) and after != dict(row)


async def rooms_put(world: World, rights: Rights, entity: str, row: Row) -> bool:
    where = f"/rooms/{world.document(entity)}?format=markdown&root=body"
    answer = await world.http(rights, "PUT", where, content=b"written")
    content = await world.collab.room(world.document(entity)).json()
    assert (answer.status_code == 204) == ("body" in content)
    return "body" in content


async def rooms_get_rich(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return await http_says(
        "GET", lambda name: f"/rooms/{world.document(name)}?format=markdown&root=none", world, rights, entity, row
    )


CHANGING = {name: changes for name, changes in CHANGES.items() if name != "into our hands"}


def edited_by(probe: Callable[..., Awaitable[bool]], changing: Mapping[str, Row]) -> dict[str, Cell]:
    """Edits of documents. One that changes no value is none."""

    def expected(changes: Row) -> Expected:
        return lambda rights, entity, row: {**row, **changes} != row and may_become(**changes)(rights, entity, row)

    return {name: Cell(partial(probe, changes), expected(changes), whole="edit") for name, changes in changing.items()}


ROUTES: Mapping[str, Entry] = {
    "GET /healthz": FREE,
    "GET /readyz": FREE,
    "GET /metrics": FREE,
    "GET /rooms/{name:path}": {
        "": Cell(rooms_get, may(READ), whole="open"),
        "rich": Cell(rooms_get_rich, may(READ), whole="open"),
    },
    "PUT /rooms/{name:path}": {"": Cell(rooms_put, may(WRITE), whole="text")},
    "POST /rooms/{name:path}": edited_by(rooms_post, CHANGES),
}


# /realtime


async def finds(
    message: Callable[[str], realtime.ClientMessage], world: World, rights: Rights, entity: str, row: Row
) -> bool:
    answer = await world.ask(rights, message(entity))
    return allowed(answer) and (answer["rows"] if isinstance(answer, dict) and "rows" in answer else answer) not in (
        [],
        0,
    )


async def says(
    message: Callable[[str], realtime.ClientMessage], world: World, rights: Rights, entity: str, row: Row
) -> bool:
    return allowed(await world.ask(rights, message(entity)))


async def says_create(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return allowed(await world.ask(rights, realtime.Create(id=1, collection="tasks", data={"id": entity, **row})))


async def says_update(changes: Row, world: World, rights: Rights, entity: str, row: Row) -> bool:
    asked = realtime.Update(id=1, collection="tasks", entity=entity, changes=dict(changes))
    return await changed(world, entity, row, {**row, **changes}, allowed(await world.ask(rights, asked)))


async def says_restore(world: World, rights: Rights, entity: str, row: Row) -> bool:
    before = dict(OURS if row is THEIRS else THEIRS)
    other = f"{entity}-r"
    await world.put("tasks", other, before, row)
    asked = realtime.Restore(id=1, collection="tasks", entity=other, version=1)
    return await changed(world, other, row, before, allowed(await world.ask(rights, asked)))


def one(kind: Callable[..., realtime.ClientMessage]) -> Callable[[str], realtime.ClientMessage]:
    return lambda entity: kind(id=1, collection="tasks", entity=entity)


async def searches(
    kind: Callable[..., realtime.ClientMessage], world: World, rights: Rights, entity: str, row: Row
) -> bool:
    asked = kind(id=1, collection="tasks", query={"where": {"id": entity}, "search": row["owner"]})
    return await finds(lambda _: asked, world, rights, entity, row)


def of(kind: Callable[..., realtime.ClientMessage]) -> Callable[[str], realtime.ClientMessage]:
    return lambda entity: kind(id=1, collection="tasks", query={"where": {"id": entity}})


async def schema(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return "tasks" in await world.ask(rights, realtime.Schema(id=1))


async def joins(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return allowed(await world.ask(rights, realtime.JoinPresence(id=1, room=world.document(entity), state={})))


async def moves(world: World, rights: Rights, entity: str, row: Row) -> bool:
    room = world.document(entity)
    return allowed(
        await world.ask(
            rights,
            realtime.JoinPresence(id=1, room=room, state={}),
            realtime.UpdatePresence(id=2, room=room, state={"cursor": 1}),
        )
    )


async def follows_presence(world: World, rights: Rights, entity: str, row: Row) -> bool:
    return await subscribes(lambda entity: Presence(room=world.document(entity)), world, rights, entity, row)


async def subscribes(target: Callable[[str], Any], world: World, rights: Rights, entity: str, row: Row) -> bool:
    subscription = Subscription(sub=1, target=target(entity))
    (answer,) = await world.ask(rights, Subscribe(id=1, subscriptions=(subscription,)))
    if answer.get("error") is not None:
        assert answer["error"]["code"] == "PERMISSION_DENIED"
    return answer.get("error") is None


async def watches(world: World, rights: Rights, entity: str, row: Row) -> bool:
    """Whether an event of the entity is told to who subscribes to all."""
    heard: list[str] = []
    async with world.session(rights) as socket:
        await socket.send(
            '{"type": "subscribe", "id": 1, "subscriptions":'
            ' [{"sub": 1, "target": {"kind": "entities", "collection": "tasks"}}]}'
        )
        await socket.recv()
        await world.collab.collection("tasks").update(entity, {"n": 7})
        await socket.send('{"type": "ping"}')
        with anyio.fail_after(40):
            while not heard or '"pong"' not in heard[-1]:
                heard.append(str(await socket.recv()))
    return any(f'"id":"{entity}"' in message for message in heard)


async def adds_up(world: World, rights: Rights, entity: str, row: Row) -> bool:
    answer = await world.ask(rights, of(realtime.Aggregate)(entity))
    return allowed(answer) and answer["groups"][0]["count"] == 1


ASKED: Mapping[str, Entry] = {
    "Hello": FREE,
    "Authenticate": FREE,
    "Ping": FREE,
    "Create": {"": Cell(says_create, may(WRITE), made=True)},
    "Update": writes(says_update),
    "Delete": {"": Cell(partial(says, one(realtime.Delete)), may(WRITE))},
    "Restore": {"": RESTORED._replace(probe=says_restore)},
    "WriteMany": several(says_writes),
    "Transaction": several(says_transacts),
    "FindById": {"": Cell(partial(says, one(realtime.FindById)), may(READ))},
    "FindMany": {
        "": Cell(partial(finds, of(realtime.FindMany)), may(READ)),
        "included": Cell(says_includes, may(READ)),
        "searched": Cell(partial(searches, realtime.FindMany), may(READ)),
    },
    "Count": {
        "": Cell(partial(finds, of(realtime.Count)), may(READ)),
        "searched": Cell(partial(searches, realtime.Count), may(READ)),
    },
    "Aggregate": {"": Cell(adds_up, may(READ))},
    "History": {"": Cell(partial(says, one(realtime.History)), may(READ))},
    "Schema": {"": SOME._replace(probe=schema)},
    "Subscribe": FREE,  # by target, below
    "Unsubscribe": FREE,
    "Emit": {
        "": Cell(
            partial(says, lambda entity: realtime.Emit(id=1, event={"type": entity})),
            may_whatever(WRITE, "events"),
            "events",
        )
    },
    "JoinChannel": {
        "": Cell(
            partial(says, lambda entity: realtime.JoinChannel(id=1, channel=entity)),
            may_whatever(READ, "channels"),
            "channels",
        )
    },
    "LeaveChannel": FREE,
    "JoinPresence": {"": Cell(joins, may(READ), whole="open")},
    "UpdatePresence": {"": Cell(moves, may(READ), whole="open")},
    "LeavePresence": FREE,
}

TARGETS: Mapping[str, Entry] = {
    "Entities": {
        "one": Cell(partial(subscribes, lambda entity: Entities(collection="tasks", entity=entity)), may(READ)),
        "all": Cell(watches, may(READ)),
    },
    "Rows": {
        "": Cell(
            partial(subscribes, lambda entity: Rows(collection="tasks", query={})),
            lambda rights, entity, row: rights.sees_some("tasks"),
        ),
        "included": Cell(watches_included, may(READ)),
    },
    "Aggregated": {
        "": Cell(
            partial(subscribes, lambda entity: Aggregated(collection="tasks", query={})),
            lambda rights, entity, row: rights.sees_some("tasks"),
        )
    },
    "Custom": {
        "": Cell(partial(subscribes, lambda entity: Custom(event=entity)), may_whatever(READ, "events"), "events")
    },
    "System": FREE,
    "Analytics": FREE,
    "Presence": {"": Cell(follows_presence, may(READ), whole="open")},
}


# documents


async def opens(way: str, world: World, rights: Rights, entity: str, row: Row) -> bool:
    async with world.documents(way, rights, world.document(entity)) as document:
        return await document.handled()


def edits(frame: Callable[[bytes], bytes]) -> Callable[..., Awaitable[bool]]:
    async def edit(changes: Row, way: str, world: World, rights: Rights, entity: str, row: Row) -> bool:
        update = await world.edit(entity, changes)
        async with world.documents(way, rights, world.document(entity)) as document:
            if document.open:
                await document.send(frame(update))
                await document.handled()
        await world.collab._recorder.flush()
        now = await world.now("tasks", entity)
        return await changed(world, entity, row, {**row, **changes}, now == {**row, **changes} and now != dict(row))

    return edit


async def types(way: str, world: World, rights: Rights, entity: str, row: Row) -> bool:
    update = await world.text(entity)
    async with world.documents(way, rights, world.document(entity)) as document:
        if document.open:
            await document.send(yjs.update(update))
            await document.handled()
    return "body" in await world.collab.room(world.document(entity)).json()


async def is_seen(way: str, world: World, rights: Rights, entity: str, row: Row) -> bool:
    client = 1000 + next(numbers)
    async with world.documents(way, rights, world.document(entity)) as document:
        if document.open:
            await document.send(presence(client))
            await document.handled()
        room = world.collab._registry.rooms.get(RoomKey("default", *world.document(entity).split("/")))
        return room is not None and client in room.presence.awareness.states


async def sees(way: str, world: World, rights: Rights, entity: str, row: Row) -> bool:
    async with world.documents(way, rights, world.document(entity)) as document:
        if document.open:
            await document.send(b"\x03")  # queryAwareness
        return await document.until(lambda heard: heard.kind == AWARENESS)


async def broadcasts(way: str, world: World, rights: Rights, entity: str, row: Row) -> bool:
    everything = Rights([])
    everything.rules = [*next(iter(rules for _, rules in forms("*", "write") if rules.rules)).rules]
    name = world.document(entity)
    async with world.documents("Hocuspocus", everything, name) as peer, world.documents(way, rights, name) as document:
        await peer.handled()
        if not document.open:
            return False
        await document.send(bytes([BROADCAST]) + encode_string("hello"))
        await document.handled()
        heard: list[int] = []
        await peer.send(b"\x00\x00\x01\x00")
        await peer.until(lambda message: heard.append(message.kind) or message.is_answer)  # type: ignore[func-returns-value]
        return 5 in heard or BROADCAST in heard


def document_entries(way: str) -> dict[str, Entry]:
    def edited(frame: Callable[[bytes], bytes]) -> dict[str, Cell]:
        edit = edits(frame)

        async def probe(changes: Row, *asked: Any) -> bool:
            return await edit(changes, way, *asked)

        return edited_by(probe, CHANGING)

    opening = {"": Cell(partial(opens, way), may(READ), whole="open")}
    entries: dict[str, Entry] = {
        "SyncStep1": opening,
        "SyncStep2": edited(yjs.sync_step2),
        "Update": {**edited(yjs.update), "text": Cell(partial(types, way), may(WRITE), whole="text")},
        "AwarenessUpdate": {"": Cell(partial(is_seen, way), may(READ), whole="open")},
        "QueryAwareness": {"": Cell(partial(sees, way), may(READ), whole="open")},
        "Unknown": FREE,
    }
    if way == "y-websocket":
        return entries | {"Auth": FREE}
    return entries | {
        "Token": opening,
        "Stateless": FREE,  # the application is told who asks, and answers itself
        "BroadcastStateless": {"": Cell(partial(broadcasts, way), may(WRITE), whole="text")},
        "Close": FREE,
        "Ping": FREE,
        "Pong": FREE,
    }


# Python: the operator's own code may do everything, in whoever's name


async def python_writes(world: World, rights: Rights, entity: str, row: Row) -> bool:
    tasks = world.collab.collection("tasks", user="alice")
    await tasks.update(entity, dict(THEIRS))
    several = world.collab.transaction(user="alice").create("tasks", {}, id=f"{entity}-other")
    assert len(await several.update("tasks", entity, dict(THEIRS)).commit()) == 2
    await world.collab.transaction(user="alice").delete("tasks", f"{entity}-other").commit()
    await tasks.create_many([{"id": f"{entity}-more"}])
    await tasks.update_many([{"id": f"{entity}-more", "changes": dict(THEIRS)}])
    assert [one.version for one in await tasks.delete_many([f"{entity}-more"]) if isinstance(one, Written)] == [3]
    await tasks.find_by_id(entity)
    await tasks.history(entity)
    await tasks.restore(entity, version=1)
    assert await tasks.count({"where": {"id": entity}}) == 1
    async with world.collab.room(f"tasks/{entity}").edit(user="alice") as doc:
        doc.get("fields", type=pycrdt.Map)["n"] = 3
    await tasks.delete(entity)
    return bool((await tasks.erase(entity)).data["id"] == entity)


PYTHON: Mapping[str, Entry] = {"": {"": Cell(python_writes, lambda rights, entity, row: True)}}


def names(union: Any) -> list[str]:
    return [kind.__name__ for kind in get_args(union)]


def methods(kind: type) -> list[str]:
    return [name for name, what in vars(kind).items() if not name.startswith("_") and inspect.isfunction(what)]


WAYS = ("y-websocket", "Hocuspocus", "embedded")
MATRIX: dict[str, Entry] = {
    **{f"HTTP {name}": entry for name, entry in HTTP.items()},
    **ROUTES,
    **{f"ask {name}": entry for name, entry in ASKED.items()},
    **{f"subscribe to {name}": entry for name, entry in TARGETS.items()},
    **{f"{way} {name}": entry for way in WAYS for name, entry in document_entries(way).items()},
    **{
        f"Python {name}": PYTHON[""]
        for name in (
            *(f"Collection.{name}" for name in ("create", "update", "delete", "erase", "restore", "find_by_id")),
            *(f"Collection.{name}" for name in ("create_many", "update_many", "delete_many")),
            *(f"Collection.{name}" for name in ("find_many", "count", "aggregate", "history", "on")),
            *(f"Transaction.{name}" for name in ("create", "update", "delete", "commit")),
            *(f"RoomHandle.{name}" for name in ("edit", "apply", "update", "state_vector", "updates")),
            *(f"RoomHandle.{name}" for name in ("json", "encoded_json", "text")),
            *(f"RoomHandle.{name}" for name in ("markdown", "html", "prosemirror", "delta", "rich")),
            *(f"RoomHandle.set_{name}" for name in ("markdown", "html", "prosemirror", "text", "rich")),
        )
    },
}


def served() -> Iterator[str]:
    """The entries that the server has."""
    app: Any = Collab(Settings(), storage=MemoryStorage()).http
    while not isinstance(app, Starlette):
        app = app._app  # what is wrapped around the routes
    for route in app.routes:
        if isinstance(route, Route):
            yield from (f"{method} {route.path}" for method in route.methods or () if method != "HEAD")
    yield from (f"HTTP {operation.name}" for operation in OPERATIONS)
    yield from (f"ask {name}" for name in names(realtime.ClientMessage))
    yield from (f"subscribe to {name}" for name in names(realtime_values.AnyTarget))
    yield from (f"y-websocket {name}" for name in names(yjs.Message))
    yield from (f"{way} {name}" for way in WAYS[1:] for name in names(hocuspocus.Message))
    yield from (f"Python Collection.{name}" for name in methods(Collection))
    yield from (f"Python Transaction.{name}" for name in methods(Transaction))
    yield from (f"Python RoomHandle.{name}" for name in methods(RoomHandle))


def test_every_entry_of_the_server_is_in_the_matrix() -> None:
    assert set(served()) == set(MATRIX)


class Deciding(Hooks):
    """An application that answers itself. It knows what the token says, and asks no rules of the identity."""

    async def authenticate(self, request: Request) -> Identity | None:
        if request.token is None:
            return None
        said = jwt.decode(request.token, SECRET, algorithms=["HS256"], audience="collab")
        return Identity("default", said["sub"], request.token)

    def _rules(self, identity: Identity) -> Identity:
        if identity.name is None:
            return identity  # the operator's own code
        said = jwt.decode(identity.name, SECRET, algorithms=["HS256"], audience="collab")
        return Identity("default", identity.user_id, rules=parse_rules(said["access"], identity.user_id, said))

    async def authorize(self, identity: Identity, key: RoomKey) -> Access:
        await anyio.lowlevel.checkpoint()
        return self._rules(identity).access_to(key)

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        await anyio.lowlevel.checkpoint()
        rules = self._rules(identity)
        return rules.access_to(key) if data is None else rules.access_to_row(key, data)

    async def visible(self, identity: Identity, collection: str) -> Condition | None:
        return self._rules(identity).filter_of(collection)


@asynccontextmanager
async def world(axis: Axis = Axis()) -> AsyncIterator[World]:  # noqa: B008 - it is a constant
    mapped = {"in": "boards", "root": "tasks"} if axis.mapped else None
    declared = declaration(search=["owner", "team"], mapped=mapped)
    settings = Settings(
        jwt_secret=SECRET,
        collections={
            "tasks": declared,
            "pointers": declaration(relations={"task": {"one": "tasks", "by": "taskId"}}),
        },
        reads_per_second=0,
        writes_per_second=0,
        cpu_per_user=0,
        cpu_per_address=0,
    )
    collab = Collab(settings, storage=MemoryStorage(), hooks=Deciding() if axis.hooks else None)
    async with (
        serving(collab) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as client,
    ):
        yield World(collab, address, client, mapped=axis.mapped)


TESTED = {name: entry for name, entry in MATRIX.items() if entry and not name.startswith("Python")}


@pytest.mark.parametrize("name", [*TESTED, "Python Collection.create"])
async def test_what_is_allowed_is_what_the_rules_say(name: str) -> None:
    await check(name, Axis(), all_forms, ROWS)


AXES = [Axis(mapped=True), Axis(hooks=True), Axis(mapped=True, hooks=True)]


@pytest.mark.parametrize("name", TESTED)
@pytest.mark.parametrize("axis", AXES, ids=str)
async def test_wherever_rows_live_and_whoever_decides_the_answer_is_the_same(axis: Axis, name: str) -> None:
    await check(name, axis, some_forms, {whose: row for whose, row in ROWS.items() if whose != ("secret", "theirs")})


async def check(
    name: str,
    axis: Axis,
    forms_about: Callable[[str], Iterator[tuple[str, Rights]]],
    rows: Mapping[tuple[str, str], Row],
) -> None:
    wrong = []
    async with world(axis) as one_world:
        for operation, cell in MATRIX[name].items():
            if axis != Axis() and (cell.collection != "tasks" or (axis.mapped and not cell.mapped)):
                continue
            for form, rights in forms_about(cell.collection):
                asked = Rights([Rule("boards/*", "write"), *rights.rules]) if axis.mapped else rights
                for (kind, whose), row in rows.items():
                    entity = f"{kind}-{next(numbers)}{':x' if axis.mapped else ''}"
                    await (one_world.prepare(entity) if cell.made else one_world.put("tasks", entity, row))
                    found = await cell.probe(one_world, asked, entity, row)
                    if found != cell.allows(axis, asked, entity, row):
                        wrong.append(f"{operation}: {form}, {kind} and {whose}: {found}")
    assert not wrong


def some_forms(collection: str) -> Iterator[tuple[str, Rights]]:
    """Less of them: each form once that decides otherwise."""
    wanted = {"about the collection", "by row", "a row excepted", "by name"}
    for word in WORDS:
        for form, rights in forms(collection, word):
            if form in wanted and (word == "write" or form == "about the collection"):
                yield f"{word} {form}", rights


def all_forms(collection: str) -> Iterator[tuple[str, Rights]]:
    known = []
    for word in WORDS:
        for form, rights in forms(collection, word):
            if rights.rules not in known:
                known.append(rights.rules)
                yield f"{word} {form}", rights
