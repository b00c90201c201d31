from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.bus.memory import MemoryBus, MemoryHub
from collab.testing.bus_contract import TOPIC, BusContract


class TestMemoryBus(BusContract):
    @pytest.fixture(autouse=True)
    def make_hub(self) -> None:
        self.hub = MemoryHub()
        self.down = False

    def bus(self) -> MemoryBus:
        bus = self.hub.bus()
        bus.set_cut(self.down)
        self.made = [*getattr(self, "made", []), bus]
        return bus

    async def kill(self) -> None:
        self.hub.forget()
        await self.freeze()

    async def start(self) -> None:
        await self.thaw()

    async def freeze(self) -> None:
        self.down = True
        self.hub.cut(*getattr(self, "made", []))

    async def thaw(self) -> None:
        self.down = False
        self.hub.heal(*self.made)

    async def forget(self) -> None:
        self.hub.forget()

    async def junk(self, topic: str, payload: bytes) -> None:
        for bus in self.made:
            bus.counts.junk += 2  # nobody else writes into this process

    async def subscriptions(self) -> int:
        return self.hub.subscribed()


class VirtualTime:
    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), call))

    def run(self) -> None:
        while self._due:
            self.now, _, call = heapq.heappop(self._due)
            call()


@given(seed=st.integers(0, 2**32), loss=st.floats(0, 1), cut=st.integers(0, 100))
def test_a_hub_loses_and_delays_but_never_changes_the_order_and_repeats_itself(
    seed: int, loss: float, cut: int
) -> None:
    def history() -> list[list[bytes]]:
        time = VirtualTime()
        hub = MemoryHub(seed=seed, loss=loss, delay=lambda c: c.random(), later=time.later, clock=lambda: time.now)
        buses = [hub.bus() for _ in range(3)]
        heard: list[list[bytes]] = [[] for _ in buses]

        async def talk() -> None:
            for bus, mine in zip(buses, heard, strict=True):
                await bus.open()
                await bus.subscribe(TOPIC, mine.append)
            for number in range(100):
                if number == cut:
                    hub.cut(buses[0])
                if number == cut + 10:
                    hub.heal()
                for name, bus in enumerate(buses):
                    bus.publish(TOPIC, b"%d %03d" % (name, number))

        asyncio.run(talk())
        time.run()
        return heard

    first = history()
    assert first == history()
    for mine in first:
        for name in range(3):
            numbers = [message for message in mine if message.startswith(b"%d " % name)]
            assert numbers == sorted(set(numbers))
    if not loss and cut >= 100:
        assert [len(mine) for mine in first] == [300] * 3
    if loss == 1:
        assert first == [[], [], []]
