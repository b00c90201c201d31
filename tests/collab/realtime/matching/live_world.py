"""A small record for live queries: writes create events, published later; reads see a snapshot; screens keep lists."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from collab.entities.feed import Feed
from collab.errors import CollabError
from collab.event import EntityEvent, EventType
from collab.json_values import same
from collab.names import RoomKey
from collab.query.aggregate import Aggregation, group_row, tally
from collab.query.match import compile_where, form, select
from collab.query.query import EVERYTHING, And, Compare, Condition, Not, Or, Order, Query, Search
from collab.query.search import CONTENTS, compile_search, fold_texts, parse_words
from collab.query.steps import apply_steps
from collab.storage.base import EntityRow, FoundContents, FoundEach, FoundGroups, FoundRows
from collab.wire.realtime.values import Step

PROJECT, COLLECTION = "p", "tasks"

IDS = st.integers(0, 15).map("t{:02}".format)
DATES = ["2024-01-31T12:00:00Z", "2024-01-31T13:00:00+01:00", "2024-02-01"]
VALUES: st.SearchStrategy[Any] = st.sampled_from([None, True, False, 0, 1, 1.5, 2, 3, "x", "y", [], *DATES])
SCALARS = VALUES.filter(lambda value: not isinstance(value, list)).map(form)
FIELDS = st.fixed_dictionaries(
    {}, optional={"a": VALUES, "b": VALUES, "p": st.one_of(VALUES, st.fixed_dictionaries({"c": VALUES}))}
)
TEXTS = st.sampled_from(["", "x", "y x", "1"])
"""What documents say."""
PATHS = st.sampled_from([("a",), ("b",), ("p", "c")])
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(
        st.builds(Compare, PATHS, st.just("eq"), SCALARS),
        st.builds(Compare, PATHS, st.just("in"), st.lists(SCALARS, max_size=3).map(tuple)),
        st.builds(Compare, PATHS, st.sampled_from(["lt", "gte"]), st.sampled_from([1, 2, "x"])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: Or(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=3,
)
SEARCHES = st.builds(
    lambda text, paths: Search(parse_words(text), paths),
    st.sampled_from(["x", "-x", "1", "x 2024", "y -1"]),
    st.sampled_from([(("a",), ("b",)), (CONTENTS, ("a",)), (CONTENTS,)]),
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Any query over these fields; a few are pages."""
    order_by = draw(st.lists(st.builds(Order, PATHS, st.booleans()), max_size=3).map(tuple))
    places = st.tuples(IDS, st.tuples(*(SCALARS for _ in order_by)))
    return Query(
        where=draw(CONDITIONS) if draw(st.booleans()) else EVERYTHING,
        order_by=order_by,
        limit=draw(st.sampled_from([None, None, 0, 1, 2, 2, 3, 3, 4, 5])),
        offset=draw(st.sampled_from([0, 0, 0, 1, 2, 3])),
        after=draw(places) if draw(st.integers(0, 4)) == 4 else None,
        search=draw(st.none() | st.none() | SEARCHES),
    )


@st.composite
def aggregations(draw: st.DrawFn) -> Aggregation:
    """Any aggregate over these fields."""
    some = st.lists(PATHS, max_size=2, unique=True).map(tuple)
    return Aggregation(
        where=draw(CONDITIONS) if draw(st.booleans()) else EVERYTHING,
        group_by=draw(some),
        sum=draw(some),
        avg=draw(some),
        min=draw(some),
        max=draw(some),
        search=draw(st.none() | SEARCHES),
    )


class LoudFeed(Feed):
    """A feed that lets listeners' exceptions propagate."""

    def publish(self, project: str, event: EntityEvent) -> None:
        self._newest[project] = event.position
        for listener in list(self._listeners.values()):
            listener(project, event)


class World:
    """The entities of one collection. Written events wait in ``untold`` until they are published."""

    def __init__(self) -> None:
        self.feed = LoudFeed()
        self.rows: dict[str, EntityRow] = {}
        self.texts: dict[str, str] = {}  # what documents say
        self.position = 0
        self.untold: deque[EntityEvent] = deque()

    def write(self, name: str, fields: dict[str, Any] | None) -> EntityEvent:
        """Create or replace an entity; ``None`` deletes it."""
        row = self.rows.get(name)
        before = {"id": name} if row is None else row.data
        after = before if fields is None else {"id": name, **fields}
        kind: EventType = "updated"
        if fields is None:
            kind = "deleted"
        elif row is None:
            kind = "created"
        elif row.deleted:
            kind = "restored"
        changes = {
            member: {side: data[member] for side, data in (("from", before), ("to", after)) if member in data}
            for member in before | after
            if member not in before or member not in after or not same(before[member], after[member])
        }
        return self._record(name, kind, after, changes)

    def say(self, name: str, text: str) -> EntityEvent | None:
        """Change what the document of an entity says, if there is one."""
        row = self.rows.get(name)
        if row is None or row.deleted:
            return None
        self.texts[name] = text
        return self._record(name, "updated", row.data, {"text": {"delta": [{"insert": text}]}})

    def _record(
        self, name: str, kind: EventType, after: dict[str, Any], changes: dict[str, dict[str, Any]]
    ) -> EntityEvent:
        row = self.rows.get(name)
        self.position += 1
        version = 1 if row is None else row.version + 1
        self.rows[name] = EntityRow(RoomKey(PROJECT, COLLECTION, name), version, after, kind == "deleted", b"", 0)
        event = EntityEvent(
            position=self.position,
            type=kind,
            collection=COLLECTION,
            id=name,
            version=version,
            data=after,
            changes=changes,
            user_id=None,
            at="2024-01-31T12:00:00.000Z",
        )
        self.untold.append(event)
        return event

    def tell(self, count: int | None = None) -> None:
        """Publish the oldest waiting event, or all."""
        for _ in range(len(self.untold) if count is None else min(count, len(self.untold))):
            self.feed.publish(PROJECT, self.untold.popleft())

    def find(self, query: Query) -> FoundRows:
        """Rows that the query selects now."""
        rows = self._searched(query.search)
        found = select((row.data for row in rows.values()), replace(query, search=None))
        return FoundRows([rows[data["id"]] for data in found], self.position)

    def contents(self, ids: Sequence[str]) -> FoundContents:
        """These rows now, with what their documents say."""
        rows = {name: row for name, row in self.rows.items() if name in ids and not row.deleted}
        texts = {name: (row, fold_texts([self.texts.get(name, "")])) for name, row in rows.items()}
        return FoundContents(texts, self.position)

    def aggregate(self, aggregation: Aggregation) -> FoundGroups:
        """The groups of the rows now."""
        rows = (row.data for row in self._searched(aggregation.search).values())
        return FoundGroups(tally(filter(compile_where(aggregation.where), rows), aggregation), self.position)

    def _searched(self, search: Search | None) -> dict[str, EntityRow]:
        """The rows that are found."""
        rows = {name: row for name, row in self.rows.items() if not row.deleted}
        if search is None:
            return rows
        is_found = compile_search(search)
        texts = self.texts if CONTENTS in search.paths else {}
        return {name: row for name, row in rows.items() if is_found(row.data, fold_texts([texts.get(name, "")]))}

    def fresh(self, query: Query | Aggregation) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Current rows of the query, or groups of the aggregate, and their versions."""
        if isinstance(query, Aggregation):
            groups = [group_row(query, group) for group in self.aggregate(query).groups]
            return groups, {group["id"]: 0 for group in groups}
        rows = self.find(query).rows
        return [row.data for row in rows], {row.key.id: row.version for row in rows}


async def never_each(*asked: object) -> FoundEach:
    """These queries have no related rows."""
    raise AssertionError(asked)


class Screen:
    """A watcher that builds its list only from what it receives."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.versions: dict[str, int] = {}
        self.resets = 0
        self.told: list[Sequence[Step]] = []
        self.error: CollabError | None = None

    def reset(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        self.resets += 1
        self.rows = rows
        self.versions = {row["id"]: version for row, version in zip(rows, versions, strict=True)}

    def steps(self, steps: Sequence[Step]) -> None:
        assert self.resets, "steps before there are rows"
        assert self.error is None, "steps after the end"
        after = apply_steps(self.rows, steps)
        versions = dict(self.versions)
        for step in steps:
            if step.op == "leave":
                del versions[step.id]
            elif step.version is not None:
                versions[step.id] = step.version
            elif step.op == "enter":  # a group
                versions[step.id] = 0
        assert_fewest(self.rows, self.versions, after, versions, steps)
        self.rows, self.versions = after, versions
        self.told.append(steps)

    def failed(self, error: CollabError) -> None:
        assert self.error is None
        self.error = error

    def shows(self, world: World, query: Query | Aggregation) -> bool:
        """Whether the list equals the result of a fresh query."""
        rows, versions = world.fresh(query)
        return same(self.rows, rows) and self.versions == versions


def assert_fewest(
    before: list[dict[str, Any]],
    versions: dict[str, int],
    after: list[dict[str, Any]],
    new_versions: dict[str, int],
    steps: Sequence[Step],
) -> None:
    """Check that the steps are minimal, and that each changes something."""
    assert steps, "nothing to tell"
    old = {row["id"]: row for row in before}
    new = {row["id"]: row for row in after}
    kept = [list(old).index(name) for name in new if name in old]
    changed = {name for name in old.keys() & new.keys() if not same(old[name], new[name])}
    changed |= {name for name in old.keys() & new.keys() if versions[name] != new_versions[name]}
    told: dict[str, list[str]] = {"leave": [], "enter": [], "move": [], "change": []}
    for step in steps:
        told[step.op].append(step.id)
        if step.op == "change":
            assert all(
                name not in old[step.id] or not same(old[step.id][name], value)
                for name, value in (step.set or {}).items()
            )
            assert all(name in old[step.id] for name in step.unset or ())
    assert sorted(told["leave"]) == sorted(old.keys() - new.keys())
    assert sorted(told["enter"]) == sorted(new.keys() - old.keys())
    assert sorted(told["change"]) == sorted(changed)
    assert len(told["move"]) == len(kept) - longest_rising(kept)


def longest_rising(numbers: Sequence[int]) -> int:
    """Length of the longest increasing subsequence, by brute force."""
    lengths: list[int] = []
    for index, number in enumerate(numbers):
        lengths.append(1 + max((lengths[i] for i in range(index) if numbers[i] < number), default=0))
    return max(lengths, default=0)
