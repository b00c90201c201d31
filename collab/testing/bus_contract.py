"""The contract of a bus: order, nothing missed, what is told of an outage, kept messages, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from collab.bus.base import KEPT_BYTES, KEPT_MESSAGES, Bus, Kept, MessageName, Repeated
from collab.errors import Unavailable

TOPIC = "events/acme"
OTHER = "events/other"
PATIENCE = 30.0


class BusContract:
    """Inherit, and implement the methods without a body. All buses of a test are of one hub or server."""

    def bus(self) -> Bus:
        """A node's bus that is not open yet."""
        raise NotImplementedError

    async def kill(self) -> None:
        """End what stands between the nodes; what it has kept is lost."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start it again."""
        raise NotImplementedError

    async def freeze(self) -> None:
        """Stop it without closing a connection."""
        raise NotImplementedError

    async def thaw(self) -> None:
        """Let it go on."""
        raise NotImplementedError

    async def forget(self) -> None:
        """Lose what is kept."""
        raise NotImplementedError

    async def junk(self, topic: str, payload: bytes) -> None:
        """Send something to the listeners of a topic, and of its kept messages, that no node has written."""
        raise NotImplementedError

    async def subscriptions(self) -> int:
        """The number of topics that somebody hears or follows."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self, count: int = 2) -> AsyncIterator[Sequence[Bus]]:
        """This many buses, open and connected inside the block."""
        async with AsyncExitStack() as stack:
            buses = []
            for _ in range(count):
                buses.append(self.bus())
                await buses[-1].open()
                stack.push_async_callback(buses[-1].close)
            for bus in buses:
                await until(lambda bus=bus: not bus.lost)  # type: ignore[misc]
            yield buses

    async def test_messages_of_one_sender_arrive_in_order_at_all_nodes_the_sender_too(self) -> None:
        async with self.opened(3) as buses:
            heard: list[list[bytes]] = [[] for _ in buses]
            for bus, mine in zip(buses, heard, strict=True):
                await bus.subscribe(TOPIC, mine.append)
            for number in range(500):
                for name, bus in enumerate(buses):
                    bus.publish(TOPIC, b"%d %d" % (name, number))
                if number % 7 == 0:
                    await asyncio.sleep(0)
            for mine in heard:
                await until(lambda mine=mine: len(mine) == 1500)  # type: ignore[misc]
                for name in range(3):
                    sent = [message for message in mine if message.startswith(b"%d " % name)]
                    assert sent == [b"%d %d" % (name, number) for number in range(500)]
            assert [bus.counts.heard for bus in buses] == [1500] * 3
            assert [bus.counts.published for bus in buses] == [500] * 3
            assert [bus.counts.dropped for bus in buses] == [0] * 3

    async def test_a_node_hears_what_it_has_subscribed_to_and_nothing_else(self) -> None:
        async with self.opened() as (one, two):
            heard: list[bytes] = []
            end = await two.subscribe(TOPIC, heard.append)
            one.publish(OTHER, b"other project")
            one.publish("events", b"no project")
            one.publish("gossip/acme", b"other kind")
            one.publish(TOPIC, b"1")
            await until(lambda: heard == [b"1"])
            end()
            end()
            again = await two.subscribe(OTHER, heard.append)
            one.publish(TOPIC, b"2")
            one.publish(OTHER, b"3")
            await until(lambda: heard == [b"1", b"3"])
            again()

    async def test_nothing_is_missed_once_subscribe_has_returned(self) -> None:
        async with self.opened() as (one, two):
            for number in range(50):
                heard: list[bytes] = []
                end = await two.subscribe(TOPIC, heard.append)
                one.publish(TOPIC, b"%d" % number)
                await until(lambda heard=heard, number=number: heard == [b"%d" % number])  # type: ignore[misc]
                end()
                if number % 2:  # otherwise the next subscription meets this one's end
                    await asyncio.sleep(0)

    async def test_a_listener_that_fails_or_ends_another_one_does_not_disturb_the_rest(self) -> None:
        async with self.opened() as (one, two):
            heard: list[bytes] = []

            def fail(message: bytes) -> None:
                end()
                raise ValueError(message)

            await two.subscribe(TOPIC, fail)
            await two.subscribe(TOPIC, heard.append)
            end = await two.subscribe(TOPIC, lambda message: None)
            one.publish(TOPIC, b"1")
            one.publish(TOPIC, b"2")
            await until(lambda: heard == [b"1", b"2"])

    async def test_a_message_of_a_megabyte_arrives(self) -> None:
        async with self.opened() as (one, two):
            heard: list[bytes] = []
            await two.subscribe(TOPIC, heard.append)
            message = bytes(range(256)) * 4096
            one.publish(TOPIC, b"before")
            one.publish(TOPIC, message)
            one.publish(TOPIC, b"after")
            await until(lambda: len(heard) == 3)
            assert heard == [b"before", message, b"after"]

    async def test_what_somebody_else_has_written_is_dropped_and_counted(self) -> None:
        async with self.opened() as (one, two):
            heard: list[bytes] = []
            kept: list[Kept] = []
            await two.subscribe(TOPIC, heard.append)
            await two.follow(TOPIC, kept.append)
            payloads = [
                b"",
                b"junk",
                b"\x00\xff" * 100,
                b"collab1 ",
                b"collab1 junk",
                b"collab1 a b c",
                b"collab1 \x91\x01",
            ]
            for payload in payloads:
                await self.junk(TOPIC, payload)
            one.publish(TOPIC, b"1")
            await one.keep(TOPIC, b"2")
            await until(lambda: heard == [b"1"] and [one.message for one in kept] == [b"2"])
            assert two.counts.junk == 2 * len(payloads)

    @pytest.mark.parametrize("how", ["killed", "frozen"])
    async def test_an_outage_is_told_and_so_is_its_end_after_which_all_is_heard_again(self, how: str) -> None:
        async with self.opened() as (one, two):
            heard: list[bytes] = []
            told: list[bool] = []
            await two.subscribe(TOPIC, heard.append)
            end = two.watch(told.append)
            await (self.kill() if how == "killed" else self.freeze())
            await until(lambda: one.lost and two.lost)
            assert told == [True]
            one.publish(TOPIC, b"dropped")
            assert one.counts.dropped == 1
            with pytest.raises(Unavailable):
                await one.keep(TOPIC, b"not kept")
            with pytest.raises(Unavailable):
                await one.since(TOPIC, "", 0)
            await two.subscribe(OTHER, heard.append)  # does not wait for the end of the outage
            await (self.start() if how == "killed" else self.thaw())
            await until(lambda: not one.lost and not two.lost)
            assert told == [True, False]
            one.publish(TOPIC, b"1")
            one.publish(OTHER, b"2")
            await until(lambda: sorted(heard) == [b"1", b"2"])
            end()

    async def test_a_bus_that_cannot_be_reached_does_not_delay_the_start(self) -> None:
        await self.kill()
        bus = self.bus()
        heard: list[bytes] = []
        await bus.open()
        await bus.subscribe(TOPIC, heard.append)
        bus.publish(TOPIC, b"dropped")
        assert bus.lost
        await self.start()
        await until(lambda: not bus.lost)
        bus.publish(TOPIC, b"1")
        await until(lambda: heard == [b"1"])
        await bus.close()
        assert bus.lost

    async def test_a_call_that_an_outage_meets_is_refused_in_the_end(self) -> None:
        async with self.opened(1) as (bus,):
            await self.freeze()
            with pytest.raises(Unavailable):
                await bus.keep(TOPIC, b"x")
            await self.thaw()
            await until(lambda: not bus.lost)
            await bus.keep(TOPIC, b"y")

    async def test_a_call_that_is_given_up_does_not_disturb_the_next_ones(self) -> None:
        async with self.opened(1) as (bus,):
            given_up = [asyncio.create_task(bus.keep(TOPIC, b"%d" % number)) for number in range(20)]
            await asyncio.sleep(0)
            for task in given_up[::2]:
                task.cancel()
            ended = await asyncio.gather(*given_up, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended[::2])
            last = await bus.keep(TOPIC, b"last")
            assert isinstance(last, Kept)
            assert (await bus.since(TOPIC, last.epoch, last.number - 1)).messages == [last]
            assert not bus.lost

    async def test_kept_messages_are_numbered_without_gaps_whoever_keeps_them(self) -> None:
        async with self.opened(3) as buses:
            heard: list[Kept] = []
            await buses[0].follow(TOPIC, heard.append)
            await asyncio.gather(*(bus.keep(TOPIC, b"%d" % n) for n in range(20) for bus in buses))
            await until(lambda: len(heard) == 60)
            assert [kept.number for kept in heard] == [*range(1, 61)]
            assert len({kept.epoch for kept in heard}) == 1
            assert await buses[1].keep(OTHER, b"x") != heard[0], "each topic has numbers of its own"
            backlog = await buses[2].since(TOPIC, heard[0].epoch, 0)
            assert (backlog.messages, backlog.newest, backlog.complete) == (heard, 60, True)

    async def test_who_was_away_reads_what_was_kept_meanwhile(self) -> None:
        async with self.opened() as (one, two):
            before = await two.since(TOPIC, "", 0)
            assert (before.newest, before.messages, before.complete) == (0, [], False)
            kept = [await one.keep(TOPIC, b"%d" % number) for number in range(10)]
            for number in range(11):
                backlog = await two.since(TOPIC, before.epoch, number)
                assert (backlog.epoch, backlog.newest, backlog.complete) == (before.epoch, 10, True)
                assert backlog.messages == kept[number:]
            assert not (await two.since(TOPIC, before.epoch, 11)).complete, "no such number was given out"
            foreign = await two.since(TOPIC, "somethingelse", 3)
            assert (foreign.epoch, foreign.newest, foreign.messages, foreign.complete) == (before.epoch, 10, [], False)

    async def test_a_topic_keeps_its_newest_messages(self) -> None:
        async with self.opened(1) as (bus,):
            await asyncio.gather(*(bus.keep(TOPIC, b"%d" % number) for number in range(1, KEPT_MESSAGES + 11)))
            epoch = (await bus.since(TOPIC, "", 0)).epoch
            gone = await bus.since(TOPIC, epoch, 9)
            assert not gone.complete
            assert [kept.number for kept in gone.messages] == [*range(11, KEPT_MESSAGES + 11)]
            there = await bus.since(TOPIC, epoch, 10)
            assert there.complete
            assert [kept.message for kept in there.messages] == [b"%d" % n for n in range(11, KEPT_MESSAGES + 11)]

    async def test_a_topic_keeps_a_megabyte_at_most_or_one_message(self) -> None:
        async with self.opened(1) as (bus,):
            for _ in range(6):
                await bus.keep(TOPIC, b"x" * (KEPT_BYTES // 4))
            epoch = (await bus.since(TOPIC, "", 0)).epoch
            assert [kept.number for kept in (await bus.since(TOPIC, epoch, 0)).messages] == [3, 4, 5, 6]
            await bus.keep(TOPIC, b"y" * (KEPT_BYTES + 1))
            assert [kept.number for kept in (await bus.since(TOPIC, epoch, 0)).messages] == [7]
            await bus.keep(TOPIC, b"z")
            assert [kept.number for kept in (await bus.since(TOPIC, epoch, 0)).messages] == [8]

    async def test_numbers_begin_anew_under_another_epoch_when_what_was_kept_is_lost(self) -> None:
        async with self.opened() as (one, two):
            await one.keep(TOPIC, b"1")
            lost = await one.keep(TOPIC, b"2")
            assert isinstance(lost, Kept)
            heard: list[Kept] = []
            await two.follow(TOPIC, heard.append)
            await self.forget()
            new = await one.keep(TOPIC, b"3")
            assert isinstance(new, Kept)
            assert (new.number, new.epoch != lost.epoch) == (1, True)
            await until(lambda: heard == [new])
            backlog = await two.since(TOPIC, lost.epoch, 1)
            assert (backlog.epoch, backlog.newest, backlog.messages, backlog.complete) == (new.epoch, 1, [], False)

    async def test_a_name_keeps_one_message_whoever_uses_it(self) -> None:
        async with self.opened() as (one, two):
            attempts = await asyncio.gather(
                *(
                    bus.keep(TOPIC, b"m%d" % n, MessageName("order 7", b"n%d" % n))
                    for n, bus in enumerate([one, two] * 5)
                )
            )
            kept = [attempt for attempt in attempts if isinstance(attempt, Kept)]
            assert len(kept) == 1
            note = kept[0].message.replace(b"m", b"n")
            assert [attempt for attempt in attempts if attempt != kept[0]] == [Repeated(note)] * 9
            assert isinstance(await two.keep(TOPIC, b"x", MessageName("order 8", b"")), Kept)
            assert isinstance(await two.keep(OTHER, b"x", MessageName("order 7", b"")), Kept), "another topic"
            assert (await one.since(TOPIC, kept[0].epoch, 0)).newest == 2

    async def test_clusters_that_share_a_server_do_not_hear_each_other(self) -> None:
        async with self.opened(1) as (one,):
            foreign = self.bus()
            await foreign.open("staging")
            await until(lambda: not foreign.lost)
            heard: list[object] = []
            await one.subscribe(TOPIC, heard.append)
            await one.follow(TOPIC, heard.append)
            foreign.publish(TOPIC, b"1")
            await foreign.keep(TOPIC, b"2", MessageName("order 7", b""))
            kept = await one.keep(TOPIC, b"3", MessageName("order 7", b""))
            await until(lambda: heard == [kept])
            await foreign.close()

    async def test_no_subscription_is_left_after_its_end_and_none_after_close(self) -> None:
        async with self.opened() as (one, two):
            ends = [await one.subscribe(TOPIC, lambda message: None) for _ in range(3)]
            ends.append(await one.follow(TOPIC, lambda kept: None))
            await two.subscribe(OTHER, lambda message: None)
            assert await self.subscriptions() == 3
            for end in ends:
                end()
            await self.until_subscriptions(1)
        await self.until_subscriptions(0)

    async def test_what_was_published_before_close_arrives(self) -> None:
        async with self.opened(1) as (two,):
            heard: list[bytes] = []
            await two.subscribe(TOPIC, heard.append)
            one = self.bus()
            await one.open()
            await until(lambda: not one.lost)
            one.publish(TOPIC, b"last")
            await one.close()
            await until(lambda: heard == [b"last"])

    async def test_opened_and_closed_a_hundred_times_nothing_is_left(self) -> None:
        async with self.opened(1):
            before = asyncio.all_tasks()
            for number in range(100):
                bus = self.bus()
                await bus.open()
                if number % 2:
                    await until(lambda bus=bus: not bus.lost)  # type: ignore[misc]
                    await bus.subscribe(TOPIC, lambda message: None)
                await bus.close()
            gc.collect()
            await until(lambda: asyncio.all_tasks() == before)
            await self.until_subscriptions(0)

    async def until_subscriptions(self, count: int) -> None:
        """Wait until this many topics are heard or followed."""
        with anyio.fail_after(PATIENCE):
            while await self.subscriptions() != count:  # noqa: ASYNC110 - others do not tell of it
                await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for a condition. Raises :class:`TimeoutError`."""
    with anyio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.005)
