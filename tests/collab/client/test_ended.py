"""A connection that ended for good: whoever depends on it is told the same error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve

from collab.client import LumenizeClient
from collab.errors import AuthenticationFailed, CollabError, ConnectionLost, InternalError
from tests.collab.client.scripted import Scripted
from tests.collab.client.world import cable, client, until, world
from tests.e2e.guarded import SECRET, mint


async def test_a_server_that_accepts_and_never_answers_is_given_up() -> None:
    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serve(silent, "127.0.0.1", 0) as server:
        host, port = next(iter(server.sockets)).getsockname()
        with anyio.fail_after(60), pytest.raises(ConnectionLost):
            await LumenizeClient(url=f"http://{host}:{port}", websocket={"connect_timeout": 100}).connect()


async def test_a_read_that_one_of_two_stops_waiting_for_is_answered_to_the_other(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as made:
        read = made.tasks.count()
        found: list[int] = []

        async def wait() -> None:
            found.append(await read)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await read
        assert found == [0]


async def test_a_read_that_nobody_waits_for_any_more_does_not_hang_who_asks_later(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as made:
        read = made.tasks.count()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await read
        with anyio.fail_after(60), pytest.raises(ConnectionLost, match="cancelled"):
            await read


class Waiting:
    """Everybody who may depend on a client's connection, and what each was told."""

    def __init__(self, made: LumenizeClient) -> None:
        self.errors: dict[str, CollabError] = {}
        self._callbacks: dict[str, CollabError] = {}
        made.on_error(lambda error: self._callbacks.setdefault("client", error))
        made.tasks.subscribe("*", print, on_error=lambda error: self._callbacks.setdefault("events", error))
        made.tasks.subscribe({}, print, on_error=lambda error: self._callbacks.setdefault("rows", error))
        iterated = made.tasks.subscribe({})
        batch = made.create_subscription_batch()
        batch.add("tasks", "*", print)
        document = made.tasks.open("t")

        async def entered() -> None:
            async with made.tasks.subscribe("*"):
                pass

        self._calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "ready": made.presence.subscribe("tasks/t", print).ready,
            "async with": entered,
            "iterator": lambda: anext(iterated),
            "batch": batch.execute,
            "synced": document.until_synced,
            "document": lambda: _awaited(document),
        }
        if made._engine.running:
            self._calls |= {
                "read": lambda: _awaited(made.tasks.count()),
                "write": lambda: _awaited(made.tasks.create({})),
            }

    async def told(self) -> dict[str, CollabError]:
        """Return once each has been told."""
        async with anyio.create_task_group() as tasks:
            for name, call in self._calls.items():
                tasks.start_soon(self._until_told, name, call)
            await until(lambda: self._callbacks.keys() >= {"client", "events", "rows"})
        return self.errors | self._callbacks

    async def _until_told(self, name: str, call: Callable[[], Awaitable[Any]]) -> None:
        with anyio.fail_after(40), pytest.raises(CollabError) as raised:
            await call()
        self.errors[name] = raised.value


def assert_same_for_each(told: dict[str, CollabError]) -> None:
    """Each was told the same, in an error of its own: what one does to it, others do not see."""
    assert len({(type(error), error.message, repr(error.details)) for error in told.values()}) == 1, told
    assert len(set(map(id, told.values()))) == len(told), told
    assert len({id(error.details) for error in told.values()}) == len(told), told


async def _awaited(what: Awaitable[Any]) -> Any:
    return await what


async def test_a_wrong_credential_is_told_to_whoever_waits_for_the_connection(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        made = client(link.address, token="wrong")
        await made.connect(wait=False)
        told = await Waiting(made).told()
        assert_same_for_each(told)
        assert isinstance(told["ready"], AuthenticationFailed)
        with pytest.raises(AuthenticationFailed):
            await made.connect()


async def test_attempts_that_are_used_up_are_told_as_well() -> None:
    async with cable() as nowhere:
        made = client(nowhere.address, {"max_attempts": 2})
        await made.connect(wait=False)
        told = await Waiting(made).told()
        others = {name: error for name, error in told.items() if name != "client"}  # told of the first attempt too
        assert_same_for_each(others)
        assert isinstance(told["ready"], ConnectionLost)


async def test_a_first_attempt_that_fails_is_told_to_others_than_its_caller() -> None:
    async with cable() as nowhere:
        made = client(nowhere.address)
        waiting = Waiting(made)
        with pytest.raises(ConnectionLost) as raised:
            await made.connect()
        told = await waiting.told()
        assert_same_for_each({**told, "connect": raised.value})


async def test_who_subscribes_afterwards_is_told_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        made = client(link.address, token="wrong")
        with pytest.raises(AuthenticationFailed) as raised:
            await made.connect()
        errors: list[CollabError] = []
        late = made.tasks.subscribe("*", print, on_error=errors.append)
        with pytest.raises(AuthenticationFailed):
            await late.ready()
        await until(lambda: errors)
        assert_same_for_each({"connect": raised.value, "subscription": errors[0]})


async def test_subscriptions_and_documents_wait_for_the_next_connect(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        made = client(link.address, token="wrong")
        rows: list[Any] = []
        subscription = made.tasks.subscribe({}, rows.append)
        document = made.tasks.open("t")
        with pytest.raises(AuthenticationFailed):
            await made.connect()
        assert subscription.active
        await made.connect(token=mint())
        await subscription.ready()
        await document.until_synced()
        await until(lambda: rows)
        await made.disconnect()


async def test_disconnect_is_told_to_who_waits_and_is_no_error_of_a_subscription(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _):
        made = client(link.address)
        await made.connect()
        errors: list[CollabError] = []
        events = made.tasks.subscribe("*", on_error=errors.append)
        await events.ready()
        async with anyio.create_task_group() as tasks:

            async def iterate() -> None:
                with pytest.raises(ConnectionLost):
                    await anext(events)

            tasks.start_soon(iterate)
            await made.disconnect()
        assert errors == []
        async with made:
            await events.ready()
            await made.tasks.create({"name": "x"})
            assert (await anext(events)).data["name"] == "x"


@pytest.mark.parametrize("frame", ["{", '{"type":"rows","sub":1}', b"\xff\xff\xff"])
async def test_a_message_that_cannot_be_read_ends_the_connection_and_is_told(frame: str | bytes) -> None:
    server = Scripted()
    made = server.client()
    await made.connect()
    waiting = Waiting(made)
    server.send_frame(frame)
    told = await waiting.told()
    assert_same_for_each(told)
    assert isinstance(told["client"], InternalError)
    assert not made.is_connected()
    assert server.opened == 1
