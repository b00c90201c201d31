"""Full-text search through a real server: once and live, over HTTP and in Python, with the rights of the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from collab import Collab, Settings
from collab.client import LumenizeClient
from collab.errors import InvalidRequest
from collab.records.declaration import CollectionDeclaration, declaration
from collab.records.handle import Collection
from tests.collab.client.world import Cable, client, until, world
from tests.e2e.guarded import SECRET, mint

NOTES = {"notes": declaration(search=["title", "author.name"])}
PAGES = {"pages": declaration(search=["title"], search_content=True)}


@asynccontextmanager
async def running(folder: Path, declared: CollectionDeclaration | None = None) -> AsyncIterator[Collection]:
    """The notes of an application that is embedded."""
    collab = Collab(Settings(data=str(folder), collections={} if declared is None else {"notes": declared}))
    async with collab.lifespan():
        yield collab.collection("notes")


def own(collection: str) -> dict[str, Any]:
    """The claim of a user who may see and change the rows that are theirs."""
    return {f"{collection}/*": {"access": "write", "where": {"owner": "$userId"}}}


@asynccontextmanager
async def two_users(
    folder: Path, collection: str, title: str, **settings: Any
) -> AsyncIterator[tuple[LumenizeClient, LumenizeClient, Cable, Collab]]:
    """Ada, who may do everything, and Bob, who may do it with what is his: of the rows ``a`` and ``b`` only ``a``."""
    async with (
        world(folder, jwt_secret=SECRET, **settings) as (link, collab),
        client(link.address, token=mint("ada")) as ada,
        client(link.address, token=mint("bob", access=own(collection))) as bob,
    ):
        for name, owner in (("a", "bob"), ("b", "eve")):
            await ada.collection(collection).create({"id": name, "owner": owner, "title": title})
        yield ada, bob, link, collab


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


async def test_t3_t6_an_application_searches_once_and_live(tmp_path: Path) -> None:
    async with world(tmp_path, collections=NOTES) as (link, _), client(link.address) as made:
        notes: Any = made.notes
        for name, title in (("a", "The blue whale"), ("b", "Blue sky"), ("c", "Green")):
            await notes.create({"id": name, "title": title, "body": "blue", "author": {"name": "Zoë"}})
        assert names(await notes.find_many({"search": "blue"})) == ["b", "a"]
        assert names(await notes.find_many({"search": "zoe -blue"})) == ["c"]
        assert await notes.count({"search": "blue"}) == 2
        seen: list[list[str]] = []
        asked = {"search": "blue wh", "where": {"body": "blue"}, "order_by": {"id": "asc"}, "limit": 5}
        await notes.subscribe(asked, lambda rows: seen.append(names(rows))).ready()
        await until(lambda: seen and seen[-1] == ["a"])
        await notes.update("c", {"title": "Blue whales"})
        await until(lambda: seen[-1] == ["a", "c"])
        await notes.update("a", {"title": "A whale"})
        await until(lambda: seen[-1] == ["c"])
        await notes.update("b", {"author": {"name": "Whitman"}})
        await until(lambda: seen[-1] == ["b", "c"])
        await notes.delete("c")
        await until(lambda: seen[-1] == ["b"])
        with pytest.raises(InvalidRequest, match="search: tasks declares nothing to search"):
            await made.tasks.find_many({"search": "blue"})
        for about in (made.tasks.aggregate, lambda query: made.tasks.subscribe_aggregate(query, print).ready()):
            with pytest.raises(InvalidRequest, match="search: tasks declares nothing to search"):
                await about({"search": "blue"})
        with pytest.raises(InvalidRequest, match="search: tasks declares nothing to search"):
            await made.tasks.subscribe({"search": "blue"}, lambda rows: None).ready()


async def test_an_aggregate_counts_what_its_search_finds_once_and_live(tmp_path: Path) -> None:
    async with world(tmp_path, collections=NOTES) as (link, _), client(link.address) as made:
        notes: Any = made.notes
        for name, title, n in (("a", "The blue whale", 1), ("b", "Blue sky", 2), ("c", "Green", 4)):
            await notes.create({"id": name, "title": title, "n": n})
        seen: list[Any] = []

        def sums(groups: Any) -> list[tuple[int, int]]:
            return [(group["count"], group["sum"]["n"]) for group in groups]

        asked = {"search": "blue", "sum": "n"}
        assert sums(await notes.aggregate(asked)) == [(2, 3)]
        await notes.subscribe_aggregate(asked, lambda groups: seen.append(sums(groups))).ready()
        await until(lambda: seen and seen[-1] == [(2, 3)])
        await notes.update("c", {"title": "Blue"})
        await until(lambda: seen[-1] == [(3, 7)])
        await notes.update("a", {"title": "A whale"})
        await until(lambda: seen[-1] == [(2, 6)])
        await notes.update("b", {"n": 3})
        await until(lambda: seen[-1] == [(2, 7)])
        await notes.delete("c")
        await until(lambda: seen[-1] == [(1, 3)])
        assert sums(await notes.aggregate(asked)) == seen[-1]
        with pytest.raises(InvalidRequest, match=r"include\.owner: has no member 'search'"):
            await notes.find_many({"include": {"owner": {"search": "blue"}}})


async def test_t3_http_searches_as_well(tmp_path: Path) -> None:
    async with world(tmp_path, collections=NOTES, jwt_secret=SECRET) as (link, _):
        said = {"authorization": f"Bearer {mint('ada')}"}
        base = f"http://{link.address}/api/v1/collections/notes"
        async with httpx.AsyncClient(headers=said) as http:
            for name, title in (("a", "The blue whale"), ("b", "Blue sky")):
                await http.post(base, json={"id": name, "title": title})
            listed = await http.get(base, params={"search": "blue", "limit": "1"})
            assert names(listed.json()["rows"]) == ["b"]
            rest = await http.get(base, params={"search": "blue", "after": listed.json()["next"]})
            assert names(rest.json()["rows"]) == ["a"]
            assert names((await http.post(f"{base}/query", json={"search": '"blue w'})).json()["rows"]) == ["a"]
            assert (await http.post(f"{base}/count", json={"search": "blue -whale"})).json() == {"count": 1}
            counted = await http.get(f"{base}/aggregate", params={"search": "blue -whale"})
            assert [group["count"] for group in counted.json()["groups"]] == [1]
            counted = await http.post(f"{base}/aggregate", json={"search": "blue"})
            assert [group["count"] for group in counted.json()["groups"]] == [2]
            refused = await http.get(base, params={"search": "x" * 501})
            assert (refused.status_code, refused.json()["error"]["message"]) == (
                400,
                "search: has more than 500 characters",
            )


async def test_t3_t6_documents_are_found_once_and_live_over_http_and_in_python(tmp_path: Path) -> None:
    """By those who may read them."""
    async with two_users(tmp_path, "pages", "Sea", collections=PAGES, content_event_seconds=0.05) as found:
        ada, bob, link, collab = found
        seen: list[list[str]] = []
        await bob.pages.subscribe({"search": "sea wha"}, lambda rows: seen.append(names(rows))).ready()
        everything: list[list[str]] = []
        await ada.pages.subscribe({"search": "sea wha"}, lambda rows: everything.append(names(rows))).ready()
        for name in ("a", "b"):
            await collab.room(f"pages/{name}").set_markdown(
                "# Animals\n\nThe blue **whale**", root="default", user="ada"
            )
        await until(lambda: everything and sorted(everything[-1]) == ["a", "b"])
        await until(lambda: seen and seen[-1] == ["a"])
        assert names(await bob.pages.find_many({"search": '"blue whale"'})) == ["a"]
        assert await bob.pages.count({"search": "animals"}) == 1
        said = {"authorization": f"Bearer {mint('bob', access=own('pages'))}"}
        async with httpx.AsyncClient(headers=said) as http:
            base = f"http://{link.address}/api/v1/collections/pages"
            assert names((await http.get(base, params={"search": "blue"})).json()["rows"]) == ["a"]
            assert (await http.post(f"{base}/count", json={"search": "blue -whale"})).json() == {"count": 0}
        await collab.room("pages/a").set_markdown("Nothing", root="default", user="ada")
        await until(lambda: seen[-1] == [])


async def test_t3_rows_that_the_caller_may_not_see_are_not_found(tmp_path: Path) -> None:
    async with two_users(tmp_path, "notes", "secret plan", collections=NOTES) as (ada, bob, _, _):
        seen: list[list[str]] = []
        await bob.notes.subscribe({"search": "secret"}, lambda rows: seen.append(names(rows))).ready()
        await until(lambda: seen and seen[-1] == ["a"])
        assert await bob.notes.count({"search": "secret"}) == 1
        await ada.notes.update("b", {"owner": "bob"})
        await until(lambda: seen[-1] == ["b", "a"])


async def test_t7_rows_from_before_a_declaration_are_found(tmp_path: Path) -> None:
    async with running(tmp_path) as notes:
        await notes.create({"title": "The blue whale", "body": "sings"}, id="a")
    async with running(tmp_path, declaration(search=["title"])) as notes:
        assert names((await notes.find_many({"search": "whale"})).rows) == ["a"]
        assert names((await notes.find_many({"search": "sings"})).rows) == []
    async with running(tmp_path, declaration(search=["body"])) as notes:
        assert names((await notes.find_many({"search": "whale"})).rows) == []
        assert names((await notes.find_many({"search": "sings"})).rows) == ["a"]
