"""Search in what documents say, through a server: with each content event, from before the declaration, and live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pycrdt import Doc, Text, XmlElement, XmlFragment, XmlText

from collab import Collab, Settings
from collab.errors import Unavailable
from collab.names import RoomKey
from collab.query.parse import parse_query
from collab.query.search import compile_search, fold_texts
from collab.records.declaration import CollectionDeclaration, declaration
from collab.rooms import unread_contents
from collab.rooms.content_events import ContentEvents
from collab.rooms.unread_contents import UnreadContents
from collab.sandbox.client import Child, SandboxError
from collab.storage.base import Storage, StorageError, Unread
from collab.storage.memory import MemoryStorage
from tests.collab.realtime.matching.live_world import Screen as Shown

SEARCHED = declaration(search=["title"], search_content=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_contents, "_LOOK_SECONDS", 0.05)


def made(
    declared: CollectionDeclaration | None = SEARCHED,
    *,
    storage: Storage | None = None,
    folder: Path | None = None,
    seconds: float = 0.05,
    **collections: CollectionDeclaration,
) -> Collab:
    known = {} if declared is None else {"notes": declared}
    settings = Settings(
        data=str(folder or "data"), content_event_seconds=seconds, open=True, collections=known | collections
    )
    return Collab(settings, storage=storage)


@asynccontextmanager
async def serving(collab: Collab) -> AsyncIterator[Collab]:
    async with asyncio.timeout(15), collab.lifespan():
        yield collab


async def found(collab: Collab, words: str) -> list[str]:
    asked = {"search": words, "orderBy": {"id": "asc"}}
    return [row["id"] for row in (await collab.collection("notes").find_many(asked)).rows]


async def until_found(collab: Collab, words: str, expected: Sequence[str]) -> None:
    while True:
        try:
            if await found(collab, words) == list(expected):
                return
        except Unavailable:
            pass
        await asyncio.sleep(0.02)


async def until_told(collab: Collab) -> None:
    """Until all content events are there."""
    while await collab._storage.uncovered():
        await asyncio.sleep(0.02)


async def write(collab: Collab, name: str, text: str) -> None:
    async with collab.room(f"notes/{name}").edit(user="ada") as doc:
        root = doc.get("body", type=Text)
        root.clear()
        root += text


async def test_a_document_is_found_by_what_it_says_with_its_content_event() -> None:
    async with serving(made(storage=MemoryStorage())) as collab:
        await collab.collection("notes").create({"title": "Animals of the sea"}, id="a")
        await collab.collection("notes").create({"title": "Whales"}, id="b")
        await write(collab, "a", "The blue whale sings")
        await until_found(collab, "sea blue wha", ["a"])
        assert await collab.collection("notes").count({"search": "whale -blue"}) == 0
        assert await found(collab, '"sea the"') == [], "a phrase is in one text"
        await collab.room("notes/b").set_markdown(
            "# Giants\n\nblue\n\n| whale | song |\n|---|---|\n| x | y |\n", root="default", user="bob"
        )
        await until_found(collab, "blue giants", ["b"])
        assert await found(collab, '"blue whale"') == ["a"]
        assert await found(collab, "bluewhale") == []
        await write(collab, "a", "Nothing")
        await until_found(collab, "whale", ["b"])


async def test_fields_and_entities_inside_a_document_are_not_its_content() -> None:
    """They are searched where they are declared, with the rights on their own rows."""
    tasks = declaration(mapped={"in": "notes", "root": "tasks"}, search=["title"])
    async with serving(made(declaration(search_content=True), storage=MemoryStorage(), tasks=tasks)) as collab:
        await collab.collection("notes").create({"title": "secret"}, id="a")
        await collab.collection("tasks").create({"title": "hidden"}, id="a:t1")
        await write(collab, "a", "open")
        await until_found(collab, "open", ["a"])
        assert await found(collab, "secret") == []
        assert await found(collab, "hidden") == []


async def test_what_was_not_told_before_the_process_ended_is_found_after_its_next_start(tmp_path: Path) -> None:
    async with serving(made(folder=tmp_path, seconds=1000)) as collab:
        await write(collab, "a", "blue whale")
        assert await found(collab, "whale") == []
    async with serving(made(folder=tmp_path)) as collab:
        await until_found(collab, "whale", ["a"])


async def test_t7_documents_from_before_are_read_before_anything_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    may_read = asyncio.Event()
    texts = Child.texts

    async def held(self: Child, *asked: Any) -> list[str | None]:
        await may_read.wait()
        return await texts(self, *asked)

    monkeypatch.setattr(Child, "texts", held)
    async with serving(made(declaration(search=["title"]), folder=tmp_path)) as collab:
        for number in range(60):
            await write(collab, f"n{number:02}", f"whale {number}")
        await collab.collection("notes").create({"title": "whale"}, id="row")
        await until_found(collab, "whale", ["row"])
    async with serving(made(folder=tmp_path)) as collab:
        with pytest.raises(Unavailable, match="the documents of notes are still being read for search"):
            await found(collab, "whale")
        await write(collab, "n07", "shark")
        may_read.set()
        names = [f"n{number:02}" for number in range(60) if number != 7]
        await until_found(collab, "whale", [*names, "row"])
        await until_found(collab, "shark", ["n07"])
        assert "all documents are read for search" in caplog.text
    caplog.clear()
    async with serving(made(folder=tmp_path)) as collab:
        assert await found(collab, "whale 59") == ["n59"]
        assert "read for search" not in caplog.text
    async with serving(made(declaration(search=["title"]), folder=tmp_path)) as collab:
        assert await found(collab, "whale") == ["row"]


@pytest.mark.parametrize("is_read_first", [True, False])
async def test_t7_what_was_cut_from_the_logs_before_there_were_content_events_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, is_read_first: bool
) -> None:
    """Whether documents are read for search, or their content events get past what was cut, first."""
    late = UnreadContents if not is_read_first else ContentEvents
    name = "_read_all" if not is_read_first else "_process_left"
    may_begin = asyncio.Event()
    begin = getattr(late, name)

    async def held(self: Any) -> None:
        await may_begin.wait()
        await begin(self)

    monkeypatch.setattr(late, name, held)
    never = Settings(data=str(tmp_path), content_event_seconds=0, history_days=0, open=True)
    async with serving(Collab(never)) as collab:
        notes = collab.collection("notes")
        await notes.create({"title": "x"}, id="a")
        await notes.create({"title": "x"}, id="b")
        for each in "abc":  # "c" is no entity
            await write(collab, each, "whale")
            await collab._registry.compactor.compact(RoomKey("default", "notes", each))
        await notes.update("b", {"title": "y"})
    async with serving(made(folder=tmp_path)) as collab:
        while await (collab._storage.unread() if is_read_first else collab._storage.uncovered()):
            await asyncio.sleep(0.02)
        may_begin.set()
        await until_found(collab, "whale", ["a", "b", "c"])
        assert "search does not find" not in caplog.text


async def test_a_document_that_cannot_be_read_keeps_no_other_from_being_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = Child.texts

    async def picky(self: Child, documents: Sequence[Sequence[bytes]], *asked: Any) -> list[str | None]:
        if any(b"poison" in update for updates in documents for update in updates):
            raise SandboxError("too much")
        return await texts(self, documents, *asked)

    monkeypatch.setattr(Child, "texts", picky)
    async with serving(made(None, folder=tmp_path)) as collab:
        for name, text in (("a", "whale"), ("b", "poison whale"), ("c", "whale")):
            await write(collab, name, text)
        await until_told(collab)
    async with serving(made(folder=tmp_path)) as collab:
        await until_found(collab, "whale", ["a", "c"])
        assert "search does not find what default/notes/b says: it cannot be read" in caplog.text


async def test_reading_goes_on_when_the_storage_answers_again(caplog: pytest.LogCaptureFixture) -> None:
    class Away(MemoryStorage):
        failures = 0

        async def unread(self, limit: int = 100) -> Sequence[Unread]:
            if self.failures:
                self.failures -= 1
                raise StorageError("away")
            return await super().unread(limit)

    storage = Away()
    async with serving(made(None, storage=storage)) as collab:
        await write(collab, "a", "whale")
        await until_told(collab)
    storage.failures = 3
    async with serving(made(storage=storage)) as collab:
        await until_found(collab, "whale", ["a"])
    assert caplog.text.count("documents are not read for search: away") == 1


async def test_what_is_written_to_a_document_before_its_deletion_is_found_after_its_restoration() -> None:
    async with serving(made(storage=MemoryStorage(), seconds=0.3)) as collab:
        notes = collab.collection("notes")
        await notes.create({"title": "x"}, id="a")
        await write(collab, "a", "whale")
        await notes.delete("a")
        await asyncio.sleep(0)
        while collab._registry.rooms[RoomKey("default", "notes", "a")].bridge.covered < 2:
            await asyncio.sleep(0.02)
        assert await found(collab, "whale") == []
        await notes.restore("a")
        await until_found(collab, "whale", ["a"])
        await until_told(collab)


WORDS = ("blue", "whale", "sea", "song")


def _rewrite(random: Random, doc: Any) -> None:
    """Write something else into one of the roots."""
    words = " ".join(random.choices(WORDS, k=random.randint(0, 3)))
    if random.random() < 0.5:
        root = doc.get("body", type=Text)
        root.clear()
        root += words
        return
    root = doc.get("page", type=XmlFragment)
    for _ in range(len(root.children)):
        del root.children[0]
    for word in words.split():
        root.children.append(XmlElement("paragraph", contents=[XmlText(word)]))


async def _texts(collab: Collab, name: str) -> list[str]:
    """Paragraphs and texts of a document, read in another way."""
    doc: Doc[Any] = Doc()
    doc.apply_update(await collab.room(f"notes/{name}").update())
    pages = [str(part.children[0]) for part in doc.get("page", type=XmlFragment).children]
    return [str(doc.get("body", type=Text)), *pages]


@pytest.mark.parametrize("seed", range(3))
async def test_t6_at_quiet_live_rows_are_those_of_a_fresh_query_and_of_the_documents(seed: int, tmp_path: Path) -> None:
    """Whatever was edited, in rows and in documents."""
    random = Random(seed)
    names = [f"n{number}" for number in range(8)]
    searches = ("blue", '"blue whale"', "blue -song", "se", "-whale")
    async with serving(made(folder=tmp_path)) as collab:
        notes = collab.collection("notes")
        screens: list[tuple[dict[str, Any], Shown]] = []
        ends: list[Callable[[], None]] = []
        for words in searches:
            for limit in (None, 3):
                asked = {"search": words, "orderBy": {"title": "asc"}, "limit": limit}
                query = collab.schemas.search("notes", parse_query(asked))
                shown = Shown()
                ends.append(await collab.hub.live_queries.open("default", "notes", query, shown))
                screens.append((asked, shown))
        for name in names:
            await notes.create({"title": random.choice(WORDS)}, id=name)
        for number in range(60):
            name = random.choice(names)
            match random.choice(("field", "document", "document", "gone", "wait")):
                case "field":
                    await notes.update(name, {"title": f"{random.choice(WORDS)} {number}"})
                case "document":
                    async with collab.room(f"notes/{name}").edit(user="ada") as doc:
                        _rewrite(random, doc)
                case "gone":
                    await notes.delete(name)
                    await notes.restore(name)
                case _:
                    await asyncio.sleep(0.05)
        rows = {row["id"]: row for row in (await notes.find_many({})).rows}
        texts = {name: fold_texts(await _texts(collab, name)) for name in names}
        for asked, shown in screens:
            search = collab.schemas.search("notes", parse_query(asked)).search
            assert search is not None
            is_found = compile_search(search)
            expected = {name for name, row in rows.items() if is_found(row, texts[name])}
            fresh: list[dict[str, Any]] = []
            while (
                {row["id"] for row in fresh} != expected
                if asked["limit"] is None
                else len(fresh) < min(3, len(expected))
            ) or shown.rows != fresh:
                assert shown.error is None
                await asyncio.sleep(0.02)
                fresh = (await notes.find_many(asked)).rows
            assert {row["id"] for row in fresh} <= expected
        for end in ends:
            end()
