"""Links between nodes, over real sockets and the endpoint of a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus

import anyio
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from collab import Collab, Settings
from collab.access.price import METER, charge
from collab.cluster.answering import Asking, Desk, Service
from collab.cluster.calls import Calls
from collab.cluster.link import Links, Lost, Unreached, Unspoken
from collab.cluster.messages import (
    MOST_MESSAGE,
    PIECE,
    SPOKEN,
    VERSION,
    Cancelled,
    Greeting,
    NodeAnswer,
    NodeCall,
    PayerNamed,
    Spoken,
    UnknownCall,
    decode_node,
    encode_node,
)
from collab.cluster.passes import HEADER, Passes
from collab.errors import Conflict, Elsewhere, InternalError, RateLimitExceeded, Unavailable
from collab.storage.memory import MemoryStorage
from tests.collab.cluster.nodes_world import KEY, Book, until
from tests.collab.serving import serving


class Owner:
    """What the node 2 does for others in these tests."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()
        self.finished: list[str] = []
        self.cancelled: list[str] = []
        self.lost: list[int] = []

    def services(self) -> Mapping[str, Service]:
        return {
            "echo": Service(answers=self.echo, refuses_debtors=True),
            "fail": Service(answers=self.fail),
            "read": Service(answers=self.wait),
            "write": Service(answers=self.wait, finishes=True),
            "count": Service(streams=self.count),
            "flood": Service(streams=self.flood),
            "stay": Service(answers=self.stay),
            "work": Service(answers=self.work),
        }

    async def echo(self, sender: Asking, value: bytes) -> bytes:
        return value

    async def fail(self, sender: Asking, value: bytes) -> bytes:
        match value:
            case b"conflict":
                raise Conflict("newer", data={"title": "b" * 2 * PIECE}, version=3)
            case b"elsewhere":
                raise Elsewhere(nid=3)
        raise ZeroDivisionError

    async def wait(self, sender: Asking, value: bytes) -> bytes:
        self.begun.set()
        try:
            await self.released.wait()
            self.finished.append(value.decode())
            return b"done"
        except asyncio.CancelledError:
            self.cancelled.append(value.decode())
            raise

    async def count(self, sender: Asking, value: bytes) -> AsyncGenerator[bytes]:
        try:
            for number in range(int(value)):
                yield b"%d" % number
            if value == b"3":
                raise Conflict("that is all")
            if value == b"4":
                self.begun.set()
                await self.released.wait()
        finally:
            self.finished.append("count")

    async def flood(self, sender: Asking, value: bytes) -> AsyncGenerator[bytes]:
        try:
            while True:
                yield value
                await asyncio.sleep(0)
        finally:
            self.finished.append("flood")

    async def stay(self, sender: Asking, value: bytes) -> bytes:
        sender.ended[lambda: self.lost.append(sender.nid)] = None
        return b""

    async def work(self, sender: Asking, value: bytes) -> bytes:
        charge(1.0)
        meter = METER.get()
        assert meter is not None
        return f"{meter.payer} {meter.is_busy()}".encode()


@asynccontextmanager
async def answering(
    owner: Owner, nid: int = 2, spoken: Spoken = SPOKEN, **settings: int
) -> AsyncIterator[tuple[Collab, str]]:
    collab = Collab(Settings(**settings), storage=MemoryStorage())  # type: ignore[arg-type]
    desk = collab.sockets.desk = Desk(owner.services(), collab.ledger, spoken)
    desk.begin(nid, Passes(KEY, nid))
    async with serving(collab) as address:
        yield collab, address


@asynccontextmanager
async def linked(address: str, nid: int = 1, spoken: Spoken = SPOKEN) -> AsyncIterator[Links]:
    book = Book()
    book.urls[2] = f"http://{address}"
    links = Links(nid, book, Passes(KEY, nid), spoken)
    try:
        yield links
    finally:
        await links.close()


@pytest.fixture
async def owner() -> Owner:
    return Owner()


@pytest.fixture
async def server(owner: Owner) -> AsyncIterator[tuple[Collab, str]]:
    async with answering(owner) as found:
        yield found


@pytest.fixture
async def links(server: tuple[Collab, str]) -> AsyncIterator[Links]:
    async with linked(server[1]) as found:
        yield found


async def test_a_call_is_answered_over_one_socket_for_all(links: Links, server: tuple[Collab, str]) -> None:
    assert await links.call(2, "echo", b"hello") == b"hello"
    values = [b"%d" % number for number in range(300)]
    assert await asyncio.gather(*(links.call(2, "echo", value) for value in values)) == values
    assert len(links) == len(server[0].sockets) == 1


@pytest.mark.parametrize("size", [0, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE])
async def test_a_value_of_any_size_is_passed_in_both_directions(links: Links, size: int) -> None:
    value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert await links.call(2, "echo", value) == value


async def test_a_server_that_takes_short_messages_gets_short_ones(owner: Owner) -> None:
    async with answering(owner, max_message_bytes=8192) as (_, address), linked(address) as links:
        assert await links.call(2, "echo", b"x" * 100_000) == b"x" * 100_000


async def test_short_calls_pass_between_the_pieces_of_a_long_one(links: Links) -> None:
    await links.call(2, "echo", b"")
    order: list[str] = []

    async def ask(name: str, value: bytes) -> None:
        await links.call(2, "echo", value)
        order.append(name)

    await asyncio.gather(ask("long", b"x" * 30 * PIECE), ask("short", b"x"))
    assert order == ["short", "long"]


async def test_an_error_is_raised_again(links: Links) -> None:
    with pytest.raises(Conflict, match="newer") as met:
        await links.call(2, "fail", b"conflict")
    assert met.value.details == {"data": {"title": "b" * 2 * PIECE}, "version": 3}
    with pytest.raises(Elsewhere) as elsewhere:
        await links.call(2, "fail", b"elsewhere")
    assert elsewhere.value.nid == 3
    with pytest.raises(InternalError, match="a fault of the server"):
        await links.call(2, "fail", b"")


async def test_a_call_that_the_other_version_does_not_know_has_its_own_error(links: Links) -> None:
    with pytest.raises(UnknownCall, match="does not know the call 'newer'"):
        await links.call(2, "newer", b"")
    assert await links.call(2, "echo", b"hello") == b"hello"


@pytest.mark.parametrize(("asks", "answers"), [(Spoken(2, 1), Spoken(1, 1)), (Spoken(1, 1), Spoken(2, 1))])
async def test_a_node_and_one_of_the_version_before_serve_each_other(
    owner: Owner, asks: Spoken, answers: Spoken
) -> None:
    async with answering(owner, spoken=answers) as (_, address), linked(address, spoken=asks) as links:
        assert await links.call(2, "echo", b"x" * 3 * PIECE) == b"x" * 3 * PIECE
        async with links.stream(2, "count", b"2") as items:
            assert [item async for item in items] == [b"0", b"1"]
        older = "is older than node 1" if answers < asks else "is of another version than node 1"
        with pytest.raises(UnknownCall, match=f"node 2 {older}, and does not know the call 'newer'"):
            await links.call(2, "newer", b"")


async def test_members_that_only_the_later_of_two_nodes_knows_are_skipped_by_the_other(
    server: tuple[Collab, str],
) -> None:
    passes = Passes(KEY, 1)
    async with connect(f"ws://{server[1]}/node", additional_headers={HEADER: passes.issue(2)}) as later:
        await later.send(msgspec.msgpack.encode(["hello", VERSION + 1, VERSION, 1, MOST_MESSAGE, "new"]))
        assert isinstance(decode_node(await later.recv(decode=False)), Greeting)
        await later.send(msgspec.msgpack.encode(["call", 1, b"hello", "echo", None, None, {"new": True}]))
        assert decode_node(await later.recv(decode=False)) == NodeAnswer(1, b"hello")

    async def answer(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(msgspec.msgpack.encode(["hello", VERSION + 1, VERSION, 2, MOST_MESSAGE, "new"]))
        call = decode_node(await socket.recv(decode=False))
        assert isinstance(call, NodeCall)
        await socket.send(msgspec.msgpack.encode(["answer", call.id, call.value, ["new"]]))
        await socket.wait_closed()

    async with serve_websockets(answer, "127.0.0.1", 0) as answers, linked(address_of(answers)) as links:
        assert await links.call(2, "echo", b"hello") == b"hello"


@pytest.mark.parametrize(("asks", "answers", "older"), [((3, 2), (1, 1), 2), ((1, 1), (3, 2), 1)])
async def test_nodes_that_do_not_understand_each_other_say_which_one_is_older(
    owner: Owner, asks: tuple[int, int], answers: tuple[int, int], older: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        answering(owner, spoken=Spoken(*answers)) as (_, address),
        linked(address, spoken=Spoken(*asks)) as links,
    ):
        calls = Calls()
        calls.begin(links)

        async def here() -> bytes:
            raise Elsewhere(nid=2)

        said = f"node {older} is older, replace it"
        with pytest.raises(Unspoken, match=said):
            await links.call(2, "echo", b"")
        with pytest.raises(Unspoken, match=said):
            await calls.routed(here, lambda nid: links.call(nid, "echo", b""))
        shown = {HEADER: Passes(KEY, 1).issue(2)}
        async with connect(f"ws://{address}/node", additional_headers=shown) as socket:
            await socket.send(encode_node(Greeting(*asks, 1, MOST_MESSAGE)))
            with anyio.fail_after(10):
                assert decode_node(await socket.recv(decode=False)) == Greeting(*answers, 2, MOST_MESSAGE)
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
        told = [record.name for record in caplog.records if said in record.getMessage()]
        assert sorted(told) == ["collab.cluster.link", "collab.refusals"], "the log of each has it once"
        assert owner.finished == []


async def test_a_stream_is_read_until_its_end_or_error(links: Links, owner: Owner) -> None:
    async with links.stream(2, "count", b"2") as items:
        assert [item async for item in items] == [b"0", b"1"]
    found = []
    with pytest.raises(Conflict, match="that is all"):
        async with links.stream(2, "count", b"3") as items:
            while True:
                found.append(await anext(items))
    assert found == [b"0", b"1", b"2"]
    async with links.stream(2, "count", b"4") as items:
        assert await anext(items) == b"0"
        await owner.begun.wait()
    await until(lambda: owner.finished == ["count"] * 3)


async def test_a_stream_that_nobody_reads_ends_with_an_error(links: Links, owner: Owner) -> None:
    async with links.stream(2, "flood", b"x") as items:
        await until(lambda: owner.finished == ["flood"])
        with pytest.raises(Unavailable, match="too slowly"):
            while True:
                await anext(items)


async def test_a_read_that_nobody_waits_for_is_cancelled_and_a_write_finishes(links: Links, owner: Owner) -> None:
    for name in ("read", "write"):
        asking = asyncio.create_task(links.call(2, name, name.encode()))
        await owner.begun.wait()
        owner.begun.clear()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await until(lambda: "read" in owner.cancelled)
    for _ in range(3):
        await links.call(2, "echo", b"")  # behind what was said before
    owner.released.set()
    await until(lambda: owner.finished == ["write"])
    assert owner.cancelled == ["read"]


async def test_a_link_that_breaks_fails_what_is_open_and_the_next_call_opens_another(
    links: Links, owner: Owner, server: tuple[Collab, str]
) -> None:
    await links.call(2, "stay", b"")
    calls = [asyncio.create_task(links.call(2, name, name.encode())) for name in ("read", "write")]
    async with links.stream(2, "count", b"4") as items:
        assert await anext(items) == b"0"
        await owner.begun.wait()
        links.forget(2)
        for call in calls:
            with pytest.raises(Lost, match="was lost; retry"):
                await call
        with pytest.raises(Lost):
            while True:
                await anext(items)
    await until(lambda: owner.lost == [1] and owner.cancelled == ["read"])
    owner.released.set()
    await until(lambda: "write" in owner.finished)
    assert await links.call(2, "echo", b"again") == b"again"
    await until(lambda: len(server[0].sockets) == 1)


async def test_a_server_that_stops_is_lost(owner: Owner) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        _, address = await server.enter_async_context(answering(owner))
        links = await stack.enter_async_context(linked(address))
        asking = asyncio.create_task(links.call(2, "read", b""))
        await owner.begun.wait()
        await server.aclose()
        with pytest.raises(Lost):
            await asking
        await until(lambda: not len(links))
        with pytest.raises(Unreached):
            await links.call(2, "read", b"")


async def test_the_caller_pays_at_the_owner(owner: Owner) -> None:
    async with answering(owner) as (collab, address), linked(address) as links:
        assert await links.call(2, "work", b"", PayerNamed("acme", "user", "ada")) == b"user ada of acme True"
        assert collab.ledger.used["acme", "user"] >= 1.0
        assert await links.call(2, "work", b"") == b"address None of None False"
        assert {kind for kind in collab.ledger.used if collab.ledger.used[kind] >= 1.0} == {("acme", "user")}


async def test_short_calls_of_a_caller_are_added_up_and_a_debtor_is_refused(owner: Owner) -> None:
    async with answering(owner) as (collab, address), linked(address) as links:
        ann, bob = PayerNamed("acme", "user", "ann"), PayerNamed("other", "user", "bob")
        while not collab.ledger.used.get(("acme", "user")):
            await links.call(2, "echo", b"x", ann)
        for _ in range(200):
            await links.call(2, "work", b"", ann)
        with pytest.raises(RateLimitExceeded, match="too much CPU") as met:
            await links.call(2, "echo", b"x", ann)
        assert met.value.details["retryAfter"] > 0
        assert await links.call(2, "work", b"", ann), "not all services refuse debtors"
        assert await links.call(2, "echo", b"x", bob) == b"x"


async def test_no_more_than_so_many_calls_are_answered_at_once(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.cluster.answering._AT_ONCE", 2)
    monkeypatch.setattr("collab.cluster.answering._STREAMS", 1)
    async with answering(owner) as (_, address), linked(address) as links:
        running = [asyncio.create_task(links.call(2, "read", b"")) for _ in range(2)]
        async with links.stream(2, "count", b"4") as items:
            await anext(items)
            with pytest.raises(RateLimitExceeded):
                await links.call(2, "read", b"")
            with pytest.raises(RateLimitExceeded):
                async with links.stream(2, "count", b"4") as more:
                    await anext(more)
            owner.released.set()
            assert await asyncio.gather(*running) == [b"done"] * 2


async def test_calls_wait_while_so_many_are_open(links: Links, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.cluster.link._CALLS", 2)
    calls = [asyncio.create_task(links.call(2, "read", b"%d" % number)) for number in range(4)]
    await owner.begun.wait()
    assert len(owner.finished) == 0
    owner.released.set()
    assert await asyncio.gather(*calls) == [b"done"] * 4


# who may come in


async def status_of(address: str, shown: str | None) -> int:
    headers = {} if shown is None else {HEADER: shown}
    try:
        async with connect(f"ws://{address}/node", additional_headers=headers):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def test_only_who_shows_a_pass_for_this_node_comes_in(server: tuple[Collab, str]) -> None:
    address = server[1]
    expired = Passes(KEY, 1, lambda: 1_000_000_000.0)
    none = "eyJhbGciOiJub25lIn0.eyJhdWQiOiJjb2xsYWItbm9kZSIsImV4cCI6OTk5OTk5OTk5OSwiZnJvbSI6MSwibmlkIjoyfQ."
    tampered = Passes(KEY, 1).issue(2)[:-3] + "abc"
    assert await status_of(address, Passes(KEY, 1).issue(2)) == 101
    for shown in (None, "", "junk", Passes(KEY, 1).issue(3), expired.issue(2), Passes(b"x" * 32, 1).issue(2), none):
        assert await status_of(address, shown) == 403
    assert await status_of(address, tampered) == 403
    twice = [(HEADER, Passes(KEY, 1).issue(2))] * 2
    with pytest.raises(InvalidStatus):
        async with connect(f"ws://{address}/node", additional_headers=twice):
            pass


async def test_a_server_without_nodes_has_no_such_endpoint() -> None:
    async with serving(Collab(Settings(), storage=MemoryStorage())) as address:
        assert await status_of(address, Passes(KEY, 1).issue(2)) == 404


@pytest.mark.parametrize(
    "said",
    [
        [b"junk"],
        [encode_node(Cancelled(1))],
        [encode_node(Greeting(VERSION, 1, 1, MOST_MESSAGE)), b"junk"],
        [encode_node(Greeting(VERSION, 1, 1, MOST_MESSAGE)), encode_node(NodeAnswer(1))],
        [encode_node(Greeting(VERSION, 1, 1, MOST_MESSAGE)), *[encode_node(NodeCall(1, b"", "read"))] * 2],
        ["text"],
    ],
)
async def test_junk_ends_the_link_and_nothing_else(
    server: tuple[Collab, str], links: Links, said: list[bytes | str]
) -> None:
    async with connect(f"ws://{server[1]}/node", additional_headers={HEADER: Passes(KEY, 1).issue(2)}) as socket:
        for message in said:
            await socket.send(message)
        with pytest.raises(ConnectionClosed), anyio.fail_after(10):
            while True:
                await socket.recv()
        assert socket.close_code == 4400
    assert await links.call(2, "echo", b"hello") == b"hello"


# who cannot be reached


async def test_a_node_that_cannot_be_reached_has_not_been_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "{}:{}".format(*listener.getsockname())
    async with linked(address) as links:
        with pytest.raises(Unreached):
            await links.call(2, "echo", b"")
        with pytest.raises(Unreached):
            await links.call(3, "echo", b"")
        with pytest.raises(Unreached):
            async with links.stream(2, "count", b"1"):
                pass
        assert not len(links)


async def test_links_that_are_closed_open_no_more(server: tuple[Collab, str]) -> None:
    async with linked(server[1]) as links:
        await links.call(2, "echo", b"")
    with pytest.raises(Unreached):
        await links.call(2, "echo", b"")


async def test_a_node_whose_address_belongs_to_another_one_is_unreached(owner: Owner) -> None:
    async with answering(owner, nid=5) as (_, address), linked(address) as links:
        with pytest.raises(Unreached):
            await links.call(2, "echo", b"")


async def test_who_waits_for_a_link_to_a_node_that_dies_is_told(owner: Owner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with linked("{}:{}".format(*silent.getsockname())) as links:
            asking = asyncio.create_task(links.call(2, "echo", b""))
            await asyncio.sleep(0.05)
            links.forget(2)
            with pytest.raises(Unreached):
                await asking


def address_of(server: Server) -> str:
    host, port = next(iter(server.sockets)).getsockname()
    return f"{host}:{port}"


async def test_a_pass_is_not_sent_to_where_a_node_points() -> None:
    asked: list[str] = []

    def refer(connection: ServerConnection, request: Request) -> Response:
        asked.append(request.path)
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = "/elsewhere"
        return response

    async with (
        serve_websockets(lambda socket: asyncio.sleep(0), "127.0.0.1", 0, process_request=refer) as refers,
        linked(address_of(refers)) as links,
    ):
        with pytest.raises(Unreached):
            await links.call(2, "echo", b"")
    assert asked == ["/node"]


@pytest.mark.parametrize("said", [b"junk", encode_node(Cancelled(1)), encode_node(Greeting(9, 9, 2, MOST_MESSAGE))])
async def test_a_server_that_greets_wrongly_is_unreached(said: bytes) -> None:
    async def greet(socket: ServerConnection) -> None:
        await socket.send(said)
        await socket.wait_closed()

    async with serve_websockets(greet, "127.0.0.1", 0) as greets, linked(address_of(greets)) as links:
        with pytest.raises(Unreached):
            await links.call(2, "echo", b"")


async def test_a_server_that_answers_with_junk_is_lost() -> None:
    async def greet(socket: ServerConnection) -> None:
        await socket.send(encode_node(Greeting(VERSION, 1, 2, MOST_MESSAGE)))
        async for data in socket:
            assert isinstance(data, bytes)
            if isinstance(decode_node(data), NodeCall):
                await socket.send(b"junk")

    async with serve_websockets(greet, "127.0.0.1", 0) as greets, linked(address_of(greets)) as links:
        with pytest.raises(Lost):
            await links.call(2, "echo", b"")
