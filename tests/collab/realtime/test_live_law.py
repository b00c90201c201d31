"""The law of live queries: however writes, reads and events interleave, at quiet lists are those of fresh queries."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from collab.query.query import Query
from collab.realtime.live_queries import LiveQueries
from collab.storage.base import FoundRows
from tests.collab.realtime.live_world import COLLECTION, FIELDS, IDS, PROJECT, Screen, World, queries


@dataclass
class Read:
    """A question to the storage: it looks at one moment, and answers at another."""

    query: Query
    answer: asyncio.Future[FoundRows]
    seen: FoundRows | None = None


@dataclass
class Viewer:
    query: Query
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

    @initialize(rows=st.lists(st.tuples(IDS, FIELDS), max_size=12), spare=st.integers(1, 3))
    def begin(self, rows: list[tuple[str, dict[str, Any]]], spare: int) -> None:
        for name, fields in rows:
            self.world.write(name, fields)
        self.world.tell()
        self.live = LiveQueries(self.find, self.world.feed, spare=spare)

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        assert (project, collection) == (PROJECT, COLLECTION)
        read = Read(query, self.loop.create_future())
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

    def _watch(self, query: Query) -> Viewer:
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
        self.run(tell=len(self.world.untold))
        assert len(viewer.screen.told) == told

    @rule(name=IDS, fields=FIELDS)
    def write(self, name: str, fields: dict[str, Any]) -> None:
        self.world.write(name, fields)

    @rule(name=IDS, count=st.integers(1, 8))
    def delete(self, name: str, count: int) -> None:
        there = [other for other, row in self.world.rows.items() if not row.deleted and other >= name]
        for other in there[:count]:
            self.world.write(other, None)

    @rule(count=st.integers(1, 3))
    def tell(self, count: int) -> None:
        self.run(tell=count)

    @rule(which=st.integers(0, 7))
    def look(self, which: int) -> None:
        if self.reads:
            read = self.reads[which % len(self.reads)]
            if read.seen is None:
                read.seen = self.world.find(read.query)

    @rule(which=st.integers(0, 7))
    def answer(self, which: int) -> None:
        if self.reads:
            self._answer(self.reads[which % len(self.reads)])

    def _answer(self, read: Read) -> None:
        if not read.answer.done():
            read.answer.set_result(read.seen or self.world.find(read.query))
        self.run()

    @rule()
    def quiet(self) -> None:
        self.run(tell=len(self.world.untold))
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
test_l1_at_quiet_every_list_is_that_of_a_fresh_query = LiveLaw.TestCase
