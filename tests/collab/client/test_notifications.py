"""What callbacks do concerns them alone: everybody else is told everything, at once and in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.client import Event, LumenizeClient, Rows
from collab.client.background import Background
from collab.client.callbacks import Callbacks
from collab.client.subscription import Subscription
from collab.errors import AuthenticationFailed, CollabError, InvalidRequest, NotFound, SubscriptionFailed
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from tests.collab.client.scripted import Scripted, event, rows
from tests.collab.client.world import until


def numbers(told: list[Event]) -> list[int]:
    return [each.data["n"] for each in told]


async def test_a_callback_that_writes_does_not_make_others_go_back_to_older_rows() -> None:
    server = Scripted()
    async with server.client() as made:
        seen: list[list[list[str]]] = [[], [], []]

        def write(found: Rows) -> None:
            seen[0].append([row["id"] for row in found])
            if len(found) == 2:
                made.tasks.create({"id": "own2"})

        def note(told: list[list[str]]) -> Callable[[Rows], None]:
            return lambda found: told.append([row["id"] for row in found])

        subscriptions = [made.tasks.subscribe({}, callback) for callback in (write, *map(note, seen[1:]))]
        for subscription in subscriptions:
            await subscription.ready()
        server.say(*(rows(subscription.sub, {"id": "a"}) for subscription in subscriptions))
        await server.handled()
        made.tasks.create({"id": "own1"})
        for told in seen:
            assert [sorted(ids) for ids in told] == [["a"], ["a", "own1"], ["a", "own1", "own2"]]


DEEDS = (
    "nothing",
    "raises",
    "cancelled",
    "writes",
    "leaves",
    "ends another",
    "joins",
    "async",
    "async raises",
    "calls",
)


class Reader:
    """A subscriber to all events, whose callback does something at one of them."""

    def __init__(self, made: LumenizeClient, readers: list[Reader], deed: str, at: int) -> None:
        self.told: list[int] = []
        self.ended_at: int | None = None
        self._made, self._readers, self._deed, self._at = made, readers, deed, at
        self.subscription: Subscription = made.tasks.subscribe("*", self._take, on_error=lambda error: None)
        readers.append(self)

    def end(self, at: int) -> None:
        self.subscription()
        self.ended_at = at if self.ended_at is None else self.ended_at

    def _take(self, given: Event) -> Any:
        n = given.data["n"]
        given.data.clear()
        self.told.append(n)
        if n != self._at:
            return None
        match self._deed:
            case "raises":
                raise ZeroDivisionError
            case "cancelled":
                raise asyncio.CancelledError
            case "writes":
                self._made.tasks.create({"n": n})
            case "leaves":
                self.end(n)
            case "ends another":
                self._readers[-1].end(n)
            case "joins":
                Reader(self._made, self._readers, "nothing", 0)
            case "async":
                return anyio.lowlevel.checkpoint()
            case "async raises":
                return _fail()
            case "calls":
                return self._made.tasks.create({"n": n})
        return None


async def _fail() -> None:
    raise ZeroDivisionError


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(1, 4)), min_size=2, max_size=5),
    st.sampled_from(["asyncio", "trio"]),
)
def test_whatever_callbacks_do_each_subscriber_is_told_all_events_in_order(
    deeds: list[tuple[str, int]], backend: str
) -> None:
    async def main() -> None:
        server = Scripted()
        made = server.client()
        await made.connect()
        readers: list[Reader] = []
        for deed, at in deeds:
            Reader(made, readers, deed, at)
        first = list(readers)
        for reader in first:
            await reader.subscription.ready()
        for n in range(1, 6):
            server.say(event(n, *(reader.subscription.sub for reader in first)))
        await server.handled()
        everything = list(range(1, 6))
        for reader in first:
            if reader.ended_at is None:
                await until(lambda reader=reader: len(reader.told) >= 5)  # type: ignore[misc]
                assert reader.told == everything
            else:
                assert reader.told in (everything[: reader.ended_at], everything[: reader.ended_at - 1])
        assert made.is_connected()
        await made.disconnect()

    anyio.run(main, backend=backend)


async def test_an_operation_that_a_callback_returns_is_not_waited_for() -> None:
    server = Scripted()
    async with server.client() as made:
        told: list[Event] = []
        errors: list[CollabError] = []
        made.on_error(errors.append)

        def mark(each: Event) -> Any:
            told.append(each)
            return made.tasks.update(each.id, {"seen": True})

        subscription = made.tasks.subscribe("*", mark)
        await subscription.ready()
        server.say(*(event(n, subscription.sub) for n in range(1, 4)))
        await server.handled()
        assert numbers(told) == [1, 2, 3]
        for asked in await server.asked(realtime.Update, 3):
            server.refuse(asked, NotFound("gone"))
        await until(lambda: len(errors) == 3)
        assert {error.code for error in errors} == {"NOT_FOUND"}


async def test_a_slow_callback_delays_nobody_else_and_gets_the_newest_rows() -> None:
    server = Scripted()
    async with server.client() as made:
        gate = anyio.Event()
        slow: list[int] = []
        quick: list[int] = []

        async def wait(found: Rows) -> None:
            slow.append(len(found))
            await gate.wait()

        subscriptions = [
            made.tasks.subscribe({}, wait),
            made.tasks.subscribe({}, lambda found: quick.append(len(found))),
        ]
        for subscription in subscriptions:
            await subscription.ready()
        for n in range(1, 5):
            server.say(*(rows(each.sub, *({"id": str(i)} for i in range(n))) for each in subscriptions))
        await server.handled()
        assert (slow, quick) == ([1], [1, 2, 3, 4])
        gate.set()
        await until(lambda: len(slow) == 2)
        assert slow == [1, 4]


async def test_a_callback_that_takes_too_long_ends_its_own_subscription_after_what_it_was_still_to_get() -> None:
    server = Scripted()
    async with server.client({"max_buffered": 3}) as made:
        gate = anyio.Event()
        slow: list[Event] = []
        quick: list[Event] = []
        errors: list[CollabError] = []

        async def wait(each: Event) -> None:
            slow.append(each)
            await gate.wait()

        late = made.tasks.subscribe("*", wait, on_error=errors.append)
        prompt = made.tasks.subscribe("*", quick.append)
        await late.ready()
        await prompt.ready()
        server.say(*(event(n, late.sub, prompt.sub) for n in range(1, 8)))
        await server.handled()
        assert numbers(quick) == [1, 2, 3, 4, 5, 6, 7]
        assert [type(error) for error in errors] == [SubscriptionFailed]
        gate.set()
        await until(lambda: len(slow) >= 5)
        assert numbers(slow) == [1, 2, 3, 4, 5], "as an iterator: first the values, and then the end"
        assert not late.active


async def test_a_condition_that_unsubscribes_or_fails_lets_nothing_through() -> None:
    server = Scripted()
    async with server.client() as made:
        told: list[Event] = []

        def cancelled() -> bool:
            raise asyncio.CancelledError

        ended = made.tasks.subscribe("*", told.append, condition=lambda: ended() or True)  # type: ignore[func-returns-value]
        failing = made.tasks.subscribe("*", told.append, condition=cancelled)
        others: list[Event] = []
        other = made.tasks.subscribe("*", others.append)
        for each in (ended, failing, other):
            await each.ready()
        server.say(event(1, ended.sub, failing.sub, other.sub))
        await server.handled()
        assert (told, numbers(others)) == ([], [1])


async def _condition() -> bool:
    return True


@pytest.mark.parametrize(
    "options",
    [{"callback": 5}, {"condition": 5}, {"condition": _condition}, {"on_error": 5}, {"on_resync": "resync"}],
)
async def test_what_cannot_be_called_is_refused_when_it_is_given(options: dict[str, Any]) -> None:
    async with Scripted().client() as made:
        with pytest.raises(InvalidRequest):
            made.tasks.subscribe("*", **options)
        with pytest.raises(InvalidRequest):
            made.tasks.create({}, on_error=5)  # type: ignore[arg-type]
        assert made.pending == 0


# callbacks of the client


def test_what_a_listener_causes_is_told_to_each_in_the_same_order() -> None:
    listeners = Callbacks(Background())
    seen: list[tuple[str, str]] = []

    def first(error: CollabError) -> None:
        seen.append(("first", error.message))
        if error.message == "a":
            listeners.trouble(CollabError("b"))
            raise ZeroDivisionError

    listeners.add("error", first)
    listeners.add("error", lambda error: seen.append(("second", error.message)))
    listeners.trouble(CollabError("a"))
    assert seen == [("first", "a"), ("second", "a"), ("first", "b"), ("second", "b")]


def test_a_listener_is_told_from_its_registration_on_until_it_is_removed() -> None:
    listeners = Callbacks(Background())
    seen: list[str] = []
    remove: list[Callable[[], None]] = []

    def change() -> None:
        seen.append("first")
        remove.pop()()
        listeners.add("connect", lambda: seen.append("new"))

    listeners.add("connect", change)
    remove.append(listeners.add("connect", lambda: seen.append("removed")))
    listeners.tell("connect")
    assert seen == ["first"]
    remove.append(lambda: None)
    listeners.tell("connect")
    assert seen == ["first", "first", "new"]


async def test_listeners_of_the_connection_may_raise_wait_and_register_others() -> None:
    server = Scripted()
    seen: list[str] = []
    made = server.client()

    async def wait() -> None:
        await anyio.sleep_forever()

    def fail() -> None:
        made.on_connect(lambda: seen.append("nested"))
        raise ZeroDivisionError

    made.on_connect(wait)
    made.on_connect(fail)
    made.on_connect(lambda: seen.append("connect"))
    made.on_reconnect(lambda: seen.append("reconnect"))
    async with made:
        await until(lambda: len(seen) == 2)
        assert sorted(seen) == ["connect", "nested"]
        server.cut()
        await until(lambda: "reconnect" in seen)
        assert seen.count("nested") == 1


async def test_a_listener_of_the_end_may_connect_with_another_token() -> None:
    server = Scripted()
    server.welcomes = False
    made = server.client(token="old")
    connected: list[str] = []

    async def renew(error: CollabError) -> None:
        if not connected:
            connected.append("trying")
            server.welcomes = True
            await made.connect(token="new")
            connected.append("connected")

    made.on_error(renew)
    await made.connect(wait=False)
    await server.asked(realtime.Hello)
    server.say(realtime.Failure(error=wire.Error.of(AuthenticationFailed("no"))))
    server.cut()
    await until(lambda: connected == ["trying", "connected"])
    assert [hello.token for hello in server.all_of(realtime.Hello)] == ["old", "new"]
    await made.disconnect()
