"""Who is connected is listed, sent away and refused, whichever protocol they speak."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pycrdt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collab import (
    AuthenticationFailed,
    Collab,
    CollabError,
    Hooks,
    Identity,
    InvalidRequest,
    Request,
    Settings,
    TooLarge,
)
from collab.access import revocations
from collab.client import LumenizeClient
from collab.wire import hocuspocus
from collab.wire.realtime.messages import Hello
from tests.collab.client.world import until
from tests.collab.cluster.nodes_world import cluster
from tests.collab.serving import editor, serving

SECRET = "a secret of the tests, of more than 32 bytes"
ALL = {"*/*": "write"}


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(data=str(folder), jwt_secret=SECRET, api_key="a-key-of-the-tests", **more)


@asynccontextmanager
async def open_document(address: str, token: str, name: str = "documents/d") -> AsyncIterator[ClientConnection]:
    """A Hocuspocus client in a document."""
    async with connect(f"ws://{address}/hocuspocus") as socket:
        await socket.send(hocuspocus.token(name, token))
        while True:
            data = await socket.recv()
            assert isinstance(data, bytes)
            if b"read-write" in data:
                break
        yield socket


async def closed(socket: ClientConnection) -> tuple[int | None, str | None]:
    """How the server ends a socket."""
    with anyio.fail_after(20):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code, socket.close_reason


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_sessions_of_all_protocols_are_listed(tmp_path: Path) -> None:
    collab = Collab(settings(tmp_path))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        ada = collab.mint("ada", name="Ada", access=ALL)
        bob = collab.mint("bob", access={"documents/*": "read"})
        async with (
            editor(address, "documents/d", additional_headers=bearer(ada)),
            open_document(address, ada),
            LumenizeClient(url=f"http://{address}", token=bob),
            http.stream("GET", "/api/v1/collections/documents/subscribe", headers=bearer(bob)) as stream,
        ):
            assert stream.status_code == 200
            found = await collab.sessions()
            assert sorted((one.user_id, one.protocol, one.document) for one in found) == [
                ("ada", "hocuspocus", "documents/d"),
                ("ada", "yjs", "documents/d"),
                ("bob", "events", None),
                ("bob", "realtime", None),
            ]
            assert {one.name for one in await collab.sessions(user_id="ada")} == {"Ada"}
            assert len(await collab.sessions(limit=2)) == 2
            assert await collab.sessions("other") == []
            assert {one.address for one in found} == {"127.0.0.1"}
            answer = await http.get("/api/v1/sessions?userId=bob", headers=bearer(ada))
            assert sorted(one["protocol"] for one in answer.json()["sessions"]) == ["events", "realtime"]
            assert (await http.get("/api/v1/sessions", headers=bearer(bob))).status_code == 403
        await until(lambda: not len(collab.sockets))


async def test_who_is_in_a_document_is_told_once_for_each_user(tmp_path: Path) -> None:
    collab = Collab(settings(tmp_path))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        ada = collab.mint("ada", name="Ada", access=ALL)
        bob = collab.mint("bob", access={"tasks/*": "read"})
        nobody = await collab.present("documents/d")
        assert (nobody.count, nobody.people) == (0, [])
        async with (
            LumenizeClient(url=f"http://{address}", token=ada) as one,
            LumenizeClient(url=f"http://{address}", token=ada) as two,
        ):
            await one.presence.join("documents/d", {"cursor": 1})
            await two.presence.join("documents/d", {"cursor": 2})
            present = await collab.present("documents/d")
            assert (present.count, [(who.user_id, who.name) for who in present.people]) == (1, [("ada", "Ada")])
            assert {state["cursor"] for state in present.people[0].states} == {1, 2}
            answer = await http.get("/api/v1/presence/documents/d", headers=bearer(ada))
            assert answer.json()["people"][0]["userId"] == "ada"
            assert (await http.get("/api/v1/presence/documents/d", headers=bearer(bob))).status_code == 403


async def test_a_user_is_sent_away_from_everywhere_and_others_stay(tmp_path: Path) -> None:
    collab = Collab(settings(tmp_path))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        ada, bob = collab.mint("ada", access=ALL), collab.mint("bob", access=ALL)
        async with (
            editor(address, "documents/d", additional_headers=bearer(ada)) as hers,
            open_document(address, ada) as socket,
            editor(address, "documents/d", additional_headers=bearer(bob)) as his,
            LumenizeClient(url=f"http://{address}", token=ada) as client,
        ):
            errors: list[CollabError] = []
            client.on_error(errors.append)
            answer = await http.post(
                "/api/v1/disconnect", json={"userId": "ada", "reason": "your account is closed"}, headers=bearer(bob)
            )
            assert answer.json() == {"count": 3}
            assert await closed(hers.socket) == (4403, "your account is closed")
            while b"your account is closed" not in (await socket.recv()):
                pass
            await until(lambda: errors)
            assert errors[0].message == "your account is closed"
            assert [one.user_id for one in await collab.sessions()] == ["bob"]
            await his.type("still here")
        with pytest.raises(InvalidRequest):
            await collab.disconnect()
        with pytest.raises(InvalidRequest):
            await collab.disconnect(user_id="ada", reason="x" * 121)
        only_reads = bearer(collab.mint("eve", access={"*/*": "read"}))
        assert (await http.post("/api/v1/disconnect", json={"userId": "ada"}, headers=only_reads)).status_code == 403


async def test_one_session_is_ended_by_its_name(tmp_path: Path) -> None:
    collab = Collab(settings(tmp_path))
    async with serving(collab) as address:
        token = collab.mint("ada", access=ALL)
        async with (
            editor(address, "documents/d", additional_headers=bearer(token)) as one,
            editor(address, "documents/e", additional_headers=bearer(token)),
        ):
            (named,) = [each for each in await collab.sessions() if each.document == "documents/d"]
            assert await collab.disconnect("other", session=named.session) == 0
            assert await collab.disconnect(session=named.session) == 1
            assert (await closed(one.socket))[0] == 4403
            assert [each.document for each in await collab.sessions()] == ["documents/e"]


async def test_a_revoked_token_ends_its_sessions_is_refused_and_stays_so(tmp_path: Path) -> None:
    collab = Collab(settings(tmp_path))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        stolen, other = collab.mint("ada", access=ALL), collab.mint("ada", access=ALL)
        async with (
            editor(address, "documents/d", additional_headers=bearer(stolen)) as hers,
            editor(address, "documents/d", additional_headers=bearer(other)) as also,
        ):
            await collab.revoke(stolen)
            assert await closed(hers.socket) == (4401, "the token was revoked")
            await also.type("the other token goes on")
        refused = await http.get("/api/v1/collections/tasks", headers=bearer(stolen))
        assert (refused.status_code, refused.json()["error"]["message"]) == (401, "the token was revoked")
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://{address}/rooms/documents/d", additional_headers=bearer(stolen)):
                pass
        assert (await http.get("/api/v1/collections/tasks", headers=bearer(other))).status_code == 200
    again = Collab(settings(tmp_path))
    async with serving(again) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        assert (await http.get("/api/v1/collections/tasks", headers=bearer(stolen))).status_code == 401
        assert (await http.get("/api/v1/collections/tasks", headers=bearer(other))).status_code == 200


async def test_all_tokens_of_a_user_are_revoked_and_later_ones_are_good(tmp_path: Path) -> None:
    collab = Collab(settings(tmp_path))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        old, bob = collab.mint("ada", access=ALL), collab.mint("bob", access=ALL)
        async with LumenizeClient(url=f"http://{address}", token=old) as client:
            errors: list[CollabError] = []
            client.on_error(errors.append)
            answer = await http.post("/api/v1/revoke", json={"userId": "ada"}, headers=bearer(bob))
            assert answer.json() == {"done": True}
            await until(lambda: errors)
            assert isinstance(errors[0], AuthenticationFailed)

        async def status(token: str) -> int:
            return (await http.get("/api/v1/collections/tasks", headers=bearer(token))).status_code

        assert (await status(old), await status(bob)) == (401, 200)
        revoked = time.time()
        await until(lambda: int(time.time()) > int(revoked))
        assert await status(collab.mint("ada", access=ALL)) == 200


async def test_who_holds_a_token_may_give_it_up_and_others_need_the_right(tmp_path: Path) -> None:
    collab = Collab(settings(tmp_path))
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:

        async def revoke(caller: str, **body: Any) -> int:
            return (await http.post("/api/v1/revoke", json=body, headers=bearer(caller))).status_code

        ada, eve = collab.mint("ada", access={}), collab.mint("eve", access={"*/*": "read"})
        foreign = collab.mint("ada", project="other", access=ALL)
        assert await revoke(eve, userId="ada") == 403
        assert await revoke(eve, tokenId="x") == 403
        assert await revoke(eve, token=foreign) == 403
        assert await revoke(eve, token="not a token") == 401
        assert await revoke(ada, token=ada) == 200
        assert await revoke(ada, token=ada) == 401
        for body in ({}, {"userId": "a", "tokenId": "b"}, {"userId": ""}, {"userId": "a", "seconds": 0}):
            assert await revoke("a-key-of-the-tests", **body) == 400
        assert await revoke("a-key-of-the-tests", token="a-key-of-the-tests") == 400, "remove it from the settings"


async def test_an_identity_of_a_hook_is_revoked_by_the_name_of_its_token(tmp_path: Path) -> None:
    class Sessions(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            return Identity("default", "ada", token_id=request.headers["x-session"])

    collab = Collab(Settings(data=str(tmp_path)), hooks=Sessions())
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        await collab.revoke(token_id="s1")
        for session, status in (("s1", 401), ("s2", 200)):
            answer = await http.get("/api/v1/schema", headers={"x-session": session})
            assert answer.status_code == status


async def test_a_token_that_is_revoked_while_its_document_opens_does_not_get_in(tmp_path: Path) -> None:
    loading, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Hooks):
        async def load(self, key: Any) -> bytes | None:
            loading.set()
            await go_on.wait()
            return None

    collab = Collab(settings(tmp_path), hooks=Slow())
    async with serving(collab) as address:
        token = collab.mint("ada", access=ALL)
        async with connect(f"ws://{address}/rooms/documents/d", additional_headers=bearer(token)) as socket:
            await loading.wait()
            await collab.revoke(token)
            go_on.set()
            assert (await closed(socket))[0] == 4401


async def test_a_token_that_is_revoked_while_its_session_begins_does_not_get_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    collab = Collab(settings(tmp_path))
    follow = collab.hub.feed.follow

    async def slow(project: str) -> Callable[[], None]:
        begun.set()
        await go_on.wait()
        return await follow(project)

    monkeypatch.setattr(collab.hub.feed, "follow", slow)  # in a cluster it waits for another node
    async with serving(collab) as address:
        token = collab.mint("ada", access=ALL)
        async with connect(f"ws://{address}/realtime") as socket:
            await socket.send(msgspec.json.encode(Hello(token=token)).decode())
            await begun.wait()
            await collab.revoke(token)
            go_on.set()
            assert (await closed(socket))[0] == 4401
        assert await collab.sessions() == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/collections/tasks", b'{"id": "t"}'),
        ("POST", "/rooms/documents/d", pycrdt.Doc().get_update()),
        ("PUT", "/rooms/documents/d?format=markdown&root=default", b"# words"),
    ],
)
async def test_a_token_that_is_revoked_while_a_body_comes_writes_nothing(
    tmp_path: Path, method: str, path: str, body: bytes
) -> None:
    identified = asyncio.Event()

    class Noticing(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            identified.set()
            return None

    collab = Collab(settings(tmp_path), hooks=Noticing())
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        token = collab.mint("ada", access=ALL)
        assert (await http.request(method, path, content=body, headers=bearer(token))).is_success
        before = collab.hub.feed.position("default")
        identified.clear()

        async def slowly() -> AsyncIterator[bytes]:
            yield body[:1]
            await identified.wait()
            await collab.revoke(token)
            yield body[1:]

        answer = await http.request(method, path, content=slowly(), headers=bearer(token))
        assert (answer.status_code, answer.json()["error"]["message"]) == (401, "the token was revoked")
        assert collab.hub.feed.position("default") == before


async def test_nodes_of_a_cluster_end_sessions_together_and_know_what_is_revoked() -> None:
    async with cluster(2, jwt_secret=SECRET, allowed_hosts=["127.0.0.1"]) as world:
        one, two = world.nodes
        assert await one.owns("documents/d")
        tokens = [one.collab.mint(user, access=ALL) for user in ("ada", "bob", "eve")]
        headers = [bearer(token) for token in tokens]
        async with (
            editor(two.address, "documents/d", additional_headers=headers[0]) as passed_on,
            editor(one.address, "documents/d", additional_headers=headers[1]) as at_the_owner,
            LumenizeClient(url=f"http://{two.address}", token=tokens[2]) as client,
        ):
            errors: list[CollabError] = []
            client.on_error(errors.append)
            await client.presence.join("documents/d", {"at": 1})
            for node in (one, two):
                present = await node.collab.present("documents/d")
                assert [who.user_id for who in present.people] == ["eve"]
            for node in (one, two):
                found = await node.collab.sessions()
                assert sorted((each.user_id, each.protocol) for each in found) == [
                    ("ada", "yjs"),
                    ("bob", "yjs"),
                    ("eve", "realtime"),
                ]
                assert len(await node.collab.sessions(limit=2)) == 2
                assert [each.user_id for each in await node.collab.sessions(user_id="eve")] == ["eve"]
            await two.collab.disconnect(user_id="ada")
            assert (await closed(passed_on.socket))[0] == 4403
            await two.collab.disconnect(user_id="bob")
            assert (await closed(at_the_owner.socket))[0] == 4403
            await one.collab.revoke(tokens[2])
            await until(lambda: errors)
            assert errors[0].message == "the token was revoked"
        for node in (one, two, await world.add()):
            async with httpx.AsyncClient(timeout=40) as http:
                answer = await http.get(f"http://{node.address}/api/v1/schema", headers=headers[2])
            assert answer.status_code == 401


async def test_the_list_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MOST_OF_PROJECT", 2)
    collab = Collab(settings(tmp_path))
    async with collab.lifespan():
        for name in ("a", "b"):
            await collab.revoke(token_id=name)
        with pytest.raises(TooLarge):
            await collab.revoke(token_id="c")
        await collab.revoke(token_id="c", project="other")
