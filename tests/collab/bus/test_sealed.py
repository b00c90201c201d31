"""Nodes hear nodes, and nobody else."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.bus.base import Kept
from collab.bus.memory import MemoryHub
from collab.bus.sealed import SealedBus, seal, unseal

KEY = b"k" * 64


@given(st.binary(), st.text(), st.binary(max_size=200))
def test_a_message_is_opened_by_who_has_the_key_on_its_topic(key: bytes, topic: str, message: bytes) -> None:
    key = (key + KEY)[:64]
    sealed = seal(key, topic, message)
    assert unseal(key, topic, sealed) == message
    assert unseal(key, topic + "x", sealed) is None
    assert unseal(bytes(64), topic, sealed) is None
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert unseal(key, topic, bytes(changed)) is None
    assert unseal(key, topic, message) is None or len(message) > 16


async def test_what_somebody_else_writes_to_the_bus_is_counted_and_not_heard() -> None:
    hub = MemoryHub()
    node, stranger = SealedBus(hub.bus()), hub.bus()
    node.unlock(b"secret")
    await node.open()
    await stranger.open()
    heard: list[bytes] = []
    kept: list[Kept] = []
    await node.subscribe("topic", heard.append)
    await node.follow("topic", kept.append)
    stranger.publish("topic", b"forged, and longer than a code")
    await stranger.keep("topic", b"forged")
    await node.keep("topic", b"real")
    node.publish("topic", b"real")
    async with asyncio.timeout(10):
        while not heard or not kept:
            await asyncio.sleep(0.001)
    assert heard == [b"real"]
    assert [one.message for one in kept] == [b"real"]
    assert node.counts.junk == 2
    backlog = await node.since("topic", kept[0].epoch, 0)
    assert [one.message for one in backlog.messages] == [b"real"]


async def test_a_bus_without_a_key_does_not_open() -> None:
    with pytest.raises(RuntimeError, match="the key comes first"):
        await SealedBus(MemoryHub().bus()).open()
