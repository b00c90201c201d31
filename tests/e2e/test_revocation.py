"""Rights that are taken while everything is open: over real sockets, with stock editors, and to the last byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from collab import Access, Collab, Hooks, Identity, RoomKey, Rule, Settings
from collab.hooks import Request
from collab.query.parse import parse_where
from collab.query.query import Condition
from tests.collab.serving import serving
from tests.e2e.application import until
from tests.e2e.node import Client, Kind, Node

ALL = (Rule("*/*", Access.WRITE),)
READ = (Rule("*/*", Access.READ),)
OWN = (Rule("*/*", Access.WRITE, parse_where({"owner": "ann"})),)
EDITORS: tuple[Kind, ...] = ("y-websocket-3", "hocuspocus-4")
HIDDEN = "HIDDEN"


class Table(Hooks):
    """Rights that are looked up whenever they are asked for. A token is the user's name."""

    def __init__(self) -> None:
        self.rules: dict[str | None, tuple[Rule, ...]] = {"ann": ALL, "bob": ALL}
        self.may_load = asyncio.Event()
        self.may_load.set()

    async def authenticate(self, request: Request) -> Identity | None:
        return None if request.token is None else Identity("default", request.token, request.token)

    def _now(self, identity: Identity) -> Identity:
        return Identity("default", identity.user_id, rules=self.rules.get(identity.user_id, ()))

    async def authorize(self, identity: Identity, key: RoomKey) -> Access:
        return self._now(identity).access_to(key)

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        now = self._now(identity)
        return now.access_to(key) if data is None else now.access_to_row(key, data)

    async def visible(self, identity: Identity, collection: str) -> Condition | None:
        return self._now(identity).filter_of(collection)

    async def load(self, key: RoomKey) -> bytes | None:
        await self.may_load.wait()
        return None


class Ear:
    """A client of /realtime that keeps every byte it was sent. In MessagePack texts are as they are, too."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[bytes] = []
        self._ids = 0
        self.answers: dict[int, dict[str, Any]] = {}
        self.messages: list[dict[str, Any]] = []

    async def run(self) -> None:
        async for data in self.socket:
            self.frames.append(data.encode() if isinstance(data, str) else data)
            message = json.loads(data)
            self.messages.append(message)
            if message["type"] in {"reply", "failure"} and "id" in message:
                self.answers[message["id"]] = message

    async def ask(self, kind: str, **what: Any) -> dict[str, Any]:
        """The reply or failure."""
        self._ids += 1
        number = self._ids
        await self.socket.send(json.dumps({"type": kind, "id": number, **what}))
        await until(lambda: number in self.answers)
        return self.answers[number]

    async def subscribe(self, *targets: dict[str, Any]) -> None:
        wanted = [{"sub": number, "target": target} for number, target in enumerate(targets)]
        answer = await self.ask("subscribe", subscriptions=wanted)
        assert all("error" not in result for result in answer["result"]), answer

    def ended(self) -> dict[int, str]:
        """The subscriptions that the server ended, and why."""
        return {m["sub"]: m["error"]["code"] for m in self.messages if m["type"] == "failure" and "sub" in m}


@asynccontextmanager
async def ear(address: str, user: str) -> AsyncIterator[Ear]:
    async with connect(f"ws://{address}/realtime", max_size=None) as socket:
        await socket.send(json.dumps({"type": "hello", "token": user}))
        heard = Ear(socket)
        running = asyncio.create_task(heard.run())
        try:
            yield heard
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class World:
    """A server whose rights are those of a table. Bob may do everything, and writes."""

    def __init__(self, address: str, table: Table, node: Node, http: httpx.AsyncClient) -> None:
        self.address = address
        self.table = table
        self.node = node
        self._http = http

    async def editor(self, name: str, user: str, kind: Kind, room: str = "documents/d") -> Client:
        client = await self.open(name, user, kind, room)
        await client.wait(synced=True)
        return client

    async def open(self, name: str, user: str, kind: Kind, room: str) -> Client:
        where = "hocuspocus" if kind.startswith("hocuspocus") else "rooms"
        return await self.node.client(name, kind, f"ws://{self.address}/{where}", room, token=user)

    async def write(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = await self._http.request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def allow(self, user: str, *rules: Rule) -> None:
        """Change what somebody may do, and say so as an administrator would."""
        self.table.rules[user] = rules
        await self.write("POST", "/permissions-changed", {"userId": user})


@pytest.fixture
async def world(tmp_path: Path, node: Node) -> AsyncIterator[World]:
    table = Table()
    collab = Collab(Settings(data=str(tmp_path), content_event_seconds=0.2), hooks=table)
    async with (
        serving(collab) as address,
        httpx.AsyncClient(base_url=f"http://{address}", headers={"authorization": "Bearer bob"}, timeout=40) as http,
    ):
        yield World(address, table, node, http)


async def sent_away(client: Client) -> None:
    """Wait until a client has been told that it may not be here."""
    if client.kind.startswith("hocuspocus"):
        await client.wait(connected=True)
        await until_summary(client, lambda found: bool(found["denied"]))
    else:
        await until_summary(client, lambda found: 4403 in [close["code"] for close in found["closes"]])


async def until_summary(client: Client, wanted: Any) -> None:
    found: dict[str, Any] = {}
    for _ in range(1500):
        found = await client.summary()
        if wanted(found):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(str(found))


async def test_a17_when_a_right_is_taken_everything_that_it_allowed_ends_and_nothing_more_arrives(world: World) -> None:
    await world.write("POST", "/collections/tasks", {"id": "t1", "title": "before"})
    await world.write("POST", "/collections/documents", {"id": "d", "title": "before"})
    editors = [await world.editor(f"ann {kind}", "ann", kind) for kind in EDITORS]
    bob = await world.editor("bob", "bob", "hocuspocus-3")
    for client in editors:
        await client.set_awareness({"cursor": 1})
    await bob.wait(others=sorted(client.id for client in editors))
    async with ear(world.address, "ann") as ann:
        await ann.subscribe(
            {"kind": "entities", "collection": "tasks"},
            {"kind": "entities", "collection": "tasks", "entity": "t1"},
            {"kind": "rows", "collection": "tasks", "query": {"orderBy": {"title": "asc"}, "limit": 3}},
            {"kind": "presence", "room": "documents/d"},
        )
        await ann.ask("joinPresence", room="documents/d", state={"cursor": 2})
        await bob.wait(people=4)

        await world.allow("ann")
        await until(lambda: len(ann.ended()) == 4, ann.ended)
        assert set(ann.ended().values()) == {"PERMISSION_DENIED"}
        for client in editors:
            await sent_away(client)
        await bob.wait(others=[], people=1)

        # what others do from now on never reaches her, and nothing of hers arrives
        await world.write("PATCH", "/collections/tasks/t1", {"changes": {"title": f"{HIDDEN} 1"}})
        await world.write("POST", "/collections/tasks", {"title": f"{HIDDEN} 2"})
        await bob.insert(f"{HIDDEN} 3")
        for client in editors:
            await client.insert("mine")
        refused = [
            await ann.ask("update", collection="tasks", entity="t1", changes={"title": "mine"}),
            await ann.ask("create", collection="tasks", data={"title": "mine"}),
            await ann.ask("findById", collection="tasks", entity="t1"),
            await ann.ask("findMany", collection="tasks"),
            await ann.ask("joinPresence", room="documents/d", state={"cursor": 3}),
        ]
        assert {answer.get("error", {}).get("code") for answer in refused} == {"PERMISSION_DENIED"}
        again = await ann.ask(
            "subscribe", subscriptions=[{"sub": 9, "target": {"kind": "rows", "collection": "tasks"}}]
        )
        assert again["result"][0]["error"]["code"] == "PERMISSION_DENIED"
        await bob.wait(unsynced=0, text=f"{HIDDEN} 3")
        assert not [frame for frame in ann.frames if HIDDEN.encode() in frame]
    for client in editors:
        assert HIDDEN not in (await client.summary())["text"]
    with pytest.raises(InvalidStatus) as denied:
        await connect(f"ws://{world.address}/rooms/documents/d?token=ann")
    assert denied.value.response.status_code == 403
    assert (await world.write("GET", "/collections/tasks/t1"))["data"]["title"] == f"{HIDDEN} 1"


@pytest.mark.parametrize("kind", ["y-websocket-2", "y-websocket-3", "hocuspocus-3", "hocuspocus-4"])
async def test_a17_an_open_editor_whose_right_to_write_is_taken_sees_and_changes_nothing(
    world: World, kind: Kind
) -> None:
    ann, bob = await world.editor("ann", "ann", kind), await world.editor("bob", "bob", "hocuspocus-4")
    await ann.insert("both. ")
    await bob.wait(text="both. ")
    async with ear(world.address, "ann") as session:
        await session.subscribe({"kind": "entities", "collection": "documents"})
        await world.allow("ann", *READ)
        await bob.insert("bob alone. ")
        await ann.wait(text="both. bob alone. ")
        await ann.insert("ann alone. ")
        answer = await session.ask("update", collection="documents", entity="d", changes={"title": "mine"})
        assert answer["error"]["code"] == "PERMISSION_DENIED"
        await world.write("PATCH", "/collections/documents/d", {"changes": {"title": "bob"}})
        await until(lambda: any(m["type"] == "event" and "title" in m["event"]["data"] for m in session.messages))
        assert session.ended() == {}
    late = await world.editor("late", "bob", "y-websocket-3")
    await late.wait(text="both. bob alone. ")
    await bob.wait(text="both. bob alone. ")
    if kind.startswith("hocuspocus"):
        assert (await ann.summary())["unsynced"] > 0, "it knows that this was not saved"


async def test_a16_a_row_that_leaves_the_filter_leaves_and_not_a_byte_of_it_is_told(world: World) -> None:
    await world.write("POST", "/collections/tasks", {"id": "t1", "owner": "ann", "title": "hers"})
    await world.write("POST", "/collections/tasks", {"id": "t2", "owner": "bob", "title": f"{HIDDEN} 1"})
    world.table.rules["ann"] = OWN
    async with ear(world.address, "ann") as ann:
        await ann.subscribe(
            {"kind": "entities", "collection": "tasks"},
            {"kind": "entities", "collection": "tasks", "entity": "t1"},
            {"kind": "rows", "collection": "tasks", "query": {"orderBy": {"title": "asc"}, "limit": 1}},
            {"kind": "rows", "collection": "tasks", "query": {}, "fields": ["title"]},
        )
        await world.write("PATCH", "/collections/tasks/t1", {"changes": {"title": "still hers"}})
        # goes out of view with a secret, changes there, and comes back
        for title in (f"{HIDDEN} 2", f"{HIDDEN} 3"):
            await world.write("PATCH", "/collections/tasks/t1", {"changes": {"owner": "bob", "title": title}})
        await world.write("DELETE", "/collections/tasks/t2")
        await world.write("PATCH", "/collections/tasks/t1", {"changes": {"owner": "ann", "title": "hers again"}})

        def events(sub: int) -> list[tuple[str, Any]]:
            told = [m["event"] for m in ann.messages if m["type"] == "event" and sub in m["subs"]]
            return [(event["type"], event["data"]) for event in told]

        def steps(sub: int) -> list[str]:
            return [step["op"] for m in ann.messages if m["type"] == "diff" and m["sub"] == sub for step in m["steps"]]

        for sub in (0, 1):
            await until(lambda sub=sub: len(events(sub)) >= 3, lambda sub=sub: events(sub))  # type: ignore[misc]
            kinds, data = zip(*events(sub), strict=True)
            assert kinds == ("updated", "deleted", "created")
            assert data[1] == {"id": "t1"}
        for sub in (2, 3):
            await until(lambda sub=sub: "enter" in steps(sub), lambda sub=sub: steps(sub))  # type: ignore[misc]
            assert steps(sub) == ["change", "leave", "enter"]
        for hidden in ("t2", HIDDEN):
            assert not [frame for frame in ann.frames if hidden.encode() in frame]


async def test_p11_who_sees_a_room_no_more_for_its_row_is_neither_seen_there_nor_told(world: World) -> None:
    await world.write("POST", "/collections/documents", {"id": "d", "owner": "ann"})
    world.table.rules["ann"] = OWN
    bob = await world.editor("bob", "bob", "hocuspocus-4")
    editors = [await world.editor(f"ann {kind}", "ann", kind) for kind in EDITORS]
    for client in editors:
        await client.set_awareness({"cursor": 1})
    async with ear(world.address, "ann") as ann:
        await ann.subscribe({"kind": "presence", "room": "documents/d"})
        await ann.ask("joinPresence", room="documents/d", state={"cursor": 2})
        await bob.wait(people=len(editors) + 2)
        await world.write("PATCH", "/collections/documents/d", {"changes": {"owner": "bob"}})
        await until(lambda: len(ann.ended()) == 1, ann.ended)
        await bob.wait(others=[], people=1)
        await bob.set_awareness({"cursor": HIDDEN})
        refused = await ann.ask("updatePresence", room="documents/d", state={"cursor": 3})
        assert refused["error"]["code"] == "INVALID_REQUEST"
        await world.write("PATCH", "/collections/documents/d", {"changes": {"owner": "bob", "n": 1}})
        await ann.ask("findById", collection="documents", entity="d")
        assert not [frame for frame in ann.frames if HIDDEN.encode() in frame]


@pytest.mark.parametrize("kind", EDITORS)
async def test_a17_an_editor_of_a_document_that_leaves_the_filter_is_sent_away(world: World, kind: Kind) -> None:
    await world.write("POST", "/collections/documents", {"id": "d", "owner": "ann"})
    world.table.rules["ann"] = OWN
    ann, bob = await world.editor("ann", "ann", kind), await world.editor("bob", "bob", "y-websocket-2")
    await ann.insert("together")
    await bob.wait(text="together")
    await world.write("PATCH", "/collections/documents/d", {"changes": {"owner": "bob"}})
    await sent_away(ann)
    await bob.insert(HIDDEN)
    await ann.insert("mine")
    late = await world.editor("late", "bob", "hocuspocus-4")
    await late.wait(text=f"together{HIDDEN}")
    assert HIDDEN not in (await ann.summary())["text"]


@pytest.mark.parametrize("kind", EDITORS)
async def test_a17_who_was_let_in_before_and_joins_after_has_the_rights_of_now(world: World, kind: Kind) -> None:
    world.table.may_load.clear()
    ann = await world.open("ann", "ann", kind, "documents/slow")
    await ann.wait(attempts=1)
    await asyncio.sleep(0.5)  # it waits for the document
    await world.allow("ann")
    world.table.may_load.set()
    await until_summary(ann, lambda found: bool(found["denied"] or found["closes"]))
    assert not (await ann.summary())["synced"]
    bob = await world.editor("bob", "bob", "hocuspocus-4", "documents/slow")
    await ann.insert("mine")
    await bob.insert("bob")
    late = await world.editor("late", "bob", "y-websocket-3", "documents/slow")
    await late.wait(text="bob")
