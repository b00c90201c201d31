"""The application protocol over real sockets, by the numbered rules of docs/protocol.md."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import jwt
import msgspec
import pycrdt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collab import Access, Collab, Hooks, Identity, RoomKey, Settings
from collab.access.configuration import ApiKey
from collab.event import EntityEvent
from collab.query.query import EVERYTHING, Condition
from collab.realtime.session.session import RealtimeSession
from collab.realtime.session.subscriber import Subscriber
from collab.realtime.subscriptions.base import Context, OpenSubscription
from collab.realtime.topics.crowd import RoomCrowd
from collab.server.sockets.connection import Connection
from collab.server.sockets.hocuspocus import HocuspocusSocket
from collab.server.sockets.realtime import RealtimeSocket
from collab.wire import hocuspocus
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.encoding import Format, decode_server
from collab.wire.realtime.messages import Event, Failure, Hello, Reply, ServerMessage, Subscribe, Subscription, Welcome
from collab.wire.realtime.values import Entities
from presence.lib0 import encode_string, encode_uint
from tests.collab.garbage import alive, until_gone, without_collector
from tests.collab.serving import Runner, serving

SECRET = "a secret of the tests, of more than 32 bytes"
KEY = "lum_live_xyz789-of-the-tests"
OF_A_CONNECTION = (
    *(Connection, RealtimeSocket, HocuspocusSocket, RealtimeSession),
    *(Subscriber, OpenSubscription, Context, RoomCrowd),
)


class Client:
    """Says messages and hears those of the session; binary ones of documents are kept apart."""

    def __init__(self, socket: ClientConnection, form: Format) -> None:
        self.socket = socket
        self.form = form
        self.heard: list[ServerMessage] = []
        self.documents: list[bytes] = []
        self.frames: list[str | bytes] = []
        self._next = 0

    async def say(self, message: realtime.ClientMessage) -> None:
        if self.form == "json":
            await self.socket.send(msgspec.json.encode(message).decode())
        else:
            await self.socket.send(b"\0" + msgspec.msgpack.encode(message))

    async def hear(self) -> None:
        data = await self.socket.recv()
        assert isinstance(data, str | bytes)
        self.frames.append(data)
        if isinstance(data, str) or data[0] == 0:
            self.heard.append(decode_server(data))
        else:
            self.documents.append(data)

    async def until(self, wanted: Callable[[], Any]) -> Any:
        with anyio.fail_after(40):
            while not (found := wanted()):
                await self.hear()
        return found

    async def ask(self, kind: Callable[..., realtime.ClientMessage], **what: Any) -> Reply | Failure:
        self._next += 1
        number = self._next
        await self.say(kind(id=number, **what))
        answer = await self.until(
            lambda: next((m for m in self.heard if isinstance(m, Reply | Failure) and m.id == number), None)
        )
        assert isinstance(answer, Reply | Failure)
        return answer

    async def result(self, kind: Callable[..., realtime.ClientMessage], **what: Any) -> Any:
        answer = await self.ask(kind, **what)
        assert isinstance(answer, Reply), answer
        return answer.result

    async def subscribe(self, target: wire.AnyTarget, sub: int = 1) -> Any:
        return (await self.result(Subscribe, subscriptions=(Subscription(sub=sub, target=target),)))[0]

    async def ended(self) -> tuple[Failure | None, int | None]:
        """The last word of the server, and the close code."""
        with anyio.fail_after(40), pytest.raises(ConnectionClosed):
            while True:
                await self.hear()
        last = self.heard[-1] if self.heard else None
        return last if isinstance(last, Failure) else None, self.socket.close_code

    def events(self) -> list[EntityEvent]:
        return [msgspec.convert(message.event, EntityEvent) for message in self.heard if isinstance(message, Event)]


@asynccontextmanager
async def dialed(address: str, form: Format = "json", **options: Any) -> AsyncIterator[Client]:
    async with connect(f"ws://{address}/realtime", **options) as connection:
        yield Client(connection, form)


@asynccontextmanager
async def joined(address: str, form: Format = "json", **hello: Any) -> AsyncIterator[Client]:
    async with dialed(address, form) as client:
        await client.say(Hello(**hello))
        await client.until(lambda: any(isinstance(message, Welcome) for message in client.heard))
        yield client


def narrow(address: str) -> socket.socket:
    """A connection that is soon full."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = address.partition(":")
    made.connect((host, int(port)))
    made.setblocking(False)
    return made


def token_frame(name: str, token: str) -> bytes:
    """The first message about a document."""
    return encode_string(name) + encode_uint(hocuspocus.AUTH) + encode_uint(hocuspocus.TOKEN) + encode_string(token)


def denied(frame: bytes) -> bool:
    """Whether a document was refused."""
    return frame.startswith(hocuspocus.permission_denied("documents/d", "")[:-1])


def token(user: str = "ada", **claims: Any) -> str:
    good = {"iss": "collab", "aud": "collab", "sub": user, "exp": time.time() + 60, "access": {"*/*": "write"}}
    return jwt.encode(good | claims, SECRET, algorithm="HS256")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=str(tmp_path))


@pytest.fixture
def closed_settings(tmp_path: Path) -> Settings:
    return Settings(
        data=str(tmp_path),
        jwt_secret=SECRET,
        keys=[ApiKey(key=KEY, project="proj_abc123", rules={"*/*": "write"})],
    )


@pytest.fixture(params=["hypercorn", "uvicorn"])
async def address(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[str]:
    runner: Runner = request.param
    async with serving(Collab(settings), runner) as address:
        yield address


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_a1_a_session_writes_reads_and_hears_in_the_form_in_which_it_said_hello(
    address: str, form: Format
) -> None:
    async with joined(address, form) as client, joined(address, "json") as other:
        await other.subscribe(Entities(collection="tasks"))
        await client.subscribe(Entities(collection="tasks"))
        created = await client.result(realtime.Create, collection="tasks", data={"title": "a"}, entity="t")
        assert created["version"] == 1
        await client.result(realtime.Update, collection="tasks", entity="t", changes={"title": "b"})
        found = await client.result(realtime.FindById, collection="tasks", entity="t")
        assert found["data"]["title"] == "b"
        await client.until(lambda: len(client.events()) == 2)
        await other.until(lambda: len(other.events()) == 2)
        assert client.events() == other.events()
        assert [event.type for event in client.events()] == ["created", "updated"]
        kind = str if form == "json" else bytes
        assert all(isinstance(frame, kind) for frame in client.frames)


async def test_a1_where_nobody_is_asked_who_they_are_their_word_stands(address: str) -> None:
    async with joined(address, user_id="user_123") as client:
        welcome = client.heard[0]
        assert isinstance(welcome, Welcome)
        assert (welcome.project_id, welcome.user_id) == ("default", "user_123")


@pytest.mark.parametrize(
    ("hello", "who"),
    [
        ({"api_key": KEY}, ("proj_abc123", None)),
        ({"api_key": KEY, "project_id": "proj_abc123"}, ("proj_abc123", None)),
        ({"token": "ada"}, ("default", "ada")),
        ({"token": "ada", "user_id": "ada", "project_id": "default"}, ("default", "ada")),
        ({"api_key": KEY, "token": "of the project", "user_id": "ada"}, ("proj_abc123", "ada")),
        ({"api_key": KEY, "project_id": "other"}, None),
        ({"api_key": KEY, "user_id": "ada"}, None),
        ({"api_key": "wrong-key-of-the-tests"}, None),
        ({"api_key": KEY, "token": "ada"}, None),
        ({"token": "ada", "user_id": "bob"}, None),
        ({"token": "expired"}, None),
        ({}, None),
    ],
)
async def test_a2_a_session_is_who_its_credential_says(
    closed_settings: Settings, hello: dict[str, Any], who: tuple[str, str | None] | None
) -> None:
    tokens = {
        "ada": token(),
        "of the project": token(project="proj_abc123"),
        "expired": token(exp=time.time() - 60),
    }
    if "token" in hello:
        hello = {**hello, "token": tokens[hello["token"]]}
    async with serving(Collab(closed_settings)) as address, dialed(address) as client:
        await client.say(Hello(**hello))
        if who is None:
            failure, code = await client.ended()
            assert failure is not None
            assert (failure.error.code, failure.error.retryable, code) == ("AUTHENTICATION_FAILED", False, 4401)
        else:
            await client.hear()
            welcome = client.heard[0]
            assert isinstance(welcome, Welcome)
            assert (welcome.project_id, welcome.user_id) == who


async def test_a2_the_token_of_the_handshake_counts_if_hello_brings_none(closed_settings: Settings) -> None:
    async with (
        serving(Collab(closed_settings)) as address,
        connect(f"ws://{address}/realtime?token={token('bob')}") as connection,
    ):
        client = Client(connection, "json")
        await client.say(Hello())
        await client.hear()
        assert isinstance(client.heard[0], Welcome)
        assert client.heard[0].user_id == "bob"


async def test_a2_pages_of_other_origins_may_not_connect(address: str) -> None:
    with pytest.raises(InvalidStatus):
        await connect(f"ws://{address}/realtime", origin="https://evil.example")  # type: ignore[arg-type]


async def test_a2_an_application_that_asks_for_credentials_itself_is_asked(settings: Settings) -> None:
    class Own(Hooks):
        async def authenticate(self, request: Any) -> Identity | None:
            return Identity("default", "eve") if request.token == "sesame" else None

        async def authorize(self, identity: Identity, key: RoomKey) -> Access:
            return Access.WRITE

        async def visible(self, identity: Identity, collection: str) -> Condition | None:
            return EVERYTHING

    async with serving(Collab(settings, hooks=Own())) as address:
        async with joined(address, token="sesame") as client:
            await client.result(realtime.Create, collection="tasks", data={})
        async with dialed(address) as stranger:
            await stranger.say(Hello(token="please"))
            assert (await stranger.ended())[1] == 4401


async def test_a3_without_hello_the_connection_ends_with_4408(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), pre_auth_seconds=0.1)
    async with serving(Collab(settings)) as address, dialed(address) as client:
        failure, code = await client.ended()
        assert failure is not None
        assert (failure.error.code, code) == ("AUTHENTICATION_FAILED", 4408)


async def test_a5_a_connection_on_which_nothing_happens_is_given_signs_of_life(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), heartbeat_seconds=0.2)
    async with serving(Collab(settings)) as address, joined(address) as client:
        await client.until(lambda: sum(isinstance(message, realtime.Pong) for message in client.heard) >= 2)


async def test_a6_an_expired_token_ends_the_session_with_4401(closed_settings: Settings) -> None:
    nearly = token(exp=time.time() - 1)  # within the issuer's leeway
    async with serving(Collab(closed_settings)) as address, joined(address, token=nearly) as client:
        assert (await client.ended())[1] == 4401


# hostile


@pytest.mark.parametrize(
    ("hostile", "code"),
    [
        ("nonsense", 4400),
        ('{"type":"emit","id":1,"event":{"a":NaN}}', 4400),
        ('{"type":"emit","id":1,"event":{"a":' + "[" * 40 + "]" * 40 + "}}", 4400),
        ('{"type":"emit","id":1,"event":{"a":' + "[" * 50_000 + "]" * 50_000 + "}}", 4400),
        ('{"type":"nonsense"}', 4400),
        (b"\0\xc1", 4400),
        (b"\0", 4400),
        (b"", 4400),
        (b"\x01d", 4400),
        ('{"type":"emit","id":1,"event":{"a":"' + "x" * 70_000 + '"}}', 4413),
    ],
)
@pytest.mark.parametrize("greeted", [True, False])
async def test_a31_hostile_bytes_end_their_sender_with_a_word_and_the_right_code(
    tmp_path: Path, hostile: str | bytes, code: int, greeted: bool
) -> None:
    settings = Settings(data=str(tmp_path), max_message_bytes=200_000 if len(hostile) > 90_000 else 65_536)
    async with serving(Collab(settings), "uvicorn") as address, joined(address) as good, dialed(address) as bad:
        if greeted:
            await bad.say(Hello())
            await bad.hear()
        await bad.socket.send(hostile)
        failure, closed = await bad.ended()
        assert failure is not None
        assert (failure.id, failure.sub, failure.error.code, closed) == (None, None, "INVALID_REQUEST", code)
        assert await good.result(realtime.Count, collection="tasks") == 0


async def test_a32_a_request_that_makes_no_sense_is_refused_and_the_session_lives(address: str) -> None:
    async with joined(address) as client:
        await client.socket.send('{"type":"dance","id":77}')
        await client.until(lambda: any(isinstance(m, Failure) and m.id == 77 for m in client.heard))
        assert await client.result(realtime.Count, collection="tasks") == 0


async def test_a20_requests_over_the_rate_are_refused_one_by_one(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), writes_per_second=1)
    async with serving(Collab(settings)) as address, joined(address) as client:
        answers = [await client.ask(realtime.Emit, event={"type": "x"}) for _ in range(12)]
        refused = [answer.error for answer in answers if isinstance(answer, Failure)]
        assert refused
        assert {error.code for error in refused} == {"RATE_LIMIT_EXCEEDED"}
        assert all(error.details["retryAfter"] > 0 for error in refused)


async def test_a23_a_subscriber_that_stops_reading_gets_the_newest_state_when_it_reads_again(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), outbox_bytes=20_000, max_events_per_second=0, writes_per_second=0)
    server = Collab(settings)
    async with (
        serving(server) as address,
        joined(address) as writer,
        connect(f"ws://{address}/realtime", sock=narrow(address), max_queue=1) as connection,
    ):
        reader = Client(connection, "json")
        await reader.say(Hello())
        await reader.subscribe(Entities(collection="tasks"))
        await writer.result(realtime.Create, collection="tasks", entity="t", data={"n": 0})
        for n in range(1, 60):
            changes = {"n": n, "text": "x" * 30_000}
            written = await writer.result(realtime.Update, collection="tasks", entity="t", changes=changes)
        await reader.until(lambda: reader.events() and reader.events()[-1].version == written["version"])
        events = reader.events()
        assert sum(event.conflated for event in events) == 60
        assert len(events) < 60
        assert events[-1].data["n"] == 59


# documents beside it


async def test_a40_documents_are_edited_on_the_same_socket_and_the_session_hears_of_their_fields(
    closed_settings: Settings,
) -> None:
    async with serving(Collab(closed_settings)) as address, joined(address, token=token()) as client:
        await client.subscribe(Entities(collection="documents"))
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        doc.get("fields", type=pycrdt.Map)["title"] = "from an editor"
        await client.socket.send(token_frame("documents/d", ""))
        await client.socket.send(hocuspocus.update("documents/d", doc.get_update()))
        await client.until(lambda: client.documents and client.events())
        (event,) = client.events()
        assert (event.id, event.user_id, event.data["title"]) == ("d", "ada", "from an editor")


async def test_a40_documents_before_hello_end_the_connection(address: str) -> None:
    async with dialed(address) as client:
        await client.socket.send(token_frame("documents/d", ""))
        assert (await client.ended())[1] == 4400


async def test_a40_a_document_that_may_not_be_read_is_refused_and_the_session_lives(closed_settings: Settings) -> None:
    rules = {"tasks/*": "write"}
    async with serving(Collab(closed_settings)) as address, joined(address, token=token(access=rules)) as client:
        await client.socket.send(token_frame("documents/d", token()))  # no other token counts
        await client.until(lambda: client.documents)
        assert denied(client.documents[0])
        assert await client.result(realtime.Count, collection="tasks") == 0


# the end


async def test_a24_a_server_that_stops_says_so_and_sends_clients_away_to_come_back(settings: Settings) -> None:
    server = Collab(settings)
    async with serving(server) as address, joined(address) as client:
        await server.drain()
        failure, code = await client.ended()
        assert failure is not None
        assert (failure.error.code, failure.error.retryable, code) == ("UNAVAILABLE", True, 1012)


async def test_a17_a_right_that_is_taken_away_ends_subscriptions_and_documents(settings: Settings) -> None:
    class Own(Hooks):
        allowed = True

        async def authorize(self, identity: Identity, key: RoomKey) -> Access:
            return Access.WRITE if self.allowed else Access.NONE

        async def visible(self, identity: Identity, collection: str) -> Condition | None:
            return EVERYTHING if self.allowed else None

    hooks = Own()
    server = Collab(settings, hooks=hooks)
    async with serving(server) as address, joined(address) as client:
        await client.subscribe(Entities(collection="tasks"))
        await client.socket.send(token_frame("documents/d", ""))
        await client.until(lambda: client.documents)
        client.documents.clear()
        hooks.allowed = False
        server.hub.system.permissions_changed("default")
        await client.until(lambda: any(isinstance(m, Failure) and m.sub == 1 for m in client.heard))
        await client.until(lambda: any(denied(frame) for frame in client.documents))
        answer = await client.ask(realtime.FindMany, collection="tasks")
        assert isinstance(answer, Failure)
        assert answer.error.code == "PERMISSION_DENIED"


async def test_a_connection_that_ends_leaves_no_session_behind(settings: Settings) -> None:
    server = Collab(settings)
    async with serving(server) as address:
        async with joined(address) as client:
            await client.subscribe(Entities(collection="tasks"))
            assert len(server.hub.entities) == 1
        with anyio.fail_after(40):
            while len(server.hub.entities) or server.hub.analytics.active_users("default"):
                await asyncio.sleep(0.01)


async def used(address: str, last: str) -> None:
    """A connection with a subscription of each kind, writes, presence and a document; ``last`` is what it says last."""
    targets: list[wire.AnyTarget] = [
        Entities(collection="tasks"),
        Entities(collection="tasks", entity="t"),
        wire.Rows(collection="tasks"),
        wire.Aggregated(collection="tasks"),
        wire.Custom(event="typing"),
        wire.System(event="health"),
        wire.Analytics(metric="active_users"),
        wire.Presence(room="documents/d"),
    ]
    async with joined(address) as client:
        for sub, target in enumerate(targets, 1):
            await client.subscribe(target, sub)
        await client.result(realtime.Create, collection="tasks", entity="t", data={"title": "a"})
        await client.result(realtime.JoinPresence, room="documents/d", state={})
        await client.result(realtime.Unsubscribe, subs=(1,))
        assert isinstance(await client.ask(realtime.FindById, collection="tasks", entity="u"), Failure)
        await client.socket.send(token_frame("documents/d", ""))
        await client.until(lambda: client.documents)
        assert set(alive(*OF_A_CONNECTION)) >= {"Connection", "RealtimeSession", "OpenedRows"}
        if last:
            await client.socket.send(last)
            await client.ended()


@pytest.mark.parametrize("last", ["", "{"])
async def test_a_connection_that_has_ended_needs_no_garbage_collector(settings: Settings, last: str) -> None:
    async with serving(Collab(settings)) as address:
        with without_collector():
            await used(address, last)
            await until_gone(*OF_A_CONNECTION)


async def test_a_connection_that_heard_a_heartbeat_needs_no_garbage_collector(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), heartbeat_seconds=0.2)
    async with serving(Collab(settings)) as address:
        with without_collector():
            async with joined(address) as client:
                await client.until(lambda: any(isinstance(message, realtime.Pong) for message in client.heard))
            await until_gone(*OF_A_CONNECTION)


async def interrupted(address: str, how: int) -> None:
    """A connection that ends, by fault or by loss, while a few or many of its requests run."""
    async with joined(address) as client:
        await client.subscribe(wire.Rows(collection="tasks"))
        await client.result(realtime.JoinPresence, room="documents/d", state={})
        await client.say(realtime.Create(id=100, collection="tasks", entity=f"t{how}", data={"title": "a"}))
        for number in range(how):
            await client.say(realtime.FindMany(id=200 + number, collection="tasks"))
        if how % 2:
            client.socket.transport.abort()
        else:
            await client.socket.send("{")
            await client.ended()


async def test_connections_that_end_among_their_requests_need_no_garbage_collector(settings: Settings) -> None:
    async with serving(Collab(settings)) as address:
        for _ in range(5):
            with without_collector():
                await asyncio.gather(*map(partial(interrupted, address), range(24)))
                await until_gone(*OF_A_CONNECTION)


async def test_v4_a_connection_that_nobody_verified_is_one_user_with_all_its_documents(settings: Settings) -> None:
    server = Collab(settings)
    analytics = server.hub.analytics

    async def until_open(socket: ClientConnection, *names: str) -> None:
        for name in names:
            await socket.send(token_frame(name, ""))
            answer = b""
            while not answer.startswith(hocuspocus.authenticated(name, "read-write")):
                answer = await asyncio.wait_for(socket.recv(decode=False), 40)

    async with serving(server) as address:
        async with connect(f"ws://{address}/hocuspocus") as editor:
            await until_open(editor, "documents/a", "documents/b")
            assert analytics.active_users("default") == 1
            await editor.send(hocuspocus.close("documents/a", ""))
            await until_open(editor, "documents/c")
            assert analytics.active_users("default") == 1
            async with joined(address) as client:
                await until_open(client.socket, "documents/a", "documents/b")
                assert analytics.active_users("default") == 2
        with anyio.fail_after(40):
            while analytics.active_users("default"):
                await asyncio.sleep(0.01)
