"""Aggregates through a real server: once and live, with the rights of the caller."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from collab.errors import InvalidRequest
from tests.collab.client.world import client, until, world
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
