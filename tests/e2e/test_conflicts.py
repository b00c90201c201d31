"""Writes whose authors had not seen each other's: what is told of them, and who has won."""

from __future__ import annotations

from typing import Any

import pytest

from collab.client import LumenizeClient, Met
from collab.errors import Conflict
from tests.e2e.application import Followed, application, fields, follow, until_found
from tests.e2e.node import KINDS, Client, Kind, Node
from tests.e2e.server import Server


class World:
    """An entity, two editors that have it, and who is told of its events."""

    def __init__(self, app: LumenizeClient, name: str, told: Followed, one: Client, two: Client) -> None:
        self.app = app
        self.name = name
        self.told = told
        self.one = one
        self.two = two

    async def version(self, version: int) -> Any:
        """The event that made this version."""
        await self.told.last(lambda event: event.version >= version)
        return next(event for event in self.told.events if event.version == version)


async def world(
    node: Node, server: Server, room: str, app: LumenizeClient, low: int, high: int, kind: Kind = "y-websocket-3"
) -> World:
    """Version 1 has title and note. The editor with the higher client id wins where both write at once."""
    name = room.partition("/")[2]
    told = await follow(app, "documents", name)
    one = await node.client("one", "hocuspocus-4", server, room, clientID=low)
    two = await node.client("two", kind, server, room, clientID=high)
    for client in (one, two):
        await client.wait(synced=True)
    await one.change(("set", ["fields", "title"], "base"), ("set", ["fields", "note"], "base"))
    await two.holds({"title": "base", "note": "base"})
    await told.count(1)
    return World(app, name, told, one, two)


@pytest.mark.parametrize("late_wins", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_e10_offline_writes_that_merge_later_name_both_values_and_the_winner(
    node: Node, shared_server: Server, room: str, kind: Kind, late_wins: bool
) -> None:
    async with application(shared_server) as app:
        low, high = (1000, 2000) if late_wins else (2000, 1000)
        at = await world(node, shared_server, room, app, low, high, kind)
        await at.two.disconnect()
        await at.two.change(("set", ["fields", "title"], "two"))
        await at.one.change(("set", ["fields", "title"], "one"))
        await at.version(2)
        await at.two.connect()
        event = await at.version(3)
        (conflict,) = event.conflicts
        assert (conflict.field, conflict.base, conflict.theirs, conflict.yours) == ("title", "base", "one", "two")
        if late_wins:
            assert (conflict.winner, event.changes) == ("yours", {"title": {"from": "one", "to": "two"}})
        else:
            # nothing visibly changed, and the write that lost is told all the same
            assert (conflict.winner, event.changes) == ("theirs", {})
        wanted = {"title": "two" if late_wins else "one", "note": "base"}
        assert fields(event.data) == wanted
        await node.converge([at.one, at.two])
        for client in (at.one, at.two):
            await client.holds(wanted)
        assert conflict.at == (await at.version(2)).at


async def test_other_fields_do_not_conflict(node: Node, shared_server: Server, room: str) -> None:
    async with application(shared_server) as app:
        at = await world(node, shared_server, room, app, 1000, 2000)
        await at.two.disconnect()
        await at.two.change(("set", ["fields", "note"], "two"))
        await at.one.change(("set", ["fields", "title"], "one"))
        await at.version(2)
        await at.two.connect()
        assert (await at.version(3)).conflicts == ()
        await node.converge([at.one, at.two])
        await at.one.holds({"title": "one", "note": "two"})


async def test_a_chain_of_offline_writes_is_one_conflict_with_its_last_value(
    node: Node, shared_server: Server, room: str
) -> None:
    async with application(shared_server) as app:
        at = await world(node, shared_server, room, app, 1000, 2000)
        await at.two.disconnect()
        for number in range(5):
            await at.two.change(("set", ["fields", "title"], f"two {number}"))
        await at.one.change(("set", ["fields", "title"], "one"))
        await at.version(2)
        await at.two.connect()
        event = await at.version(3)
        assert [(met.theirs, met.yours, met.winner) for met in event.conflicts] == [("one", "two 4", "yours")]
        assert event.changes == {"title": {"from": "one", "to": "two 4"}}


async def test_deleting_and_setting_a_key_at_once_is_a_conflict(node: Node, shared_server: Server, room: str) -> None:
    async with application(shared_server) as app:
        at = await world(node, shared_server, room, app, 1000, 2000)
        await at.two.disconnect()
        await at.two.change(("delete", ["fields", "title"]))
        await at.one.change(("set", ["fields", "title"], "one"))
        await at.version(2)
        await at.two.connect()
        await node.converge([at.one, at.two])
        await at.one.holds({"title": "one", "note": "base"})  # Yjs: a deletion is of the value it knew
        found = await until_found(lambda: app.documents.find_by_id(at.name), lambda found: found.version >= 2)
        assert fields(found) == {"title": "one", "note": "base"}
        assert all(event.conflicts for event in at.told.events[2:])


async def test_an_application_and_an_editor_at_once(node: Node, shared_server: Server, room: str) -> None:
    async with application(shared_server) as app:
        at = await world(node, shared_server, room, app, 1000, 2000)
        # the editor has not seen what the application wrote
        await at.two.disconnect()
        await at.two.change(("set", ["fields", "title"], "editor"))
        await app.documents.update(at.name, {"title": "application"})
        await at.two.connect()
        (conflict,) = (await at.version(3)).conflicts
        await node.converge([at.one, at.two])
        now = (await at.one.values())["title"]
        assert (conflict.theirs, conflict.yours) == ("application", "editor")
        assert conflict.winner == ("yours" if now == "editor" else "theirs")
        # the application has not seen what the editor wrote
        known = await app.documents.find_by_id(at.name)
        await at.one.change(("set", ["fields", "title"], "editor again"))
        await until_found(lambda: app.documents.find_by_id(at.name), lambda found: found["title"] == "editor again")
        written = await app.documents.update(at.name, {"title": "mine", "note": "n"}, version=known.version)
        assert [(met.field, met.base, met.theirs, met.yours, met.winner) for met in written.conflicts] == [
            ("title", now, "editor again", "mine", "yours")
        ]
        event = await at.version(written.version)
        assert event.conflicts == written.conflicts
        await at.two.holds({"title": "mine", "note": "n"})


async def test_compare_and_set_refuses_and_tells_the_latest(node: Node, shared_server: Server, room: str) -> None:
    async with application(shared_server) as app:
        at = await world(node, shared_server, room, app, 1000, 2000)
        await at.one.change(("set", ["fields", "title"], "one"))
        await at.version(2)
        with pytest.raises(Conflict) as refused:
            await app.documents.update(at.name, {"title": "mine"}, version=1, on_conflict="reject")
        assert refused.value.details["data"]["title"] == "one"
        assert refused.value.details["version"] == 2
        await app.documents.update(at.name, {"note": "mine"}, version=1, on_conflict="reject")
        await at.two.holds({"title": "one", "note": "mine"})


async def test_who_has_seen_a_write_does_not_conflict_with_it(node: Node, shared_server: Server, room: str) -> None:
    async with application(shared_server) as app:
        at = await world(node, shared_server, room, app, 1000, 2000)
        for number in range(10):
            writer, reader = (at.one, at.two) if number % 2 else (at.two, at.one)
            await writer.change(("set", ["fields", "title"], number))
            await reader.holds({"title": number, "note": "base"})
            await at.version(number + 2)
        assert all(event.conflicts == () for event in at.told.events)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_an_editor_and_an_application_had_not_seen_is_told_to_all_who_can_hear(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    async with application(shared_server) as app, application(shared_server) as other:
        at = await world(node, shared_server, room, app, 1000, 2000, kind)
        met: list[Met] = []
        other.on_conflict(met.append)
        await at.two.disconnect()
        await at.two.change(("set", ["fields", "title"], "editor"))
        await at.one.change(("set", ["fields", "title"], "one"))
        await at.version(2)
        await at.two.connect()
        (first,) = (await at.version(3)).conflicts
        assert (first.base, first.theirs, first.yours, first.winner) == ("base", "one", "editor", "yours")
        written = await other.documents.update(at.name, {"title": "application"}, version=1)
        (second,) = written.conflicts
        assert (second.theirs, second.yours, second.winner) == ("editor", "application", "yours")
        assert [(one.id, one.conflicts) for one in met] == [(at.name, written.conflicts)]
        assert (await at.version(4)).conflicts == written.conflicts
        await node.converge([at.one, at.two])
        for client in (at.one, at.two):
            await client.holds({"title": "application", "note": "base"})
