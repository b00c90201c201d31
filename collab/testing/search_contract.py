"""Contract of full-text search. Part of :mod:`collab.testing.storage_contract`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from collab.errors import Unavailable
from collab.names import RoomKey
from collab.query.aggregate import Aggregation
from collab.query.match import ID, compile_query, conjoin
from collab.query.parse import parse_query
from collab.query.query import Compare, IndexPaths, Query
from collab.query.search import CONTENTS, compile_search, fold_texts
from collab.storage.base import Append, Fact, NewContents, Storage, Unread
from collab.testing.storage_case import StorageCase, fact

MEMBERS: IndexPaths = (("author", "name"), ("body",), ("title",))
ALL: IndexPaths = (CONTENTS, *MEMBERS)

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


def said(name: str, version: int, seq: int, text: str | None, project: str = "acme", **fields: Any) -> Fact:
    """A row of ``notes`` whose document says this after row ``seq`` of its log; ``None``: nobody has read it."""
    changed = {"content": {"delta": [{"insert": text}]}}
    contents = NewContents(None if text is None else fold_texts([text]))
    key = RoomKey(project, "notes", name)
    return fact(version, fields, key, changes=changed, at=1000.0 + version, content_seq=seq)._replace(contents=contents)


def document(name: str, project: str = "acme") -> Append:
    """A row for the log of the document of a note."""
    return Append(RoomKey(project, "notes", name), b"\x00\x00", "ada", 1000.0)


def by_all(text: str, **others: Any) -> Query:
    """A query that searches members and contents."""
    return searched(text, ALL, **others)


async def ids(storage: Storage, query: Query, project: str = "acme") -> list[str]:
    """The ids of what is found, of which there are as many as are counted."""
    found = [row.key.id for row in (await storage.find(project, "notes", query)).rows]
    assert await storage.count(project, "notes", query) == len(found)
    (everything,) = (await storage.aggregate(project, "notes", Aggregation(query.where, search=query.search))).groups
    assert everything.rows == len(found)
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

    async def test_rows_are_read_with_what_their_documents_say(self, tmp_path: Path) -> None:
        """Those that exist, however many; as a search finds them, and only while it would find all."""
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", ALL)
            names = [f"n{number:03}" for number in range(60)]
            await storage.commit([], [written(name, 1, title="red") for name in [*names, "gone"]])
            await storage.commit([document("n000")], [said("n000", 2, 1, "blue whale", title="red")])
            gone = written("gone", 2)
            gone = gone._replace(
                entity=replace(gone.entity, deleted=True), event=fact(2, key=gone.entity.key, kind="deleted").event
            )
            await storage.commit([], [gone, written("n001", 1, "other", title="green")])
            found = await storage.find_contents("acme", "notes", [*names[:50], "gone", "none"], ALL)
            assert sorted(found.rows) == names[:50]
            assert found.position == (await storage.span("acme")).newest
            row, text = found.rows["n000"]
            assert (row.key, row.version, text) == (RoomKey("acme", "notes", "n000"), 2, fold_texts(["blue whale"]))
            row, text = found.rows["n001"]
            assert (row.data["title"], text) == ("red", "")
            with pytest.raises(Unavailable):
                await storage.find_contents("acme", "notes", names, MEMBERS)

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

    async def test_r1_any_storage_finds_what_documents_say_as_memory_does(self, tmp_path: Path) -> None:
        """Whatever their texts are, those of their rows, and what is searched for, after any changes of both."""
        random = Random(2)  # noqa: S311 - not a secret

        def text(most: int) -> str:
            return random.choice([" ", "", "-", "\n"]).join(random.choices(_PIECES, k=random.randint(0, most)))

        def asked() -> str:
            words = [random.choice(["", "", "-", '"']) + text(2) + random.choice(["", "", "*", '"']) for _ in range(3)]
            return " ".join(words[: random.randint(0, 3)])

        names = [f"n{number:02}" for number in range(40)]
        titles = {name: text(3) for name in names}
        texts = dict.fromkeys(names, "")
        hits = 0
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", ALL)
            await storage.commit([], [written(name, 1, title=titles[name]) for name in names])
            for version in range(2, 12):
                facts = []
                for name in names:
                    if random.random() < 0.5:
                        titles[name] = text(3)
                        facts.append(written(name, version, title=titles[name]))
                    else:
                        texts[name] = fold_texts([text(6), text(3)])
                        new = said(name, version, version, "", title=titles[name])
                        facts.append(new._replace(contents=NewContents(texts[name])))
                await storage.commit([], facts)
                for _ in range(30):
                    query = by_all(asked(), orderBy={"id": "asc"})
                    assert query.search is not None
                    is_found = compile_search(query.search)
                    expected = [name for name in names if is_found({"title": titles[name]}, texts[name])]
                    assert await ids(storage, query) == expected, query
                    hits += 0 < len(expected) < len(names)
                    few = random.sample(names, 5)
                    where = conjoin(query.where, Compare(ID, "in", tuple(few)))
                    assert await ids(storage, replace(query, where=where)) == [name for name in expected if name in few]
        assert hits > 50

    async def test_documents_are_found_by_what_they_say_now(self, tmp_path: Path) -> None:
        """Words may be in the row and in its document, a phrase is in one of them."""
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", ALL)
            await storage.commit([document("a")], [written("a", 1, title="Blue")])
            await storage.commit([], [said("a", 2, 1, "whale song", title="Blue"), written("b", 1, title="blue")])
            await storage.commit([], [said("c", 1, 1, "whale", "other")])
            assert await ids(storage, by_all("blue whale")) == ["a"]
            assert await ids(storage, by_all('"blue whale"')) == []
            assert await ids(storage, by_all('"whale song"')) == ["a"]
            assert await ids(storage, by_all("blue -song")) == ["b"]
            assert await ids(storage, by_all("whale"), "other") == ["c"]
            await storage.commit([], [said("a", 3, 2, "blue song", title="Blue"), written("a", 4, title="Green song")])
            assert await ids(storage, by_all("whale")) == []
            assert await ids(storage, by_all("green blue son")) == ["a"]
            await storage.commit([], [said("a", 5, 3, "", title="Green song")])
            assert await ids(storage, by_all("song")) == ["a"]
            assert await ids(storage, by_all("song blue")) == []
            await storage.erase([RoomKey("acme", "notes", "a")])
            assert await ids(storage, by_all("song")) == []
            await storage.commit([], [written("a", 1, title="again")])
            assert await ids(storage, by_all("-song", orderBy={"id": "asc"})) == ["a", "b"]

    async def test_t7_documents_from_before_are_found_once_all_have_been_read(self, tmp_path: Path) -> None:
        """Rows without one need not be read. What is read of a document that has changed since does not count."""
        keys = [RoomKey("acme", "notes", name) for name in "abc"]
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", MEMBERS)
            facts = [said(name, 1, 1, "whale", title="blue") for name in "abc"]
            await storage.commit([document(name) for name in "abc"], [*facts, written("d", 1, title="blue")])
            assert await storage.unread() == []
            await storage.searchable("notes", ALL)
            with pytest.raises(Unavailable, match="documents of notes are still being read"):
                await storage.find("acme", "notes", by_all("blue"))
            left = await storage.unread()
            assert left == [Unread(key, 1) for key in keys]
            assert await storage.unread(2) == left[:2]
            await storage.save_contents(left[0], NewContents(" whale "))
            await storage.commit([document("b"), document("c")], [said("b", 2, 2, "shark", title="blue")])
            await storage.save_contents(left[1], NewContents(" whale "))
            await storage.cover(keys[2], 2)
            await storage.save_contents(left[2], NewContents(" whale "))
            assert await storage.unread() == [Unread(keys[2], 2)]
            await storage.end_reading()
            with pytest.raises(Unavailable):
                await storage.count("acme", "notes", by_all("blue"))
            await storage.save_contents(Unread(keys[2], 2), NewContents(" whale song "))
            assert await storage.unread() == []
            await storage.end_reading()
            assert await ids(storage, by_all("blue whale", orderBy={"id": "asc"})) == ["a", "c"]
            assert await ids(storage, by_all("shark")) == ["b"]
            await storage.searchable("notes", (CONTENTS, ("body",)))
            assert await storage.unread() == [], "they say what they said"
            assert await ids(storage, searched("song", (CONTENTS, ("body",)))) == ["c"]
            await storage.searchable("notes", MEMBERS)
            assert await ids(storage, searched("whale")) == []
            await storage.searchable("notes", ALL)
            assert len(await storage.unread()) == 3

    async def test_t7_documents_are_read_anew_if_other_roots_are_no_contents_of_theirs(self, tmp_path: Path) -> None:
        """What is in such a root has rights of its own: it may not be found any more by what was read before."""
        inside = ((*CONTENTS, "tasks"), *MEMBERS)
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", ALL)
            await storage.commit([document("a")], [said("a", 1, 1, "whale secret")])
            await storage.searchable("notes", inside)
            with pytest.raises(Unavailable):
                await storage.find("acme", "notes", searched("secret", inside))
            (left,) = await storage.unread()
            await storage.save_contents(left, NewContents(" whale secret "))
            assert await storage.unread() == [left], "it was read by somebody with the earlier declaration"
            await storage.save_contents(left, NewContents(" whale ", inside[0]))
            await storage.end_reading()
            assert await ids(storage, searched("whale", inside)) == ["a"]
            assert await ids(storage, searched("secret", inside)) == []
            await storage.commit([document("a")], [said("a", 2, 2, "shark secret")])
            await storage.cover(left.key, 3, NewContents(" shark secret "))
            assert await ids(storage, searched("secret", inside)) == []
            assert await storage.unread() == [left._replace(seq=3)]
            await storage.cover(left.key, 4, NewContents(" shark ", inside[0]))
            assert await storage.unread() == []
            assert await ids(storage, searched("shark", inside)) == ["a"]
            with pytest.raises(Unavailable, match="declared anew"):
                await storage.find("acme", "notes", by_all("whale"))
            await storage.searchable("notes", ALL)
            assert len(await storage.unread()) == 1

    async def test_what_nobody_has_read_is_read_later(self, tmp_path: Path) -> None:
        """Until then, the row is found by what its document said before."""
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", ALL)
            await storage.commit([document("a")], [said("a", 1, 1, "whale")])
            await storage.commit([document("a")], [said("a", 2, 2, None)])
            assert await ids(storage, by_all("whale")) == ["a"]
            (left,) = await storage.unread()
            assert left == Unread(RoomKey("acme", "notes", "a"), 2)
            await storage.save_contents(left, NewContents(" shark "))
            assert await ids(storage, by_all("whale")) == []
            assert await ids(storage, by_all("shark")) == ["a"]
            assert await storage.unread() == []
            await storage.save_contents(left, NewContents(" whale "))
            assert await ids(storage, by_all("whale")) == [], "it was not unread"
            await storage.commit([], [said("a", 3, 3, None)])
            await storage.erase([RoomKey("acme", "notes", "a")])
            assert await storage.unread() == []

    async def test_rows_that_need_no_event_may_change_what_a_document_says(self, tmp_path: Path) -> None:
        """As those of a deleted entity do, which may be restored."""
        key = RoomKey("acme", "notes", "a")
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", ALL)
            await storage.commit([document("a")], [said("a", 1, 1, "whale")])
            await storage.cover(key, 2, NewContents(" shark "))
            await storage.cover(key, 1, NewContents(" whale "))
            assert await ids(storage, by_all("whale")) == []
            assert await ids(storage, by_all("shark")) == ["a"]
            await storage.cover(key, 3, NewContents(None))
            assert await storage.unread() == [Unread(key, 3)]
            await storage.cover(RoomKey("acme", "notes", "none"), 1, NewContents(" shark "))
            await storage.searchable("notes", MEMBERS)
            await storage.cover(key, 4, NewContents(" shark "))
            assert await storage.unread() == []
            assert await ids(storage, searched("shark")) == []

    async def test_what_documents_say_survives_a_restart(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as storage:
            await storage.commit([document("b")], [said("b", 1, 1, "whale")])
            await storage.searchable("notes", ALL)
            await storage.commit([document("a")], [said("a", 1, 1, "whale")])
        async with self.reopened(storage, tmp_path) as again:
            await again.searchable("notes", ALL)
            with pytest.raises(Unavailable):
                await again.find("acme", "notes", by_all("whale"))
            (left,) = await again.unread()
            await again.save_contents(left, NewContents(" whale "))
            await again.end_reading()
            assert await ids(again, by_all("whale", orderBy={"id": "asc"})) == ["a", "b"]

    async def test_documents_of_any_size_are_stored(self, tmp_path: Path) -> None:
        """With a row of any size."""
        async with self.opened(tmp_path) as storage:
            await storage.searchable("notes", ALL)
            wide = [chr(0x20000 + number) for number in range(42_000)]
            other = [chr(0x10000 + number) for number in range(42_000)]
            await storage.commit([document("a")], [written("a", 1, title=" ".join(wide))])
            await storage.commit([], [said("a", 2, 1, " ".join(other), title=" ".join(wide))])
            assert await ids(storage, by_all(wide[-1])) == ["a"]
