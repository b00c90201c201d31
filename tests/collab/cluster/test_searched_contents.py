"""Nodes find what documents say, wherever these are edited."""

from __future__ import annotations

import asyncio

import pytest
from pycrdt import Text

from collab import Collab, declaration
from collab.errors import Unavailable
from collab.query.parse import parse_query
from collab.rooms import unread_contents
from tests.collab.cluster.nodes_world import cluster, until
from tests.collab.realtime.matching.live_world import Screen

SEARCHED = {"notes": declaration(search=["title"], search_content=True)}


async def write(collab: Collab, name: str, text: str) -> None:
    async with collab.room(f"notes/{name}").edit(user="ada") as doc:
        root = doc.get("body", type=Text)
        root.clear()
        root += text


async def test_t6_a_row_enters_at_one_node_with_what_is_written_at_another() -> None:
    async with cluster(2, collections=SEARCHED, content_event_seconds=0.05) as world:
        here, there = (node.collab for node in world.nodes)
        unfollow = await there.hub.feed.follow("default")  # as it does for its clients
        screen = Screen()
        query = there.schemas.search("notes", parse_query({"search": "blue wha"}))
        end = await there.hub.live_queries.open("default", "notes", query, screen)
        await write(here, "a", "The blue whale")
        await until(lambda: [row["id"] for row in screen.rows] == ["a"])
        assert (await there.collection("notes").count({"search": "whale"})) == 1
        await write(there, "a", "Green")
        await until(lambda: not screen.rows)
        end()
        unfollow()


async def test_t7_during_a_deployment_no_document_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes with the earlier declaration read no text; what they have committed is read by those that know it."""
    monkeypatch.setattr(unread_contents, "_LOOK_SECONDS", 0.05)
    before = {"notes": declaration(search=["title"])}
    async with cluster(1, collections=before, content_event_seconds=0.05) as world:
        (old,) = (node.collab for node in world.nodes)
        await write(old, "a", "whale")
        new = (await world.add(collections=SEARCHED)).collab
        await write(old, "b", "whale")

        async def found() -> list[str]:
            try:
                rows = await new.collection("notes").find_many({"search": "whale", "orderBy": {"id": "asc"}})
            except Unavailable:
                return []
            return [row["id"] for row in rows.rows]

        async with asyncio.timeout(30):
            while await found() != ["a", "b"]:
                await asyncio.sleep(0.02)
        with pytest.raises(Unavailable):
            await old.collection("notes").find_many({"search": "whale"})
