"""Rich text of a document from Python: read, and set as an edit of a named user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from pycrdt import Array, Map, Text

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


async def test_a_root_that_was_emptied_is_set_again_as_what_it_was(collab: Collab) -> None:
    room = collab.room("d")
    await room.set_markdown("# a", root="default")
    await room.set_markdown("")
    await room.set_markdown("b")
    assert await room.markdown() == "b\n"
    code = collab.room("e")
    await code.set_text("a", root="code")
    await code.set_text("")
    assert await code.delta() == []
    await code.set_markdown("b")
    assert await code.delta() == [{"insert": "b\n"}]
    await room.set_markdown("")
    with pytest.raises(InvalidRequest, match="more than plain text"):
        await room.set_text("c")
    with pytest.raises(InvalidRequest, match="this root is XML"):
        await room.set_markdown("c", schema="quill")


@pytest.mark.parametrize("form", ["text", "markdown", "html", "prosemirror"])
async def test_nothing_is_written_into_maps_and_arrays(collab: Collab, form: Any) -> None:
    content = '{"type": "doc", "content": [{"type": "paragraph"}]}' if form == "prosemirror" else "a"
    room = collab.room("d")
    with pytest.raises(InvalidRequest, match="this root is a map"):
        await room.set_rich(form, content, root="fields")  # of the entity, also before there is one
    async with room.edit() as doc:
        doc["m"] = Map({"a": 1})
        doc["n"] = Array([1])
    with pytest.raises(InvalidRequest, match="this root is a map"):
        await room.set_rich(form, content, root="m")
    async with room.edit() as doc:
        del doc.get("m", type=Map)["a"]
        doc.get("n", type=Array).pop()
    with pytest.raises(InvalidRequest, match="this root is a map"):
        await room.set_rich(form, content, root="m")
    with pytest.raises(InvalidRequest, match="this root is an array"):
        await room.set_rich(form, content, root="n")
    assert await room.json() == {"m": {}, "n": []}


async def test_half_a_character_is_an_error_of_the_caller(collab: Collab) -> None:
    room = collab.room("d")
    for setting in (room.set_text, room.set_markdown):
        with pytest.raises(InvalidRequest, match="a surrogate that stands alone"):
            await setting("a\ud800", root="x")
    with pytest.raises(InvalidRequest, match="a surrogate that stands alone"):
        await room.set_prosemirror({"type": "doc", "content": [{"type": "text", "text": "\ud800"}]}, root="x")
    with pytest.raises(InvalidRequest, match="a surrogate that stands alone"):
        await room.html("\ud800")


async def test_arguments_that_no_document_has_are_errors_of_the_caller(collab: Collab) -> None:
    room: Any = collab.room("d")
    with pytest.raises(InvalidRequest, match="form must be one of markdown, html, prosemirror, text"):
        await room.set_rich("docx", "a", root="x")
    with pytest.raises(InvalidRequest, match="form must be one of markdown, html, prosemirror, delta"):
        await room.rich("docx")
    with pytest.raises(InvalidRequest, match="schema must be one of tiptap"):
        await room.set_markdown("a", root="x", schema="word")
    with pytest.raises(InvalidRequest, match="not bytes"):
        await room.set_markdown(b"a", root="x")
    with pytest.raises(InvalidRequest, match="not int"):
        await room.set_markdown("a", root=1)
