"""Contract of full-text search. Part of :mod:`collab.testing.storage_contract`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from collab.errors import Unavailable
from collab.names import RoomKey
from collab.query.match import compile_query
from collab.query.parse import parse_query
from collab.query.query import IndexPaths, Query
from collab.storage.base import Fact, Storage
from collab.testing.storage_case import StorageCase, fact

MEMBERS: IndexPaths = (("author", "name"), ("body",), ("title",))

_PIECES = (
    *("blue", "Blue", "blues", "whale", "wh", "w", "BLUE", "Äpfel", "apfel", "straße", "STRASSE", "naïve", "ﬁne"),
    *(
        "don't",
        "e-mail",
        "2026",
        "٣",
        "Ünï",
        "Москва",
        "й",
        "東京都",
        "京",
        "한국어",
        "กขค",
        "हिन्दी",
        "🙂",
        "_",
        "--",
        "*",
    ),
    *(
        "a" * 70,
        "a" * 64,
        "\0",
        "\n",
        "\t",
        ".",
        "'",
        '"',
        "\\",
        ":",
        "|",
        "&",
        "(",
        ")",
        "İ",
        "ß",
        "Ⅷ",
        "x²",
        "\u0301",
    ),
)


def searched(text: str, members: IndexPaths = MEMBERS, **others: Any) -> Query:
    """A query that searches these members."""
    query = parse_query({"search": text, **others})
    assert query.search is not None
    return replace(query, search=replace(query.search, paths=members))


def written(name: str, version: int, project: str = "acme", **fields: Any) -> Fact:
    """A row of ``notes`` with these fields, all of which this version writes."""
    changes = {field: {"to": value} for field, value in fields.items()}
    return fact(version, fields, RoomKey(project, "notes", name), changes=changes, at=1000.0 + version)


async def ids(storage: Storage, query: Query, project: str = "acme") -> list[str]:
    """The ids of what is found, of which there are as many as are counted."""
    found = [row.key.id for row in (await storage.find(project, "notes", query)).rows]
    assert await storage.count(project, "notes", query) == len(found)
    return found


class SearchContract(StorageCase):
    """Rows found by words of their members."""

    async def test_r1_any_storage_finds_what_is_found_in_memory(self, tmp_path: Path) -> None:
        """Whatever the texts are, and what is searched for."""
        random = Random(1)  # noqa: S311 - not a secret

        def text(most: int) -> str:
            glue = random.choice([" ", "", "  ", "-", "."])
            return glue.join(random.choices(_PIECES, k=random.randint(0, most)))

        def value() -> Any:
            return random.choice([text(6), text(3), [text(2), text(2)], {"x": text(2)}, 2026, None, True, 1.5])

        def asked() -> str:
            words = [random.choice(["", "", "-", '"']) + text(2) + random.choice(["", "", "*", '"']) for _ in range(3)]
            return " ".join(words[: random.randint(0, 3)])

        rows = [
            written(f"n{number:03}", 1, title=value(), body=value(), author={"name": value()}, other=value())
            for number in range(150)
        ]
        async with self.opened(tmp_path) as storage:
            await storage.commit([], rows[:75])
            await storage.searchable("notes", MEMBERS)
            await storage.commit([], rows[75:])
            hits = 0
            for _ in range(300):
                query = searched(asked(), orderBy={"id": "asc"})
                matches = compile_query(query)
                expected = [row.entity.key.id for row in rows if matches(row.entity.data)]
                assert await ids(storage, query) == expected, query
                hits += 0 < len(expected) < len(rows)
            assert hits > 50

    async def test_rows_are_found_as_they_are_now(self, tmp_path: Path) -> None:
        """Also after several writes in one commit, and not while they are deleted."""
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", MEMBERS)
            await storage.commit([], [written("a", 1, title="red"), written("b", 1, title="red", body="whale")])
            await storage.commit([], [written("a", 2, title="green"), written("a", 3, title="blue")])
            assert await ids(storage, searched("red")) == ["b"]
            assert await ids(storage, searched("green")) == []
            assert await ids(storage, searched("blue")) == ["a"]
            gone = written("b", 2)
            gone = gone._replace(
                entity=replace(gone.entity, deleted=True), event=fact(2, key=gone.entity.key, kind="deleted").event
            )
            await storage.commit([], [gone])
            assert await ids(storage, searched("whale")) == []
            assert await ids(storage, searched("-green")) == ["a"]

    async def test_a_search_stays_in_its_project_and_collection(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as storage:
            for name in ("notes", "tasks"):
                await storage.searchable(name, MEMBERS)
            task = fact(1, {"title": "blue"}, RoomKey("acme", "tasks", "t"))
            await storage.commit([], [written("a", 1, title="blue"), task, written("b", 1, "other", title="blue")])
            assert await ids(storage, searched("blue")) == ["a"]
            assert await ids(storage, searched("blue"), "other") == ["b"]
            assert await ids(storage, searched("-whale")) == ["a"]

    async def test_a_search_is_one_condition_among_others(self, tmp_path: Path) -> None:
        """The newest change comes first, unless the query orders."""
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", MEMBERS)
            await storage.commit([], [written("a", 1, title="blue", n=1), written("b", 1, title="blue whale", n=2)])
            await storage.commit([], [written("b", 2, title="blue whale", n=2), written("c", 1, title="green", n=2)])
            assert await ids(storage, searched("blue")) == ["b", "a"]
            assert await ids(storage, searched("blue", orderBy={"id": "asc"})) == ["a", "b"]
            assert await ids(storage, searched("blue", where={"n": 2})) == ["b"]
            assert await ids(storage, searched("", where={"n": 2})) == ["b", "c"]
            assert [row.key.id for row in (await storage.find("acme", "notes", searched("blue", limit=1))).rows] == [
                "b"
            ]

    async def test_rows_that_were_there_before_are_found_once_a_collection_is_searchable(self, tmp_path: Path) -> None:
        """By other members once these are declared, by none once nothing is, and never by members that are not."""
        other: IndexPaths = (("body",),)
        rows = [written(f"n{number:04}", 1, title="blue", body="whale") for number in range(1200)]
        async with self.opened(tmp_path) as storage:
            await storage.commit([], rows)
            with pytest.raises(Unavailable):
                await storage.find("acme", "notes", searched("blue"))
            await storage.searchable("notes", MEMBERS)
            assert len(await ids(storage, searched("blue"))) == 1200
            with pytest.raises(Unavailable):
                await storage.count("acme", "notes", searched("blue", other))
            await storage.searchable("notes", other)
            assert len(await ids(storage, searched("blue", other))) == 0
            assert len(await ids(storage, searched("wha", other))) == 1200
            await storage.searchable("notes", ())
            with pytest.raises(Unavailable):
                await storage.find("acme", "notes", searched("blue", other))
            await storage.searchable("notes", MEMBERS)
            assert len(await ids(storage, searched("blue whale"))) == 1200

    async def test_erased_rows_are_not_found(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", MEMBERS)
            await storage.commit([], [written("a", 1, title="blue"), written("b", 1, title="blue")])
            await storage.erase([RoomKey("acme", "notes", "a")])
            assert await ids(storage, searched("blue")) == ["b"]
            await storage.commit([], [written("a", 1, title="green")])
            assert await ids(storage, searched("blue")) == ["b"]
            assert await ids(storage, searched("green")) == ["a"]

    async def test_a_search_survives_a_restart(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", MEMBERS)
            await storage.commit([], [written("a", 1, title="blue")])
        async with self.reopened(storage, tmp_path) as again:
            await again.commit([], [written("b", 1, title="blue")])
            await again.searchable("notes", MEMBERS)
            assert await ids(again, searched("blue", orderBy={"id": "asc"})) == ["a", "b"]

    async def test_texts_of_any_size_are_stored(self, tmp_path: Path) -> None:
        """What is behind the limit is not found; as in memory, and no commit fails."""
        long = " ".join(f"w{number}" for number in range(40_000))
        cases = {
            "long": long,
            "wide": "ﷺ" * 100_000,
            "many": "".join(chr(0x4E00 + number) for number in range(20_000)) * 6,
            "astral": " ".join(chr(0x20000 + number) for number in range(42_000)),
            "one": "x" * 200_000,
        }
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", MEMBERS)
            rows = [written(name, 1, title=text, body="end") for name, text in cases.items()]
            await storage.commit([], rows)
            for asked in ("w1", "w39999", "end", "صلى", "一", "\U00020000", "\U0002a000", "xxx"):
                query = searched(asked, orderBy={"id": "asc"})
                matches = compile_query(query)
                expected = sorted(row.entity.key.id for row in rows if matches(row.entity.data))
                assert await ids(storage, query) == expected, asked
