"""The law of live queries: however writes, reads and events interleave, at quiet lists are those of fresh queries."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from collab.query.aggregate import Aggregation
from collab.query.query import IndexPaths, Query
from collab.realtime.matching.live_queries import LiveQueries
from collab.storage.base import FoundContents, FoundGroups, FoundRows
from tests.collab.realtime.matching.live_world import (
    COLLECTION,
    FIELDS,
    IDS,
    PROJECT,
    TEXTS,
    Screen,
    World,
    aggregations,
    never_each,
    queries,
)

SEEDS = st.integers(0, 2**32)
SOME_IDS = [f"t{number:02}" for number in range(24)]
SOME_VALUES = [None, True, 0, 1, 2, 3, "x", "2024-01-31T12:00:00Z"]


Asked: TypeAlias = Query | Aggregation | tuple[str, ...]
Found: TypeAlias = FoundRows | FoundGroups | FoundContents


@dataclass
class Read:
    """A question to the storage: it looks at one moment, and answers at another."""

    asked: Asked
    answer: asyncio.Future[Found]
    seen: Found


@dataclass
class Viewer:
    query: Query | Aggregation
    screen: Screen
    opening: asyncio.Task[Callable[[], None]]

    @property
    def open(self) -> bool:
        return self.opening.done() and not self.opening.cancelled()


class LiveLaw(RuleBasedStateMachine):
    viewers = Bundle("viewers")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.reads: list[Read] = []
        self.watching: list[Viewer] = []

    @initialize(seed=SEEDS, spare=st.integers(1, 2))
    def begin(self, seed: int, spare: int) -> None:
        random = Random(seed)
        for name in SOME_IDS[: random.randint(8, 24)]:
            self.world.write(name, {"a": random.choice(SOME_VALUES), "b": random.choice(SOME_VALUES)})
        self.world.tell()
        self.live = LiveQueries(
            self.find,
            self.aggregate,
            self.world.feed,
            find_each=never_each,
            find_contents=self.find_contents,
            spare=spare,
        )

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        found = await self._read(project, collection, query)
        assert isinstance(found, FoundRows)
        return found

    async def find_contents(
        self, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
    ) -> FoundContents:
        found = await self._read(project, collection, tuple(ids))
        assert isinstance(found, FoundContents)
        return found

    async def aggregate(self, project: str, collection: str, aggregation: Aggregation) -> FoundGroups:
        found = await self._read(project, collection, aggregation)
        assert isinstance(found, FoundGroups)
        return found

    def _now(self, asked: Asked) -> Found:
        if isinstance(asked, tuple):
            return self.world.contents(asked)
        return self.world.find(asked) if isinstance(asked, Query) else self.world.aggregate(asked)

    async def _read(self, project: str, collection: str, asked: Asked) -> Found:
        assert (project, collection) == (PROJECT, COLLECTION)
        read = Read(asked, self.loop.create_future(), self._now(asked))
        self.reads.append(read)
        try:
            return await read.answer
        finally:
            self.reads = [other for other in self.reads if other is not read]

    def run(self, tell: int = 0) -> None:
        """Tell some of what was written; then until nothing happens by itself."""

        async def run() -> None:
            self.world.tell(tell)
            for _ in range(8):
                await asyncio.sleep(0)

        self.loop.run_until_complete(run())

    @rule(target=viewers, query=queries())
    def watch(self, query: Query) -> Viewer:
        return self._watch(query)

    @rule(target=viewers, aggregation=aggregations())
    def watch_an_aggregate(self, aggregation: Aggregation) -> Viewer:
        return self._watch(aggregation)

    def _watch(self, query: Query | Aggregation) -> Viewer:
        screen = Screen()
        opening = self.loop.create_task(self.live.open(PROJECT, COLLECTION, query, screen))
        viewer = Viewer(query, screen, opening)
        self.watching.append(viewer)
        self.run()
        return viewer

    @rule(target=viewers, other=viewers)
    def watch_the_same(self, other: Viewer) -> Viewer:
        return self._watch(other.query)

    @rule(viewer=consumes(viewers))
    def close(self, viewer: Viewer) -> None:
        if viewer.open:
            viewer.opening.result()()
        else:
            viewer.opening.cancel()
        self.watching.remove(viewer)
        self.run()
        told = len(viewer.screen.told)
        self.run(len(self.world.untold))
        assert len(viewer.screen.told) == told

    @rule(writes=st.lists(st.tuples(IDS, FIELDS), min_size=1, max_size=4), tell=st.integers(0, 8))
    def write(self, writes: list[tuple[str, dict[str, Any]]], tell: int) -> None:
        for name, fields in writes:
            self.world.write(name, fields)
        self.run(tell)

    @rule(said=st.lists(st.tuples(IDS, TEXTS), min_size=1, max_size=4), tell=st.integers(0, 8))
    def say(self, said: list[tuple[str, str]], tell: int) -> None:
        for name, text in said:
            self.world.say(name, text)
        self.run(tell)

    @rule(start=st.integers(0, 7), count=st.integers(1, 8), tell=st.integers(0, 8))
    def delete(self, start: int, count: int, tell: int) -> None:
        there = [name for name, row in self.world.rows.items() if not row.deleted]
        for name in there[start : start + count]:
            self.world.write(name, None)
        self.run(tell)

    @rule(count=st.integers(1, 3))
    def tell(self, count: int) -> None:
        self.run(count)

    @rule(seed=SEEDS)
    def churn(self, seed: int) -> None:
        """Much at once: many who draw from the first rows, while what is asked and told falls behind."""
        random = Random(seed)
        for _ in range(20):
            match random.choice(("write", "write", "write", "say", "delete", "tell", "tell", "look", "answer")):
                case "say":
                    self.world.say(random.choice(SOME_IDS), random.choice(("x", "y", "1")))
                case "write":
                    fields = {name: random.choice(SOME_VALUES) for name in ("a", "b") if random.random() < 0.8}
                    self.world.write(random.choice(SOME_IDS), fields)
                case "delete":
                    lists = [viewer for viewer in self.watching if isinstance(viewer.query, Query)]
                    shown = [row["id"] for viewer in lists for row in viewer.screen.rows]
                    there = [name for name, row in self.world.rows.items() if not row.deleted]
                    for name in random.sample(there, min(2, len(there))) + shown[:2]:
                        if not self.world.rows[name].deleted:
                            self.world.write(name, None)
                case "tell":
                    self.run(random.randint(1, 6))
                case "look":
                    self.look_again(random.randrange(8))
                case _:
                    self.answer(random.randrange(8))

    def look_again(self, which: int) -> None:
        """The moment that is looked at lies anywhere between question and answer."""
        if self.reads:
            read = self.reads[which % len(self.reads)]
            read.seen = self._now(read.asked)

    def answer(self, which: int) -> None:
        if self.reads:
            self._answer(self.reads[which % len(self.reads)])

    @rule(which=st.integers(0, 7))
    def one_looks_again(self, which: int) -> None:
        self.look_again(which)

    @rule(which=st.integers(0, 7))
    def one_answers(self, which: int) -> None:
        self.answer(which)

    def _answer(self, read: Read) -> None:
        if not read.answer.done():
            read.answer.set_result(read.seen)
        self.run()

    @rule()
    def quiet(self) -> None:
        self.run(len(self.world.untold))
        while self.reads:
            self._answer(self.reads[0])
        for viewer in self.watching:
            assert viewer.open
            assert viewer.screen.error is None
            assert viewer.screen.resets == 1
            assert viewer.screen.shows(self.world, viewer.query)

    @invariant()
    def whoever_watches_has_rows(self) -> None:
        for viewer in self.watching:
            assert viewer.screen.resets == viewer.open

    def teardown(self) -> None:
        try:
            if hasattr(self, "live"):
                self.quiet()
                for viewer in self.watching:
                    viewer.opening.result()()
                self.run()
                assert self.live.entries == 0
                self.loop.run_until_complete(self.live.close())
        finally:
            self.loop.close()


LiveLaw.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_l1_g6_at_quiet_every_list_is_that_of_a_fresh_query = LiveLaw.TestCase
