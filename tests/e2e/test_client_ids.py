"""A Yjs client id belongs to nobody: whoever brings the same edits is welcome."""

from __future__ import annotations

import pytest

from tests.e2e.node import KINDS, Kind, Node
from tests.e2e.server import Server

NEWEST: tuple[Kind, ...] = ("y-websocket-3", "hocuspocus-4")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verified", [False, True], ids=["unverified", "verified"])
async def test_e7_two_peers_that_also_hear_each_other_directly_are_not_closed(
    node: Node, server: Server, guarded_server: Server, room: str, kind: Kind, verified: bool
) -> None:
    place = guarded_server if verified else server
    ada = await node.client("ada", kind, place, room, token=place.token("ada") if verified else None)
    alan = await node.client("alan", kind, place, room, token=place.token("alan") if verified else None)
    for client in (ada, alan):
        await client.wait(synced=True)
    await ada.mesh(alan)
    await ada.type_in_turn(alan, 100)
    await node.converge([ada, alan])
    reader = await node.client("reader", "y-websocket-3", place, room, token=place.token("ada") if verified else None)
    await node.converge([ada, alan, reader])
    for client in (ada, alan):
        found = await client.summary()
        assert found["closes"] == []
        assert len(found["text"]) == 200


@pytest.mark.parametrize("kind", NEWEST)
@pytest.mark.parametrize("next_user", ["ada", "alan"])
async def test_e7_a_second_provider_on_one_document_is_not_closed_whoever_its_user_is(
    node: Node, guarded_server: Server, room: str, kind: Kind, next_user: str
) -> None:
    page = await node.client("page", kind, guarded_server, room, token=guarded_server.token("ada"))
    await page.wait(synced=True, unsynced=0)
    await page.insert("one")
    await page.leak(token=guarded_server.token(next_user))
    await page.wait(synced=True, unsynced=0)
    for letter in " two":
        await page.insert(letter)
    await page.wait(unsynced=0)
    reader = await node.client("reader", "y-websocket-3", guarded_server, room, token=guarded_server.token("ada"))
    await node.converge([page, reader])
    found = await page.summary()
    assert (found["text"], found["closes"]) == ("one two", [])


@pytest.mark.parametrize("kind", NEWEST)
async def test_e7_a_page_that_changes_its_user_goes_on_beside_its_old_socket(
    node: Node, guarded_server: Server, room: str, kind: Kind
) -> None:
    page = await node.client("page", kind, guarded_server, room, token=guarded_server.token("ada"))
    await page.wait(synced=True, unsynced=0)
    await page.insert("before")
    await page.wait(unsynced=0)
    await node.ask("become", client="page", token=guarded_server.token("alan"))
    await page.abandon()
    await page.wait(synced=True, unsynced=0)
    await page.insert(", after")
    reader = await node.client("reader", "y-websocket-3", guarded_server, room, token=guarded_server.token("ada"))
    await node.converge([page, reader])
    await page.drop_abandoned()
    await page.insert("!")
    await reader.wait(text="before, after!")
