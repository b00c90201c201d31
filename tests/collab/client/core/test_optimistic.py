"""Live queries while own writes wait, get lost or come late, and others write.

They always show the rows of a simple model: the facts that the client received last, with its own writes. In the end
they show the true rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import msgspec
import pytest

from collab.client.core.effects import Delivery
from collab.client.core.writes import LATE_SECONDS, WriteMessage
from collab.dates import iso_micros
from collab.errors import InvalidRequest
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from tests.collab.client.core.test_state import Talk, failure

Data = dict[str, Any]


@dataclass(frozen=True)
class List:
    """A query, in the words of the protocol and in those of the model."""

    query: Data
    wants: Callable[[Data], bool]
    order: Callable[[Data], Any]
    limit: int = 1000


LISTS = (
    List({}, lambda row: True, lambda row: row["id"]),
    List(
        {"where": {"done": False}, "orderBy": {"n": "asc"}},
        lambda row: row["done"] is False,
        lambda row: (row["n"], row["id"]),
    ),
    List(
        {"orderBy": {"createdAt": "desc"}, "limit": 3},
        lambda row: True,
        lambda row: ([-ord(letter) for letter in row["createdAt"]], row["id"]),
        3,
    ),
)


@dataclass
class Own:
    """One own write: what it says and, once it is committed, what the server made of it."""

    kind: Literal["create", "update", "delete"]
    entity: str
    values: Data
    version: int | None = None
    commit: int | None = None


@dataclass
class Facts:
    """The messages that one list has received, and the rows that it should show."""

    which: List
    rows: list[Data] | None = None
    versions: dict[str, int] = field(default_factory=dict)  # also of rows that left
    told: bool = False  # on this connection
    asked: int = 0  # how many own writes were committed when it was asked for
    answered: int = -1
    shown: list[Any] | None = None

    def expected(self, own: dict[int, Own]) -> list[Any] | None:
        """Names and values, without the times of what waits: only their order is certain."""
        if self.rows is None:
            return None
        rows: dict[str, Data | None] = {row["id"]: row for row in self.rows}
        changed = False
        for number, it in enumerate(own.values()):
            if it.commit is not None:
                assert it.version is not None
                if it.version <= self.versions.get(it.entity, 0) or it.commit <= self.answered:
                    continue
            row = rows.get(it.entity)
            if row is None and it.kind != "create":
                continue
            changed = True
            waits = it.commit is None
            later = f"9999-{number:09}"  # than all that anybody was told
            if it.kind == "delete":
                rows[it.entity] = None
            elif not waits:
                rows[it.entity] = it.values
            elif row is None:
                rows[it.entity] = {**it.values, "createdAt": later, "updatedAt": later}
            elif it.kind == "update":
                rows[it.entity] = {**row, **it.values, "updatedAt": later}
        now = [row for row in rows.values() if row is not None]
        return [say(row) for row in (in_list(self.which, now) if changed else now)]


def in_list(which: List, rows: list[Data]) -> list[Data]:
    return sorted(filter(which.wants, rows), key=which.order)[: which.limit]


def say(row: Data) -> tuple[str, int, bool]:
    return row["id"], row["n"], row["done"]


class World:
    """A scripted server with some lists, the client, and the model of what it is to show."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.talk = Talk()
        self.truth: dict[str, Data] = {}
        self.versions: dict[str, int] = {}  # also of what was deleted
        self.own: dict[int, Own] = {}  # by ticket, in order
        self.commits, self.made, self.moments = 0, 0, 0
        self.requests: list[Any] = []
        self.done: dict[str, tuple[Data, int] | None] = {}  # what was answered to a write, by its request name
        for _ in range(4):
            self.others()
        self.talk.connect()
        self.lists = {self.talk.subscribe(wire.Rows(collection="tasks", query=it.query)): Facts(it) for it in LISTS}
        self.look()

    def now(self) -> str:
        self.moments += 1
        return iso_micros(1_900_000_000 + self.moments / 1000)

    def look(self) -> None:
        for message in self.talk.heard():
            self.requests.append(message)
            if isinstance(message, realtime.Subscribe):
                for each in message.subscriptions:
                    self.lists[each.sub].asked = self.commits

    def hear(self, told: list[Any]) -> None:
        for each in told:
            if isinstance(each, Delivery):
                self.lists[each.sub].shown = [say(row) for row in each.value]

    def values(self, *, all_of_them: bool) -> Data:
        done = {"done": self.random.random() < 0.3} if all_of_them or self.random.random() < 0.5 else {}
        return {"n": self.random.randrange(9), **done}

    def write(self) -> None:
        mine = {it.entity for it in self.own.values()}
        known = sorted(self.truth.keys() | mine)
        self.made += 1
        entity = self.random.choice([*known, f"e{self.made}", f"f{self.made}"])
        anew = entity not in known or self.random.random() < 0.1  # what was deleted, or what is there
        kind: Any = "create" if anew else self.random.choice(["update", "update", "delete"])
        ticket, values = self.talk.state.ticket(), self.values(all_of_them=kind == "create")
        named: Data = {"id": ticket, "collection": "tasks", "entity": entity, "request": f"r{ticket}"}
        message: WriteMessage
        if kind == "create":
            message = realtime.Create(data=values, **named)
        elif kind == "update":
            message = realtime.Update(changes=values, **named)
        else:
            message = realtime.Delete(**named)
        self.own[ticket] = Own(kind, entity, {"id": entity, **values})
        year = self.random.choice([2020, 2030, 2040])  # the clock of the device is anything
        self.hear(self.talk.state.write(message, f"{year}-01-01T00:00:00.000Z"))

    def commit(self, entity: str, data: Data | None) -> int:
        version = self.versions[entity] = self.versions.get(entity, 0) + 1
        if data is None:
            del self.truth[entity]
        else:
            at = self.now()
            self.truth[entity] = {"id": entity, "createdAt": at, **data, "updatedAt": at}
        return version

    def others(self) -> None:
        self.made += 1
        entity = self.random.choice([*sorted(self.truth), f"x{self.made}"])
        if entity not in self.truth:
            self.commit(entity, self.values(all_of_them=True))
        elif self.random.random() < 0.4:
            self.commit(entity, None)
        else:
            self.commit(entity, {**self.truth[entity], **self.values(all_of_them=False)})

    def answer(self) -> None:
        """Take in the next request and answer it."""
        if not self.requests:
            return
        message = self.requests.pop(0)
        if isinstance(message, realtime.Subscribe):
            subs = [each.sub for each in message.subscriptions]
            result = [msgspec.to_builtins(wire.Subscribed(sub=sub)) for sub in subs]
            self.hear(self.talk.say(realtime.Reply(id=message.id, result=result)))
            for sub in subs:
                self.lists[sub].told = False
                if self.random.random() < 0.7:
                    self.tell(sub)
        elif isinstance(message, realtime.Unsubscribe):
            self.hear(self.talk.say(realtime.Reply(id=message.id)))
        else:
            self.decide(message)

    def decide(self, message: Any) -> None:
        it = self.own[message.id]
        if message.request not in self.done:
            if (it.entity in self.truth) == (it.kind == "create") or self.random.random() < 0.1:
                self.done[message.request] = None
            else:
                before = self.truth.get(it.entity, {})
                kept = {**before, **it.values}
                if it.kind == "update" and self.random.random() < 0.3:
                    kept["n"] = before["n"]  # theirs holds
                version = self.commit(it.entity, None if it.kind == "delete" else kept)
                self.done[message.request] = self.truth.get(it.entity, {"id": it.entity}), version
        if self.random.random() < 0.2:
            self.cut()  # before the answer
            return
        done = self.done[message.request]
        if done is None:
            del self.own[message.id]
            self.hear(self.talk.say(failure(InvalidRequest("no"), id=message.id)))
            return
        self.commits += 1
        it.values, it.version = done
        it.commit = self.commits
        result = msgspec.to_builtins(wire.Written(data=it.values, version=it.version))
        self.hear(self.talk.say(realtime.Reply(id=message.id, result=result)))

    def tell(self, sub: int | None = None) -> None:
        """Tell a list what there is by now: of however many writes."""
        sub = self.random.choice(sorted(self.lists)) if sub is None else sub
        if any(isinstance(each, realtime.Subscribe | realtime.Unsubscribe) for each in self.requests):
            return
        facts = self.lists[sub]
        now = in_list(facts.which, list(self.truth.values()))
        message: Any
        if not facts.told or facts.rows is None:
            facts.answered = facts.asked
            message = realtime.RowsAre(sub=sub, rows=now, versions=[self.versions[row["id"]] for row in now])
        else:
            message = realtime.RowsChanged(sub=sub, steps=self.steps(facts.rows, now, facts.versions))
            for step in message.steps:
                if step.op == "leave" and step.version is not None:
                    facts.versions[step.id] = step.version
        facts.told, facts.rows = True, now
        facts.versions |= {row["id"]: self.versions[row["id"]] for row in now}
        self.hear(self.talk.say(message))

    def steps(self, before: list[Data], after: list[Data], versions: dict[str, int]) -> list[wire.Step]:
        new = {row["id"] for row in after}
        ids = [row["id"] for row in before]
        steps: list[wire.Step] = []
        for entity in [entity for entity in ids if entity not in new]:
            ids.remove(entity)
            known = self.random.random() < 0.8
            steps.append(wire.Step(op="leave", id=entity, version=self.versions[entity] if known else None))
        for index, row in enumerate(after):
            entity, version = row["id"], self.versions[row["id"]]
            if entity not in ids:
                steps.append(wire.Step(op="enter", id=entity, index=index, data=row, version=version))
                ids.insert(index, entity)
                continue
            if ids[index] != entity:
                ids.remove(entity)
                ids.insert(index, entity)
                steps.append(wire.Step(op="move", id=entity, index=index))
            if versions[entity] != version:
                steps.append(wire.Step(op="change", id=entity, set=row, version=version))
        return steps

    def cut(self) -> None:
        self.requests.clear()
        for facts in self.lists.values():
            facts.told = False
        self.hear(self.talk.state.lost())
        self.hear(self.talk.connect())

    def late(self) -> None:
        self.talk.now += LATE_SECONDS
        self.hear(self.talk.state.tick(self.talk.now))
        self.talk.state.received('{"type":"pong"}', self.talk.now)

    def check(self, what: str) -> None:
        self.look()
        for facts in self.lists.values():
            assert facts.shown == facts.expected(self.own), f"{what}: {facts.which.query}"


@pytest.mark.parametrize("block", range(10))
def test_lists_show_what_the_facts_and_the_own_writes_say(block: int) -> None:
    for seed in range(block * 20, block * 20 + 20):
        world = World(seed)
        does = [world.write, world.others, world.answer, world.answer, world.tell, world.late, world.cut]
        for step in range(80):
            action = world.random.choices(does, [4, 3, 4, 4, 6, 1, 1])[0]
            action()
            world.check(f"seed {seed}, step {step}, {action.__name__}")
        for _ in range(4):
            while world.requests:
                world.answer()
                world.look()
            for sub in world.lists:
                world.tell(sub)
            world.late()
            world.check(f"seed {seed}, at the end")
        for facts in world.lists.values():
            assert facts.shown == [say(row) for row in in_list(facts.which, list(world.truth.values()))], f"seed {seed}"
        assert world.talk.state.pending == 0
