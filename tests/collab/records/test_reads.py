"""Reading entities: with permissions, at a moment, and the requests that make no sense."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from collab import Access, RoomKey, Rule
from collab.errors import InvalidName, InvalidRequest
from collab.query.parse import parse_where
from tests.collab.records.operations import Operations
from tests.collab.records.test_records import caller, running

OWN = (
    Rule("tasks/*", Access.WRITE, where=parse_where({"owner": "ann"})),
    Rule("tasks/*", Access.READ),
)


async def test_rows_come_with_the_permissions_of_each_if_they_are_requested() -> None:
    async with running() as collab:
        tasks, ann = collab.collection("tasks"), caller("ann", OWN)
        for owner in ("ann", "bob"):
            await tasks.create({"owner": owner}, id=owner)
        records = Operations(collab.hub.records)
        found = await records.find_many(ann, "tasks", {}, include_permissions=True)
        assert [row["id"] for row in found.rows] == ["ann", "bob"]
        assert found.permissions == [{"read": True, "write": True}, {"read": True, "write": False}]
        assert (await records.find_many(ann, "tasks", {})).permissions is None


async def test_rights_on_an_entity_and_on_its_document_follow_the_row() -> None:
    async with running() as collab:
        records, ann = collab.hub.records, caller("ann", OWN)
        for owner in ("ann", "bob"):
            await collab.collection("tasks").create({"owner": owner}, id=owner)
        assert await records.access(ann, "tasks", "ann") is Access.WRITE
        assert await records.access(ann, "tasks", "bob") is Access.READ
        assert await records.document_access(ann, RoomKey("default", "tasks", "ann")) is Access.WRITE
        assert await records.document_access(ann, RoomKey("default", "tasks", "bob")) is Access.READ


async def test_a_moment_without_microseconds_includes_its_whole_millisecond() -> None:
    async with running() as collab:
        written = await collab.collection("tasks").create({"n": 1}, id="t1")
        at = datetime.fromisoformat(written.data["updatedAt"])
        records = Operations(collab.hub.records)
        for hours, zone in ((0, "Z"), (2, "+02:00")):
            local = at + timedelta(hours=hours)
            moment = f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03d}{zone}"
            assert (await records.find_by_id(caller(), "tasks", "t1", at=moment)).version == 1


@pytest.mark.parametrize("asked", [{"version": 1, "at": "2024-01-31T12:00:00Z"}, {"at": "yesterday"}])
async def test_the_past_is_read_by_a_version_or_by_a_date_time(asked: dict[str, Any]) -> None:
    async with running() as collab:
        await collab.collection("tasks").create({"n": 1}, id="t1")
        with pytest.raises(InvalidRequest):
            await Operations(collab.hub.records).find_by_id(caller(), "tasks", "t1", **asked)


@pytest.mark.parametrize(("collection", "entity"), [("a b", "t1"), ("", "t1"), ("x" * 129, "t1"), ("tasks", "a b")])
async def test_a_malformed_name_is_refused_as_such(collection: str, entity: str) -> None:
    async with running() as collab:
        records = Operations(collab.hub.records)
        with pytest.raises(InvalidName):
            await records.find_by_id(caller(), collection, entity)
        if collection != "tasks":
            with pytest.raises(InvalidName):
                await records.find_many(caller(), collection, {})
