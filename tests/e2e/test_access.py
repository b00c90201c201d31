"""Who may do what, on a real server: every message of both protocols and HTTP, for every right."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx
import jwt
import psutil
import pycrdt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collab.server.settings import secret_issuer
from collab.wire import hocuspocus, yjs
from presence.lib0 import encode_string
from tests.e2e.peer import (
    ASK,
    AUTH,
    AUTHENTICATED,
    AWARENESS,
    BROADCAST,
    DENIED,
    PROTOCOLS,
    STATELESS,
    STATUS,
    Heard,
    Peer,
    Protocol,
    peer,
    presence,
    stateless,
    sync_reply,
)
from tests.e2e.server import Server

SECRET = "a secret of the tests, of more than 32 bytes"
TEXT = "what was there before"
VICTIM, ACTOR = 7001, 7002  # awareness ids
CURSOR = {"cursor": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants tokens, shared by the tests of this file, each in rooms of its own."""
    server = Server(tmp_path_factory.mktemp("access"), secret=SECRET)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def mint(user: str = "ada", access: str | Mapping[str, str] = "write", seconds: float = 600, **claims: Any) -> str:
    issuer = secret_issuer(SECRET)
    rules = {"*/*": access} if isinstance(access, str) else dict(access)
    good = {"iss": issuer.issuer, "aud": issuer.audience, "sub": user, "exp": time.time() + seconds, "access": rules}
    return jwt.encode(good | claims, SECRET, algorithm="HS256")


def http(server: Server, token: str | None = None, **headers: str) -> httpx.AsyncClient:
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return httpx.AsyncClient(base_url=server.http, headers=headers, timeout=15, verify=False)


async def state_hash(server: Server, room: str) -> str:
    """Of everything that the document holds, history and deletions included."""
    async with http(server, mint()) as client:
        answer = await client.get(f"/rooms/{room}", params={"format": "update"})
        assert answer.status_code == 200
        return sha256(answer.content).hexdigest()


@asynccontextmanager
async def document(server: Server, room: str) -> AsyncIterator[tuple[Peer, pycrdt.Doc[Any]]]:
    """A document with a text, a watcher who has joined it and is seen there, and a replica of it."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc.get("content", type=pycrdt.Text)
    text += TEXT
    async with http(server, mint()) as client:
        assert (await client.post(f"/rooms/{room}", content=doc.get_update())).status_code == 204
    async with peer(server, "hocuspocus", room, mint("watcher")) as watcher:
        await watcher.content()
        await watcher.send(presence(VICTIM, 1, CURSOR))
        await watcher.handled()
        watcher.heard.clear()
        yield watcher, doc


async def who_is_seen(server: Server, room: str) -> dict[int, Any]:
    """The states that somebody who joins now is shown."""
    async with peer(server, "y-websocket", room, mint("observer")) as observer:
        await observer.send(yjs.QUERY_AWARENESS_FRAME)
        await observer.content()
        seen: dict[int, Any] = {}
        for heard in observer.heard:
            if heard.kind == AWARENESS:
                seen |= heard.states()
        return seen


def edits(doc: pycrdt.Doc[Any]) -> dict[str, bytes]:
    """Updates that change the document: one that adds, one that only deletes, one that does both to all of it."""
    found = {}
    for name in ("insertion", "deletion", "everything"):
        copy: pycrdt.Doc[Any] = pycrdt.Doc()
        copy.apply_update(doc.get_update())
        before = copy.get_state()
        text = copy.get("content", type=pycrdt.Text)
        if name != "insertion":
            del text[0:4]
        if name != "deletion":
            text += "!"
        found[name] = copy.get_update() if name == "everything" else copy.get_update(before)
    return found


def edit_bodies(protocol: Protocol, doc: pycrdt.Doc[Any]) -> dict[str, bytes]:
    """All ways to send an edit."""
    bodies = {}
    for name, update in edits(doc).items():
        bodies[f"{name} as update"] = yjs.update(update)
        bodies[f"{name} as step 2"] = yjs.sync_step2(update)
        if protocol == "hocuspocus":
            bodies[f"{name} as reply, update"] = sync_reply(yjs.UPDATE, update)
            bodies[f"{name} as reply, step 2"] = sync_reply(yjs.STEP2, update)
    return bodies


def other_bodies(protocol: Protocol, doc: pycrdt.Doc[Any]) -> dict[str, bytes]:
    """All other messages, those of servers and those of nobody among them."""
    update = edits(doc)["insertion"]
    bodies = {
        "step 1": ASK,
        "own presence": presence(ACTOR, 1, {"cursor": 2}),
        "another's presence taken away": presence(VICTIM, 1_000, None),
        "another's presence written over": presence(VICTIM, 1_000, {"cursor": 666}),
        "question for presence": yjs.QUERY_AWARENESS_FRAME,
        "a sync step of the future": b"\0\3" + update,
        "a type of the future": b"\x2a" + update,
    }
    if protocol == "y-websocket":
        bodies |= {
            "permission denied": yjs.permission_denied("you"),
            "another auth message": b"\2\7" + update,
            **{f"type {kind}": bytes([kind]) + update for kind in range(4, 11)},
        }
    else:
        bodies |= {
            "denied": bytes([AUTH, DENIED]) + encode_string("you"),
            "authenticated": bytes([AUTH, AUTHENTICATED]) + encode_string("read-write"),
            "stateless": stateless(STATELESS, "word"),
            "saved": b"\x08\x01",
            "type 11": b"\x0b" + update,
        }
    return bodies


EMPTY: pycrdt.Doc[Any] = pycrdt.Doc()
EMPTY.get("content", type=pycrdt.Text).insert(0, TEXT)
EDITS = [(protocol, name) for protocol in PROTOCOLS for name in edit_bodies(protocol, EMPTY)]
OTHERS = [(protocol, name) for protocol in PROTOCOLS for name in other_bodies(protocol, EMPTY)]


def told(listener: Peer, wanted: int) -> list[Heard]:
    return [heard for heard in listener.heard if heard.kind == wanted]


# case 51: the matrix


@pytest.mark.parametrize(("protocol", "name"), EDITS)
async def test_case_51_a_writer_edits_in_every_way(server: Server, room: str, protocol: Protocol, name: str) -> None:
    async with document(server, room) as (watcher, doc), peer(server, protocol, room, mint("bob")) as actor:
        before = await state_hash(server, room)
        await actor.send(edit_bodies(protocol, doc)[name])
        await watcher.until(lambda heard: heard.is_content)
        assert await state_hash(server, room) != before
        if protocol == "hocuspocus":
            assert (await actor.until(lambda heard: heard.kind == STATUS)).body == b"\1"


@pytest.mark.parametrize(("protocol", "name"), EDITS)
async def test_case_51_a_reader_edits_in_no_way(server: Server, room: str, protocol: Protocol, name: str) -> None:
    async with document(server, room) as (watcher, doc), peer(server, protocol, room, mint("bob", "read")) as actor:
        before = await state_hash(server, room)
        await actor.send(edit_bodies(protocol, doc)[name])
        await actor.content()
        assert await state_hash(server, room) == before
        await watcher.handled()
        assert not [heard for heard in watcher.heard if heard.is_content]
        if protocol == "hocuspocus":
            assert [heard.body for heard in told(actor, STATUS)] == [b"\0"], "it learns that nothing was saved"


@pytest.mark.parametrize("right", ["read", "write"])
@pytest.mark.parametrize(("protocol", "name"), OTHERS)
async def test_case_51_no_other_message_changes_the_document_or_anothers_presence(
    server: Server, room: str, protocol: Protocol, name: str, right: str
) -> None:
    async with document(server, room) as (watcher, doc), peer(server, protocol, room, mint("bob", right)) as actor:
        before = await state_hash(server, room)
        await actor.send(other_bodies(protocol, doc)[name])
        await actor.content()
        assert await state_hash(server, room) == before
        seen = await who_is_seen(server, room)
        assert seen[VICTIM]["cursor"] == 1
        assert seen[VICTIM]["user"]["id"] == "watcher"
        await watcher.handled()
        assert not [heard for heard in watcher.heard if heard.is_content or heard.kind == STATELESS]


@pytest.mark.parametrize("name", [name for protocol, name in (*EDITS, *OTHERS) if protocol == "hocuspocus"])
async def test_case_51_without_a_right_no_message_does_or_tells_anything(server: Server, room: str, name: str) -> None:
    async with document(server, room) as (watcher, doc):
        before = await state_hash(server, room)
        bodies = edit_bodies("hocuspocus", doc) | other_bodies("hocuspocus", doc)
        for token in (mint("bob", "none"), mint("bob", {}), mint("bob", {"tasks/*": "write"}), "nonsense", None):
            async with peer(server, "hocuspocus", room) as actor:
                if token is not None:
                    assert (await actor.authenticate(token)).body[0] == DENIED
                await actor.send(bodies[name])
                await actor.handled()
                assert {heard.kind for heard in actor.heard} <= {AUTH, hocuspocus.PONG[0]}
            with pytest.raises(InvalidStatus) as refusal:
                async with peer(server, "y-websocket", room, token):
                    pass
            assert refusal.value.response.status_code in (401, 403)
        assert await state_hash(server, room) == before
        await watcher.handled()
        assert not [heard for heard in watcher.heard if heard.is_content]


@pytest.mark.parametrize("right", ["read", "write"])
async def test_case_51_only_writers_broadcast(server: Server, room: str, right: str) -> None:
    async with (
        document(server, room) as (watcher, _),
        peer(server, "hocuspocus", room, mint("bob", right)) as actor,
        peer(server, "hocuspocus", room, mint("eve")) as last,
    ):
        await actor.send(stateless(BROADCAST, "from bob"))
        await actor.handled()
        await last.send(stateless(BROADCAST, "from eve"))
        heard = await watcher.until(lambda heard: heard.kind == STATELESS and heard.body.endswith(b"eve"))
        assert heard is watcher.heard[-1]
        assert [heard.body[1:] for heard in told(watcher, STATELESS)] == [b"from bob"] * (right == "write") + [
            b"from eve"
        ]


@pytest.mark.parametrize(
    ("right", "reading", "writing"), [(None, 401, 401), ("none", 403, 403), ("read", 200, 403), ("write", 200, 204)]
)
async def test_case_51_http_asks_the_same_questions(
    server: Server, room: str, right: str | None, reading: int, writing: int
) -> None:
    async with document(server, room) as (watcher, doc):
        before = await state_hash(server, room)
        async with http(server, None if right is None else mint("bob", right)) as client:
            for form in ("json", "text", "update"):
                answer = await client.get(f"/rooms/{room}", params={"format": form})
                assert answer.status_code == reading
                assert (TEXT in answer.text) == (reading == 200)
            for method in ("PUT", "DELETE", "PATCH"):
                assert (await client.request(method, f"/rooms/{room}")).status_code == 405
            answers = [await client.post(f"/rooms/{room}", content=update) for update in edits(doc).values()]
            assert {answer.status_code for answer in answers} == {writing}
        assert (await state_hash(server, room) == before) == (writing != 204)
        await watcher.handled()
        assert bool([heard for heard in watcher.heard if heard.is_content]) == (writing == 204)


async def test_a_forbidden_document_reads_like_one_that_does_not_exist(server: Server, room: str) -> None:
    async with document(server, room), http(server, mint("bob", {"documents/mine": "read"})) as client:
        there, nowhere = await client.get(f"/rooms/{room}"), await client.get("/rooms/documents/never-written")
        assert (there.status_code, there.text) == (nowhere.status_code, nowhere.text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_case_51_whatever_a_reader_sends_changes_nothing(server: Server, room: str, protocol: Protocol) -> None:
    random = Random(51)
    async with document(server, room) as (_, doc):
        before = await state_hash(server, room)
        bodies = [*edit_bodies(protocol, doc).values(), *other_bodies(protocol, doc).values()]
        bodies = [body for body in bodies if body[:2] != presence(VICTIM, 1, None)[:2]]
        sent = 0
        for reader in range(40):
            async with peer(server, protocol, room, mint(f"reader-{reader}", "read")) as actor:
                try:
                    for _ in range(25):
                        await actor.send(_mutated(random, random.choice(bodies)))
                        sent += 1
                    await actor.handled()
                except ConnectionClosed:
                    pass
        assert sent > 200
        assert await state_hash(server, room) == before
        assert (await who_is_seen(server, room))[VICTIM]["cursor"] == 1


def _mutated(random: Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(random.choice((0, 1, 1, 2))):
        match random.randrange(4):
            case 0:
                changed[0] = random.randrange(12)
            case 1:
                changed[random.randrange(len(changed))] = random.randrange(256)
            case 2:
                changed[1:1] = random.randbytes(random.randrange(4))
            case _:
                del changed[random.randint(1, len(changed)) :]
    return bytes(changed)


async def test_case_51_what_a_reader_sent_is_not_there_after_a_restart_either(tmp_path: Path, room: str) -> None:
    server = Server(tmp_path, secret=SECRET)
    server.start()
    try:
        async with document(server, room) as (_, doc):
            for protocol in PROTOCOLS:
                async with peer(server, protocol, room, mint("bob", "read")) as actor:
                    for body in edit_bodies(protocol, doc).values():
                        await actor.send(body)
                    await actor.handled()
            before = await state_hash(server, room)
        server.kill()
        server.start()
        assert await state_hash(server, room) == before
    finally:
        server.stop()


async def test_rights_are_those_of_each_document_on_one_socket(server: Server, room: str) -> None:
    read, write, none = (f"{room}-{right}" for right in ("read", "write", "none"))
    token = mint("bob", {read: "read", write: "write"})
    async with connect(server.hocuspocus) as socket:
        for name, allowed in ((read, True), (write, True), (none, False)):
            one = Peer(socket, "hocuspocus", name)
            answer = await one.authenticate(token)
            assert (answer.address, answer.body[0]) == (name, AUTHENTICATED if allowed else DENIED)
            update = pycrdt.Doc({"content": pycrdt.Text(name)}).get_update()
            await one.send(yjs.update(update))
            await one.handled()
    hashes = [await state_hash(server, name) for name in (read, write, none)]
    empty = sha256(b"\0\0").hexdigest()
    assert [found == empty for found in hashes] == [True, False, True]


# expiry and renewal


async def test_a_connection_ends_with_4401_when_its_token_does(server: Server, room: str) -> None:
    skew = secret_issuer(SECRET).leeway_seconds
    async with peer(server, "y-websocket", room, mint(seconds=1 - skew)) as short:
        await short.content()
        assert await short.closed() == 4401
    with pytest.raises(InvalidStatus) as refusal:
        async with peer(server, "y-websocket", room, mint(seconds=-skew)):
            pass
    assert refusal.value.response.status_code == 401


async def test_with_hocuspocus_only_the_document_ends_whose_token_does(server: Server, room: str) -> None:
    skew = secret_issuer(SECRET).leeway_seconds
    async with connect(server.hocuspocus) as socket:
        long, short = Peer(socket, "hocuspocus", f"{room}-long"), Peer(socket, "hocuspocus", f"{room}-short")
        await long.authenticate(mint())
        await short.authenticate(mint(seconds=2 - skew))
        denied = await short.until(lambda heard: heard.kind == AUTH and heard.body[0] == DENIED)
        assert denied.address == short.room
        short.heard.clear()
        await short.send(yjs.update(pycrdt.Doc({"content": pycrdt.Text("late")}).get_update()))
        await long.content()
        assert not told(short, STATUS)
    assert await state_hash(server, short.room) == sha256(b"\0\0").hexdigest()


async def test_a_provider_is_asked_for_its_next_token_and_lives_on_with_it(server: Server, room: str) -> None:
    skew = secret_issuer(SECRET).leeway_seconds
    async with peer(server, "hocuspocus", room, mint(seconds=2 - skew)) as client:
        asked = await client.until(lambda heard: heard.kind == AUTH and heard.body == b"\0")
        assert asked.address == room
        await client.send(bytes([AUTH, 0]) + encode_string(mint()))
        until = time.monotonic() + 3
        while time.monotonic() < until:
            await client.content()
            await anyio.sleep(0.2)
        assert not [heard for heard in told(client, AUTH) if heard.body[0] == DENIED]


async def test_a_new_token_brings_its_own_rights_and_no_other_user(server: Server, room: str) -> None:
    async with document(server, room) as (_, doc), peer(server, "hocuspocus", room, mint("bob")) as client:
        before = await state_hash(server, room)
        await client.send(bytes([AUTH, 0]) + encode_string(mint("bob", "read")))
        async with http(server, mint()) as browser:  # any round trip: a renewal is not answered
            await browser.get("/healthz")
        await client.handled()
        await client.send(yjs.update(edits(doc)["insertion"]))
        assert (await client.until(lambda heard: heard.kind == STATUS)).body == b"\0"
        assert await state_hash(server, room) == before
        await client.send(bytes([AUTH, 0]) + encode_string(mint("mallory")))
        await client.until(lambda heard: heard.kind == AUTH and heard.body[0] == DENIED)
        await client.send(yjs.update(edits(doc)["insertion"]))
        await client.handled()
        assert await state_hash(server, room) == before


async def test_a_token_and_a_goodbye_in_one_breath_end_nothing_else(server: Server, room: str) -> None:
    async with peer(server, "hocuspocus", room, mint("bob")) as client:
        for _ in range(20):
            await client.send(bytes([AUTH, 0]) + encode_string(mint("bob")))
            await client.send(b"\7")
            await client.authenticate(mint("bob"))
        await client.content()


# case 53: tenants


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_case_53_tenants_with_the_same_document_see_nothing_of_each_other(
    server: Server, room: str, protocol: Protocol
) -> None:
    async with (
        peer(server, protocol, room, mint("ada", project="acme")) as acme,
        peer(server, protocol, room, mint("ada", project="globex")) as globex,
    ):
        await acme.content()
        await globex.content()
        globex.heard.clear()
        update = pycrdt.Doc({"content": pycrdt.Text("only for acme")}).get_update()
        await acme.send(yjs.update(update))
        await acme.send(presence(ACTOR, 1, {"cursor": 1}))
        if protocol == "hocuspocus":
            await acme.send(stateless(BROADCAST, "only for acme"))
        assert b"only for acme" in await acme.content()
        assert await globex.content() == b"\0\0"
        seen = [heard for heard in globex.heard if heard.kind in (AWARENESS, STATELESS)]
        assert not [heard for heard in seen if heard.kind == STATELESS or heard.states()]
        # the frames of one tenant, replayed by the other, reach nobody but itself
        await globex.send(yjs.update(pycrdt.Doc({"content": pycrdt.Text("from globex")}).get_update()))
        await globex.send(presence(ACTOR, 2, None))
        assert b"from globex" in await globex.content()
        assert b"from globex" not in await acme.content()
    for project, text in (("acme", "only for acme"), ("globex", "from globex"), ("third", None)):
        async with http(server, mint("ada", project=project)) as client:
            answer = (await client.get(f"/rooms/{room}")).json()
            assert answer == ({} if text is None else {"content": text})


@pytest.mark.parametrize(
    "name", ["globex/documents/d", "../globex/d", "globex:documents/d/x", "/globex/d", "globex/\0d"]
)
async def test_case_53_no_name_leads_into_another_project(server: Server, name: str) -> None:
    async with peer(server, "hocuspocus", name) as client:
        assert (await client.authenticate(mint(project="acme"))).body[0] == DENIED


# pages


FOREIGN = ["https://evil.com", "null", "http://127.0.0.1.evil.com", "http://127.0.0.1", "http://localhost:1"]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("path", ["/rooms/documents/origin", "/hocuspocus"])
async def test_a_foreign_page_is_refused_before_anything_is_accepted_or_loaded(
    server: Server, origin: str, path: str
) -> None:
    loads = await metric(server, "collab_room_loads_total")
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(f"ws://127.0.0.1:{server.port}{path}?token={mint()}", origin=origin):  # type: ignore[arg-type]
            pass
    assert refusal.value.response.status_code == 403
    assert await metric(server, "collab_room_loads_total") == loads
    async with http(server, mint(), origin=origin) as client:
        assert (await client.post("/rooms/documents/origin", content=b"\0\0")).status_code == 403


async def test_our_own_page_may_connect_with_a_cookie_and_nobody_else(server: Server, room: str) -> None:
    cookie = {"cookie": f"other=1; collab_token={mint()}"}
    url = f"{server.rooms}/{room}"
    async with connect(url, origin=server.http, additional_headers=cookie) as socket:  # type: ignore[arg-type]
        await Peer(socket, "y-websocket", room).content()
    for options in ({}, {"origin": "https://evil.com"}):
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(url, additional_headers=cookie, **options):  # type: ignore[arg-type]
                pass
        assert refusal.value.response.status_code == 403


async def test_a_token_is_taken_from_the_header_too(server: Server, room: str) -> None:
    header = {"authorization": f"Bearer {mint()}"}
    async with connect(f"{server.rooms}/{room}", additional_headers=header) as socket:
        await Peer(socket, "y-websocket", room).content()
    async with connect(server.hocuspocus, additional_headers=header) as socket:
        assert (await Peer(socket, "hocuspocus", room).authenticate("")).body[0] == AUTHENTICATED


# case 50: before the token


async def metric(server: Server, name: str) -> float:
    async with http(server) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def worker_memory(server: Server) -> int:
    """Bytes held by the server and its children."""
    assert server.process is not None
    main = psutil.Process(server.process.pid)
    return sum(process.memory_info().rss for process in (main, *main.children(recursive=True)))


@pytest.mark.parametrize(
    ("size", "count"), [(10, 1100), (600_000, 12), (6_000_000, 1)], ids=["many", "large", "one huge"]
)
async def test_case_50_a_flood_before_the_token_ends_the_socket(
    server: Server, room: str, size: int, count: int
) -> None:
    async with peer(server, "hocuspocus", room) as flood:
        try:
            for _ in range(count):
                await flood.send(yjs.update(bytes(size)))
        except ConnectionClosed:
            pass
        assert await flood.closed() == 4413


async def test_case_50_too_many_documents_end_the_socket(server: Server, room: str) -> None:
    async with connect(server.hocuspocus) as socket:
        for number in range(101):
            await Peer(socket, "hocuspocus", f"{room}-{number}").send(ASK)
        assert await Peer(socket, "hocuspocus", room).closed() == 4529


async def test_case_50_many_floods_at_once_load_nothing_and_leave_no_memory_behind(server: Server, room: str) -> None:
    loads, before = await metric(server, "collab_room_loads_total"), worker_memory(server)
    highest = before

    async def flood() -> None:
        nonlocal highest
        async with peer(server, "hocuspocus", room) as one:
            for _ in range(8):
                await one.send(yjs.update(bytes(500_000)))
            await one.handled()
            highest = max(highest, worker_memory(server))

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(flood)
    assert highest - before < 12 * 6 * 1024 * 1024 + 32 * 1024 * 1024
    assert await metric(server, "collab_room_loads_total") == loads


async def test_case_50_who_shows_no_token_in_time_is_sent_away(tmp_path: Path, room: str) -> None:
    server = Server(tmp_path, secret=SECRET, pre_auth_seconds=1)
    server.start()
    try:
        async with peer(server, "hocuspocus", room) as silent, peer(server, "hocuspocus", room) as busy:
            await busy.authenticate("nonsense")
            assert await silent.closed() == 4408
            assert await busy.closed() == 4408, "a wrong token wins no time"
        async with peer(server, "hocuspocus", room, mint()) as good:
            await anyio.sleep(2.5)
            await good.content()
    finally:
        server.stop()


# secrets


async def test_no_token_is_ever_logged_or_stored(tmp_path: Path, room: str) -> None:
    canary = "canary7f3a9c"
    server = Server(tmp_path, secret=SECRET, log_level="debug", access_log="true", pre_auth_seconds=0.5)
    server.start()
    tokens = [
        mint(),
        mint("bob", "none"),
        mint(seconds=-60),
        mint(access="admin"),
        f"{canary}.{canary}.{canary}",
        canary,
    ]
    try:
        for token in tokens:
            for protocol in PROTOCOLS:
                try:
                    async with peer(server, protocol, room, token) as client:
                        await client.handled()
                        await client.send(b"\0\2\4\1\1\1\7")  # malformed: its end is logged
                        await client.closed()
                except (InvalidStatus, ConnectionClosed):
                    pass
            for headers in ({"authorization": f"Bearer {token}"}, {"cookie": f"collab_token={token}"}):
                for origin in (server.http, "https://evil.com"):
                    async with http(server, **headers, origin=origin) as client:
                        await client.get(f"/rooms/{room}")
                        await client.post(f"/rooms/{room}", content=b"nonsense")
            async with http(server) as client:
                await client.get(f"/rooms/{room}", params={"token": token})
                answer = await client.get("/metrics")
                assert token not in answer.text
    finally:
        server.stop()
    assert "/rooms/" in server.log(), "requests are logged"
    written = everything_in(tmp_path)
    for token in (*tokens, SECRET):
        for part in token.split(".")[-2:]:
            assert part.encode() not in written


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
