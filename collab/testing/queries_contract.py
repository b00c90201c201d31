"""Contract of queries and aggregates. Part of :mod:`collab.testing.storage_contract`."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from collab.errors import InvalidRequest, Unavailable
from collab.names import RoomKey
from collab.query.aggregate import MAX_GROUPS, Aggregation, GroupTally, Sum
from collab.query.cursor import place_of
from collab.query.include import KeysQuery, related_to
from collab.query.query import Compare, Order, Query, Search
from collab.query.search import parse_words
from collab.testing.storage_case import StorageCase, fact


class QueriesContract(StorageCase):
    """Queries, once and for many keys, aggregates, and indexes that change neither."""

    async def test_a_query_finds_what_it_asks_for_in_its_order(self, tmp_path: Path) -> None:
        """Within its own project and collection; with and without an index."""
        keys = [RoomKey("acme", "tasks", f"t{number}") for number in range(10)]
        strangers = [RoomKey("acme", "notes", "t0"), RoomKey("other", "tasks", "t0")]
        async with self.opened(tmp_path) as storage:
            await storage.commit([], [fact(1, {"n": number % 3}, key) for number, key in enumerate(keys)])
            await storage.commit([], [fact(1, {"n": 2}, key) for key in strangers])
            query = Query(Compare(("n",), "in", (1, 2)), (Order(("n",), descending=True),), limit=3, offset=1)
            for _ in range(2):
                found = await storage.find("acme", "tasks", query)
                assert [row.key.id for row in found.rows] == ["t5", "t8", "t1"]
                assert found.rows[0].data["n"] == 2
                assert found.position == 11
                assert await storage.count("acme", "tasks", query) == 6
                await storage.index("tasks", [(("n",),), (("profile", "city"),)])

    async def test_a_query_for_each_of_several_keys_finds_what_each_alone_finds(self, tmp_path: Path) -> None:
        """By a field and by id, in the query's order and limit, with and without an index; and no more than asked."""
        long = "k" * 120
        days = ["2024-01-31", "2024-01-31T00:00:00Z"]  # equal as values of a field, different as ids
        keys = ["p1", "p2", "nobody", long, long[:-1] + "l", *days]
        owners = ["p1", "p1", "p1", "p2", long, *days, 1, None, ["p1"]]
        tasks = [RoomKey("acme", "tasks", f"t{number}") for number in range(len(owners))]
        facts = [
            fact(1, {"owner": owner, "n": -number}, key)
            for number, (key, owner) in enumerate(zip(tasks, owners, strict=True))
        ]
        query = Query(Compare(("n",), "lte", 0), (Order(("n",)),), limit=2)
        async with self.opened(tmp_path) as storage:
            await storage.commit([], [*facts, fact(1, {"owner": "p2"}, RoomKey("other", "tasks", "t0"))])
            await storage.commit([], [fact(2, {"owner": "p1", "n": -9}, tasks[2], kind="deleted")])
            for _ in range(2):
                found = await storage.find_each("acme", "tasks", KeysQuery("owner", keys, query, 100))
                assert found.position == len(facts) + 1
                assert [row.key.id for row in found.rows["p1"]] == ["t1", "t0"]
                for key in keys:
                    alone = await storage.find("acme", "tasks", related_to("owner", key, query))
                    assert list(found.rows.get(key, [])) == list(alone.rows)
                assert [row.key.id for row in found.rows[days[0]]] == ["t6", "t5"]
                fewer = await storage.find_each("acme", "tasks", KeysQuery("owner", keys, query, 3))
                assert len(fewer) == 3
                await storage.index("tasks", [(("owner",),)])
            by_id = KeysQuery("id", ["t3", "t2", "t0", *days], query, 100)
            named = await storage.find_each("acme", "tasks", by_id)
            assert {key: [row.key.id for row in rows] for key, rows in named.rows.items() if rows} == {
                "t3": ["t3"],
                "t0": ["t0"],
            }

    async def test_an_aggregate_adds_up_the_living_entities_of_its_collection(self, tmp_path: Path) -> None:
        """Exactly, by group, as of a position; integers and fractions."""
        values = [(1, "red"), (2**53 + 1, "red"), (0.1, "blue"), (0.2, "blue"), ("x", None), (7, "red")]
        keys = [RoomKey("acme", "tasks", f"t{number}") for number in range(len(values))]
        facts = [fact(1, {"n": n, "team": team}, key) for key, (n, team) in zip(keys, values, strict=True)]
        n, team = ("n",), ("team",)
        async with self.opened(tmp_path) as storage:
            await storage.commit([], facts)
            await storage.commit([], [fact(2, {"n": 7, "team": "red"}, keys[-1], kind="deleted")])
            await storage.commit([], [fact(1, {"n": 5, "team": "red"}, RoomKey("other", "tasks", "t0"))])
            wanted = Aggregation(group_by=(team,), sum=(n,), min=(n,), max=(n,))
            found = await storage.aggregate("acme", "tasks", wanted)
            assert found.position == 7
            assert found.groups == [
                GroupTally((None,), 1, (Sum(0, Decimal(0)),), ("x",), ("x",)),
                GroupTally(("blue",), 2, (Sum(2, Decimal("0.3")),), (0.1,), (0.2,)),
                GroupTally(("red",), 2, (Sum(2, Decimal(2**53 + 2)),), (1,), (2**53 + 1,)),
            ]
            few = Aggregation(Compare(n, "gt", 1), avg=(n,))
            assert (await storage.aggregate("acme", "tasks", few)).groups == [
                GroupTally((), 1, (Sum(1, Decimal(2**53 + 1)),), (), ())
            ]
            none = await storage.aggregate("acme", "nothing", few)
            assert none.groups == [GroupTally((), 0, (Sum(0, Decimal(0)),), (), ())]

    async def test_an_aggregate_counts_the_rows_that_its_search_finds(self, tmp_path: Path) -> None:
        """Once they are indexed, and of those the ones that its condition selects."""
        titles = {"a": "Blue whale", "b": "blue sky", "c": "green"}
        keys = {name: RoomKey("acme", "notes", name) for name in titles}
        facts = [
            fact(1, {"title": title, "n": at}, keys[name], changes={"title": {"to": title}})
            for at, (name, title) in enumerate(titles.items(), 1)
        ]
        wanted = Aggregation(sum=(("n",),), search=Search(parse_words("blue"), (("title",),)))
        async with self.opened(tmp_path) as storage:
            with pytest.raises(Unavailable):
                await storage.aggregate("acme", "notes", wanted)
            await storage.searchable("notes", (("title",),))
            await storage.commit([], facts)
            found = await storage.aggregate("acme", "notes", wanted)
            assert found.groups == [GroupTally((), 2, (Sum(2, Decimal(3)),), (), ())]
            some = replace(wanted, where=Compare(("n",), "gt", 1))
            assert [group.rows for group in (await storage.aggregate("acme", "notes", some)).groups] == [1]
            other = await storage.aggregate("other", "notes", wanted)
            assert [group.rows for group in other.groups] == [0]

    async def test_an_aggregate_tells_a_number_from_the_string_of_its_digits(self, tmp_path: Path) -> None:
        """A string is the maximum, a number the minimum, and each is a group."""
        facts = [fact(1, {"n": n}, RoomKey("acme", "tasks", f"t{at}")) for at, n in enumerate((1, "1", "0", 0))]
        n = ("n",)
        async with self.opened(tmp_path) as storage:
            await storage.commit([], facts)
            (all_rows,) = (await storage.aggregate("acme", "tasks", Aggregation(min=(n,), max=(n,)))).groups
            assert (all_rows.lows, all_rows.highs) == ((0,), ("1",))
            groups = (await storage.aggregate("acme", "tasks", Aggregation(group_by=(n,)))).groups
            assert [group.key for group in groups] == [(0,), (1,), ("0",), ("1",)]

    async def test_an_aggregate_with_too_many_groups_is_refused(self, tmp_path: Path) -> None:
        """And the next one is answered."""
        keys = [RoomKey("acme", "tasks", f"t{number}") for number in range(MAX_GROUPS + 1)]
        wanted = Aggregation(group_by=(("n",),))
        async with self.opened(tmp_path) as storage:
            await storage.commit([], [fact(1, {"n": number}, key) for number, key in enumerate(keys[:-1])])
            assert len((await storage.aggregate("acme", "tasks", wanted)).groups) == MAX_GROUPS
            await storage.commit([], [fact(1, {"n": -1}, keys[-1])])
            with pytest.raises(InvalidRequest, match="more than 1,000 groups"):
                await storage.aggregate("acme", "tasks", wanted)
            assert (await storage.aggregate("acme", "tasks", Aggregation())).groups[0].rows == MAX_GROUPS + 1

    async def test_indexes_over_several_members_change_no_result(self, tmp_path: Path) -> None:
        """A page begins where the last one ended, in both directions, whatever the values are."""
        values = (None, False, True, 1, 1.5, "B", "a", [1])
        keys = [RoomKey("acme", "tasks", f"t{number:02}") for number in range(48)]
        facts = [
            fact(1, {"team": ("red", "blue", None)[number % 3], "size": values[number // 6]}, key)
            for number, key in enumerate(keys)
        ]
        team, size = ("team",), ("size",)
        async with self.opened(tmp_path) as storage:
            await storage.commit([], facts)
            for indexes in ([], [(team, size)], [(team,), (size, team), (team, size, ("createdAt",))], []):
                await storage.index("tasks", indexes)
                for wanted, first in (("red", 0), (None, 2)):
                    for falling in (False, True):
                        where, order = Compare(team, "eq", wanted), (Order(size, falling),)
                        ids: list[str] = []
                        query = Query(where, order, limit=3)
                        while rows := (await storage.find("acme", "tasks", query)).rows:
                            ids += [row.key.id for row in rows]
                            query = Query(where, order, limit=3, after=place_of(rows[-1].data, order))
                        sign = -1 if falling else 1
                        numbers = sorted(range(first, 48, 3), key=lambda number: (sign * (number // 6), number))
                        assert ids == [keys[number].id for number in numbers]
                        assert await storage.count("acme", "tasks", Query(where)) == 16
