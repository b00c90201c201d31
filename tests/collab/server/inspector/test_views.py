"""What the inspector shows is what is so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import time
from typing import Any

import anyio
import httpx
import pycrdt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from collab import Collab, Settings
from collab.names import RoomKey
from collab.storage.base import SetAside
from collab.storage.memory import MemoryStorage
from collab.wire import yjs
from tests.collab.server.inspector.world import KEY, SECRET, Inspected, inspected, operator
from tests.collab.serving import serving

HOOK = {"name": "crm", "url": "http://127.0.0.1:9/hook", "secret": "whsec_" + "A" * 32, "attempts": 1}


def an_update(client: int = 7) -> bytes:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)
    doc.get("text", type=pycrdt.Text).insert(0, "hello")
    return doc.get_update()


async def until(world: Inspected, path: str, is_so: Any, **parameters: Any) -> Any:
    with anyio.fail_after(40):
        while not is_so(found := await world.get(path, **parameters)):
            await asyncio.sleep(0.1)
    return found


async def test_projects_and_their_collections(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        for count in range(3):
            await world.collab.collection("tasks").create({"n": count})
        await world.collab.collection("notes", "acme").create({})
        found = await world.get("projects")
        assert found == {
            "projects": [
                {"name": "acme", "position": 1, "collections": [{"name": "notes", "size": 1}]},
                {"name": "default", "position": 3, "collections": [{"name": "tasks", "size": 3}]},
            ],
            "more": False,
            "next": None,
        }


async def test_projects_come_page_by_page_and_one_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with inspected(tmp_path) as world:
        for name in "abcd":
            for collection in ("tasks", "notes"):
                await world.collab.collection(collection, name).create({})
        names: list[str] = []
        after = ""
        while True:
            page = await world.get("projects", after=after, limit=2)
            names += [each["name"] for each in page["projects"]]
            if page["next"] is None:
                break
            assert (len(page["projects"]), page["next"]) == (2, names[-1])
            after = page["next"]
        assert names == ["a", "b", "c", "d", "default"]
        (one,) = (await world.get("projects", project="c"))["projects"]
        assert [each["name"] for each in one["collections"]] == ["notes", "tasks"]
        (new,) = (await world.get("projects", project="new"))["projects"]
        assert new == {"name": "new", "position": 0, "collections": []}
        monkeypatch.setattr("collab.server.inspector.record._MOST_COLLECTIONS", 3)
        page = await world.get("projects")
        assert (sum(len(each["collections"]) for each in page["projects"]), page["more"]) == (3, True)
        assert (await world.get("projects", project="d"))["more"] is False
        most = await world.get("usage", limit=2)
        assert (len(most["projects"]), most["count"]) == (2, len((await world.get("usage"))["projects"]))


async def test_deleted_entities_are_listed(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        tasks = world.collab.collection("tasks")
        for count in range(3):
            await tasks.create({}, id=f"t{count}")
            await tasks.delete(f"t{count}")
        await tasks.restore("t1")
        found = await world.get("deleted", project="default", collection="tasks")
        assert [(each["id"], each["version"]) for each in found["deleted"]] == [("t0", 2), ("t2", 2)]
        page = await world.get("deleted", project="default", collection="tasks", limit=1)
        assert ([each["id"] for each in page["deleted"]], page["next"]) == (["t0"], "t0")


async def test_a_ticket_opens_one_project_for_ten_minutes(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        await world.collab.collection("tasks", "acme").create({"title": "a"}, id="t1")
        ticket = await world.post("ticket", project="acme")
        headers = {"authorization": f"Bearer {ticket['token']}"}
        answer = await world.http.patch(
            "/api/v1/collections/tasks/t1", json={"changes": {"title": "b"}}, headers=headers
        )
        assert answer.status_code == 200
        event, _ = await world.collab.collection("tasks", "acme").history("t1")
        assert event.user_id == "collab:inspector"
        refused = await world.http.post("/inspect/api/ticket", json={"project": "a/b"}, headers=operator())
        assert refused.status_code == 404


async def test_sessions_are_listed_and_sent_away(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        token = world.collab.mint("ada", access={"*/*": "write"}, name="Ada")
        async with connect(f"ws://{world.address}/rooms/notes/first?token={token}") as socket:
            found = await until(world, "sessions", lambda found: found["sessions"], project="default")
            (session,) = found["sessions"]
            assert (session["userId"], session["name"], session["document"]) == ("ada", "Ada", "notes/first")
            (here,) = (await world.get("rooms"))["nodes"]
            assert (here["node"], here["failure"]) == (0, None)
            assert here["found"]["rooms"][0] | {"people": 0} == {
                "project": "default",
                "collection": "notes",
                "id": "first",
                "sessions": 1,
                "people": 0,
            }
            assert (await world.get("sessions", project="acme"))["sessions"] == []
            assert await world.post("send-away", project="default", session=session["session"]) == {"count": 1}
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4403


async def test_the_makeup_of_a_document(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        await world.collab.room("notes/first").apply(an_update(), "ada")
        found = await world.get("document", project="default", collection="notes", id="first")
        assert found["logRows"] == 1
        assert found["logBytes"] == len(an_update())
        assert found["lastRows"][0]["userId"] == "ada"
        assert found["makeup"]["clients"][0]["client"] == 7
        assert found["makeup"]["elements"] == 5
        missing = await world.http.get(
            "/inspect/api/document",
            params={"project": "default", "collection": "notes", "id": "none"},
            headers=operator(),
        )
        assert missing.status_code == 404


async def test_live_queries_with_what_they_cost(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        tasks = world.collab.collection("tasks")
        await tasks.create({"status": "open"}, id="t1")
        token = world.collab.mint("ada", access={"*/*": "write"})
        asked = {"kind": "rows", "where": '{"status": "open"}', "token": token}
        async with world.http.stream("GET", "/api/v1/collections/tasks/subscribe", params=asked) as stream:
            lines = stream.aiter_lines()  # it would close the stream when it is forgotten
            await anext(lines)
            await tasks.update("t1", {"title": "b"})

            def is_matched(found: Any) -> bool:
                queries = found["nodes"][0]["found"]["queries"]
                return bool(queries and queries[0]["events"])

            (query,) = (await until(world, "queries", is_matched))["nodes"][0]["found"]["queries"]
            assert (query["collection"], query["watchers"], query["rows"]) == ("tasks", 1, 1)
            assert (query["events"], query["steps"], query["reads"]) == (1, 1, 1)
            assert query["seconds"] > 0
            assert '"open"' in str(query["query"]).replace("'", '"')


async def test_who_was_refused_and_why(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        for headers in ({"authorization": "Bearer nonsense"}, {"origin": "https://evil.example"}):
            for _ in range(3):
                await world.http.get("/api/v1/collections/tasks", headers=headers)
        found = (await world.get("refused"))["nodes"][0]["found"]["clients"]
        assert [each["count"] for each in found] == [3, 3]
        assert "evil.example" in found[0]["message"]
        assert "nonsense" not in str(found)


async def test_dead_letters_are_listed_in_pages_and_sent_again(tmp_path: Path) -> None:
    async with inspected(tmp_path, webhooks=[HOOK]) as world:
        for count in range(3):
            await world.collab.collection("tasks").create({}, id=f"t{count}")
        found = await until(world, "webhooks", lambda found: found["webhooks"][0]["deadLetters"] == 3)
        assert found["webhooks"][0]["url"] == "http://127.0.0.1:9/hook"
        first = await world.get("letters", webhook="crm", limit=2)
        assert [each["id"] for each in first["letters"]] == ["t0", "t1"]
        rest = await world.get("letters", webhook="crm", limit=2, after=first["next"])
        assert ([each["id"] for each in rest["letters"]], rest["next"]) == (["t2"], None)
        number = first["letters"][0]["number"]
        done = await world.post("replay", webhook="crm", numbers=[number])
        assert (done["sent"], [each["number"] for each in done["failed"]]) == (0, [number])
        unknown = await world.http.post(
            "/inspect/api/replay", json={"webhook": "none", "numbers": [1]}, headers=operator()
        )
        assert unknown.status_code == 404


async def test_a_replayed_letter_is_forgotten_beside_the_running_server(tmp_path: Path) -> None:
    taken: list[bytes] = []

    async def receiver(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            taken.append((await receive())["body"])
            await send({"type": "http.response.start", "status": 500 if len(taken) == 1 else 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})

    async with serving(receiver) as there, inspected(tmp_path, webhooks=[{**HOOK, "url": f"http://{there}/"}]) as world:
        await world.collab.collection("tasks").create({}, id="t1")
        await until(world, "webhooks", lambda found: found["webhooks"][0]["deadLetters"] == 1)
        (letter,) = (await world.get("letters", webhook="crm"))["letters"]
        done = await world.post("replay", webhook="crm", numbers=[letter["number"]])
        assert done == {"sent": 1, "waiting": 0, "failed": []}
        assert taken[0] == taken[1]
        assert (await world.get("letters", webhook="crm"))["letters"] == []
        await world.collab.collection("tasks").create({}, id="t2")  # the server still writes


async def test_what_was_set_aside_is_shown_and_forgotten(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        key = RoomKey("acme", "notes", "n1")
        await world.collab._storage.set_aside(SetAside(key, None, an_update(), "ended a worker: signal 9", 5.0))
        (entry,) = (await world.get("quarantine"))["entries"]
        assert (entry["project"], entry["id"], entry["bytes"]) == ("acme", "n1", len(an_update()))
        shown = await world.get("entry", number=entry["number"])
        assert shown["writes"] == [{"client": 7, "from": 0, "to": 5}]
        assert await world.post("discard", number=entry["number"]) == {"discarded": entry["number"]}
        assert (await world.get("quarantine"))["entries"] == []


async def test_a_page_of_what_is_settled_hides_nothing_that_is_set_aside(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        notes = world.collab.collection("notes", "acme")
        for name in ("n1", "n2", "n3"):
            await notes.create({"text": "x"}, id=name)
            entry = SetAside(RoomKey("acme", "notes", name), 99, an_update(), "ended a worker: signal 9", 5.0)
            await world.collab._storage.set_aside(entry)
        first, second, third = (each["number"] for each in (await world.get("quarantine"))["entries"])
        for number in (first, second):  # a mark of each stays, because a later row would get its number
            await world.post("discard", number=number)
        (left,) = (await world.get("quarantine", limit=2))["entries"]
        assert left["number"] == third


async def test_what_each_project_uses(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        await world.collab.collection("tasks", "acme").create({"text": "x" * 5000}, id="t1")
        ticket = KEY.issue_ticket("acme", time())
        for _ in range(5):
            headers = {"authorization": f"Bearer {ticket}"}
            await world.http.get("/api/v1/collections/tasks", headers=headers)
        found = {each["name"]: each for each in (await world.get("usage"))["projects"]}
        assert found["acme"]["stored"]["entities"] > 5000
        assert found["acme"]["stored"]["documents"] > 5000
        assert found["acme"]["used"]["cpu"]["user"] > 0
        token = world.collab.mint("ada", access={"*/*": "write"}, project="acme")
        for _ in range(2):  # one stays open, one is closed
            async with connect(f"ws://{world.address}/rooms/notes/n?token={token}") as socket:
                await socket.send(yjs.sync_step1(b"\0"))
                await socket.recv()
                found = {each["name"]: each for each in (await world.get("usage"))["projects"]}
                used = found["acme"]["used"]
                assert used["received"] > 0
                assert used["sent"] > 0
        await until(world, "rooms", lambda found: not any(r["sessions"] for r in found["nodes"][0]["found"]["rooms"]))
        found = {each["name"]: each for each in (await world.get("usage"))["projects"]}
        assert found["acme"]["used"]["received"] == used["received"] == 2 * len(yjs.sync_step1(b"\0"))


async def test_a_storage_of_the_application_is_not_read_at_another_place(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "data"), inspect=True, inspect_secret=SECRET)
    collab = Collab(settings, storage=MemoryStorage())
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        answer = await http.get("/inspect/api/projects", headers=operator())
        assert answer.status_code == 400
        assert "the application made this server's storage" in answer.text
        overview = await http.get("/inspect/api/overview", headers=operator())
        assert overview.status_code == 200
        assert overview.json()["record"] == "of the application"


async def test_an_overview_says_how_the_server_is(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        found = await world.get("overview")
        assert SECRET not in str(found)
        health = found["nodes"][0]["found"]
        assert (health["unready"], health["isOpen"]) == (None, False)
        assert {"collab_rooms", "collab_live_queries"} <= {each["name"] for each in health["gauges"]}
