"""Every example runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import httpx
import pytest

from collab import Collab, Settings
from examples.python_peer import write
from tests.collab.serving import editor, serving

EXAMPLES = sorted(path.stem for path in (Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_no_example_is_left_out() -> None:
    assert EXAMPLES == ["mount_django", "mount_fastapi", "mount_starlette", "python_peer"]


async def test_a_python_program_is_one_more_person_in_a_document(tmp_path: Path) -> None:
    async with serving(Collab(Settings(data=str(tmp_path)))) as address:
        assert await write(f"ws://{address}/rooms", "documents/hello", "Hello. ") == "Hello. "
        assert await write(f"ws://{address}/rooms", "documents/hello", "Again.") == "Hello. Again."


async def test_inside_fastapi_a_route_edits_what_people_have_open() -> None:
    app = importlib.import_module("examples.mount_fastapi").app
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as http:
        async with editor(address, "notes/n", prefix="/collab") as client:
            content = client.doc.get("content", type=type(client.text))
            assert (await http.post("/notes/n/sign?user=ada")).json() == {"text": "\n-- ada"}
            await client.until(lambda _: str(content) == "\n-- ada")
        assert (await http.get("/notes/n")).json() == {"content": "\n-- ada"}


async def test_inside_starlette_a_hook_says_who_may_write() -> None:
    app = importlib.import_module("examples.mount_starlette").app
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as http:
        assert "/collab/rooms" in (await http.get("/")).text
        path = "/collab/rooms/ada-notes"
        assert (await http.post(path, content=b"\x00\x00", headers={"x-user": "eve"})).status_code == 403
        assert (await http.post(path, content=b"\x00\x00", headers={"x-user": "ada"})).status_code == 204


async def test_beside_django_a_view_reads_what_people_write() -> None:
    app = importlib.import_module("examples.mount_django").application
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as http:
        async with editor(address, "notes/n", prefix="/collab") as client:
            content = client.doc.get("content", type=type(client.text))
            content += "from an editor"
            await client.socket.send(b"\x00\x02" + _varbytes(client.doc.get_update()))
            async with editor(address, "notes/n", prefix="/collab"):
                answer = await http.get("/notes/n")
        assert answer.text == "from an editor"


def _varbytes(data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([len(data)]) + data
