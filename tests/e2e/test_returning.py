"""Stock clients that come back: told that their edits are saved when these are in the document, and never otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pycrdt
import pytest

from collab.errors import PermissionDenied
from tests.e2e.application import application, until
from tests.e2e.node import KINDS, Client, Kind, Node
from tests.e2e.server import Server
from tests.fuzz.encode import DELETED, GC, STRING, Id, block, filler, frame, item, string, uint

HOCUSPOCUS: tuple[Kind, ...] = ("hocuspocus-3", "hocuspocus-4")
BEFORE, OFFLINE = "written before ", "what I wrote while I was offline"


def _text(after: Id, size: int) -> bytes:
    client, clock = after
    return frame([block(client, clock + 1, [item(STRING, string("Z" * size), origin=after)])])


def _garbage(after: Id, size: int) -> bytes:
    client, clock = after
    return frame([block(client, clock + 1, [filler(GC, size)])])


def _deleted(after: Id, size: int) -> bytes:
    client, clock = after
    return frame([block(client, clock + 1, [item(DELETED, uint(size), origin=after)])])


THEFTS = pytest.mark.parametrize("theft", [_text, _garbage, _deleted], ids=["text", "garbage", "deleted"])


async def _has_been_told(client: Client, by: Client) -> None:
    """Wait until a client has been told what its server knew, and had committed, when this was called."""
    for mark in (1, 2):
        await by.set(f"mark {client.name}", mark)
        await by.wait(unsynced=0)
        await client.holds({f"mark {client.name}": mark})


@THEFTS
@pytest.mark.parametrize("kind", HOCUSPOCUS)
@pytest.mark.parametrize("size", [10, 60])
async def test_e20_a_provider_that_comes_back_is_never_told_that_other_elements_under_its_client_id_are_saved(
    node: Node, server: Server, room: str, kind: Kind, theft: Callable[[Id, int], bytes], size: int
) -> None:
    victim = await node.client("victim", kind, server, room)
    other = await node.client("other", "hocuspocus-4", server, room)
    await victim.insert(BEFORE)
    await victim.wait(synced=True, unsynced=0)
    await other.wait(synced=True, text=BEFORE)
    await victim.disconnect()
    await victim.wait(connected=False)
    mallory = await node.client("mallory", "y-websocket-3", server, room)
    await mallory.wait(synced=True)
    await mallory.apply(theft((victim.id, len(BEFORE) - 1), size))
    await other.wait(vector=[[victim.id, len(BEFORE) + size]])
    await mallory.destroy()
    await victim.insert(OFFLINE)
    await victim.connect()
    await victim.wait(connected=True)
    await _has_been_told(victim, by=other)
    found = await victim.summary()
    assert found["unsynced"] > 0
    assert found["denied"] == []
    await victim.insert(" and later")
    await _has_been_told(victim, by=other)
    assert (await victim.summary())["unsynced"] > 0
    assert "two writers use the same Yjs client id" in server.log()


@THEFTS
async def test_e20_a_y_websocket_client_that_comes_back_to_other_elements_goes_on_and_the_log_names_it(
    node: Node, server: Server, room: str, theft: Callable[[Id, int], bytes]
) -> None:
    victim = await node.client("victim", "y-websocket-3", server, room)
    mallory = await node.client("mallory", "y-websocket-3", server, room)
    await victim.insert(BEFORE)
    await mallory.wait(text=BEFORE)
    await victim.disconnect()
    await victim.wait(connected=False)
    await mallory.apply(theft((victim.id, len(BEFORE) - 1), 60))
    await victim.insert(OFFLINE)
    await victim.connect()
    await victim.wait(synced=True)
    await mallory.set("said", "later")
    await victim.holds({"said": "later"})
    await until(lambda: "two writers use the same Yjs client id" in server.log())
    assert (await victim.summary())["connected"]


async def test_e20_a_provider_that_comes_back_after_a_restart_of_the_server_is_compared_too(
    node: Node, server: Server, room: str
) -> None:
    victim = await node.client("victim", "hocuspocus-4", server, room)
    mallory = await node.client("mallory", "hocuspocus-4", server, room)
    await victim.insert(BEFORE)
    await victim.wait(synced=True, unsynced=0)
    await mallory.wait(text=BEFORE)
    await victim.disconnect()
    await victim.wait(connected=False)
    await mallory.apply(_text((victim.id, len(BEFORE) - 1), 60))
    await mallory.wait(unsynced=0)
    server.stop()
    server.start()
    await mallory.wait(synced=True, unsynced=0)
    await victim.insert(OFFLINE)
    await victim.connect()
    await victim.wait(connected=True)
    await _has_been_told(victim, by=mallory)
    assert (await victim.summary())["unsynced"] > 0


async def test_e20_a_page_that_was_loaded_again_is_compared_by_what_the_browser_kept(
    node: Node, server: Server, room: str
) -> None:
    before = await node.client("before", "hocuspocus-4", server, room)
    other = await node.client("other", "hocuspocus-4", server, room)
    await before.insert(BEFORE)
    await before.wait(synced=True, unsynced=0)
    await other.wait(text=BEFORE)
    await before.disconnect()
    await before.wait(connected=False)
    await other.apply(_text((before.id, len(BEFORE) - 1), 60))
    await before.insert(OFFLINE)
    kept = await before.update()
    page = await node.client("page", "hocuspocus-4", server, room, connect=False)
    await page.apply(kept)
    await page.connect()
    await page.wait(connected=True)
    await _has_been_told(page, by=other)
    assert (await page.summary())["unsynced"] > 0


async def test_e20_our_own_client_that_comes_back_is_not_saved_and_is_told_so(
    node: Node, server: Server, room: str
) -> None:
    name = room.partition("/")[2]
    other = await node.client("other", "hocuspocus-4", server, room)
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = doc.get("content", type=pycrdt.Text)
    async with application(server) as client:
        async with client.documents.open(name, doc) as document:
            text += BEFORE
            await document.until_saved()
        await other.wait(synced=True, text=BEFORE)
        await other.apply(_text((doc.client_id, len(BEFORE) - 1), 10))
        await other.wait(unsynced=0)
        text += OFFLINE
        with pytest.raises(PermissionDenied, match="an edit was refused"):
            async with client.documents.open(name, doc) as document:
                await document.until_saved()


@pytest.mark.parametrize("kind", KINDS)
async def test_clients_that_come_back_to_what_they_wrote_and_others_changed_are_saved(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    page = await node.client("page", kind, shared_server, room)
    other = await node.client("other", "y-websocket-3", shared_server, room)
    await page.edit(seed=1, count=60)
    await node.converge([page, other])
    for attempt in range(3):
        await page.disconnect()
        await page.wait(connected=False)
        await other.edit(seed=10 + attempt, count=60)
        await page.edit(seed=20 + attempt, count=60)
        await page.connect()
        await node.converge([page, other])
    found = await page.summary()
    assert found["denied"] == []


@pytest.mark.parametrize("kind", HOCUSPOCUS)
async def test_pages_that_are_loaded_again_with_what_the_browser_kept_are_saved(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    kept = b"\0\0"
    other = await node.client("other", "y-websocket-3", shared_server, room)
    for load in range(4):
        page = await node.client(f"page {load}", kind, shared_server, room, connect=False)
        await page.apply(kept)
        await page.edit(seed=load, count=40)
        await page.connect()
        await node.converge([page, other])
        await page.disconnect()
        await page.wait(connected=False)
        await other.edit(seed=100 + load, count=40)
        await page.edit(seed=200 + load, count=40)
        kept = await page.update()
        await page.destroy()


@pytest.mark.parametrize("kind", HOCUSPOCUS)
async def test_peers_that_also_hear_each_other_directly_come_back_and_are_saved(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    ada = await node.client("ada", kind, shared_server, room)
    alan = await node.client("alan", kind, shared_server, room)
    await node.converge([ada, alan])
    await ada.mesh(alan)
    for _ in range(3):
        await ada.disconnect()
        await ada.wait(connected=False)
        await ada.type_in_turn(alan, 30)  # what ada writes reaches the server through alan
        await ada.connect()
        await node.converge([ada, alan])
    assert (await ada.summary())["denied"] == []


@pytest.mark.parametrize("kind", HOCUSPOCUS)
async def test_a_page_without_presence_comes_back_and_is_saved(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    page = await node.client("page", kind, shared_server, room)
    await page.set_awareness(None)
    await page.insert(BEFORE)
    await page.wait(synced=True, unsynced=0)
    await page.disconnect()
    await page.wait(connected=False)
    await page.insert(OFFLINE)
    await page.connect()
    await page.wait(connected=True, synced=True, unsynced=0)
