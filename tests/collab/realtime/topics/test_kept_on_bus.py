from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collab.access.identity import Identity
from collab.bus.base import KEPT_MESSAGES, Bus, Kept
from collab.bus.memory import MemoryBus, MemoryHub
from collab.bus.redis import RedisBus
from collab.errors import IdempotencyKeyReused, InvalidRequest, TooLarge, Unavailable
from collab.realtime.topics.custom_events import CustomEvents
from collab.realtime.topics.kept_on_bus import MOST_WAITING, KeptOnBus, Numbering
from collab.testing.bus_contract import until
from tests.collab.realtime.topics.test_custom_events import ALL, Session, recent

ADA = Identity("p", "ada", rules=ALL)


@asynccontextmanager
async def nodes(buses: Sequence[Bus], cluster: str = "") -> AsyncIterator[list[CustomEvents]]:
    """The custom events of several nodes that hear each other."""
    customs = [CustomEvents(KeptOnBus(bus), clock=lambda: 1000.0) for bus in buses]
    for bus in buses:
        await bus.open(cluster)
    for bus in buses:
        await until(lambda bus=bus: not bus.lost)  # type: ignore[misc]
    yield customs
    for custom in customs:
        await custom.close()
    for bus in buses:
        await bus.close()


async def opened(custom: CustomEvents, session: Session, cursor: str | None = None) -> str:
    """Let a session subscribe to the type ``done``. Returns the cursor that it gets."""
    resumed = await custom.resume(session, "done", cursor)
    assert resumed.recovered
    session.heard += [sent.event for sent in resumed.events]
    session.cursors += [sent.cursor for sent in resumed.events]
    return resumed.cursor


def numbers(session: Session) -> list[Any]:
    return [event["n"] for event in session.heard]


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.slow)])
async def pair(request: pytest.FixtureRequest, hub: MemoryHub) -> AsyncIterator[list[CustomEvents]]:
    """Two nodes."""
    if request.param == "memory":
        buses: list[Bus] = [hub.bus(), hub.bus()]
    else:
        url = request.getfixturevalue("redis").database()
        buses = [RedisBus(url), RedisBus(url)]
    async with nodes(buses, request.node.name) as customs:
        yield customs


async def test_an_event_reaches_subscribers_on_all_nodes_once_and_in_one_order(pair: list[CustomEvents]) -> None:
    one, two = pair
    ada, bob, other, theirs = Session("ada"), Session("bob"), Session("eve"), Session("zoe", project="q")
    for custom, session in ((one, ada), (two, bob), (two, theirs)):
        await opened(custom, session)
    other.channels.join("team_1")
    await opened(two, other)
    for n in range(100):
        (one, two)[n % 2].emit("p", {"type": "done", "n": n} | ({"channels": ["team_1"]} if n >= 50 else {}))
    last = await one.emit("p", {"type": "done", "n": 100}, sender=ADA)
    assert last == {"type": "done", "n": 100, "userId": "ada", "at": "1970-01-01T00:16:40.000Z"}
    await until(lambda: len(other.heard) == 101)
    assert sorted(numbers(other)) == [*range(101)]
    assert [n for n in numbers(other) if n % 2] == [*range(1, 100, 2)], "what a node emits stays in order"
    await until(lambda: len(ada.heard) == len(bob.heard) == 51)
    assert ada.heard == bob.heard == [event for event in other.heard if not event.get("channels")]
    assert not theirs.heard


async def test_c6_who_comes_back_to_another_node_is_told_what_it_missed(pair: list[CustomEvents]) -> None:
    one, two = pair
    ada, again = Session("ada"), Session("ada")
    first = await opened(one, ada)
    for n in range(3):
        await one.emit("p", {"type": "done", "n": n})
        await two.emit("p", {"type": "other", "n": n})
        await two.emit("p", {"type": "done", "n": -n, "channels": ["user_bob"]})
    await until(lambda: numbers(ada) == [0, 1, 2])
    await opened(two, again, ada.cursors[0])
    assert numbers(again) == [1, 2]
    assert again.cursors == ada.cursors[1:]
    await one.emit("p", {"type": "done", "n": 3})
    await until(lambda: numbers(again) == [1, 2, 3])
    assert [event["n"] for event in (await recent(two, Session("ada"), "done", first))[0]] == [0, 1, 2, 3]


async def test_c6_what_nobody_knows_or_nobody_gave_out_recovers_nothing(pair: list[CustomEvents]) -> None:
    one, two = pair
    cursor = await opened(one, Session("ada"))
    await one.emit("p", {"type": "done"})
    epoch = cursor.rpartition(".")[0]
    for wrong in ("", "x", "none.0", "1234abcd.1", f"{epoch}.", f"{epoch}.99", f"{epoch}.-1", "é.1", "a b.1"):
        assert await recent(two, Session(), "done", wrong) == ([], False)
    for _ in range(KEPT_MESSAGES):
        two.emit("p", {"type": "other"})
    await two.emit("p", {"type": "done"})
    assert await recent(one, Session(), "done", cursor) == ([], False)
    assert len((await recent(one, Session(), "done", f"{epoch}.2"))[0]) == 1


async def test_c11_under_one_name_an_event_is_told_once_whichever_node_emits_it(pair: list[CustomEvents]) -> None:
    one, two = pair
    bob = Session("bob")
    await opened(one, bob)
    told = await one.emit("p", {"type": "done", "n": 1}, sender=ADA, request="r")
    two._clock = lambda: 2000.0
    assert await two.emit("p", {"n": 1, "type": "done"}, sender=ADA, request="r") == told
    with pytest.raises(IdempotencyKeyReused):
        await two.emit("p", {"type": "done", "n": 2}, sender=ADA, request="r")
    for sender, project in (
        (Identity("p", "eve", rules=ALL), "p"),
        (None, "p"),
        (Identity("q", "ada", rules=ALL), "q"),
    ):
        await two.emit(project, {"type": "done", "n": 3}, sender=sender, request="r")
    await two.emit("p", {"type": "done", "n": 4})
    await until(lambda: numbers(bob) == [1, 3, 3, 4])


async def test_what_is_refused_is_refused_at_once_and_sent_nowhere(pair: list[CustomEvents]) -> None:
    one, two = pair
    bob = Session("bob")
    await opened(two, bob)
    for event in ({"type": "a b"}, {"type": "done", "data": b"x"}):
        with pytest.raises(InvalidRequest):
            one.emit("p", event)
    with pytest.raises(TooLarge):
        one.emit("p", {"type": "done", "data": "x" * 70_000})
    with pytest.raises(InvalidRequest):
        one.emit("p", {"type": "done"}, request="é")
    await one.emit("p", {"type": "done", "n": 1})
    await until(lambda: numbers(bob) == [1])


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8"), max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner)
        ),
        max_leaves=10,
    )
)
@settings(max_examples=50)
def test_whatever_json_holds_is_told_as_it_is(value: Any) -> None:
    async def tell() -> None:
        async with nodes([MemoryHub().bus()]) as (custom,):
            ada = Session("ada")
            await opened(custom, ada)
            await custom.emit("p", {"type": "done", "data": value})
            await until(lambda: bool(ada.heard))
            assert ada.heard[0]["data"] == value
            assert repr(ada.heard[0]["data"]) == repr(value), "1.0 is not 1"

    asyncio.run(tell())


async def test_a_node_follows_a_project_while_somebody_there_listens(hub: MemoryHub) -> None:
    async with nodes([hub.bus()]) as (custom,):
        resumed = [await custom.resume(Session("ada"), kind, None) for kind in ("done", "done", "other")]
        assert hub.subscribed() == 1
        await custom.emit("q", {"type": "done"})
        assert hub.subscribed() == 1
        for one in resumed:
            one.end()
            one.end()
        await until(lambda: hub.subscribed() == 0)
        again = await custom.resume(Session("ada"), "done", resumed[0].cursor)
        assert again.recovered


async def test_while_the_bus_is_lost_nothing_is_emitted_and_nothing_recovered(hub: MemoryHub) -> None:
    buses = [hub.bus(), hub.bus()]
    async with nodes(buses) as (one, two):
        ada, late = Session("ada"), Session("ada")
        cursor = await opened(one, ada)
        hub.cut(buses[0])
        with pytest.raises(Unavailable):
            await one.emit("p", {"type": "done", "n": 1})
        one.emit("p", {"type": "done", "n": 1})  # nobody waits for it: it is only logged
        resumed = await one.resume(late, "done", cursor)
        assert not resumed.recovered
        await two.emit("p", {"type": "done", "n": 2})
        missed, recovered = await recent(two, Session("ada"), "done", resumed.cursor)
        assert ([event["n"] for event in missed], recovered) == ([2], True), "it stands for what this node knew"


async def test_events_of_an_outage_are_told_when_it_is_over(hub: MemoryHub) -> None:
    buses = [hub.bus(), hub.bus()]
    async with nodes(buses) as (one, two):
        ada = Session("ada")
        await opened(one, ada)
        await two.emit("p", {"type": "done", "n": 1})
        await until(lambda: numbers(ada) == [1])
        hub.cut(buses[0])
        await two.emit("p", {"type": "done", "n": 2})
        await two.emit("p", {"type": "done", "n": 3})
        hub.heal()
        await one.emit("p", {"type": "done", "n": 4})
        await until(lambda: numbers(ada) == [1, 2, 3, 4])
        assert not ada.gaps


@pytest.mark.parametrize("known", [True, False])
async def test_events_that_may_be_missing_are_told_as_that(hub: MemoryHub, known: bool) -> None:
    """Who subscribed before the outage, and who did while the node did not even know the numbering."""
    buses = [hub.bus(), hub.bus()]
    async with nodes(buses) as (one, two):
        ada, eve = Session("ada"), Session("eve")
        if known:
            await opened(one, ada)
        hub.cut(buses[0])
        if not known:
            assert (await one.resume(ada, "done", None)).cursor == "none.0"
        await opened(two, eve)
        await two.emit("p", {"type": "done", "n": 1})
        if known:
            hub.forget()
            await two.emit("p", {"type": "done", "n": 2})
        hub.heal()
        await until(lambda: ada.gaps == 1)
        assert not ada.heard
        if known:  # nobody knows what else was lost with the numbering
            await until(lambda: eve.gaps == 1)
        await two.emit("p", {"type": "done", "n": 3})
        await until(lambda: numbers(ada) == [3])
        await until(lambda: numbers(eve) == [1, 3])
        assert eve.gaps == known


async def test_a_gap_that_nobody_has_told_of_is_filled(hub: MemoryHub) -> None:
    buses = [hub.bus(), hub.bus()]
    async with nodes(buses) as (one, two):
        ada = Session("ada")
        await opened(one, ada)
        await two.emit("p", {"type": "done", "n": 0})
        await until(lambda: bool(ada.heard))
        hub.loss = 1.0
        await two.emit("p", {"type": "done", "n": 1})
        hub.loss = 0.0
        await two.emit("p", {"type": "done", "n": 2})
        await until(lambda: numbers(ada) == [0, 1, 2])
        assert not ada.gaps


async def test_what_no_node_has_written_is_told_to_nobody(hub: MemoryHub) -> None:
    bus = hub.bus()
    async with nodes([bus]) as (custom,):
        ada = Session("ada")
        cursor = await opened(custom, ada)
        for junk in (b"", b"junk", b"\x80", b"\x81\xa4type\x01", b"\x82\xa4type\xa4done\xa8channels\x01"):
            await bus.keep("events/p", junk)
        await custom.emit("p", {"type": "done", "n": 1})
        await until(lambda: numbers(ada) == [1])
        assert len((await recent(custom, Session(), "done", cursor))[0]) == 1


STEPS = st.lists(st.sampled_from(["emit", "cut", "heal", "forget", "come back", "turn"]), max_size=40)


@given(steps=STEPS, seed=st.integers(0, 2**16), loss=st.sampled_from([0.0, 0.3]))
@example(["emit", "come back", "cut", *["emit"] * 4, "come back"], 0, 0.0)  # to a node that has heard less
@example(["emit", "come back", "heal", "forget", "come back"], 6524, 0.0)
@settings(max_examples=100)
def test_each_subscriber_hears_each_event_once_in_order_or_hears_of_a_gap(
    steps: list[str], seed: int, loss: float
) -> None:
    async def live() -> None:
        hub = MemoryHub(seed=seed, loss=loss, delay=lambda chance: chance.random() * 0.002)
        buses: list[MemoryBus] = [hub.bus() for _ in range(3)]
        emitted: list[int] = []
        async with nodes(buses) as customs:
            sessions = [Session(f"s{number}") for number in range(3)]
            ends = []
            cursors = []
            for custom, session in zip(customs, sessions, strict=True):
                resumed = await custom.resume(session, "done", None)
                ends.append(resumed.end)
                cursors.append(resumed.cursor)

            async def come_back(number: int) -> None:
                """A session comes back to the next node."""
                session = sessions[number]
                ends[number]()
                cursor = session.cursors[-1] if session.cursors else cursors[number]
                resumed = await customs[(number + len(emitted)) % 3].resume(session, "done", cursor)
                ends[number] = resumed.end
                if not resumed.recovered:
                    session.missed()
                    session.cursors.append(resumed.cursor)
                for sent in resumed.events:
                    session.custom(sent.event, sent.cursor)

            for index, step in enumerate(steps):
                if step == "emit":
                    try:
                        await customs[index % 3].emit("p", {"type": "done", "n": len(emitted)})
                        emitted.append(len(emitted))
                    except Unavailable:
                        pass
                elif step == "cut":
                    hub.cut(buses[index % 3])
                elif step == "heal":
                    hub.heal()
                elif step == "forget":
                    hub.forget()
                elif step == "come back":
                    await come_back(index % 3)
                else:
                    await asyncio.sleep(0.001)
            hub.heal()
            hub.loss = 0.0
            reached: set[str | None] = set()
            for _ in range(50):  # an event that meets a gap is part of it
                await customs[0].emit("p", {"type": "done", "n": len(emitted)})
                emitted.append(len(emitted))
                await asyncio.sleep(0.01)
                reached = {one.identity.user_id for one in sessions if numbers(one)[-1:] == emitted[-1:]}
                if len(reached) == 3:
                    break
            assert len(reached) == 3
            for session in sessions:
                heard = numbers(session)
                assert heard == sorted(set(heard)), "once, and in order"
                assert heard == emitted or session.gaps, "all, or a gap was told"

    asyncio.run(live())


@given(length=st.integers(1, 20), order=st.randoms(use_true_random=False), strays=st.integers(0, 3))
def test_messages_that_come_in_any_order_are_taken_in_theirs(length: int, order: Any, strays: int) -> None:
    log = [Kept("e", number, b"") for number in range(1, length + 1)]
    arriving = [*log, *log[:3], *(Kept("old", number, b"") for number in range(strays))]
    order.shuffle(arriving)
    numbering = Numbering()
    taken = [*numbering.fetched("e", 0, [])]
    for message in arriving:
        taken += numbering.take(message)
        assert numbering.epoch == "e"
        if order.random() < 0.2:
            taken += numbering.fetched("e", length, log[numbering.number :])
    for _ in range(3):
        taken += numbering.fetched("e", length, log[numbering.number :])
    assert taken == log
    assert not numbering.behind


def test_what_waits_for_older_messages_is_bounded() -> None:
    numbering = Numbering()
    for number in range(1, 3 * MOST_WAITING):
        assert not numbering.take(Kept("e", number, b""))
        assert len(numbering._waiting) <= MOST_WAITING
    taken = numbering.fetched("e", 5, [])
    assert not taken
    assert numbering.behind, "those between are to be fetched"
