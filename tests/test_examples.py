"""Every example runs."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from collab import Collab, Settings
from collab.client import LumenizeClient
from examples.chat import chat
from examples.collaborative_editing import edit_together
from examples.dashboard import Dashboard, sell
from examples.login_service import main as log_in
from examples.own_server import server
from examples.python_peer import write
from tests.collab.client.world import until
from tests.collab.serving import editor, serving

EXAMPLES = sorted(path.stem for path in (Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_no_example_is_left_out() -> None:
    assert EXAMPLES == [
        "chat",
        "collaborative_editing",
        "dashboard",
        "fastapi_users",
        "login_service",
        "mount_django",
        "mount_fastapi",
        "mount_starlette",
        "own_server",
        "python_peer",
    ]


async def test_a_python_program_is_one_more_person_in_a_document(tmp_path: Path) -> None:
    async with serving(Collab(Settings(data=str(tmp_path)))) as address:
        assert await write(f"ws://{address}/rooms", "documents/hello", "Hello. ") == "Hello. "
        assert await write(f"ws://{address}/rooms", "documents/hello", "Again.") == "Hello. Again."


async def test_inside_fastapi_a_route_edits_what_people_have_open() -> None:
    app = importlib.import_module("examples.mount_fastapi").app
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        async with editor(address, "notes/n", prefix="/collab") as client:
            content = client.doc.get("content", type=type(client.text))
            assert (await http.post("/notes/n/sign?user=ada")).json() == {"text": "\n-- ada"}
            await client.until(lambda _: str(content) == "\n-- ada")
        assert (await http.get("/notes/n")).json() == {"content": "\n-- ada"}


async def test_inside_fastapi_routes_return_what_collab_answers_and_refuses() -> None:
    app = importlib.reload(importlib.import_module("examples.mount_fastapi")).app
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        refused = await http.post("/notes/unknown/close")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "NOT_FOUND")
        made = await http.post("/collab/api/v1/collections/notes", json={"id": "m", "open": True})
        found = (await http.get("/notes")).json()
        assert (found["rows"], found["versions"]) == ([made.json()["data"]], [1])
        closed = (await http.post("/notes/m/close")).json()
        assert (closed["data"]["open"], closed["version"], closed["conflicts"]) == (False, 2, [])
        assert (await http.get("/openapi.json")).status_code == 200


async def test_inside_fastapi_routes_know_their_callers_and_sign_their_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_JWT_SECRET", "a secret of the tests, of more than 32 bytes")
    app = importlib.reload(importlib.import_module("examples.fastapi_users")).app
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:

        async def login(user: str, password: str) -> dict[str, str]:
            said = await http.post("/login", json={"user": user, "password": password})
            return {"authorization": f"Bearer {said.json()['token']}"}

        assert (await http.post("/login", json={"user": "ada", "password": "x"})).status_code == 401
        ada, bob = await login("ada", "analytical"), await login("bob", "builder")
        nobody = await http.get("/me")
        assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "AUTHENTICATION_FAILED")
        assert nobody.headers["www-authenticate"] == "Bearer"
        assert (await http.get("/me", headers=ada | {"origin": "https://evil.example"})).status_code == 403
        assert (await http.get("/me", headers=ada)).json() == {"user": "ada", "name": "Ada"}
        made = await http.post("/notes?title=Hers", headers=ada)
        assert made.status_code == 201
        path = f"/notes/{made.json()['data']['id']}?title=Ours"
        refused = await http.patch(path, headers=bob)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
        assert (await http.patch(path, headers=ada)).json()["data"]["title"] == "Ours"
        untitled = await http.post("/notes?title=", headers=ada)
        assert (untitled.status_code, untitled.json()["error"]["message"]) == (422, "a note needs a title")
        assert [row["changedBy"] for row in (await http.get("/notes", headers=bob)).json()["rows"]] == ["ada"]
        assert [row["title"] for row in (await http.get("/notes", headers=bob)).json()["rows"]] == ["Ours"]
        assert (await http.get("/collab/api/v1/collections/notes", headers=bob)).json()["rows"][0]["owner"] == "ada"
        assert (await http.get("/collab/api/v1/openapi.json")).json()["servers"] == [{"url": "/collab/api/v1"}]
        assert (await http.get("/openapi.json")).status_code == 200
        async with LumenizeClient(f"http://{address}/collab", token=ada["authorization"].split()[1]) as client:
            await client.presence.join("notes/n", {"cursor": 3})
            present = (await http.get("/notes/n/people", headers=bob)).json()
            assert [(who["userId"], who["state"]["cursor"]) for who in present["people"]] == [("ada", 3)]
        assert (await http.post("/logout-everywhere", headers=ada)).status_code == 204
        assert (await http.get("/me", headers=ada)).status_code == 401
        assert (await http.get("/me", headers=bob)).status_code == 200


async def test_inside_starlette_a_hook_says_who_may_write() -> None:
    app = importlib.import_module("examples.mount_starlette").app
    async with serving(app) as address, httpx.AsyncClient(timeout=40, base_url=f"http://{address}") as http:
        assert "/collab/rooms" in (await http.get("/")).text
        path = "/collab/rooms/ada-notes"
        assert (await http.post(path, content=b"\x00\x00", headers={"x-user": "eve"})).status_code == 403
        assert (await http.post(path, content=b"\x00\x00", headers={"x-user": "ada"})).status_code == 204


async def test_inside_django_its_users_write_and_its_views_read() -> None:
    app = importlib.import_module("examples.mount_django").application
    async with serving(app) as address, httpx.AsyncClient(timeout=40, base_url=f"http://{address}") as http:
        assert (await http.get("/collab/api/v1/schema")).status_code == 401
        assert (await http.post("/login", data={"user": "ada", "password": "x"})).status_code == 401
        assert (await http.post("/login", data={"user": "ada", "password": "analytical"})).text == "welcome"
        assert (await http.get("/collab/api/v1/schema")).status_code == 200
        assert (await http.get("/collab/api/v1/collections/tasks")).status_code == 403, "the rules are about notes"
        cookie = {"cookie": f"sessionid={http.cookies['sessionid']}"}
        async with editor(address, "notes/n", prefix="/collab", additional_headers=cookie) as client:
            content = client.doc.get("content", type=type(client.text))
            content += "from an editor"
            await client.socket.send(b"\x00\x02" + _varbytes(client.doc.get_update()))
            async with editor(address, "notes/n", prefix="/collab", additional_headers=cookie):
                assert (await http.get("/notes/n")).text == "from an editor"
            assert (await http.get("/notes/n/people")).json() == {"people": []}
            assert (await http.post("/logout")).text == "goodbye"
            with pytest.raises(ConnectionClosed):
                while True:
                    await client.socket.recv()
            assert (client.socket.close_code, client.socket.close_reason) == (4401, "the token was revoked")
        refused = await http.get("/collab/api/v1/schema", headers=cookie)
        assert refused.status_code == 401


async def test_users_of_a_login_service_come_in_with_its_tokens() -> None:
    lines: list[str] = []
    await log_in(lines.append)
    assert lines == [
        "ada creates a task: 201",
        "a token for another audience: 401",
        "after the key was changed: 201",
    ]
    assert "\n".join(lines) in (Path(__file__).parent.parent / "docs" / "login.md").read_text()


async def test_people_chat_and_see_each_other_type() -> None:
    async with server() as url:
        heard: dict[str, list[str]] = {"ada": [], "bob": []}

        async def ada() -> AsyncIterator[str]:
            yield "hello"
            await until(lambda: "bob: hi" in heard["ada"])

        async def bob() -> AsyncIterator[str]:
            await until(lambda: "ada: hello" in heard["bob"])
            yield "hi"

        await asyncio.gather(
            chat(url, "c", "ada", ada(), heard["ada"].append), chat(url, "c", "bob", bob(), heard["bob"].append)
        )
        assert "(bob is typing)" in heard["ada"]
        assert [line for line in heard["bob"] if "typing" not in line] == ["ada: hello", "bob: hi"]


async def test_a_dashboard_shows_what_is_sold() -> None:
    async with server() as url, LumenizeClient(url=url) as client:
        lines: list[str] = []
        dashboard = Dashboard(lines.append)
        cleanup = await dashboard.watch(client)
        await sell(url, 3, seconds=0)
        await until(lambda: len(dashboard.orders) == 3)
        assert dashboard.revenue > 0
        assert dashboard.health == "ok"
        assert "3 orders" in lines[-1]
        cleanup()


async def test_two_people_edit_one_document() -> None:
    async with server() as url:
        lines: list[str] = []
        text = await edit_together(url, lines.append)
        assert sorted(text.split(". ")) == ["", "Ada writes", "Bob writes"]
        assert "ada's \"Ada's title\" conflicts with bob's \"Bob's title\"" in lines
        assert any(line.startswith("bob asked for an error") for line in lines)
        assert any("bob at" in line for line in lines)


async def test_an_example_takes_the_server_that_it_is_told() -> None:
    async with server("http://somewhere") as url:
        assert url == "http://somewhere"


def _varbytes(data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([len(data)]) + data
