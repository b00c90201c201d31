"""Contract of entities and their events. Part of :mod:`collab.testing.storage_contract`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import msgspec
import pytest

from collab.errors import NotFound
from collab.event import EntityEvent, FieldConflict
from collab.names import RoomKey
from collab.query.query import Query
from collab.storage.base import Fact, IdempotencyKey, Requested, SetAside, Snapshot, Storage, Version
from collab.testing.storage_case import KEY, OTHER, StorageCase, entry, fact, updates

TASK = RoomKey("acme", "tasks", "b1:t1")


def at_position(sent: Fact, position: int) -> EntityEvent:
    """The event of a fact as it is published after its commit."""
    return msgspec.structs.replace(sent.event, position=position)


async def everything(storage: Storage) -> list[EntityEvent]:
    """All stored events of one project, by position."""
    return list(await storage.events("acme", 0, limit=10_000))


class EntitiesContract(StorageCase):
    """Entities, events, versions, named writes, and declarations."""

    async def test_an_entity_has_the_state_of_its_newest_event(self, tmp_path: Path) -> None:
        """Loaded alone, and with its document."""
        async with self.opened(tmp_path) as storage:
            assert await storage.entity(KEY) is None
            facts = [fact(1, {"n": 1}, row=0), fact(2, {"n": 2}, row=1, heads=b"newer", content_seq=2)]
            committed = await storage.commit([entry(b"1"), entry(b"2")], facts)
            assert (list(committed.seqs), list(committed.positions)) == ([1, 2], [1, 2])
            assert await storage.entity(KEY) == facts[1].entity
            record = await storage.load(KEY)
            assert record is not None
            assert record.entity == facts[1].entity
            assert updates(record) == [b"1", b"2"]
            assert await storage.entity(OTHER) is None

    async def test_an_entity_without_a_document_is_loaded_as_one(self, tmp_path: Path) -> None:
        """It has no lineage, and can still be seeded."""
        async with self.opened(tmp_path) as storage:
            sent = fact(1, {"n": 1})
            await storage.commit([], [sent])
            record = await storage.load(KEY)
            assert record is not None
            assert (record.lineage, record.entity) == (None, sent.entity)
            assert await storage.create(entry(b"seed"))
            record = await storage.load(KEY)
            assert record is not None
            assert (updates(record), record.entity) == ([b"seed"], sent.entity)

    async def test_all_of_json_comes_back_as_it_was(self, tmp_path: Path) -> None:
        """All types, any depth, all characters."""
        fields: dict[str, Any] = {
            "": [None, True, False, 0, -1, 1.5, 2**53, 1e300, "", []],
            "nested": {"a": {"b": [{"c": "d"}]}},
            "when": "2024-02-29T12:00:00.5+02:00",
            'quote"\\': "\x00 \u2028 \U0001f600 '--",
        }
        conflict = FieldConflict("n", None, {"a": 1}, [1], "theirs", None, None)
        changes: dict[str, dict[str, Any]] = {"n": {"from": 1, "to": None}, "text": {"delta": [{"insert": "x"}]}}
        sent = fact(1, fields, changes=changes, conflicts=(conflict,), user_id=None, at=1e9 + 0.25)
        async with self.opened(tmp_path) as storage:
            await storage.commit([], [sent])
            assert await storage.entity(KEY) == sent.entity
            assert await everything(storage) == [at_position(sent, 1)]

    async def test_a_lone_surrogate_does_not_block_the_record(self, tmp_path: Path) -> None:
        """Everybody else's changes are in the same commit."""
        conflict = FieldConflict("\ud800", None, 1, 2, "yours", None, None)
        async with self.opened(tmp_path) as storage:
            await storage.commit(
                [], [fact(1, {"n": ["\ud800"]}, user_id="a\udfff", conflicts=(conflict,)), fact(1, key=OTHER)]
            )
            assert [event.id for event in await everything(storage)] == [KEY.id, OTHER.id]

    async def test_versions_have_no_holes(self, tmp_path: Path) -> None:
        """A commit that would leave a gap changes nothing."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1")], [fact(1, row=0)])
            for wrong in ([fact(3)], [fact(1)], [fact(2), fact(2)], [fact(2), fact(4)], [fact(2, key=OTHER)]):
                with pytest.raises(ValueError, match="does not follow"):
                    await storage.commit([entry(b"2"), entry(b"x", OTHER)], wrong)
            assert updates(await storage.load(KEY)) == [b"1"]
            assert await storage.load(OTHER) is None
            committed = await storage.commit([entry(b"2")], [fact(2, row=0)])
            assert (list(committed.seqs), list(committed.positions)) == ([2], [2])
            assert [event.version for event in await everything(storage)] == [1, 2]

    async def test_positions_of_each_project_rise_by_one_in_the_order_of_commits(self, tmp_path: Path) -> None:
        """Regardless of other projects, and across restarts."""
        keys = [RoomKey(project, "tasks", f"t{number}") for number in range(3) for project in ("a", "b")]
        sent = [fact(1, key=key) for key in keys]
        async with self.opened(tmp_path) as storage:
            before = await storage.positions()
            assert before.epoch
            assert (before.base, before.newest) == (0, {})
            assert await storage.span("a") == (0, 0)
            assert await storage.newest_at() == 0.0
            assert list((await storage.commit([], sent[:3])).positions) == [1, 1, 2]
            assert (await storage.commit([entry(b"1", OTHER)])).seqs == [1]
            assert list((await storage.commit([], sent[3:])).positions) == [2, 3, 3]
            assert await storage.positions() == replace(before, newest={"a": 3, "b": 3})
            assert (await storage.positions()).of("c") == 0
            assert await storage.positions(["a", "c"]) == replace(before, newest={"a": 3})
            assert await storage.positions([]) == before
            assert await storage.span("b") == (0, 3)
            told = {
                name: [at_position(one, position) for position, one in enumerate(sent[start::2], 1)]
                for start, name in enumerate(("a", "b"))
            }
            for name, events in told.items():
                assert list(await storage.events(name, 0, limit=10)) == events
                assert list(await storage.events(name, 1, limit=1)) == events[1:2]
                assert list(await storage.events(name, 0, limit=10, collection="tasks")) == events
                assert list(await storage.events(name, 1, limit=10, collection="tasks", entity="t1")) == events[1:2]
                assert not await storage.events(name, 0, limit=10, collection="notes")
                assert not await storage.events(name, 3, limit=10)
            assert not await storage.events("c", 0, limit=10)
            assert await storage.newest_at() == sent[-1].at
        async with self.reopened(storage, tmp_path) as storage:
            assert await storage.positions() == replace(before, newest={"a": 3, "b": 3})
            again = [fact(2, key=keys[0]), fact(1, key=RoomKey("c", "tasks", "t")), fact(2, key=keys[2])]
            assert list((await storage.commit([], again)).positions) == [4, 1, 5]
            assert (await storage.positions()).newest == {"a": 5, "b": 3, "c": 1}

    async def test_another_database_has_another_epoch(self, tmp_path: Path) -> None:
        """Positions of another database have no meaning here."""
        async with self.opened(tmp_path / "a") as one, self.opened(tmp_path / "b") as other:
            assert (await one.positions()).epoch != (await other.positions()).epoch

    async def test_the_history_of_an_entity_is_read_from_its_end(self, tmp_path: Path) -> None:
        """Page by page, newest first."""
        sent = [fact(version, {"n": version}, row=0, at=float(version)) for version in range(1, 6)]
        async with self.opened(tmp_path) as storage:
            for one in sent:
                await storage.commit([entry(b"x")], [one])
            await storage.commit([], [fact(1, key=OTHER)])
            versions = [Version(at_position(one, number), number) for number, one in enumerate(sent, 1)]
            assert list(await storage.history(KEY)) == versions[::-1]
            assert list(await storage.history(KEY, limit=2)) == [versions[4], versions[3]]
            assert list(await storage.history(KEY, before=4, limit=2)) == [versions[2], versions[1]]
            assert list(await storage.history(KEY, before=1)) == []
            assert list(await storage.history(TASK)) == []

    async def test_a_deleted_entity_exists_but_queries_do_not_find_it(self, tmp_path: Path) -> None:
        """Until it is restored."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([], [fact(1, {"n": 1}), fact(1, {"n": 1}, OTHER)])
            await storage.commit([], [fact(2, {"n": 1}, kind="deleted")])
            row = await storage.entity(KEY)
            assert row is not None
            assert row.deleted
            found = await storage.find("acme", "documents", Query())
            assert ([row.key for row in found.rows], found.position) == ([OTHER], 3)
            assert await storage.count("acme", "documents", Query()) == 1
            await storage.commit([], [fact(3, {"n": 1}, kind="restored")])
            assert await storage.count("acme", "documents", Query()) == 2

    async def test_the_entities_of_one_document_are_found_by_their_prefix(self, tmp_path: Path) -> None:
        """Including deleted ones, but not those of neighbours."""
        ids = ["b1:t1", "b1:t2", "b1:~", "b10:t1", "b1", "b0:t", "b2:t1"]
        async with self.opened(tmp_path) as storage:
            await storage.commit([], [fact(1, key=RoomKey("acme", "tasks", one)) for one in reversed(ids)])
            await storage.commit([], [fact(2, key=TASK, kind="deleted"), fact(1, key=TASK._replace(project="p"))])
            found = await storage.children("acme", "tasks", "b1:")
            assert [(row.key.id, row.deleted) for row in found] == [("b1:t1", True), ("b1:t2", False), ("b1:~", False)]
            assert not await storage.children("acme", "notes", "b1:")

    async def test_deleted_documents_with_living_entities_inside_are_listed(self, tmp_path: Path) -> None:
        """An entity's id names its document; in all projects."""

        def one(name: str, collection: str, *, deleted: bool, project: str = "acme") -> Fact:
            key = RoomKey(project, collection, name)
            return fact(1, {"n": 1}, key, kind="deleted" if deleted else "created")

        async with self.opened(tmp_path) as storage:
            facts = [
                one("b1", "boards", deleted=True),
                one("b1:x", "cards", deleted=False),
                one("b2", "boards", deleted=True),
                one("b2:x", "cards", deleted=True),
                one("b3", "boards", deleted=False),
                one("b3:x", "cards", deleted=False),
                one("b4", "boards", deleted=True),
                one("b40:x", "cards", deleted=False),
                one("b1", "boards", deleted=True, project="other"),
                one("b1:x", "cards", deleted=False, project="other"),
            ]
            await storage.commit([], facts)
            found = await storage.half_deleted("boards", "cards", 10)
            assert sorted(found) == [RoomKey("acme", "boards", "b1"), RoomKey("other", "boards", "b1")]
            assert len(await storage.half_deleted("boards", "cards", 1)) == 1
            assert not await storage.half_deleted("cards", "boards", 10)

    async def test_a_named_write_is_known_by_its_first_effect(self, tmp_path: Path) -> None:
        """Per caller and project; for a day."""
        now = time()
        one, two = IdempotencyKey("user:ada", "r1", b"\0one"), IdempotencyKey("user:ada", "r2", b"two")
        bobs = IdempotencyKey("user:b\udc00b", "r1", b"of bob")  # a user id that UTF-8 cannot encode
        async with self.opened(tmp_path) as storage:
            assert await storage.request("acme", "user:ada", "r1") is None
            await storage.commit([], [fact(1, request=one, at=now), fact(2, request=two, at=now - 100_000)])
            await storage.commit([], [fact(3, request=one._replace(digest=b"again"), at=now)])
            await storage.commit([], [fact(4, request=bobs, at=now)])
            for _ in range(2):
                assert await storage.request("acme", "user:ada", "r1") == Requested(KEY, 1, b"\0one")
                assert await storage.request("acme", *bobs[:2]) == Requested(KEY, 4, b"of bob")
                assert await storage.request("other", "user:ada", "r1") is None
                assert await storage.request("acme", "user:eve", "r1") is None
                assert await storage.request("acme", "", "r1") is None
                await storage.trim(0.0)
            assert await storage.request("acme", "user:ada", "r2") is None

    async def test_the_name_of_a_request_outlives_the_entity_that_it_wrote(self, tmp_path: Path) -> None:
        """Also an entity that gets the same name, and nothing else of the request is kept."""
        names = [IdempotencyKey("user:ada", name, b"digest") for name in ("r1", "r2", "r3")]
        async with self.opened(tmp_path) as storage:
            await storage.commit([], [fact(1, request=names[0]), fact(1, key=OTHER, request=names[1])])
            await storage.erase([KEY])
            await storage.commit([], [fact(1, key=TASK, request=names[2]), fact(1, request=names[0])])
        async with self.reopened(storage, tmp_path) as storage:
            found = [await storage.request("acme", *name[:2]) for name in names]
            assert found == [Requested(None, 1, b""), Requested(OTHER, 1, b"digest"), Requested(TASK, 1, b"digest")]

    async def test_an_event_knows_the_log_row_of_its_document(self, tmp_path: Path) -> None:
        """That of its own row, of the content that it covers, or of the whole log; never less than before."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"2")], [fact(1, row=1), fact(1, key=TASK, row=0)])
            await storage.commit([entry(b"3"), entry(b"4")])
            await storage.commit([], [fact(2, content_seq=3)])
            await storage.commit([], [fact(3, content_seq=1)])
            await storage.commit([], [fact(4, kind="deleted", content_seq=3), fact(2, key=TASK, kind="deleted")])
            assert [version.seq for version in await storage.history(KEY)] == [4, 3, 3, 2]
            assert [version.seq for version in await storage.history(TASK)] == [1, 1]

    async def test_a_time_maps_to_a_log_row_and_an_event(self, tmp_path: Path) -> None:
        """So does a version."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1", at=10.0)], [fact(1, row=0, at=10.0)])
            await storage.commit([entry(b"2", at=20.0)])
            await storage.commit([entry(b"3", at=30.0)], [fact(2, row=0, at=30.0)])
            for version, seq in ((1, 1), (2, 3)):
                found = await storage.seq_at(KEY, version=version)
                assert (found[0], found[1].event.version) == (seq, version)
            for _ in range(2):
                for at, seq, version in ((10.0, 1, 1), (19.9, 1, 1), (25.0, 2, 1), (30.0, 3, 2), (1e12, 3, 2)):
                    found = await storage.seq_at(KEY, at=at)
                    assert (found[0], found[1].event.version) == (seq, version)
                await storage.replace_snapshot(KEY, Snapshot(3, b"123", b""))
            for key, version_, at_ in ((KEY, 3, None), (KEY, None, 9.0), (OTHER, 1, None), (OTHER, None, 99.0)):
                with pytest.raises(NotFound):
                    await storage.seq_at(key, version=version_, at=at_)

    async def test_old_events_are_forgotten_and_the_newest_of_each_entity_stays(self, tmp_path: Path) -> None:
        """No position is assigned again."""
        async with self.opened(tmp_path) as storage:
            for version in range(1, 5):
                await storage.commit([], [fact(version, {"n": version}, at=10.0 * version)])
            await storage.commit([], [fact(1, key=OTHER, at=50.0), fact(2, key=OTHER, at=60.0)])
            await storage.trim(35.0)
            assert await storage.span("acme") == (3, 6)
            assert [event.position for event in await everything(storage)] == [3, 4, 5, 6]
            assert [version.event.version for version in await storage.history(KEY)] == [4, 3]
            with pytest.raises(NotFound):
                await storage.seq_at(KEY, version=2)
            await storage.trim(20.0)
            assert await storage.span("acme") == (3, 6)
            await storage.trim(1000.0)
            await storage.trim(1000.0)
            assert await storage.span("acme") == (6, 6)
            assert [event.position for event in await everything(storage)] == [4, 6]
            assert (await storage.seq_at(KEY, at=1e12))[1].event.data["n"] == 4
            if not self.durable:
                assert (await storage.commit([], [fact(5, at=70.0)])).positions == [7]
        if self.durable:
            async with self.opened(tmp_path) as storage:
                assert (await storage.commit([], [fact(5, at=70.0)])).positions == [7]
                assert await storage.span("acme") == (6, 7)
                await storage.trim(1000.0)
                assert [event.position for event in await everything(storage)] == [6, 7]

    async def test_erased_data_is_gone_and_its_numbers_are_never_reused(self, tmp_path: Path) -> None:
        """Even after a restart, and even if it was the newest of all."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1", OTHER)], [fact(1, key=OTHER, at=10.0, row=0)])
            await storage.commit([entry(b"1")], [fact(1, at=20.0, row=0), fact(2, kind="deleted", at=30.0)])
            assert list(await storage.expired(30.0, 10)) == []
            assert list(await storage.expired(31.0, 10)) == [KEY]
            await storage.erase([KEY, RoomKey("default", "tasks", "nobody")])
            assert await storage.load(KEY) is None
            assert await storage.entity(KEY) is None
            assert not await storage.history(KEY)
            assert [event.position for event in await everything(storage)] == [1]
            assert (await storage.span("acme")).newest == 3
            assert await storage.newest_at() == 30.0
            assert list(await storage.uncovered()) == [OTHER]
            if not self.durable:
                assert (await storage.commit([entry(b"2")], [fact(1, at=40.0, row=0)])).positions == [4]
        if self.durable:
            async with self.opened(tmp_path) as storage:
                assert await storage.newest_at() == 30.0
                assert (await storage.commit([entry(b"2")], [fact(1, at=40.0, row=0)])).positions == [4]
                assert (await storage.load(OTHER)) is not None

    async def test_documents_with_content_ahead_of_their_events_are_listed(self, tmp_path: Path) -> None:
        """Longest waiting first, and after a restart."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1", OTHER)])
            await storage.commit([entry(b"1"), entry(b"2")], [fact(1, row=0, content_seq=1)])
            assert list(await storage.uncovered()) == [OTHER, KEY]
            assert list(await storage.uncovered(1)) == [OTHER]
            await storage.commit([], [fact(1, key=OTHER, content_seq=1), fact(1, key=TASK)])
            assert list(await storage.uncovered()) == [KEY]
            await storage.replace_snapshot(KEY, Snapshot(1, b"1", b""))
            assert list(await storage.uncovered()) == [KEY]
        async with self.reopened(storage, tmp_path) as storage:
            assert list(await storage.uncovered()) == [KEY]
            assert [row.seq for row in await storage.log_after(KEY, 1)] == [2]
            await storage.commit([entry(b"3")], [fact(2, content_seq=2)])
            assert list(await storage.uncovered()) == [KEY]
            await storage.commit([entry(b"4")], [fact(3, content_seq=4)])
            assert list(await storage.uncovered()) == []
            await storage.create(entry(b"seed", TASK))
            assert list(await storage.uncovered()) == [TASK]

    async def test_content_that_was_covered_stays_covered(self, tmp_path: Path) -> None:
        """Also if an event is committed later that was made before, because its first commit failed."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"2"), entry(b"3")], [fact(1, row=0, content_seq=1)])
            await storage.cover(KEY, 3)
            assert list(await storage.uncovered()) == []
            await storage.commit([], [fact(2, content_seq=2)])
            assert list(await storage.uncovered()) == []
        async with self.reopened(storage, tmp_path) as storage:
            found = await storage.entity(KEY)
            assert found is not None
            assert found.content_seq == 3
            await storage.commit([entry(b"4")])
            await storage.commit([], [fact(3, content_seq=2), fact(4, content_seq=4)])
            assert list(await storage.uncovered()) == []

    async def test_what_is_set_aside_needs_no_event(self, tmp_path: Path) -> None:
        """Its bytes never reach a document."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"2")], [fact(1, row=0, content_seq=1)])
            await storage.set_aside(SetAside(KEY, 2, b"2", "hostile", 1.0))
            assert list(await storage.uncovered()) == []
            await storage.commit([entry(b"3")])
            assert list(await storage.uncovered()) == [KEY]

    async def test_declarations_are_kept_as_they_were_saved_last(self, tmp_path: Path) -> None:
        """Per project."""
        async with self.opened(tmp_path) as storage:
            assert await storage.schemas("acme") == {}
            await storage.save_schema("acme", "tasks", 1, b"{}")
            await storage.save_schema("acme", "notes", 1, b"[]")
            await storage.save_schema("other", "tasks", 7, b"null")
            await storage.save_schema("acme", "tasks", 2, b'{"a":1}')
            assert await storage.schemas("acme") == {"tasks": (2, b'{"a":1}'), "notes": (1, b"[]")}
            assert await storage.schemas("other") == {"tasks": (7, b"null")}
