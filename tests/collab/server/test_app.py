from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import anyio
import httpx
import pycrdt
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from collab import Access, Changed, Collab, Hooks, Identity, InvalidRequest, PermissionDenied, RoomKey, Settings
from collab.storage.base import StorageError
from collab.storage.sqlite.storage import SqliteStorage
from collab.wire import yjs
from presence.lib0 import encode_bytes
from tests.collab.serving import Runner, editor, serving


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=str(tmp_path))


@pytest.fixture(params=["hypercorn", "uvicorn"])
async def address(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[str]:
    runner: Runner = request.param
    async with serving(Collab(settings), runner) as address:
        yield address


async def test_two_clients_write_one_document(address: str) -> None:
    async with editor(address) as a, editor(address, "documents/d") as b:
        await a.type("hello")
        await b.until_text("hello")
        await b.type(" world")
        await a.until_text("hello world")


async def test_the_document_is_there_after_everybody_left_and_the_server_restarted(settings: Settings) -> None:
    async with serving(Collab(settings)) as address, editor(address) as a:
        await a.type("hello")
    async with serving(Collab(settings)) as address, editor(address) as b:
        await b.until_text("hello")


async def test_f4_clients_of_a_server_that_stops_are_sent_away_to_come_back(settings: Settings) -> None:
    async with serving(Collab(settings)) as address:
        socket = await connect(f"ws://{address}/rooms/d")
    with pytest.raises(ConnectionClosed):
        while True:
            await socket.recv()
    assert socket.close_code == 1012


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/rooms/a/b/c", 404),
        ("/rooms/..%2Fd", 404),
        ("/rooms/d%00", 404),
        ("/rooms/.d", 404),
        ("/rooms/%64", 404),
        ("/rooms/documents/d%C3%A9", 404),
        ("/rooms/documents/%FF", 404),
        ("/rooms/", 404),
        ("/elsewhere", 404),
    ],
)
async def test_n2_o2_a_path_that_is_no_name_is_refused_before_the_socket_is_accepted(
    settings: Settings, path: str, status: int
) -> None:
    async with serving(Collab(settings)) as address:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"ws://{address}{path}")
        assert refusal.value.response.status_code in {status, 403}


@pytest.mark.parametrize("path", ["/rooms/d", "/hocuspocus", "/realtime"])
async def test_o5_every_endpoint_selects_one_of_the_offered_sub_protocols(address: str, path: str) -> None:
    async with connect(f"ws://{address}{path}") as socket:
        assert socket.subprotocol is None
    for offered, selected in ((["collab.token.abc", "app"], "app"), (["collab.token.abc"], "collab.token.abc")):
        async with connect(f"ws://{address}{path}", subprotocols=[Subprotocol(name) for name in offered]) as socket:
            assert socket.subprotocol == selected


async def test_a_malformed_message_ends_its_sender_with_4400(address: str) -> None:
    async with editor(address) as good, connect(f"ws://{address}/rooms/d") as bad:
        await bad.send(yjs.update(bytes.fromhex("01010701000000")))
        with pytest.raises(ConnectionClosed):
            while True:
                await bad.recv()
        assert bad.close_code == 4400
        await good.type("still here")
        async with editor(address) as other:
            await other.until_text("still here")


async def test_a_message_over_the_limit_ends_its_sender_for_good_and_is_counted(tmp_path: Path) -> None:
    collab = Collab(Settings(data=str(tmp_path), max_message_bytes=2000))
    async with serving(collab) as address, connect(f"ws://{address}/rooms/d") as bad:
        await bad.recv()
        await bad.send(bytes(2001))
        with pytest.raises(ConnectionClosed):
            while True:
                await bad.recv()
        assert bad.close_code == 4413
    assert collab.metrics.refusals.counts == {"connection": 1}


async def test_a_text_message_ends_its_sender(address: str) -> None:
    async with connect(f"ws://{address}/rooms/d") as bad:
        await bad.send("text")
        with pytest.raises(ConnectionClosed):
            while True:
                await bad.recv()
        assert bad.close_code == 4400


async def test_a_presence_state_that_is_too_large_is_left_out_and_its_sender_stays(address: str) -> None:
    async with connect(f"ws://{address}/rooms/d") as sender, editor(address) as good:
        state = b'{"a":"' + b"x" * 70_000 + b'"}'
        await sender.send(yjs.awareness(b"\x01\x07\x01" + encode_bytes(state)))
        await sender.send(yjs.sync_step1(b"\0"))
        await good.type("still here")
        async with asyncio.timeout(40):
            while b"still here" not in await sender.recv():
                pass


# from Python


async def test_python_edits_as_a_named_user_and_clients_see_it(settings: Settings) -> None:
    collab = Collab(settings)
    async with serving(collab) as address, editor(address) as client:
        await client.type("hello")
        async with editor(address) as other:
            await other.until_text("hello")
        async with collab.room("documents/d").edit(user="robot") as doc:
            text = doc.get("t", type=pycrdt.Text)
            text += " from python"
        await client.until_text("hello from python")
        async with collab.room("d").edit(user="robot") as doc:
            text = doc.get("t", type=pycrdt.Text)
            text += "!"
        await client.until_text("hello from python!")
    record = await _record(settings, RoomKey("default", "documents", "d"))
    assert [row.user_id for row in record.rows] == [None, "robot", "robot"]


async def test_an_exception_inside_an_edit_changes_nothing(settings: Settings) -> None:
    collab = Collab(settings)
    async with collab.lifespan():
        room = collab.room("d")
        with pytest.raises(RuntimeError, match="halfway"):
            async with room.edit(user="robot") as doc:
                doc["t"] = pycrdt.Text("half")
                raise RuntimeError("halfway")
        assert await room.json() == {}


async def test_python_reads_json_and_text_of_every_kind_of_root(settings: Settings) -> None:
    collab = Collab(settings)
    async with collab.lifespan():
        room = collab.room("notes/n")
        async with room.edit() as doc:
            doc["t"] = pycrdt.Text("héllo 😀")
            doc["m"] = pycrdt.Map({"done": False, "tags": pycrdt.Array(["a", "b"])})
            doc["a"] = pycrdt.Array([1, 2.5, None, "x"])
        value = await room.json()
        assert value == {
            "t": "héllo 😀",
            "m": {"done": False, "tags": ["a", "b"]},
            "a": [1, 2.5, None, "x"],
        }
        assert await room.text("t") == "héllo 😀"
        assert await room.text() == "héllo 😀"


async def test_python_follows_updates_with_their_author(settings: Settings) -> None:
    collab = Collab(settings)
    async with collab.lifespan():
        room = collab.room("d")
        seen = []

        async def follow() -> None:
            async for update in room.updates():
                seen.append(update.user_id)
                if len(seen) == 3:
                    return

        task = asyncio.create_task(follow())
        with anyio.fail_after(40):
            while not collab._registry.rooms:
                await anyio.sleep(0.01)
            for user in ("a", "b", "c"):
                async with room.edit(user=user) as doc:
                    text = doc.get("t", type=pycrdt.Text)
                    text += user
            await task
        assert seen == ["a", "b", "c"]


async def test_concurrent_edits_of_one_document_all_arrive(settings: Settings) -> None:
    collab = Collab(settings)
    async with collab.lifespan():
        room = collab.room("d")

        async def add(n: int) -> None:
            async with room.edit(user=str(n)) as doc:
                doc.get("m", type=pycrdt.Map)[str(n)] = n

        await asyncio.gather(*(add(n) for n in range(30)))
        assert await room.json() == {"m": {str(n): n for n in range(30)}}


# over HTTP


async def test_a_document_over_http(settings: Settings) -> None:
    source: pycrdt.Doc[Any] = pycrdt.Doc()
    source["t"] = pycrdt.Text("hello")
    async with (
        serving(Collab(settings)) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http,
    ):
        posted = await http.post("/rooms/notes/n", content=source.get_update())
        assert posted.status_code == 204
        assert (await http.get("/rooms/notes/n")).json() == {"t": "hello"}
        assert (await http.get("/rooms/notes/n", headers={"accept": "text/plain"})).text == "hello"
        update = (await http.get("/rooms/notes/n?format=update")).content
        copy: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        copy.apply_update(update)
        assert str(copy.get("t", type=pycrdt.Text)) == "hello"


async def test_http_errors_are_typed_and_say_whether_to_retry(settings: Settings) -> None:
    async with (
        serving(Collab(settings)) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http,
    ):
        for path, body, status, code in [
            ("/rooms/d", b"nonsense", 400, "INVALID_REQUEST"),
            ("/rooms/a/b/c", b"", 404, "INVALID_REQUEST"),
        ]:
            answer = await http.post(path, content=body)
            assert answer.status_code == status
            assert answer.json()["error"]["code"] == code
            assert answer.json()["error"]["retryable"] is False
        assert (await http.get("/rooms/d?format=pdf")).status_code == 400
        assert (await http.get("/rooms/d?format=update&sv=%ff")).status_code == 400


async def test_health_readiness_and_metrics(settings: Settings) -> None:
    collab = Collab(settings)
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
        async with editor(address) as client:
            await client.type("x")
            async with editor(address) as other:
                await other.until_text("x")
            metrics = (await http.get("/metrics")).text
        for name in ("collab_sessions", "collab_rooms", "collab_updates_in_total", "collab_commit_seconds_count"):
            assert name in metrics
        assert collab.unready() is None
    assert collab.unready() == "starting"


async def test_a_server_whose_place_was_taken_says_so(database: str) -> None:
    collab = Collab(Settings(database=database))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        assert b"\ncollab_replaced 0.0\n" in collab.metrics.render()
        async with serving(Collab(Settings(database=database))), editor(address) as client:
            await client.type("x")
            with anyio.fail_after(40):
                while collab.unready() is None:
                    await asyncio.sleep(0.01)
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.text) == (503, "another server has taken its place\n")
            assert b"\ncollab_replaced 1.0\n" in collab.metrics.render()


@pytest.mark.parametrize("broken", ["_recorder.run", "_registry.maintain", "_content.run", "hub._webhooks.run"])
async def test_a_background_task_that_ends_is_noticed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    async def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    collab = Collab(settings)
    monkeypatch.setattr(attrgetter(broken.rpartition(".")[0])(collab), broken.rpartition(".")[2], fail)
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "a background task has failed\n")
    assert collab.failed
    assert "a background task has failed" in caplog.text


# hooks


class Recording(Hooks):
    def __init__(self) -> None:
        self.loads = 0
        self.changes: list[Changed] = []
        self.sessions: list[str] = []

    async def load(self, key: RoomKey) -> bytes | None:
        self.loads += 1
        await anyio.sleep(0.2)
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        doc["t"] = pycrdt.Text("seed")
        return doc.get_update()

    async def changed(self, change: Changed) -> None:
        self.changes.append(change)

    async def session_opened(self, identity: Identity, key: RoomKey) -> None:
        self.sessions.append(f"+{key.id}")

    async def session_closed(self, identity: Identity, key: RoomKey) -> None:
        self.sessions.append(f"-{key.id}")


async def test_twenty_first_joins_seed_a_document_once_and_a_restart_never_again(settings: Settings) -> None:
    hooks = Recording()
    async with serving(Collab(settings, hooks=hooks)) as address:

        async def join() -> str:
            async with editor(address) as client:
                return str(client.text)

        texts = await asyncio.gather(*(join() for _ in range(20)))
        assert set(texts) == {"seed"}
        assert hooks.loads == 1
    async with serving(Collab(settings, hooks=hooks)) as address, editor(address) as client:
        await client.until_text("seed")
    assert hooks.loads == 1


async def test_changes_and_sessions_are_told_to_the_application(settings: Settings) -> None:
    hooks = Recording()
    async with serving(Collab(settings, hooks=hooks)) as address:
        async with editor(address) as client:
            await client.type("!")
            with anyio.fail_after(40):
                while not hooks.changes:
                    await anyio.sleep(0.01)
        with anyio.fail_after(40):
            while hooks.sessions != ["+d", "-d"]:
                await anyio.sleep(0.01)
    assert hooks.changes[0].key == RoomKey("default", "documents", "d")


async def test_hooks_decide_who_may_do_what(settings: Settings) -> None:
    class Members(Hooks):
        async def authenticate(self, request: Any) -> Identity | None:
            return Identity("default", user_id=request.query.get("user"))

        async def authorize(self, identity: Identity, key: RoomKey) -> Access:
            return Access.WRITE if identity.user_id == "ada" else Access.NONE

    async with serving(Collab(settings, hooks=Members())) as address:
        async with editor(address, "d?user=ada") as client:
            await client.type("mine")
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"ws://{address}/rooms/d?user=eve")
        assert refusal.value.response.status_code == 403


async def test_a_failing_hook_refuses_and_does_not_reveal_itself(settings: Settings) -> None:
    class Broken(Hooks):
        async def authorize(self, identity: Identity, key: RoomKey) -> Access:
            raise RuntimeError("database password is hunter2")

    async with serving(Collab(settings, hooks=Broken())) as address, httpx.AsyncClient(timeout=40) as http:
        answer = await http.get(f"http://{address}/rooms/d")
        assert answer.status_code == 500
        assert "hunter2" not in answer.text


# mounting


@pytest.mark.parametrize("runner", ["hypercorn", "uvicorn"])
@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_it_mounts_into_another_application(settings: Settings, framework: Any, runner: Runner) -> None:
    collab = Collab(settings)
    app = framework(lifespan=collab.lifespan, routes=[Mount("/collab", collab)])
    async with serving(app, runner) as address, editor(address, prefix="/collab") as client:
        await client.type("mounted")
        async with httpx.AsyncClient(timeout=40) as http:
            with anyio.fail_after(40):
                while (await http.get(f"http://{address}/collab/rooms/d?format=text")).text != "mounted":
                    await anyio.sleep(0.01)
            described = (await http.get(f"http://{address}/collab/api/v1/openapi.json")).json()
            assert described["servers"] == [{"url": "/collab/api/v1"}]


async def test_who_forgot_the_lifespan_is_told_so(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    app = Starlette(routes=[Mount("/collab", Collab(settings))])
    async with serving(app) as address, httpx.AsyncClient(timeout=40) as http:
        for _ in range(3):
            answer = await http.get(f"http://{address}/collab/api/v1/collections/tasks")
            assert answer.status_code == 503
            assert "lifespan=collab.lifespan" in answer.json()["error"]["message"]
    assert len([message for message in caplog.messages if "lifespan=collab.lifespan" in message]) == 1


# failures of the storage


async def test_a_load_error_is_not_an_empty_document(settings: Settings, tmp_path: Path) -> None:
    class Failing(SqliteStorage):
        broken = True

        async def load(self, key: RoomKey) -> Any:
            if self.broken:
                raise StorageError("the disk is on fire")
            return await super().load(key)

    storage = Failing(tmp_path)
    async with serving(Collab(settings, storage=storage)) as address:
        async with connect(f"ws://{address}/rooms/d") as socket:
            with pytest.raises(ConnectionClosed):
                while True:
                    await socket.recv()
            assert socket.close_code == 4503
        storage.broken = False
        async with editor(address) as client:
            await client.type("fine again")


async def test_everybody_waits_for_the_one_load(settings: Settings, tmp_path: Path) -> None:
    class Slow(SqliteStorage):
        loads = 0

        async def load(self, key: RoomKey) -> Any:
            self.loads += 1
            await anyio.sleep(0.5)
            return await super().load(key)

    async with serving(Collab(settings)) as address, editor(address) as client:
        await client.type("hello")
    storage = Slow(tmp_path)
    async with serving(Collab(settings, storage=storage)) as address:

        async def join() -> str:
            async with editor(address) as client:
                return str(client.text)

        assert set(await asyncio.gather(*(join() for _ in range(50)))) == {"hello"}
        assert storage.loads == 1


async def test_a_join_during_eviction_finds_the_one_document(tmp_path: Path) -> None:
    collab = Collab(Settings(data=str(tmp_path), room_idle_seconds=0.0))
    async with serving(collab) as address:
        text = ""
        for n in range(30):
            async with editor(address) as client:
                await client.until_text(text)
                await client.type(str(n))
                text += str(n)
            for room in list(collab._registry.rooms.values()):
                collab._registry._evict_if_idle(room, float("inf"))
        with anyio.fail_after(40):
            while collab._registry.rooms:
                for room in list(collab._registry.rooms.values()):
                    collab._registry._evict_if_idle(room, float("inf"))
                await anyio.sleep(0.01)
        assert await collab.room("d").text() == text


def test_a_name_that_is_none_is_refused_from_python_too(settings: Settings) -> None:
    with pytest.raises(InvalidRequest):
        Collab(settings).room("../etc/passwd")


def test_what_is_not_allowed_has_a_permanent_close_code() -> None:
    assert PermissionDenied().close_code == 4403
    assert not PermissionDenied().retryable


async def _record(settings: Settings, key: RoomKey) -> Any:
    storage = SqliteStorage(Path(settings.data))
    await storage.open()
    try:
        return await storage.load(key)
    finally:
        await storage.close()
