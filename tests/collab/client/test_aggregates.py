"""Aggregates through a real server: once and live, with the rights of the caller."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pycrdt
import pytest

from collab import Collab, Hooks, Identity, Settings
from collab.errors import InvalidRequest
from collab.query.query import Compare, Condition
from tests.collab.client.world import client, until, world
from tests.collab.serving import serving
from tests.e2e.guarded import SECRET, mint


async def test_g6_an_application_follows_sums_by_group(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, _), client(link.address) as made:
        orders: Any = made.orders
        for name, team, amount in (("o1", "a", 0.1), ("o2", "b", 5), ("o3", "a", 0.2)):
            await orders.create({"id": name, "team": team, "amount": amount})
        wanted = {"group_by": "team", "sum": "amount", "max": ["amount"]}
        first = await orders.aggregate(wanted)
        assert first == [
            {"id": '["a"]', "group": {"team": "a"}, "count": 2, "sum": {"amount": 0.3}, "max": {"amount": 0.2}},
            {"id": '["b"]', "group": {"team": "b"}, "count": 1, "sum": {"amount": 5}, "max": {"amount": 5}},
        ]
        seen: list[list[dict[str, Any]]] = []
        await orders.subscribe_aggregate(wanted, seen.append).ready()
        await until(lambda: seen)
        assert seen == [first]
        await orders.update("o3", {"team": "c", "amount": 7})
        await until(lambda: [group["count"] for group in seen[-1]] == [1, 1, 1])
        await orders.delete("o1")
        await until(lambda: len(seen[-1]) == 2)
        assert seen[-1] == await orders.aggregate(wanted)
        assert (await orders.aggregate())[0]["count"] == 2
        with pytest.raises(InvalidRequest, match="has no member 'limit'"):
            await orders.aggregate({"limit": 1})


async def test_g7_rows_that_the_caller_may_not_see_never_count(tmp_path: Path) -> None:
    own: Any = {"orders/*": {"access": "write", "where": {"owner": "$userId"}}}
    async with (
        world(tmp_path, jwt_secret=SECRET) as (link, _),
        client(link.address, token=mint("ada")) as ada,
        client(link.address, token=mint("bob", access=own)) as bob,
    ):
        for number in range(4):
            await ada.orders.create({"id": f"o{number}", "owner": "bob" if number % 2 else "eve", "n": 10**number})
        seen: list[Any] = []
        await bob.orders.subscribe_aggregate({"sum": "n", "max": "n"}, seen.append).ready()
        await until(lambda: seen)
        assert (seen[-1][0]["count"], seen[-1][0]["sum"], seen[-1][0]["max"]) == (2, {"n": 1010}, {"n": 1000})
        await ada.orders.update("o3", {"owner": "eve"})
        await until(lambda: seen[-1][0]["max"] == {"n": 10})
        await ada.orders.update("o2", {"owner": "bob"})
        await until(lambda: seen[-1][0]["sum"] == {"n": 110})
        assert seen[-1] == await bob.orders.aggregate({"sum": "n", "max": "n"})


async def test_g7_changed_rights_change_what_counts(tmp_path: Path) -> None:
    teams = {"ada": ["a"]}

    class Membership(Hooks):
        async def visible(self, identity: Identity, collection: str) -> Condition | None:
            return Compare(("team",), "in", tuple(teams[identity.user_id or ""]))

    app = Collab(Settings(data=str(tmp_path), jwt_secret=SECRET), hooks=Membership())
    async with serving(app) as address, client(address, token=mint("ada")) as ada:
        for name in "aabc":
            await app.collection("orders").create({"team": name})
        seen: list[Any] = []
        await ada.orders.subscribe_aggregate({"group_by": "team"}, seen.append).ready()
        await until(lambda: [group["count"] for group in seen[-1]] == [2] if seen else False)
        teams["ada"] = ["b", "c"]
        await app.permissions_changed()
        await until(lambda: [group["group"]["team"] for group in seen[-1]] == ["b", "c"])


async def test_g6_a_lost_connection_misses_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as (link, app), client(link.address) as made:
        seen: list[Any] = []
        await made.orders.subscribe_aggregate({}, seen.append).ready()
        await until(lambda: seen)
        link.cut()
        orders = app.collection("orders")
        await asyncio.gather(*(orders.create({"n": number}) for number in range(20)))
        await until(lambda: seen[-1][0]["count"] == 20)
        assert (await orders.aggregate({"sum": "n"})).groups[0]["sum"] == {"n": 190}


def shows(lists: list[Any], groups: list[dict[str, Any]]) -> bool:
    return bool(lists) and lists[-1] == groups


@pytest.mark.parametrize("seed", range(4))
async def test_g6_whatever_happens_to_entities_live_groups_are_those_of_a_fresh_answer(
    tmp_path: Path, seed: int
) -> None:
    """Writes, resets to versions, deletions, restorations, erasures, and edits of documents."""
    random = Random(seed)
    async with world(tmp_path) as (link, app), client(link.address) as made:
        orders, alive, deleted = app.collection("orders"), set[str](), set[str]()
        wanted: list[dict[str, Any]] = [
            {"group_by": "team", "sum": "n", "avg": "n", "min": ["n", "createdAt"], "max": "n"},
            {"where": {"n": {"gte": 3}}, "max": ["n", "updatedAt"]},
            {"where": {"team": "a"}, "sum": "n"},
        ]
        seen: list[list[Any]] = [[] for _ in wanted]
        for each, lists in zip(wanted, seen, strict=True):
            await made.orders.subscribe_aggregate(each, lists.append).ready()
        for step in range(80):
            fields = {"n": random.choice([0, 1, 2.5, 3, 4, 0.1, "x", None]), "team": random.choice("abc")}
            one = random.choice(sorted(alive)) if alive else ""
            match random.choice(("create", "create", "update", "edit", "unset", "reset", "delete", "restore", "erase")):
                case "create":
                    alive.add(name := random.choice([f"o{step}", *sorted(deleted)]))
                    deleted.discard(name)
                    await orders.create(fields, id=name)
                case "update" if one:
                    await orders.update(one, {random.choice(("n", "team", "other")): fields["n"]})
                case "edit" if one:
                    async with app.room(f"orders/{one}").edit() as doc:
                        doc.get("fields", type=pycrdt.Map)["n"] = random.randint(0, 9)
                case "unset" if one:
                    await orders.update(one, {}, unset=["team"])
                case "reset" if one:
                    await orders.restore(one, version=1)
                case "delete" if one:
                    await orders.delete(one)
                    alive.discard(one)
                    deleted.add(one)
                case "restore" if deleted:
                    alive.add(name := deleted.pop())
                    await orders.restore(name)
                case "erase" if one and step % 4 == 0:
                    await orders.erase(one)
                    alive.discard(one)
        for each, lists in zip(wanted, seen, strict=True):
            fresh = await made.orders.aggregate(each)
            await until(partial(shows, lists, fresh))
