"""The guides `docs/start`, followed to the letter."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from tests.e2e.guides import commands, write
from tests.e2e.pages import build, chromium, listen
from tests.e2e.server import Server
from tools import machine

JS = machine.ROOT / "js"
TEMPLATES = {
    "react": 'import plugin from "@vitejs/plugin-react"',
    "svelte": 'import { svelte as plugin } from "@sveltejs/vite-plugin-svelte"',
    "vue": 'import plugin from "@vitejs/plugin-vue"',
    "javascript": "const plugin = () => []",
}
"""What the template of Vite that a guide names has in its configuration."""
PAGE = '<!doctype html><body><div id="{root}"></div><script type="module" src="/src/{main}"></script></body>'


def built(guide: str, folder: Path, address: str) -> Path:
    """The page of a guide, built by Vite from its template and the files of the guide."""
    files = write(f"start/{guide}", folder, address=address)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "vite.config.js").write_text(f"{TEMPLATES[guide]}\nexport default {{ plugins: [plugin()] }}\n")
    if not (folder / "index.html").exists():
        main = next(path.name for path in files if path.stem == "main")
        (folder / "index.html").write_text(PAGE.format(root="root" if guide == "react" else "app", main=main))
    (folder / "node_modules").symlink_to(JS / "node_modules")
    return build(folder / "dist", folder=folder, packages=JS / "node_modules")


@pytest.mark.browser
@pytest.mark.parametrize("guide", TEMPLATES)
async def test_a_page_shows_what_others_write_and_keeps_what_is_written_while_the_server_is_away(
    guide: str, tmp_path: Path
) -> None:
    server = Server(tmp_path / "server", pages=tmp_path / "page" / "dist")
    (tmp_path / "page" / "dist").mkdir(parents=True)
    server.start()
    try:
        await asyncio.to_thread(built, guide, tmp_path / "page", f"127.0.0.1:{server.port}")
        async with chromium() as browser:
            ada, bob = await browser.new_page(), await browser.new_page()
            complaints = [listen(ada, "ada"), listen(bob, "bob")]
            for page in (ada, bob):
                await page.goto(server.http)
            await ada.get_by_placeholder("What is to be done?").fill("Write it down")
            await ada.keyboard.press("Enter")
            for page in (ada, bob):
                await expect(page.get_by_role("listitem")).to_contain_text(["Write it down"])
            await bob.get_by_role("button", name="Done").click()
            for page in (ada, bob):
                await expect(page.get_by_role("listitem")).to_have_count(0)

            server.stop()
            await ada.get_by_placeholder("What is to be done?").fill("Meanwhile")
            await ada.keyboard.press("Enter")
            await expect(ada.get_by_role("listitem")).to_contain_text(["Meanwhile"])
            server.start()
            await expect(bob.get_by_role("listitem")).to_contain_text(["Meanwhile"])
            async with httpx.AsyncClient(base_url=server.http, timeout=40) as http:
                rows = (await http.get("/api/v1/collections/tasks")).json()["rows"]
            assert sorted(row["title"] for row in rows) == ["Meanwhile", "Write it down"]
            assert complaints == [[], []]
    finally:
        server.stop()


@contextmanager
def running(folder: Path, *command: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a command of an ASGI server on a free port; yields its address once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLAB_")}
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--port", str(port)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(machine.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for line in process.stdout or ():
            if "Uvicorn running" in line:
                break
        else:
            raise AssertionError("it ended")
        yield address, process
    finally:
        process.terminate()
        process.communicate(timeout=40)


def shell(command: str, address: str) -> str:
    """What a command of a guide prints, asked at another address."""
    arguments = shlex.split(command.replace("http://127.0.0.1:8000", address))
    return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_fastapi_application_shares_its_data_with_whoever_watches(tmp_path: Path) -> None:
    write("start/fastapi", tmp_path)
    (serve,) = commands("start/fastapi", "uvicorn")
    watch, create, lists, finish = commands("start/fastapi", "curl")
    with running(tmp_path, *serve.split()) as (address, _):
        watching = subprocess.Popen(
            shlex.split(watch.replace("http://127.0.0.1:8000", address)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            seen = iter(watching.stdout or ())
            until(seen, '"rows":[]')
            assert '"title":"Write it down"' in shell(create, address)
            until(seen, "Write it down")
            assert "Write it down" in shell(lists, address)
            assert '"done":true' in shell(finish, address)
            until(seen, "diff")
            assert "Write it down" not in shell(lists, address)
        finally:
            watching.kill()
            watching.communicate()
        httpx.post(f"{address}/collab/api/v1/collections/notes", json={"id": "n1"}, timeout=40).raise_for_status()
        assert httpx.get(f"{address}/notes/n1", timeout=40).json() == ""


def until(lines: Iterator[str], wanted: str) -> None:
    """Read lines until one has what is wanted."""
    for line in lines:
        if wanted in line:
            return
    raise AssertionError(f"no line with {wanted}")


def test_a_django_project_serves_its_users_by_their_session(tmp_path: Path) -> None:
    (start,) = commands("start/django", "django-admin")
    manage = commands("start/django", "python manage.py")
    assert [command.split()[-1] for command in manage] == ["migrate", "createsuperuser"]
    environment = {**os.environ, "PYTHONPATH": str(machine.ROOT)}

    def python(*arguments: str, **more: str) -> None:
        subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env={**environment, **more}, check=True, capture_output=True
        )

    python("-m", "django", *start.split()[1:])
    settings = (tmp_path / "mysite" / "settings.py").read_text()
    write("start/django", tmp_path)
    added = (tmp_path / "mysite" / "settings.py").read_text()
    (tmp_path / "mysite" / "settings.py").write_text(settings + added)
    python("manage.py", "migrate")
    ada = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": "analytical"}
    python("manage.py", "createsuperuser", "--noinput", "--email=ada@example.com", **ada)
    (serve,) = commands("start/django", "uvicorn")
    with (
        running(tmp_path, *serve.split()) as (address, _),
        httpx.Client(base_url=address, follow_redirects=True, timeout=40, headers={"Referer": address}) as http,
    ):
        notes = "/collab/api/v1/collections/notes"
        assert http.get(notes).status_code == 401
        form = http.get("/admin/login/").text
        csrf = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert csrf is not None
        said = {"username": "ada", "password": "analytical", "csrfmiddlewaretoken": csrf[1], "next": "/admin/"}
        assert "Log out" in http.post("/admin/login/", data=said).text
        answer = http.get(notes)
        assert (answer.status_code, answer.json()["rows"]) == (200, [])


@asynccontextmanager
async def program(script: Path, folder: Path) -> AsyncIterator[asyncio.StreamReader]:
    """A Python program that runs; yields what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        script,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(machine.ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_python_program_writes_what_another_one_watches(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    server.start()
    try:
        write("start/python", tmp_path, address=f"127.0.0.1:{server.port}")
        async with asyncio.timeout(120), program(tmp_path / "watch.py", tmp_path) as watched:
            assert await watched.readline() == b"[]\n"
            for count in (1, 2):
                async with program(tmp_path / "tasks.py", tmp_path) as printed:
                    lines = (await printed.read()).decode().splitlines()
                assert lines[0].count("Write it down") == count
                assert lines[1] == "Hello from Python. " * count
                assert await watched.readline() == f"{['Write it down'] * count}\n".encode()
    finally:
        server.stop()
