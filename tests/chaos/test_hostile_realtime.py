"""Hostile frames on /realtime: each is a typed error or a clean end, and a neighbour goes on being told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import anyio
import msgspec
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from collab.wire.realtime.encoding import decode_server
from collab.wire.realtime.messages import Failure, Reply
from presence.lib0 import encode_string
from tests.e2e.application import until
from tests.e2e.server import Server
from tests.e2e.subscriber import Subscriber, subscriber

pytestmark = pytest.mark.chaos

MEMORY = 60 * 1024 * 1024
MUTATIONS = 2500
VECTORS = Path(__file__).parents[1] / "vectors" / "messages.json"
CODES = {
    "AUTHENTICATION_FAILED",
    "CONFLICT",
    "INVALID_REQUEST",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "RATE_LIMIT_EXCEEDED",
    "SUBSCRIPTION_FAILED",
    "UNAVAILABLE",
    "VALIDATION_FAILED",
}
HELLO = '{"type":"hello"}'
LAST = 424242  # the id of a question that only a living session answers
QUESTION = json.dumps({"type": "count", "id": LAST, "collection": "tasks"})


class Hostile(NamedTuple):
    """``ends``: the close code; ``None`` if the session lives and refuses the request 7."""

    data: bytes | str
    ends: int | None = 4400
    text: bool | None = None  # a text frame of these bytes


def event(value: bytes) -> bytes:
    """An event in MessagePack, with anything in it, as request 7."""
    return b"\0\x83\xa4type\xa4emit\xa2id\x07\xa5event\x82\xa4type\xa1x\xa1a" + value


def nested(depth: int) -> str:
    return '{"type":"emit","id":7,"event":{"type":"x","a":' + "[" * depth + "]" * depth + "}}"


def emitted(value: str) -> str:
    return '{"type":"emit","id":7,"event":{"type":"x","a":' + value + "}}"


HOSTILE: dict[str, Hostile] = {
    "JSON: not any": Hostile("{"),
    "JSON: two messages": Hostile('{"type":"ping"}{"type":"ping"}'),
    "JSON: too deep": Hostile(nested(31)),
    "JSON: much too deep": Hostile(nested(100_000)),
    "JSON: deep objects": Hostile('{"a":' * 40_000 + "1" + "}" * 40_000),
    "JSON: not a number": Hostile(emitted("NaN")),
    "JSON: infinity": Hostile(emitted("-Infinity")),
    "JSON: a number beyond all": Hostile(emitted("1e999"), None),
    "JSON: an integer beyond 64 bits": Hostile(emitted("1" + "0" * 40), None),
    "JSON: an integer of many digits": Hostile(emitted("1" * 100_000), None),
    "JSON: half a character": Hostile(emitted('"\\ud800"'), None),
    "JSON: no UTF-8": Hostile(b'{"type":"ping","a":"\xff\xfe"}', 1007, text=True),
    "JSON: a surrogate in UTF-8": Hostile(b'{"type":"ping","a":"\xed\xa0\x80"}', 1007, text=True),
    "JSON: wrong types": Hostile('{"type":"update","id":7,"collection":[],"entity":{},"changes":1}', None),
    "JSON: a type that is none": Hostile('{"type":{"type":"ping"},"id":7}', None),
    "JSON: an id that is none": Hostile('{"type":"count","id":1.5,"collection":"tasks"}'),
    "JSON: nothing but null": Hostile("null"),
    "JSON: an event that is too large": Hostile(emitted('"' + "x" * 70_000 + '"'), None),
    "JSON: a message that is too large": Hostile(emitted('"' + "x" * 300_000 + '"'), 4413),
    "JSON: a name of a megabyte": Hostile('{"type":"count","id":7,"collection":"' + "x" * 200_000 + '"}', None),
    "JSON: a query of many conditions": Hostile(
        json.dumps(
            {"type": "findMany", "id": 7, "collection": "tasks", "query": {"where": {f"f{n}": n for n in range(5000)}}}
        ),
        None,
    ),
    "MessagePack: nothing": Hostile(b"\0"),
    "MessagePack: no type of it": Hostile(b"\0\xc1"),
    "MessagePack: cut off": Hostile(event(b"\xa5abc")),
    "MessagePack: an announced array of 4 G": Hostile(event(b"\xdd\xff\xff\xff\xff")),
    "MessagePack: an announced map of 4 G": Hostile(event(b"\xdf\xff\xff\xff\xff")),
    "MessagePack: announced 4 GB of bytes": Hostile(event(b"\xc6\xff\xff\xff\xff")),
    "MessagePack: announced 4 GB of text": Hostile(event(b"\xdb\xff\xff\xff\xff")),
    "MessagePack: too deep": Hostile(event(b"\x91" * 100_000 + b"\xc0")),
    "MessagePack: no UTF-8": Hostile(event(b"\xa2\xff\xfe"), None),
    "MessagePack: not a number": Hostile(event(b"\xcb\x7f\xf8\0\0\0\0\0\0"), None),
    "MessagePack: infinity": Hostile(event(b"\xcb\x7f\xf0\0\0\0\0\0\0"), None),
    "MessagePack: an extension": Hostile(event(b"\xd4\x05x"), None),
    "MessagePack: an extension of announced 4 GB": Hostile(event(b"\xc9\xff\xff\xff\xff\x05")),
    "MessagePack: bytes": Hostile(event(b"\xc4\x01x"), None),
    "MessagePack: a name that is a number": Hostile(event(b"\x81\x01\x02"), None),
    "MessagePack: a name that is nothing": Hostile(event(b"\x81\xc0\x02"), None),
    "MessagePack: behind the message": Hostile(event(b"\xc0") + b"\xc0"),
    "documents: nothing": Hostile(b""),
    "documents: a name without end": Hostile(b"\x7fabc"),
    "documents: a length of 2**63": Hostile(b"\xff" * 9 + b"\x7f"),
    "documents: only a name": Hostile(encode_string("documents/d")),
    "documents: noise": Hostile(bytes(range(1, 256))),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("hostile"), max_message_bytes=262_144)
    server.start()
    yield server
    server.stop()


def worker(server: Server) -> psutil.Process:
    assert server.process is not None
    (found,) = psutil.Process(server.process.pid).children()
    return found


@pytest.fixture
async def neighbour(server: Server) -> AsyncIterator[Subscriber]:
    """Somebody who is told of everything in ``quiet``, and must notice nothing."""
    before = worker(server)
    memory = before.memory_info().rss
    async with subscriber(server) as one:
        await one.subscribe(
            {
                1: {"kind": "entities", "collection": "quiet"},
                2: {"kind": "rows", "collection": "quiet", "query": {"orderBy": {"n": "desc"}, "limit": 3}},
            }
        )
        yield one
        for n in range(5):
            await one.ask("create", collection="quiet", data={"n": n})
        await until(lambda: len(one.events) == 5, lambda: one.events)
        newest = await one.ask("findMany", collection="quiet", query={"orderBy": {"n": "desc"}, "limit": 3})
        await until(lambda: one.rows[2] == newest["rows"], lambda: one.rows)
        assert one.ended == {}
        for row in (await one.ask("findMany", collection="quiet", query={}))["rows"]:
            await one.ask("delete", collection="quiet", entity=row["id"])
    assert worker(server) == before, "the worker has not died"
    assert before.memory_info().rss - memory < MEMORY
    assert "Traceback" not in server.log()


async def heard(socket: ClientConnection) -> tuple[list[Any], int | None]:
    """The server's messages until it answers the last request, or ends the connection with a code."""
    messages: list[Any] = []
    try:
        with anyio.fail_after(40):
            while not (messages and isinstance(messages[-1], Reply | Failure) and messages[-1].id == LAST):
                data = await socket.recv()
                if isinstance(data, str) or data[:1] == b"\0":
                    messages.append(decode_server(data))
    except ConnectionClosed:
        return messages, socket.close_code
    return messages, None


@pytest.mark.parametrize("name", HOSTILE)
async def test_a31_a32_a_hostile_frame_is_refused_or_ends_its_sender(
    server: Server, neighbour: Subscriber, name: str
) -> None:
    hostile = HOSTILE[name]
    async with connect(f"ws://{server.host}:{server.port}/realtime", max_size=None) as socket:
        await socket.send(HELLO)
        await socket.send(hostile.data, text=hostile.text)
        with suppress(ConnectionClosed):  # it has ended already
            await socket.send(QUESTION)
        messages, code = await heard(socket)
    assert code == hostile.ends
    failures = [message for message in messages if isinstance(message, Failure)]
    if hostile.ends is None:
        assert [(failure.id, failure.sub) for failure in failures] == [(7, None)]
        assert isinstance(messages[-1], Reply)
    elif hostile.ends == 4400:  # the others are faults of the frame itself
        assert [(failure.id, failure.sub) for failure in failures] == [(None, None)]
    assert {failure.error.code for failure in failures} <= CODES
    assert all(len(failure.error.message) < 500 for failure in failures)


GOLDEN: list[tuple[str, bytes]] = [
    (case["json"], bytes.fromhex(case["msgpack"]))
    for case in json.loads(VECTORS.read_text())
    if case["from"] == "client" and json.loads(case["json"])["type"] != "hello"
]
PIECES = (b"\xff", b"\0", b"[" * 40, b"{" * 40, b'"', b"null", b"1e400", b"\xdd\xff\xff\xff\xff", b"\xc1", b"\x91" * 40)


VALUES: tuple[Any, ...] = (None, True, -1, 0, 1.5, 2**53, 2**63 - 1, "", "x" * 5000, "a/b\0", [], [[]], {}, {"a": {}})


def misshapen(random: Random) -> tuple[bytes, bool]:
    """A message of which some member is missing, or another than it should be; whether it goes in a text frame."""
    message = json.loads(random.choice(GOLDEN)[0])
    at: Any = message
    while True:
        place = random.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not (isinstance(at[place], dict | list) and at[place] and random.random() < 0.7):
            break
        at = at[place]
    if random.random() < 0.3:
        del at[place]
    else:
        at[place] = random.choice(VALUES)
    if random.random() < 0.5:
        return json.dumps(message).encode(), True
    return b"\0" + msgspec.msgpack.encode(message), False


def mutated(random: Random) -> tuple[bytes, bool]:
    """A message with a few changed bytes; whether it goes in a text frame."""
    text, packed = random.choice(GOLDEN)
    as_text = random.random() < 0.5
    data = bytearray(text.encode() if as_text else packed)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data) + 1)
        match random.randrange(5):
            case 0:
                data[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                data[at:at] = random.choice(PIECES)
            case 2:
                del data[at : at + random.randint(1, 8)]
            case 3:
                other = random.choice(GOLDEN)[0 if as_text else 1]
                piece = other.encode() if isinstance(other, str) else other
                start = random.randrange(len(piece))
                data[at:at] = piece[start : start + random.randint(1, 20)]
            case _:
                data[at:] = data[at:] * 2
    return bytes(data), as_text


async def test_a31_a32_no_change_of_a_good_message_does_any_harm(server: Server, neighbour: Subscriber) -> None:
    random = Random(32)
    sent = refused = ended = 0
    while sent < MUTATIONS:
        async with connect(f"ws://{server.host}:{server.port}/realtime", max_size=None) as socket:
            await socket.send(HELLO)
            code = None
            while sent < MUTATIONS and code is None:
                data, as_text = random.choice((misshapen, misshapen, mutated))(random)
                sent += 1
                with suppress(ConnectionClosed):
                    await socket.send(data, text=as_text)
                    await socket.send(QUESTION)
                messages, code = await heard(socket)
                failures = [message for message in messages if isinstance(message, Failure)]
                assert {failure.error.code for failure in failures} <= CODES, data
                assert code in (None, 1007, 4400), data
                refused += sum(failure.id is not None for failure in failures)
                ended += code is not None
    assert ended > 100, "some end their sender"
    assert refused > 300, "and some do not"


def test_the_messages_that_are_changed_are_all_that_a_client_can_say() -> None:
    assert len({msgspec.json.decode(text)["type"] for text, _ in GOLDEN}) >= 18
