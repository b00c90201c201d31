"""Rich text of a document from Python: read, and set as an edit of a named user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from pycrdt import Array, Text

from collab import Collab, Settings
from collab.errors import InvalidRequest
from collab.storage.memory import MemoryStorage

MARKDOWN = "# Title\n\nA *paragraph*.\n\n- [x] done\n"


@pytest.fixture
async def collab() -> AsyncIterator[Collab]:
    made = Collab(Settings(), storage=MemoryStorage())
    async with made.lifespan():
        yield made


async def test_what_is_set_in_one_format_is_read_in_all(collab: Collab) -> None:
    room = collab.room("d")
    assert await room.markdown() == await room.html() == await room.text() == ""
    assert await room.prosemirror() == {"type": "doc"}
    await room.set_markdown(MARKDOWN, "alice", root="default")
    assert await room.markdown() == await room.markdown("default") == MARKDOWN
    assert (await room.html()).startswith("<h1>Title</h1><p>A <em>paragraph</em>.</p>")
    assert await room.text() == "Title\nA paragraph.\ndone"
    doc = await room.prosemirror()
    assert [part["type"] for part in doc["content"]] == ["heading", "paragraph", "taskList"]
    await room.set_html("<p>B</p>")
    assert await room.markdown() == "B\n"
    await room.set_prosemirror(doc)
    assert await room.prosemirror() == doc
    assert await collab.room("e").markdown("none") == ""


async def test_an_edit_has_its_author_and_setting_the_same_again_is_none(collab: Collab) -> None:
    room = collab.room("d")
    seen: list[str | None] = []
    async with aclosing(room.updates()) as updates:  # type: ignore[type-var]
        following = asyncio.ensure_future(anext(updates))
        while not collab._registry.rooms:
            await asyncio.sleep(0)
        await room.set_markdown("one", "alice", root="default")
        seen.append((await following).user_id)
        following = asyncio.ensure_future(anext(updates))
        await room.set_markdown("one", "bob")
        await room.set_markdown("one two", "carol")
        seen.append((await following).user_id)
    assert seen == ["alice", "carol"]


async def test_texts_of_code_editors_are_set_as_plain_text(collab: Collab) -> None:
    room = collab.room("d")
    async with room.edit() as doc:
        doc["code"] = Text("let x = 1")
    await room.set_text("let y = 1")
    assert await room.text() == "let y = 1"
    assert await room.delta() == [{"insert": "let y = 1"}]


async def test_simultaneous_settings_take_turns(collab: Collab) -> None:
    room = collab.room("d")
    await room.set_markdown("start", root="default")
    await asyncio.gather(*(room.set_markdown(f"number {n}") for n in range(5)))
    assert await room.markdown() in {f"number {n}\n" for n in range(5)}


async def test_a_root_that_is_no_rich_text_is_an_error_of_the_caller(collab: Collab) -> None:
    room = collab.room("d")
    with pytest.raises(InvalidRequest, match="name a root: this document has none yet"):
        await room.set_markdown("a")
    async with room.edit() as doc:
        doc["a"] = Array([1])
        doc["t"] = Text("a")
        doc["u"] = Text("b")
    with pytest.raises(InvalidRequest, match="this root is an array"):
        await room.markdown("a")
    with pytest.raises(InvalidRequest, match="name a root: this document has t, u"):
        await room.markdown()
    with pytest.raises(InvalidRequest, match="name a root: this document has t, u"):
        await room.set_markdown("a")
    with pytest.raises(InvalidRequest, match='an object with "type": "doc"'):
        await room.set_prosemirror({}, root="x")
    await room.set_markdown("# fine", root="x")
    with pytest.raises(InvalidRequest, match="only a text has a delta"):
        await room.delta("x")
