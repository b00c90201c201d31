from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from pycrdt import Doc, Map, Text, get_state

from collab import Collab, Settings
from collab.errors import InvalidRequest
from collab.storage.memory import MemoryStorage
from tests.fuzz.encode import STRING, TYPE, block, frame, item, string


@pytest.fixture
async def collab() -> AsyncIterator[Collab]:
    made = Collab(Settings(), storage=MemoryStorage())
    async with made.lifespan():
        yield made


async def write(collab: Collab, text: str, root: str = "t", user: str | None = None) -> None:
    async with collab.room("d").edit(user=user) as doc:
        held = doc.get(root, type=Text)
        held += text


async def test_a_replica_gets_what_it_lacks(collab: Collab) -> None:
    room = collab.room("d")
    await write(collab, "one ")
    replica: Doc[Any] = Doc()
    replica.apply_update(await room.update())
    known = replica.get_state()
    assert await room.state_vector() == known
    await write(collab, "two")
    missing = await room.update(known)
    assert len(missing) < len(await room.update())
    replica.apply_update(missing)
    assert str(replica.get("t", type=Text)) == "one two"
    assert get_state(await room.update()) == await room.state_vector()
    with pytest.raises(InvalidRequest):
        await room.update(b"\xff")


async def test_a_document_is_read_as_json_text_and_values(collab: Collab) -> None:
    room = collab.room("d")
    assert await room.json() == {}
    assert await room.encoded_json() == b"{}"
    assert await room.text() == ""
    async with room.edit() as doc:
        doc["t"] = Text("words")
        doc["m"] = Map({"n": 1})
    assert await room.json() == {"t": "words", "m": {"n": 1}}
    assert msgspec.json.decode(await room.encoded_json()) == {"t": "words", "m": {"n": 1}}
    assert await room.text() == await room.text("t") == "words"
    await write(collab, "more", root="u")
    for form in (room.text, room.markdown):
        with pytest.raises(InvalidRequest, match="name a root: this document has t, u"):
            await form()
    async with room.edit() as doc:
        del doc.get("u", type=Text)[:]
    assert await room.text() == (await room.markdown()).strip() == "words"  # the other one has no text any more
    with pytest.raises(InvalidRequest, match="a map"):
        await room.text("m")


async def test_updates_are_followed_with_their_authors_until_the_follower_leaves(collab: Collab) -> None:
    room = collab.room("d")
    replica: Doc[Any] = Doc()
    updates = room.updates()
    assert isinstance(updates, AsyncGenerator)
    async with aclosing(updates), asyncio.timeout(60):
        following = asyncio.ensure_future(anext(updates))
        while not any(held.listeners for held in collab._registry.rooms.values()):
            await asyncio.sleep(0.001)
        await write(collab, "a", user="ann")
        first = await following
        await write(collab, "b")
        second = await anext(updates)
    assert (first.user_id, second.user_id) == ("ann", None)
    replica.apply_update(first.update)
    replica.apply_update(second.update)
    assert str(replica.get("t", type=Text)) == "ab"
    [held] = collab._registry.rooms.values()
    assert not held.listeners
    assert not held.holds


async def test_an_edit_that_changes_nothing_is_no_update(collab: Collab) -> None:
    await write(collab, "a")
    before = await collab.room("d").state_vector()
    async with collab.room("d").edit() as doc:
        assert str(doc.get("t", type=Text)) == "a"
    assert await collab.room("d").state_vector() == before


async def test_a_large_update_with_an_element_that_cannot_be_kept_is_refused_whole(collab: Collab) -> None:
    letters = [item(STRING, string("a"), parent="t")]
    letters += [item(STRING, string("a"), right=(8, n)) for n in range(3000)]
    hook = item(TYPE, b"\x05" + string("hook"), parent="x")
    with pytest.raises(InvalidRequest, match="an XML hook"):
        await collab.room("d").apply(frame([block(8, 0, letters), block(7, 0, [hook])]))
    assert await collab.room("d").json() == {}
