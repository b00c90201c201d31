"""Tokens that end or are renewed, tenants, pages, and secrets that stay secret, on a real server."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path

import anyio
import pycrdt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collab.server.config.settings import secret_issuer
from collab.wire import yjs
from presence.lib0 import encode_string
from tests.e2e.guarded import (
    ACTOR,
    SECRET,
    document,
    edits,
    http,
    metric,
    mint,
    state_hash,
    told,
)
from tests.e2e.peer import (
    AUTH,
    AUTHENTICATED,
    AWARENESS,
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
)
from tests.e2e.server import Server


@pytest.fixture
def server(guarded_server: Server) -> Server:
    return guarded_server


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
async def test_n3_tenants_with_the_same_document_see_nothing_of_each_other(
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
async def test_n3_no_name_leads_into_another_project(server: Server, name: str) -> None:
    async with peer(server, "hocuspocus", name) as client:
        assert (await client.authenticate(mint(project="acme"))).body[0] == DENIED


# pages


FOREIGN = ["https://evil.com", "null", "http://127.0.0.1.evil.com", "http://127.0.0.1", "http://localhost:1"]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("path", ["/rooms/documents/origin", "/hocuspocus"])
async def test_o2_o3_a_foreign_page_is_refused_before_anything_is_accepted_or_loaded(
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
                        await client.ended()
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
