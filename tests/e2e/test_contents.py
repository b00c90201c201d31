"""Documents that hold whatever Yjs can write: read, restored and told over the server, and looked at by Yjs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.application import application, until, until_found
from tests.e2e.node import Client, Kind, Node
from tests.e2e.server import Server
from tests.fuzz.contents import histories, shapes


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path, room_idle_seconds=0.2, content_event_seconds=0.1, keep_deleted="kept*")
    await asyncio.to_thread(server.start)
    yield server
    server.stop()


async def editor(node: Node, server: Server, room: str, kind: Kind = "hocuspocus-4", **how: Any) -> Client:
    client = await node.client(f"{room} {kind} {how}", kind, server, room, **how)
    await client.wait(synced=True)
    return client


@pytest.mark.parametrize(("seed", "cut"), [(11, False), (12, False), (13, True)])
async def test_what_is_restored_over_http_is_what_it_was_for_every_editor(
    node: Node, server: Server, seed: int, cut: bool
) -> None:
    (history,) = histories(seed, 1, 150, cut=cut)
    count, wanted = history.moments[len(history.moments) // 2]
    async with application(server) as app, httpx.AsyncClient(base_url=server.http, timeout=40) as http:
        author, reader = (
            await editor(node, server, "documents/d"),
            await editor(node, server, "documents/d", "y-websocket-3"),
        )
        await author.apply(*history.updates[:count])
        await author.wait(unsynced=0)

        async def told() -> int:
            events = await app.documents.history("d")
            content = await http.get("/api/v1/collections/documents/d", params={"content": "1"})
            assert content.status_code == 200
            return events[0].version

        # all of it is told once nothing new comes for a while
        version = await told()
        while (newest := await told()) != version or not await covered(server):
            version = newest
            await asyncio.sleep(0.3)
        then = (await http.get("/rooms/documents/d")).json()
        await author.apply(*history.updates[count:])
        await author.wait(unsynced=0)
        await until_found(lambda: app.documents.history("d"), lambda events: events and events[0].version > version)
        answer = await http.post("/api/v1/collections/documents/d/restore", json={"version": version})
        assert answer.status_code == 200, answer.text
        await node.converge([author, reader])
        assert shapes([[await author.update()], [await reader.update()]]) == [wanted, wanted]
        now = (await http.get("/rooms/documents/d")).json()  # a root that came later stays, and is empty
        assert {name: value for name, value in now.items() if value or name in then} == then
        late = await editor(node, server, "documents/d", "hocuspocus-3")
        assert shapes([[await late.update()]]) == [wanted]


async def covered(server: Server) -> bool:
    """Whether all rows of the log have become events."""
    path = server.folder / "data" / "collab.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        seq, content = database.execute("SELECT max(seq), (SELECT max(content_seq) FROM entities) FROM log").fetchone()
    return bool(seq is not None and content is not None and content >= seq)


async def test_a_yjs_snapshot_of_one_is_opened_by_another_after_compaction_and_restart(
    node: Node, server: Server
) -> None:
    author = await editor(node, server, "kept-pages/d", gc=False)
    await author.insert("what was there 😀")
    await author.edit(5, 60)
    was, snapshot = await author.state(), await author.snapshot()
    await author.clear()
    await author.edit(6, 200)
    await author.insert("and is no more")
    await author.wait(unsynced=0)
    assert await author.at_snapshot(snapshot) == was
    await author.destroy()

    def compacted() -> bool:
        path = server.folder / "data" / "collab.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (snapshots,) = database.execute("SELECT count(*) FROM snapshots").fetchone()
        return bool(snapshots)

    await until(compacted, seconds=60)
    server.stop()
    server.start()
    other = await editor(node, server, "kept-pages/d", "y-websocket-3", gc=False)
    assert await other.at_snapshot(snapshot) == was


async def test_documents_of_other_collections_let_go_of_what_was_deleted(node: Node, server: Server) -> None:
    author = await editor(node, server, "documents/d", gc=False)
    await author.insert("secret")
    await author.clear()
    await author.wait(unsynced=0)
    other = await editor(node, server, "documents/d", gc=False, clientID=7)
    assert b"secret" not in await other.update()
    kept = await editor(node, server, "kept/d", gc=False)
    await kept.insert("secret")
    await kept.clear()
    await kept.wait(unsynced=0)
    assert b"secret" in await (await editor(node, server, "kept/d", gc=False, clientID=8)).update()
