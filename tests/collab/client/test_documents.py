"""Documents over the client's own connection, beside other clients and editors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pycrdt
import pytest

from collab.client import Document
from collab.errors import CollabError, ConnectionLost, InvalidRequest, NotFound, PermissionDenied
from tests.collab.client.world import Cable, behind, cable, client, until, world
from tests.collab.serving import editor
from tests.e2e.guarded import SECRET, mint


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[Cable]:
    async with world(tmp_path) as (made, _):
        yield made


def text(document: Document) -> pycrdt.Text:
    found: pycrdt.Text = document.doc.get("t", type=pycrdt.Text)
    return found


async def test_an_editor_and_a_client_write_one_text(link: Cable) -> None:
    async with client(link.address) as made, editor(link.address) as other, made.documents.open("d") as document:
        await other.type("editor ")
        await until(lambda: str(text(document)) == "editor ")
        mine = text(document)
        mine += "client"
        await document.until_saved()
        await other.until_text("editor client")


async def test_what_the_block_edited_is_saved_at_its_end(link: Cable) -> None:
    async with client(link.address) as made:
        async with made.notes.open("n") as document:
            mine = text(document)
            mine += "kept"
        assert document.saved
        assert (await made.notes.find_by_id("n", content=True)).content == {"t": "kept"}


async def test_several_documents_share_the_connection_with_everything_else(link: Cable) -> None:
    async with client(link.address) as made:
        documents = [await made.documents.open(f"d{n}") for n in range(5)]
        for n, document in enumerate(documents):
            mine = text(document)
            mine += str(n)
        for document in documents:
            await document.until_saved()
        assert await made.documents.count() == 5
        assert link.connections == 1


async def test_edits_of_fields_and_updates_of_an_entity_are_the_same(link: Cable) -> None:
    async with client(link.address) as made, made.tasks.open("t") as document:
        fields = document.doc.get("fields", type=pycrdt.Map)
        fields["status"] = "new"
        await document.until_saved()
        assert (await made.tasks.find_by_id("t"))["status"] == "new"
        await made.tasks.update("t", {"status": "done"})
        await until(lambda: fields["status"] == "done")


async def test_through_cuts_both_sides_keep_their_edits(tmp_path: Path) -> None:
    async with cable() as link:
        async with behind(link, tmp_path):
            made = client(link.address)
            await made.connect()
            document = await made.documents.open("d")
            mine = text(document)
            mine += "a"
            await document.until_saved()
        await until(lambda: not made.is_connected())
        assert not document.synced
        mine += "b"
        assert not document.saved
        async with behind(link, tmp_path):
            async with editor(link.address) as other:
                await document.until_saved()
                assert document.synced
                await other.until_text("ab")
            for n in range(5):
                mine += str(n)
                link.cut()
                await until(lambda: not document.synced)
                await document.until_saved()
            await document.close()
            assert (await made.documents.find_by_id("d", content=True)).content == {"t": "ab01234"}
            await made.disconnect()


async def test_a_document_that_was_made_offline_is_joined(link: Cable) -> None:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    own = doc.get("t", type=pycrdt.Text)
    own += "before"
    async with client(link.address) as made:
        document = made.documents.open("d", doc)
        assert document.doc is doc
        assert not document.saved
        await document.close()
        async with client(link.address) as other, other.documents.open("d") as theirs:
            assert str(text(theirs)) == "before"
        again = made.documents.open("d", doc)
        own += " and after"
        await again.until_saved()
        assert (await made.documents.find_by_id("d", content=True)).content == {"t": "before and after"}


async def test_cursors_are_seen_and_vanish(link: Cable) -> None:
    async with client(link.address) as made, client(link.address) as other:
        mine = await made.documents.open("d")
        theirs = await other.documents.open("d")
        mine.awareness.set_local_state({"user": {"name": "Zoë"}, "cursor": 1})
        me = mine.awareness.client_id
        await until(lambda: theirs.awareness.states.get(me) == {"user": {"name": "Zoë"}, "cursor": 1})
        mine.awareness.set_local_state_field("cursor", 2)
        await until(lambda: theirs.awareness.states[me]["cursor"] == 2)
        link.cut()
        await until(lambda: mine.synced and theirs.synced)
        await until(lambda: theirs.awareness.states.get(me, {}).get("cursor") == 2)
        await mine.close()
        await until(lambda: me not in theirs.awareness.states)


async def test_a_reader_s_edit_is_refused_and_that_is_told(tmp_path: Path) -> None:
    token = mint(access={"documents/*": "read"})
    async with world(tmp_path, jwt_secret=SECRET) as (link, _), client(link.address, token=token) as made:
        errors: list[CollabError] = []
        made.on_error(errors.append)
        document = await made.documents.open("d")
        assert document.sync.read_only
        mine = text(document)
        mine += "x"
        with pytest.raises(PermissionDenied):
            await document.until_saved()
        await document.close()
        assert [error.code for error in errors] == ["PERMISSION_DENIED"]


async def test_what_may_not_be_opened_says_why(tmp_path: Path) -> None:
    token = mint(access={"documents/*": "read"})
    async with world(tmp_path, jwt_secret=SECRET) as (link, _), client(link.address, token=token) as made:
        with pytest.raises(PermissionDenied):
            async with made.secrets.open("d"):
                raise AssertionError("it is not open")
        assert made.is_connected()


async def test_a_document_that_was_refused_may_be_asked_for_again(tmp_path: Path) -> None:
    token = mint(access={"documents/*": "read"})
    async with world(tmp_path, jwt_secret=SECRET) as (link, _), client(link.address, token=token) as made:
        for _ in range(3):
            with pytest.raises(PermissionDenied):
                await made.secrets.open("d")


async def test_an_observer_that_fails_harms_neither_the_document_nor_the_client(
    link: Cable, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a fault of the application")

    async with client(link.address) as made, client(link.address) as other:
        document, theirs = await made.documents.open("d"), await other.documents.open("d")
        mine, written = text(document), text(theirs)
        subscriptions = [document.doc.observe(fail), mine.observe(fail)]
        document.awareness.observe(fail)
        written += "one "
        theirs.awareness.set_local_state({"name": "ada"})
        me = theirs.awareness.client_id
        await until(lambda: str(mine) == "one " and me in document.awareness.states)
        link.cut()
        await until(lambda: made.is_connected() and document.synced and theirs.synced)
        written += "two "
        await until(lambda: str(mine) == "one two " and me in document.awareness.states)
        assert await made.documents.count() == 1
        assert len(subscriptions) == 2
    assert "an observer of the document failed" in caplog.text
    assert "an observer of the awareness failed" in caplog.text


async def test_a_document_whose_closing_is_cancelled_is_closed(link: Cable) -> None:
    async with client(link.address) as made:
        document = await made.documents.open("d")
        mine = text(document)
        mine += "x"
        with anyio.CancelScope() as scope:
            scope.cancel()
            await document.close()
        assert scope.cancelled_caught
        await (await made.documents.open("d")).close()


async def test_a_deleted_entity_cannot_be_open(link: Cable) -> None:
    async with client(link.address) as made:
        document = await made.documents.open("d")
        mine = text(document)
        mine += "x"
        await document.until_saved()
        await made.documents.delete("d")
        await until(lambda: document.error is not None)
        assert document.sync.state == "ended"


async def test_a_document_is_open_once(link: Cable) -> None:
    async with client(link.address) as made:
        document = await made.documents.open("d")
        with pytest.raises(InvalidRequest):
            made.documents.open("d")
        await document.close()
        await document.close()
        with pytest.raises(ConnectionLost):
            await document.until_synced()
        for _ in range(3):
            await (await made.documents.open("d")).close()


async def test_closing_without_a_connection_does_not_wait(link: Cable) -> None:
    made = client(link.address)
    await made.connect()
    document = await made.documents.open("d")
    await made.disconnect()
    mine = text(document)
    mine += "x"
    with anyio.fail_after(3):
        await document.close()
    assert not document.saved


async def test_who_has_a_deleted_document_open_is_told_that_it_was_deleted(link: Cable) -> None:
    async with client(link.address) as made:
        await made.documents.create({"title": "a"}, id="d")
        document = await made.documents.open("d")
        await made.documents.delete("d")
        await until(lambda: document.error is not None)
        assert isinstance(document.error, NotFound)
        await document.close()
        with pytest.raises(NotFound, match="deleted"):
            await made.documents.open("d")
        with pytest.raises(InvalidRequest, match="collection/id"):
            await made.documents.open("no name of a document")
