"""Past versions of entities and documents: listed, read, compared and restored, while editors are connected."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collab.client import LumenizeClient
from collab.errors import NotFound
from tests.e2e.application import application, fields, follow, until, until_found
from tests.e2e.node import Client, Node
from tests.e2e.server import Server

NAME = "documents/report"
ID = "report"


async def editor(node: Node, server: Server, name: str = "editor", kind: str = "hocuspocus-4") -> Client:
    client = await node.client(name, kind, server, NAME)  # type: ignore[arg-type]
    await client.wait(synced=True)
    return client


def now() -> str:
    return datetime.now(UTC).isoformat()


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Values by name, where they differ."""
    return {name: (one.get(name), other.get(name)) for name in {*one, *other} if one.get(name) != other.get(name)}


async def as_of(app: LumenizeClient, version: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields and content of a version."""
    found = await app.documents.find_by_id(ID, version=version, content=True)
    assert found.version == version
    assert found.content is not None
    return fields(found), found.content


async def write_a_story(app: LumenizeClient, writer: Client) -> list[str]:
    """Five versions: 1, 2 and 4 by the application, 3 and 5 content by the editor. Returns a moment after each."""
    moments = []
    await app.documents.create({"title": "one"}, id=ID)
    moments.append(now())
    await app.documents.update(ID, {"title": "two", "tag": "x"})
    moments.append(now())
    await writer.holds({"title": "two", "tag": "x"})
    await writer.insert("first 😀")
    await until_found(lambda: app.documents.history(ID), lambda events: events and events[0].version == 3)
    moments.append(now())
    await app.documents.update(ID, {"title": "three"}, unset=["tag"])
    moments.append(now())
    await writer.holds({"title": "three"})
    await writer.insert(" second")
    await until_found(lambda: app.documents.history(ID), lambda events: events and events[0].version == 5)
    moments.append(now())
    return moments


VERSIONS: list[tuple[dict[str, Any], str]] = [
    ({"title": "one"}, ""),
    ({"title": "two", "tag": "x"}, ""),
    ({"title": "two", "tag": "x"}, "first 😀"),
    ({"title": "three"}, "first 😀"),
    ({"title": "three"}, "first 😀 second"),
]


async def check_story(app: LumenizeClient, moments: list[str]) -> None:
    for number, (data, text) in enumerate(VERSIONS, 1):
        was, content = await as_of(app, number)
        assert (was, content.get("content", "")) == (data, text)
        then = await app.documents.find_by_id(ID, at=moments[number - 1], content=True)
        assert (then.version, fields(then)) == (number, data)
        assert then.content is not None
        assert then.content.get("content", "") == text


@pytest.fixture
async def server(tmp_path: Path) -> Any:
    server = Server(tmp_path, room_idle_seconds=0.2, content_event_seconds=0.2)
    await asyncio.to_thread(server.start)
    yield server
    server.stop()


async def test_versions_are_listed_read_and_compared(node: Node, server: Server) -> None:
    async with application(server) as app:
        writer = await editor(node, server)
        moments = await write_a_story(app, writer)
        events = await app.documents.history(ID)
        assert [event.version for event in events] == [5, 4, 3, 2, 1]
        assert [event.type for event in events] == ["updated"] * 4 + ["created"]
        assert [event.version for event in await app.documents.history(ID, limit=2)] == [5, 4]
        assert [event.version for event in await app.documents.history(ID, limit=2, before=4)] == [3, 2]
        assert events[1].changes == {"title": {"from": "two", "to": "three"}, "tag": {"from": "x"}}
        assert events[2].changes == {"content": {"delta": [{"insert": "first 😀"}]}}
        await check_story(app, moments)

        (old_fields, old_content), (new_fields, new_content) = await as_of(app, 2), await as_of(app, 5)
        assert differences(old_fields, new_fields) == {"title": ("two", "three"), "tag": ("x", None)}
        assert differences(old_content, new_content) == {"content": (old_content.get("content"), "first 😀 second")}

        for nowhere in ({"version": 6}, {"version": 0}, {"at": "2020-01-01T00:00:00Z"}):
            with pytest.raises(NotFound):
                await app.documents.find_by_id(ID, **nowhere)
        later = await app.documents.find_by_id(ID, at="2199-01-01T00:00:00Z")
        assert later.version == 5


async def test_history_outlives_compaction_a_restart_and_a_kill(node: Node, server: Server) -> None:
    async with application(server) as app:
        writer = await editor(node, server)
        moments = await write_a_story(app, writer)
        # many more edits: the log is worth a snapshot when everybody has left
        for number in range(300):
            await writer.insert(f"{number} ")
        await writer.wait(unsynced=0)
        await writer.destroy()
        path = server.folder / "data" / "collab.db"

        def compacted() -> bool:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                rows, snapshots = database.execute(
                    "SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM snapshots)"
                ).fetchone()
            return bool(snapshots and rows < 10)

        await until(compacted)
        await check_story(app, moments)
        server.kill()
        server.start()
        await until_found(app.documents.count, lambda count: count == 1)
        await check_story(app, moments)
        assert server.stop() == 0
        server.start()
        await until_found(app.documents.count, lambda count: count == 1)
        await check_story(app, moments)


@pytest.mark.parametrize("kind", ["y-websocket-3", "hocuspocus-3", "hocuspocus-4"])
async def test_an_old_version_comes_back_as_a_new_edit_that_editors_see(node: Node, server: Server, kind: str) -> None:
    async with application(server) as app:
        writer = await editor(node, server)
        await write_a_story(app, writer)
        reader = await editor(node, server, "reader", kind)
        told = await follow(app, "documents", ID)
        restored = await app.documents.restore(ID, version=3)
        assert fields(restored) == {"title": "two", "tag": "x"}
        for client in (writer, reader):
            await client.holds({"title": "two", "tag": "x"})
            await client.wait(text="first 😀")
        # the editors go on from there
        await reader.insert("!")
        await writer.wait(text="first 😀!")
        newest = await until_found(
            lambda: app.documents.find_by_id(ID, at=now(), content=True),
            lambda found: found.content == {"content": "first 😀!"},
            30,
        )
        await told.last(lambda event: event.version == newest.version)
        versions = [event.version for event in told.events]
        assert versions == list(range(6, 6 + len(versions))), "it is history like any other"
        assert {event.type for event in told.events} == {"updated"}
        assert await as_of(app, 5) == ({"title": "three"}, {"content": "first 😀 second"})
        # and what was undone comes back too
        await app.documents.restore(ID, version=5)
        await reader.holds({"title": "three"})
        await reader.wait(text="first 😀 second")


async def test_editors_of_a_deleted_document_are_sent_away_until_it_is_restored(node: Node, server: Server) -> None:
    async with application(server) as app:
        writer = await editor(node, server, "ws", "y-websocket-3")
        hocus = await editor(node, server, "hocus", "hocuspocus-4")
        await write_a_story(app, writer)
        told = await follow(app, "documents", ID)
        await app.documents.delete(ID)
        assert (await told.count(1))[0].type == "deleted"
        await until_found(writer.summary, lambda summary: [close["code"] for close in summary["closes"]] == [4410])
        await until_found(hocus.summary, lambda summary: summary["denied"] or 4410 in summary["closed"])
        with pytest.raises(NotFound):
            await app.documents.find_by_id(ID)
        assert await app.documents.count() == 0
        assert [event.type for event in await app.documents.history(ID, limit=1)] == ["deleted"]
        was = await app.documents.find_by_id(ID, version=5, content=True)
        assert was.content == {"content": "first 😀 second"}

        refused = await node.client("refused", "y-websocket-3", server, NAME)
        await until_found(refused.summary, lambda summary: 4410 in [close["code"] for close in summary["closes"]])
        assert (await refused.summary())["text"] == ""
        await refused.insert("never")

        # over a restart too
        assert server.stop() == 0
        server.start()
        again = await node.client("again", "y-websocket-3", server, NAME)
        await until_found(again.summary, lambda summary: 4410 in [close["code"] for close in summary["closes"]])

        restored = await until_found(lambda: app.documents.restore(ID), lambda found: found is not None)
        assert fields(restored) == {"title": "three"}
        late = await editor(node, server, "late")
        await late.wait(text="first 😀 second")
        await late.holds({"title": "three"})
        assert [event.type for event in await app.documents.history(ID, limit=2)] == ["restored", "deleted"]


async def test_a_deleted_document_comes_back_as_an_old_version(node: Node, server: Server) -> None:
    async with application(server) as app:
        writer = await editor(node, server, kind="y-websocket-3")
        await write_a_story(app, writer)
        await app.documents.delete(ID)
        restored = await app.documents.restore(ID, version=3)
        assert fields(restored) == {"title": "two", "tag": "x"}
        late = await editor(node, server, "late")
        await late.wait(text="first 😀")
        await late.holds({"title": "two", "tag": "x"})


async def test_what_is_older_than_retention_is_forgotten_and_the_present_is_whole(tmp_path: Path, node: Node) -> None:
    server = Server(tmp_path, room_idle_seconds=0.2, content_event_seconds=0.2)
    server.start()
    try:
        async with application(server) as app:
            writer = await editor(node, server)
            await write_a_story(app, writer)
            await writer.destroy()
            await app.documents.create({"kept": True}, id="other")
        assert server.stop() == 0
        # a server that keeps a second or so forgets the rest when it starts
        server.settings = {**server.settings, "history_days": 1 / 86_400}
        await asyncio.sleep(1.1)
        server.start()
        async with application(server) as app:
            events = await until_found(lambda: app.documents.history(ID), lambda events: len(events) < 5)
            assert [event.version for event in events] == [5], "what it was then is what it is"
            for version in range(1, 5):
                with pytest.raises(NotFound):
                    await app.documents.find_by_id(ID, version=version)
            found = await app.documents.find_by_id(ID, content=True)
            assert (fields(found), found.content) == ({"title": "three"}, {"content": "first 😀 second"})
            assert found.version == 5
            assert (await app.documents.update(ID, {"title": "four"})).version == 6
            assert await app.documents.count() == 2
    finally:
        server.stop()
