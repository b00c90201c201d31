"""Guides of `docs/` about rights, comments and presence: their files do what the guides say."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from collab import Access, Collab, Hooks, PermissionDenied, Settings
from tests.collab.serving import serving
from tests.e2e.guides import files
from tools import machine

SECRET = "a secret of the tests, at least 32 bytes long"


def executed(guide: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """What a Python file of a guide defines. It sees a secret and a folder of its own."""
    monkeypatch.setenv("COLLAB_JWT_SECRET", SECRET)
    monkeypatch.setenv("COLLAB_DATA", str(tmp_path / "data"))
    defined: dict[str, Any] = {"__name__": name.removesuffix(".py")}
    exec(compile(files(guide)[name], name, "exec"), defined)
    return defined


def collab_with(tmp_path: Path, hooks: Hooks | None = None) -> Collab:
    return Collab(Settings(data=str(tmp_path / "data"), jwt_secret=SECRET), hooks=hooks)


def client(address: str, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=f"http://{address}", headers=headers, timeout=40)


async def rename(http: httpx.AsyncClient, name: str, **changes: Any) -> int:
    return (await http.patch(f"/api/v1/collections/{name}", json={"changes": changes})).status_code


async def test_a_role_in_the_token_decides_what_its_user_may_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = executed("rights", "tokens.py", monkeypatch, tmp_path)["token"]
    collab = collab_with(tmp_path)
    async with serving(collab) as address:
        await collab.collection("documents").create({"title": "Plan"}, id="plan")
        allowed = {}
        for role in ("viewer", "editor", "admin"):
            async with client(address, token(collab, "ada", "Ada", role)) as http:
                read = (await http.get("/rooms/documents/plan")).status_code
                write = await rename(http, "documents/plan", title=role)
                other = (await http.post("/api/v1/collections/tasks", json={"title": "x"})).status_code
                allowed[role] = (read, write, other)
        assert allowed == {"viewer": (200, 403, 403), "editor": (200, 200, 403), "admin": (200, 200, 201)}


async def test_a_condition_on_rows_lets_users_change_what_is_theirs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    access = executed("rights", "rows.py", monkeypatch, tmp_path)["ACCESS"]
    collab = collab_with(tmp_path)
    async with serving(collab) as address:
        await collab.collection("tasks").create({"owner": "ada"}, id="hers")
        await collab.collection("tasks").create({"owner": "bob"}, id="his")
        async with client(address, collab.mint("ada", access=access)) as ada:
            assert await rename(ada, "tasks/hers", title="mine") == 200
            assert await rename(ada, "tasks/his", title="mine") == 403
            assert await rename(ada, "tasks/hers", owner="bob") == 403, "nobody gives a row away"
            assert len((await ada.get("/api/v1/collections/tasks")).json()["rows"]) == 2, "and reads the others"


async def test_a_role_in_a_document_changes_while_it_is_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    guide = executed("rights", "members.py", monkeypatch, tmp_path)
    collab: Collab = guide["collab"]
    async with serving(collab) as address:
        await collab.collection("documents").create({"title": "Plan"}, id="plan")
        await collab.collection("tasks").create({"owner": "bob"}, id="his")
        rules: Mapping[str, Any] = {"tasks/*": {"access": "write", "where": {"owner": "$userId"}}}
        async with (
            client(address, collab.mint("ada", access=rules)) as ada,
            client(address, collab.mint("bob", access=rules)) as bob,
            client(address, collab.mint("eve", access={"*/*": "write"})) as eve,
        ):
            assert await rename(ada, "documents/plan", title="hers") == 200
            assert (await bob.get("/rooms/documents/plan")).status_code == 200
            assert await rename(bob, "documents/plan", title="his") == 403
            assert (await eve.get("/rooms/documents/plan")).status_code == 403, "rules do not replace membership"
            await guide["change_role"]("bob", "plan", Access.WRITE)
            assert await rename(bob, "documents/plan", title="his") == 200
            await guide["change_role"]("ada", "plan", Access.NONE)
            assert (await ada.get("/rooms/documents/plan")).status_code == 403
            assert (await rename(bob, "tasks/his", n=1), await rename(ada, "tasks/his", n=2)) == (200, 403)


async def test_hooks_ask_for_the_team_of_a_user_and_let_the_program_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    collab = collab_with(tmp_path, executed("hooks", "teams.py", monkeypatch, tmp_path)["Teams"]())
    async with serving(collab) as address:
        await collab.collection("tasks").create({"teamId": "red"}, id="red")
        await collab.collection("tasks").create({"teamId": "blue"}, id="blue")
        assert len((await collab.collection("tasks").find_many()).rows) == 2
        with pytest.raises(PermissionDenied):
            await collab.collection("tasks", user="ada").update("blue", {"n": 1})
        async with client(address, collab.mint("ada", access={"*/*": "write", "notes/*": "none"})) as ada:
            assert (await rename(ada, "tasks/red", n=1), await rename(ada, "tasks/blue", n=1)) == (200, 403)
            assert await rename(ada, "tasks/red", teamId="blue") == 403, "nobody gives a row away"
            assert [row["id"] for row in (await ada.get("/api/v1/collections/tasks")).json()["rows"]] == ["red"]
            made = [await ada.post("/api/v1/collections/tasks", json={"teamId": team}) for team in ("red", "blue")]
            assert [each.status_code for each in made] == [201, 403]
            assert (await ada.post("/api/v1/collections/people", json={})).status_code == 201, "its rules decide"
        async with client(address, collab.mint("eve", access={"*/*": "write"})) as eve:
            assert (await eve.get("/api/v1/collections/tasks")).json()["rows"] == []


async def test_only_a_manager_writes_a_field(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    collab = collab_with(tmp_path, executed("rights", "approvals.py", monkeypatch, tmp_path)["Approvals"]())
    async with serving(collab) as address:
        await collab.collection("invoices").create({"total": 5}, id="i1")
        async with (
            client(address, collab.mint("ada", access={"*/*": "write"}, claims={"role": "manager"})) as ada,
            client(address, collab.mint("bob", access={"*/*": "write"})) as bob,
        ):
            await collab.collection("invoices").update("i1", {"approved": False})
            assert await rename(bob, "invoices/i1", total=6) == 200
            assert await rename(bob, "invoices/i1", approved=True) == 403
            assert await rename(ada, "invoices/i1", approved=True) == 200


async def test_a_comment_belongs_to_who_writes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    access = executed("comments", "access.py", monkeypatch, tmp_path)["ACCESS"]
    collab = collab_with(tmp_path, executed("comments", "authors.py", monkeypatch, tmp_path)["Authors"]())
    comments = "/api/v1/collections/comments"
    async with (
        serving(collab) as address,
        client(address, collab.mint("ada", name="Ada", access=access)) as ada,
        client(address, collab.mint("bob", name="Bob", access=access)) as bob,
    ):
        made = await ada.post(comments, json={"id": "c1", "body": "Why?", "author": "ada"})
        assert made.json()["data"] | {"author": "ada", "authorName": "Ada"} == made.json()["data"]
        assert (await bob.post(comments, json={"body": "x", "author": "ada"})).status_code == 403
        assert (await bob.get(f"{comments}/c1")).json()["data"]["body"] == "Why?"
        assert await rename(bob, "comments/c1", body="No") == 403
        assert await rename(ada, "comments/c1", body="Why not?") == 200


COMMENTS = """
import * as Y from "yjs"
import { LumenizeClient } from "@lumenize/client"
import { addComment, rangeOf, resolve, watchComments } from "./comments.js"

const client = new LumenizeClient({ url: process.env.COLLAB_URL })
await client.connect({ userId: "ada" })
const { doc, synced } = await client.documents.open("doc")
await synced
const text = doc.getText("content")
text.insert(0, "one two three")
const lists = []
let wake = () => {}
watchComments(client, "doc", (comments) => { lists.push(comments); wake() })
const until = async (holds) => { while (!holds(lists.at(-1) ?? null)) await new Promise((done) => { wake = done }) }
const { id } = await addComment(client, "doc", text, 4, 7, "Why two?")
await until((list) => list?.length === 1)
const [comment] = lists.at(-1)
const ranges = [rangeOf(doc, comment)]
text.insert(0, "zero ")
ranges.push(rangeOf(doc, comment))
text.insert(text.length, "!")
text.insert(12, "?")  // behind its end
ranges.push(rangeOf(doc, comment))
text.delete(9, 3)
ranges.push(rangeOf(doc, comment))
const elsewhere = rangeOf(new Y.Doc(), comment)
await resolve(client, id)
await until((list) => list?.length === 0)
console.log(JSON.stringify({ body: comment.body, ranges, elsewhere }))
await client.disconnect()
"""
PEOPLE = """
import { LumenizeClient } from "@lumenize/client"
import { showPeople } from "./people.js"
import { tellTyping, watchTyping } from "./typing.js"

const [ada, bob] = ["ada", "bob"].map(() => new LumenizeClient({ url: process.env.COLLAB_URL }))
await Promise.all([ada.connect({ userId: "ada" }), bob.connect({ userId: "bob" })])
let seen = []
let typing = null
let wake = () => {}
const until = async (holds) => { while (!holds()) await new Promise((done) => { wake = done }) }
const leave = await showPeople(ada, "doc", { field: "title" }, (people, count) => { seen = [people, count]; wake() })
const end = await showPeople(bob, "doc", { field: "body" }, () => {})
await until(() => seen[1] === 2)
const fields = seen[0].map((person) => person.field).sort()
await bob.presence.update("doc", { field: "title" })
await until(() => seen[0].every((person) => person.field === "title"))
const listening = watchTyping(ada, "chat-1", (name) => { typing = name; wake() })
await listening.ready
await tellTyping(bob, "chat-1", "Bob")
await until(() => typing !== null)
await end()
await until(() => seen[1] === 1)
await leave()
console.log(JSON.stringify({ fields, typing }))
await Promise.all([ada.disconnect(), bob.disconnect()])
"""


async def run(guide: str, script: str, tmp_path: Path) -> Any:
    """What a script prints, in Node, that uses the files of a guide with a server."""
    (tmp_path / "page").mkdir()
    for name, code in files(guide).items():
        (tmp_path / "page" / name).write_text(code)
    (tmp_path / "page" / "package.json").write_text('{"type": "module"}')
    (tmp_path / "page" / "run.js").write_text(script)
    (tmp_path / "page" / "node_modules").symlink_to(machine.ROOT / "js" / "node_modules")
    async with serving(Collab(Settings(data=str(tmp_path / "data")))) as address, asyncio.timeout(120):
        process = await asyncio.create_subprocess_exec(
            machine.node(),
            "run.js",
            cwd=tmp_path / "page",
            env={**os.environ, "COLLAB_URL": f"http://{address}"},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
    assert process.returncode == 0, sys.stderr
    return json.loads(printed)


async def test_a_page_is_found_by_what_its_document_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = executed("deploying", "found.py", monkeypatch, tmp_path)["found"]
    async with asyncio.timeout(30):
        assert await found(tmp_path / "pages") == ["animals"]


async def test_a_comment_stays_with_its_words(tmp_path: Path) -> None:
    assert await run("comments", COMMENTS, tmp_path) == {
        "body": "Why two?",
        "ranges": [[4, 7], [9, 12], [9, 12], [9, 9]],
        "elsewhere": None,
    }


async def test_people_see_each_other_and_who_is_typing(tmp_path: Path) -> None:
    assert await run("presence", PEOPLE, tmp_path) == {"fields": ["body", "title"], "typing": "Bob"}
