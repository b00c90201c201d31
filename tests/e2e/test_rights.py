"""Rights on a real server: every message of both protocols and of HTTP, with every right."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pycrdt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collab.wire import hocuspocus, yjs
from presence.lib0 import encode_string
from tests.e2e.guarded import (
    ACTOR,
    SECRET,
    TEXT,
    VICTIM,
    document,
    edits,
    http,
    mint,
    state_hash,
    told,
    who_is_seen,
)
from tests.e2e.peer import (
    ASK,
    AUTH,
    AUTHENTICATED,
    BROADCAST,
    DENIED,
    PROTOCOLS,
    STATELESS,
    STATUS,
    Peer,
    Protocol,
    peer,
    presence,
    stateless,
    sync_reply,
)
from tests.e2e.server import Server


@pytest.fixture
def server(guarded_server: Server) -> Server:
    return guarded_server


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
        "question for presence": b"\x03",
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


@pytest.mark.parametrize(("protocol", "name"), EDITS)
async def test_a_writer_edits_in_every_way(server: Server, room: str, protocol: Protocol, name: str) -> None:
    async with document(server, room) as (watcher, doc), peer(server, protocol, room, mint("bob")) as actor:
        before = await state_hash(server, room)
        await actor.send(edit_bodies(protocol, doc)[name])
        await watcher.until(lambda heard: heard.is_content)
        assert await state_hash(server, room) != before
        if protocol == "hocuspocus":
            assert (await actor.until(lambda heard: heard.kind == STATUS)).body == b"\1"


@pytest.mark.parametrize(("protocol", "name"), EDITS)
async def test_e8_a_reader_edits_in_no_way(server: Server, room: str, protocol: Protocol, name: str) -> None:
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
async def test_no_other_message_changes_the_document_or_anothers_presence(
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
async def test_without_a_right_no_message_does_or_tells_anything(server: Server, room: str, name: str) -> None:
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
async def test_only_writers_broadcast(server: Server, room: str, right: str) -> None:
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
async def test_http_asks_the_same_questions(
    server: Server, room: str, right: str | None, reading: int, writing: int
) -> None:
    async with document(server, room) as (watcher, doc):
        before = await state_hash(server, room)
        async with http(server, None if right is None else mint("bob", right)) as client:
            for form in ("json", "text", "update"):
                answer = await client.get(f"/rooms/{room}", params={"format": form})
                assert answer.status_code == reading
                assert (TEXT in answer.text) == (reading == 200)
            for method in ("DELETE", "PATCH"):
                assert (await client.request(method, f"/rooms/{room}")).status_code == 405
            answers = [await client.post(f"/rooms/{room}", content=update) for update in edits(doc).values()]
            whole = {"format": "markdown", "root": "put"}
            answers.append(await client.put(f"/rooms/{room}", params=whole, content=b"# From bob"))
            assert {answer.status_code for answer in answers} == {writing}
        assert (await state_hash(server, room) == before) == (writing != 204)
        await watcher.handled()
        assert bool([heard for heard in watcher.heard if heard.is_content]) == (writing == 204)


@pytest.mark.parametrize("size", [2, 3_000_000])
async def test_a_refused_upload_gets_its_answer_on_a_connection_that_stays_of_use(
    server: Server, room: str, size: int
) -> None:
    async with http(server) as client:
        answers = [await client.post(f"/rooms/{room}", content=bytes(size)) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [401] * 10
    async with http(server, mint()) as client:
        answer = await client.post(f"/rooms/{room}", content=bytes(17 * 1024 * 1024))
    assert answer.status_code == 413


async def test_o6_a_forbidden_document_reads_like_one_that_does_not_exist(server: Server, room: str) -> None:
    async with document(server, room), http(server, mint("bob", {"documents/mine": "read"})) as client:
        there, nowhere = await client.get(f"/rooms/{room}"), await client.get("/rooms/documents/never-written")
        assert (there.status_code, there.text) == (nowhere.status_code, nowhere.text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_e8_whatever_a_reader_sends_changes_nothing(server: Server, room: str, protocol: Protocol) -> None:
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


async def test_e8_what_a_reader_sent_is_not_there_after_a_restart_either(tmp_path: Path, room: str) -> None:
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
