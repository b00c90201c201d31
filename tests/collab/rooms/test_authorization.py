"""The program's own calls: hooks are not asked for their rights, on whichever node they are made."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from collab import (
    Access,
    Collab,
    Condition,
    Hooks,
    Identity,
    PermissionDenied,
    ProposedWrite,
    Request,
    RoomKey,
    Settings,
)
from collab.access.rules import parse_rules
from collab.cluster.identities import IGNORABLE, decode_identity, encode_identity
from collab.records.handle import of_server
from collab.storage.memory import MemoryStorage


class Closed(Hooks):
    """Nobody may do anything."""

    def __init__(self) -> None:
        self.asked: list[Identity] = []
        self.written: list[bool] = []

    async def authenticate(self, request: Request) -> Identity | None:
        return Identity("default", "eve", trusted=True)

    async def authorize(self, identity: Identity, key: RoomKey) -> Access:
        self.asked.append(identity)
        return Access.NONE

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        return await self.authorize(identity, key)

    async def visible(self, identity: Identity, collection: str) -> Condition | None:
        self.asked.append(identity)
        return None

    async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
        self.written.append(write.identity.trusted)
        return None


async def test_the_program_itself_may_do_everything_and_no_hook_is_asked_for_its_rights() -> None:
    hooks = Closed()
    collab = Collab(Settings(content_event_seconds=0), hooks=hooks, storage=MemoryStorage())
    async with collab.lifespan():
        tasks = collab.collection("tasks")
        await tasks.create({"n": 1}, id="t1")
        await tasks.update("t1", {"n": 2})
        assert [row["n"] for row in (await tasks.find_many({"where": {"n": 2}})).rows] == [2]
        assert (await tasks.history("t1"))[0].user_id is None
        await tasks.delete("t1")
        await tasks.restore("t1")
        change = collab.transaction()
        change.create("tasks", {"n": 3}, id="t2")
        await change.commit()
        assert await tasks.count() == 2
        await tasks.erase("t1")
    assert hooks.asked == []
    assert set(hooks.written) == {True}


async def test_who_acts_for_somebody_is_asked_about() -> None:
    hooks = Closed()
    collab = Collab(Settings(content_event_seconds=0), hooks=hooks, storage=MemoryStorage())
    async with collab.lifespan():
        ada = Identity("default", "ada", rules=parse_rules({"*/*": "write"}))
        with pytest.raises(PermissionDenied):
            await collab.collection("tasks", identity=ada).create({}, id="t1")
        with pytest.raises(PermissionDenied):
            await collab.collection("tasks", user="ada").create({}, id="t1")
        assert {identity.user_id for identity in hooks.asked} == {"ada"}


async def test_nobody_who_comes_from_outside_is_the_program_itself() -> None:
    collab = Collab(Settings(content_event_seconds=0), hooks=Closed(), storage=MemoryStorage())
    async with collab.lifespan():
        who = await collab.admission.identify(Request(None, {}, {}, None))
        assert (who.user_id, who.trusted) == ("eve", False)


def test_the_mark_reaches_other_nodes_and_older_ones_ask_their_hooks_instead() -> None:
    program = of_server("acme", None)
    encoded = encode_identity(program)
    assert decode_identity(encoded) == program
    assert decode_identity(encoded).trusted
    assert "trusted" in IGNORABLE
    members = json.loads(zlib.decompress(encoded))
    assert members["ignorable"] == ["trusted"]
    assert not decode_identity(encode_identity(replace(program, trusted=False))).trusted
