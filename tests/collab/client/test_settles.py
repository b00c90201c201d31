"""Whatever happens, who waits gets a result or an error, and one bad argument ends nothing but its own call."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any

import anyio
import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.client import Document, LumenizeClient
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    ConnectionLost,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimitExceeded,
)
from collab.wire import hocuspocus
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from presence.lib0 import encode_string
from tests.collab.client.scripted import Scripted, event, written
from tests.collab.client.test_ended import Waiting, assert_same_for_each
from tests.collab.client.world import client, until, world
from tests.e2e.guarded import SECRET, mint

# arguments

BAD: dict[str, Callable[[LumenizeClient], Awaitable[Any]]] = {
    "id": lambda made: made.tasks.create({"id": [5]}),
    "key": lambda made: made.tasks.create({"__proto__": 1}),
    "integer": lambda made: made.tasks.create({"n": 2**70}),
    "unset": lambda made: made.tasks.update("t", {}, unset="name"),
    "unset item": lambda made: made.tasks.update("t", {}, unset=[5]),  # type: ignore[list-item]
    "version": lambda made: made.tasks.update("t", {}, version="1"),  # type: ignore[arg-type]
    "surrogate": lambda made: made.tasks.delete("\ud83d"),
    "collection": lambda made: made.collection("\ud83d").count(),
    "field": lambda made: made.tasks.subscribe("*", fields=[5]).ready(),  # type: ignore[list-item]
    "rows field": lambda made: made.tasks.subscribe({}, fields=[5]).ready(),  # type: ignore[list-item]
    "custom": lambda made: made.events.subscribe(5).ready(),  # type: ignore[arg-type]
    "presence room": lambda made: made.presence.join(5),  # type: ignore[arg-type]
    "presence state": lambda made: made.presence.update("d", {"cursor": float("nan")}),
    "presence object": lambda made: made.presence.update("d", [1]),  # type: ignore[arg-type]
    "channel": lambda made: made.events.join(None),  # type: ignore[arg-type]
    "token": lambda made: made.authenticate(5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_argument_is_refused_by_its_own_call_before_anything_is_sent(name: str) -> None:
    server = Scripted()
    async with server.client() as made:
        good = made.tasks.subscribe("*")
        with pytest.raises(InvalidRequest):
            await BAD[name](made)
        await good.ready()
        write = made.tasks.create({"id": "t"})
        server.reply((await server.asked(realtime.Create))[0], written(1, id="t"))
        assert (await write).version == 1
        assert made.pending == 0
        assert [type(message) for message in server.heard] == [realtime.Hello, realtime.Subscribe, realtime.Create]


@pytest.mark.parametrize("bad", [("tasks", 5), ("tasks", {"where": object()}), ("\ud83d", "*")])
async def test_a_batch_with_an_entry_that_is_invalid_leaves_nothing_behind(bad: tuple[str, Any]) -> None:
    server = Scripted()
    async with server.client() as made:
        told: list[Any] = []

        async def batch() -> None:
            adding = made.create_subscription_batch()
            adding.add("tasks", "*", told.append)
            adding.add(*bad, told.append)
            await adding.execute()

        with pytest.raises(InvalidRequest):
            await batch()
        other = made.tasks.subscribe("*")
        await other.ready()
        [asked] = server.all_of(realtime.Subscribe)
        assert [each.sub for each in asked.subscriptions] == [other.sub]
        server.say(event(1, *range(1, other.sub + 1)))
        await server.handled()
        assert told == []


@pytest.mark.parametrize("url", ["http://[::1", "ftp://host", "host", ""])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidRequest):
        LumenizeClient(url=url)


@pytest.mark.parametrize("credentials", [{"project_id": 5}, {"token": 5}, {"token": lambda: 5}, {"api_key": "\ud83d"}])
async def test_a_credential_that_is_no_text_is_told_by_connect(credentials: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await Scripted().client(**credentials).connect()


async def test_a_subscription_with_a_callback_cannot_be_iterated() -> None:
    async with Scripted().client() as made:
        with pytest.raises(InvalidRequest, match="callback"):
            await anext(made.tasks.subscribe("*", print))


async def test_a_block_that_was_never_entered_leaves_no_subscription_behind() -> None:
    server = Scripted()
    server.confirms = False
    async with server.client() as made:
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with made.tasks.subscribe("*"):
                raise AssertionError("it was cancelled")
        assert made._engine._subscriptions == {}


# operations


async def test_whoever_stops_waiting_ends_a_read_and_nothing_that_has_an_effect() -> None:
    server = Scripted()
    async with server.client() as made:
        calls: list[Awaitable[Any]] = [
            made.tasks.create({"id": "t"}),
            made.presence.join("d"),
            made.events.join("team"),
            made.events.emit({"type": "note"}),
            made.tasks.find_by_id("t"),
        ]
        for call in calls:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await call
        read = made.tasks.count()
        server.reply((await server.asked(realtime.Count))[0], 3)
        assert await read == 3
        for kind in (realtime.Create, realtime.JoinPresence, realtime.JoinChannel, realtime.Emit):
            assert len(server.all_of(kind)) == 1
        with pytest.raises(ConnectionLost, match="cancelled"):
            await calls[-1]


async def test_a_write_that_is_refused_after_its_caller_stopped_waiting_is_told_to_the_client() -> None:
    server = Scripted()
    async with server.client() as made:
        errors: list[CollabError] = []
        made.on_error(errors.append)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await made.tasks.update("t", {"n": 1})
        server.refuse((await server.asked(realtime.Update))[0], NotFound("gone"))
        await until(lambda: errors)
        assert isinstance(errors[0], NotFound)


async def test_a_read_that_is_known_to_fail_is_told_to_its_caller_alone() -> None:
    server = Scripted()
    server.welcomes = False
    made = server.client()
    errors: list[CollabError] = []
    made.on_error(errors.append)
    await made.connect(wait=False)
    made.tasks.delete("t")
    with pytest.raises(NotFound, match="was deleted"):
        await made.tasks.find_by_id("t")
    assert errors == []
    made.tasks.find_by_id("t")
    await until(lambda: errors)
    assert isinstance(errors[0], NotFound)
    await made.disconnect()


async def test_presence_that_was_refused_does_not_come_back_with_the_connection() -> None:
    server = Scripted()
    async with server.client() as made:
        joined = made.presence.join("d", {"name": "ada"})
        server.reply((await server.asked(realtime.JoinPresence))[0])
        await joined
        refused = made.presence.update("d", {"cursor": "too large"})
        server.refuse((await server.asked(realtime.UpdatePresence))[0], InvalidRequest("too large"))
        with pytest.raises(InvalidRequest):
            await refused
        secret = made.presence.join("secret")
        server.refuse((await server.asked(realtime.JoinPresence, 2))[1], PermissionDenied("no"))
        with pytest.raises(PermissionDenied):
            await secret
        server.heard.clear()
        server.cut()
        await server.asked(realtime.JoinPresence)
        await until(made.is_connected)
        await made.tasks.subscribe("*").ready()
        assert [(each.room, each.state) for each in server.all_of(realtime.JoinPresence)] == [("d", {"name": "ada"})]


async def test_presence_that_timed_out_comes_back_with_the_connection() -> None:
    server = Scripted()
    server.welcomes = False
    made = server.client({"request_timeout": 50})
    await made.connect(wait=False)
    with pytest.raises(ConnectionLost):
        await made.presence.join("d", {"name": "ada"})
    await server.asked(realtime.Hello)
    server.welcomes = True
    server.cut()
    [join] = await server.asked(realtime.JoinPresence)
    assert (join.room, join.state) == ("d", {"name": "ada"})
    await made.disconnect()


# the connection


async def test_a_client_may_be_disconnected_before_it_has_begun_to_connect() -> None:
    server = Scripted()
    server.welcomes = False
    made = server.client()
    await made.connect(wait=False)
    with anyio.fail_after(40):
        await made.disconnect()
    with pytest.raises(ConnectionLost):
        await made.tasks.count()


async def test_whoever_stops_waiting_for_a_connection_does_not_end_that_of_others() -> None:
    server = Scripted()
    server.welcomes = False
    made = server.client()
    await made.connect(wait=False)
    write = made.tasks.create({"id": "t"})
    with anyio.CancelScope() as scope:
        scope.cancel()
        await made.connect()
    await server.asked(realtime.Hello)
    server.welcomes = True
    server.cut()
    server.reply((await server.asked(realtime.Create))[0], written(1, id="t"))
    assert (await write).version == 1
    await made.disconnect()


async def test_a_fault_of_the_client_is_told_to_everybody_who_waits() -> None:
    server = Scripted()
    made = server.client()
    await made.connect()
    waiting = Waiting(made)

    async def fail() -> str:
        raise ZeroDivisionError

    server.receive = fail  # type: ignore[method-assign]
    server.say(realtime.Pong())
    told = await waiting.told()
    assert_same_for_each(told)
    assert isinstance(told["client"], InternalError)


@pytest.mark.parametrize("body", [b"\x00\x00\x01\xff", b"\x00\x02\x03\xff\xff\xff"])
async def test_a_frame_of_a_document_that_cannot_be_read_is_told_to_everybody_who_waits(body: bytes) -> None:
    server = Scripted()
    made = server.client()
    await made.connect()
    waiting = Waiting(made)
    server.send_frame(hocuspocus.authenticated("tasks/t", "read-write"))
    server.send_frame(encode_string("tasks/t") + body)
    told = await waiting.told()
    assert_same_for_each(told)
    assert isinstance(told["client"], InternalError)


WAITS: dict[str, Callable[[LumenizeClient], Callable[[], Awaitable[Any]]]] = {
    "create": lambda made: lambda: _of(made.tasks.create({"id": "t"})),
    "update": lambda made: lambda: _of(made.tasks.update("t", {"n": 1}, on_conflict="reject")),
    "find": lambda made: lambda: _of(made.tasks.find_by_id("t")),
    "schema": lambda made: made.refresh_schema,
    "join": lambda made: lambda: _of(made.presence.join("d")),
    "move": lambda made: lambda: _of(made.presence.update("d", {"n": 1})),
    "emit": lambda made: lambda: _of(made.events.emit({"type": "note"})),
    "authenticate": lambda made: lambda: made.authenticate("token"),
    "ready": lambda made: made.tasks.subscribe({}, print).ready,
    "iterator": lambda made: made.tasks.subscribe("*").__anext__,
    "synced": lambda made: made.tasks.open(f"t{made._engine.state.ticket()}").until_synced,
    "document saved": lambda made: lambda: _edited(made),
    "document closed": lambda made: made.tasks.open(f"t{made._engine.state.ticket()}").close,
    "saved": lambda made: made.saved,
    "connect": lambda made: made.connect,
}
DEEDS: dict[str, Callable[[Scripted, Any], None]] = {
    "answers": lambda server, asked: server.reply(asked, written(1, id="t")),
    "answers nonsense": lambda server, asked: server.reply(asked, "nonsense"),
    "refuses": lambda server, asked: server.refuse(asked, PermissionDenied("no")),
    "is busy": lambda server, asked: server.refuse(asked, RateLimitExceeded("later", retryAfter=0.01)),
    "cuts": lambda server, asked: server.cut(),
    "is silent": lambda server, asked: None,
    "ends the session": lambda server, asked: server.say(realtime.Failure(error=wire.Error.of(NotFound("over")))),
    "says nonsense": lambda server, asked: server.send_frame("{"),
}

FRAMES: dict[str, Callable[[str], bytes]] = {
    "opens": lambda address: hocuspocus.authenticated(address, "read-write"),
    "opens for reading": lambda address: hocuspocus.authenticated(address, "readonly"),
    "denies": lambda address: hocuspocus.permission_denied(address, "PERMISSION_DENIED: no"),
    "closes": lambda address: hocuspocus.close(address, "NOT_FOUND: gone"),
    "refuses an edit": lambda address: hocuspocus.sync_status(address, saved=False),
    "asks": lambda address: hocuspocus.sync_step1(address, b"\x00"),
    "says nonsense": lambda address: encode_string(address) + b"\x00\x00\x01\xff",
}


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(sorted(WAITS)), min_size=1, max_size=6),
    st.lists(st.sampled_from(sorted(DEEDS)), max_size=6),
    st.lists(st.sampled_from(sorted(FRAMES)), max_size=6),
    st.sets(st.integers(0, 5)),
    st.sampled_from(["asyncio", "trio"]),
)
def test_whatever_the_server_does_whoever_waits_gets_an_answer(
    waits: list[str], deeds: list[str], frames: list[str], cancelled: set[int], backend: str
) -> None:
    async def main() -> None:
        server = Scripted()
        server.answers = iter([DEEDS[deed] for deed in deeds])
        server.frames = iter([FRAMES[frame] for frame in frames])
        made = server.client({"request_timeout": 100})
        await made.connect()
        settled: list[str] = []

        async def wait(number: int, name: str) -> None:
            with anyio.CancelScope() as scope, suppress(CollabError):
                if number in cancelled:
                    scope.cancel()
                await WAITS[name](made)()
            settled.append(name)

        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                for number, name in enumerate(waits):
                    tasks.start_soon(wait, number, name)
                for _ in range(3):
                    await anyio.wait_all_tasks_blocked()
                await made.disconnect()
                await made.saved()
                if "connect" in waits:  # perhaps begun after the end
                    await until(lambda: waits.count("connect") <= settled.count("connect"))
                    await made.disconnect()
        assert sorted(settled) == sorted(waits)
        assert made.pending == 0

    anyio.run(main, backend=backend)


async def _of(call: Awaitable[Any]) -> Any:
    return await call


async def _edited(made: LumenizeClient) -> None:
    document = made.tasks.open(f"t{made._engine.state.ticket()}")
    document.doc.get("t", type=pycrdt.Text).insert(0, "text")
    await document.until_saved()


# tokens


def token(seconds: float, name: str = "") -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time() + seconds, "name": name}).encode()).decode()
    return f"h.{claims.rstrip('=')}.s"


async def test_a_token_function_that_does_not_return_times_out_and_is_called_again() -> None:
    server = Scripted()
    calls: list[str] = []
    errors: list[CollabError] = []

    async def source() -> str:
        calls.append("call")
        if len(calls) == 2:
            await anyio.sleep_forever()
        return token(0.1 if len(calls) == 1 else 600)

    async with server.client({"connect_timeout": 50}, token=source) as made:
        made.on_error(errors.append)
        [renewal] = await server.asked(realtime.Authenticate)
        server.reply(renewal)
        assert len(calls) == 3
        assert [type(error) for error in errors] == [ConnectionLost]
        assert "did not return" in errors[0].message
        assert server.opened == 1


async def test_a_renewal_that_is_refused_is_tried_again() -> None:
    server = Scripted()
    async with server.client(token=lambda: token(0.1)) as made:
        errors: list[CollabError] = []
        made.on_error(errors.append)
        server.refuse((await server.asked(realtime.Authenticate))[0], AuthenticationFailed("expired"))
        await server.asked(realtime.Authenticate, 2)
        assert [type(error) for error in errors] == [AuthenticationFailed]


async def test_a_token_function_whose_own_task_is_cancelled_fails_and_is_called_again() -> None:
    server = Scripted()
    calls: list[str] = []

    async def source() -> str:
        calls.append("call")
        if len(calls) == 1:
            task = asyncio.create_task(asyncio.Event().wait())
            task.cancel()
            await task
        return token(600)

    made = server.client(token=source)
    await made.connect(wait=False)
    await until(made.is_connected)
    assert len(calls) == 2
    await made.disconnect()


async def test_a_token_function_may_disconnect_the_client_and_wait_for_that() -> None:
    server = Scripted()
    ended: list[str] = []
    made = server.client()

    async def source() -> str:
        await made.disconnect()
        ended.append("disconnected")
        return "late"

    with anyio.fail_after(40), pytest.raises(ConnectionLost):
        await made.connect(token=source)
    await until(lambda: ended)
    assert server.opened == 0


# documents


async def test_content_that_a_reader_brings_along_is_refused_and_known_content_is_saved(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _), client(link.address, token=mint("ada")) as writer:
        async with writer.documents.open("d") as document:
            document.doc.get("t", type=pycrdt.Text).insert(0, "text")
        known: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        known.apply_update(document.doc.get_update())
        new: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        new.get("t", type=pycrdt.Text).insert(0, "mine")
        async with client(link.address, token=mint("bob", access={"documents/*": "read"})) as reader:
            same = await reader.documents.open("d", known)
            with anyio.fail_after(40):
                await same.until_saved()
            await same.close()
            other = await reader.documents.open("d", new)
            with anyio.fail_after(40), pytest.raises(PermissionDenied):
                await other.until_saved()
            with anyio.fail_after(40):
                await other.until_synced()
            await other.close()


async def test_each_waiter_of_a_document_gets_an_error_of_its_own() -> None:
    server = Scripted()
    async with server.client() as made:
        document = made.tasks.open("t")
        server.send_frame(hocuspocus.permission_denied("tasks/t", "PERMISSION_DENIED: no"))
        told: dict[str, CollabError] = {}
        for name, wait in {"synced": document.until_synced, "saved": document.until_saved}.items():
            with anyio.fail_after(40), pytest.raises(PermissionDenied) as raised:
                await wait()
            told[name] = raised.value
        assert document.error is not None
        assert_same_for_each({**told, "document": document.error})


async def test_an_observer_of_a_lost_document_may_open_another() -> None:
    server = Scripted()
    async with server.client() as made:
        other = pycrdt.Awareness(pycrdt.Doc())
        other.set_local_state({"name": "bob"})
        document = made.tasks.open("t")
        server.send_frame(hocuspocus.authenticated("tasks/t", "read-write"))
        server.send_frame(hocuspocus.awareness("tasks/t", other.encode_awareness_update([other.client_id])))
        await until(lambda: other.client_id in document.awareness.states)
        opened: list[Document] = []
        document.awareness.observe(lambda topic, change: opened.append(made.tasks.open(f"other{len(opened)}")))
        server.cut()
        await until(lambda: opened and made.is_connected() and server.opened == 2)
        assert [each.name for each in opened] == ["tasks/other0", "tasks/other1"]


async def test_a_state_that_cannot_be_sent_is_refused_by_the_awareness() -> None:
    server = Scripted()
    async with server.client() as made:
        document = made.tasks.open("t")
        with pytest.raises(InvalidRequest):
            document.awareness.set_local_state({"cursor": object()})
        server.send_frame(hocuspocus.authenticated("tasks/t", "read-write"))
        document.awareness.states[document.awareness.client_id]["cursor"] = object()
        document.awareness.set_local_state_field("name", "ada")
        await made.tasks.subscribe("*").ready()
        assert document.awareness.get_local_state() == {"name": "ada"}
