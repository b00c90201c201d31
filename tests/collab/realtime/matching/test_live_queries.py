"""The ring around live queries: reads, sharing, failures, and that nothing is left."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from collab.errors import DocumentDamaged, InternalError, Restarting, SubscriptionFailed, Unavailable
from collab.query.aggregate import Aggregation
from collab.query.query import And, Compare, IndexPaths, Not, Order, Query, Scalar, Search
from collab.query.search import CONTENTS, parse_words
from collab.realtime.matching import live_queries
from collab.realtime.matching.live_queries import LiveQueries
from collab.storage.base import FoundContents, FoundGroups, FoundRows, StorageError
from collab.wire.realtime.values import Step
from tests.collab.realtime.matching.live_world import COLLECTION, PROJECT, Screen, World, never_each

BY_A = (Order(("a",)),)
T = TypeVar("T")


class Storage:
    """Answers when its gate is open; what it fails with first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []
        self.damaged = ""  # a row whose contents cannot be read
        self.asked: list[Query] = []
        self.read: list[tuple[str, ...]] = []
        self.aggregated: list[Aggregation] = []
        self.waiting = 0

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        self.asked.append(query)
        return await self._answer(self.world.find(query))

    async def find_contents(
        self, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
    ) -> FoundContents:
        self.read.append(tuple(ids))
        if self.damaged in ids:
            raise DocumentDamaged("a row that cannot be read")
        return await self._answer(self.world.contents(ids))

    async def _answer(self, found: T) -> T:
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if self.errors:
            raise self.errors.pop(0)
        return found

    async def aggregate(self, project: str, collection: str, aggregation: Aggregation) -> FoundGroups:
        self.aggregated.append(aggregation)
        return self.world.aggregate(aggregation)


class Setup:
    def __init__(self, count: int = 0, *, max_rows: int = 100, spare: int = 1) -> None:
        self.world = World()
        for number in range(count):
            self.write(f"r{number}", number)
        self.storage = Storage(self.world)
        self.live = LiveQueries(
            self.storage.find,
            self.storage.aggregate,
            self.world.feed,
            find_each=never_each,
            find_contents=self.storage.find_contents,
            max_rows=max_rows,
            spare=spare,
            retry_seconds=0.0,
        )

    def write(self, name: str, a: Scalar) -> None:
        self.world.write(name, {"a": a})
        self.world.tell()

    def delete(self, name: str) -> None:
        self.world.write(name, None)
        self.world.tell()

    async def watch(self, query: Query | Aggregation = Query(order_by=BY_A)) -> tuple[Screen, Callable[[], None]]:  # noqa: B008
        screen = Screen()
        return screen, await self.live.open(PROJECT, COLLECTION, query, screen)

    def is_shown(self, screen: Screen, query: Query) -> bool:
        return screen.shows(self.world, query)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def a(value: Scalar) -> Compare:
    return Compare(("a",), "eq", value)


async def test_l1_what_is_written_during_the_first_read_is_not_missed() -> None:
    setup = Setup(2)
    setup.storage.gate.clear()
    opening = asyncio.create_task(setup.watch())
    await until(lambda: setup.storage.waiting)
    setup.write("new", 0.5)
    setup.delete("r1")
    setup.storage.gate.set()
    screen, _ = await opening
    assert [row["id"] for row in screen.rows] == ["r0", "new"]
    assert screen.told == []


async def test_l1_steps_never_come_before_the_rows() -> None:
    """Between the answer of the storage and the moment when the opener goes on, events may come."""
    setup = Setup(2)
    setup.storage.gate.clear()
    openings = [asyncio.create_task(setup.watch()) for _ in range(3)]
    await until(lambda: setup.storage.waiting)
    setup.storage.gate.set()
    for number in range(20):
        setup.write("r0", number)
        await asyncio.sleep(0)
    for opening in openings:
        screen, _ = await opening
        assert screen.shows(setup.world, Query(order_by=BY_A))


async def test_l6_identical_queries_are_read_once_and_late_watchers_get_the_rows_at_once() -> None:
    setup = Setup(3)
    first, close = await setup.watch()
    setup.write("r9", 9)
    setup.storage.gate.clear()
    second, _ = await setup.watch()
    assert second.rows == first.rows
    assert len(setup.storage.asked) == 1
    assert len(setup.live) == 1
    close()
    setup.write("r10", 10)
    assert [row["id"] for row in second.rows][-1] == "r10"
    assert [row["id"] for row in first.rows][-1] == "r9"


async def test_a_query_is_listed_with_what_it_has_cost() -> None:
    setup = Setup(3)
    await setup.watch()
    await setup.watch()
    setup.write("r9", 9)
    setup.delete("r0")
    (cost,) = setup.live.listed(10)
    assert (cost.watchers, cost.rows, cost.events, cost.steps, cost.reads) == (2, 3, 2, 2, 1)
    assert cost.seconds > 0
    assert setup.live.listed(0) == []


async def test_l6_many_who_open_at_once_share_one_read() -> None:
    setup = Setup(3)
    watching = await asyncio.gather(*(setup.watch() for _ in range(50)))
    assert len(setup.storage.asked) == 1
    assert all(screen.resets == 1 and len(screen.rows) == 3 for screen, _ in watching)


async def test_l6_steps_of_one_event_are_the_same_for_all_who_share() -> None:
    setup = Setup(3)
    (one, _), (two, _) = await setup.watch(), await setup.watch()
    setup.write("r0", 7)
    assert one.told[0] is two.told[0]


async def test_one_who_gives_up_while_it_is_read_leaves_the_others_their_read() -> None:
    setup = Setup(3)
    setup.storage.gate.clear()
    impatient = asyncio.create_task(setup.watch())
    patient = asyncio.create_task(setup.watch())
    await until(lambda: setup.storage.waiting)
    impatient.cancel()
    await settle()
    setup.storage.gate.set()
    screen, _ = await patient
    assert len(screen.rows) == 3
    assert len(setup.storage.asked) == 1


async def test_l9_a_read_that_nobody_waits_for_is_given_up() -> None:
    setup = Setup(3)
    setup.storage.gate.clear()
    opening = asyncio.create_task(setup.watch())
    await until(lambda: setup.storage.waiting)
    opening.cancel()
    await until(lambda: not setup.storage.waiting)
    await settle()
    assert setup.live.entries == 0


async def test_l9_closing_frees_everything_and_nothing_is_told_any_more() -> None:
    setup = Setup(20)
    queries = [
        Query(),
        Query(order_by=BY_A, limit=3, offset=2),
        Query(where=a(1)),
        Query(where=Compare(("a",), "in", (1, 2, True))),
        Query(where=And((a(1), Not(a(2))))),
    ]
    watching = [await setup.watch(query) for query in (*queries, *queries)]
    assert len(setup.live) == len(queries)
    for number in range(10):
        setup.write(f"r{number}", number // 2)
        setup.delete(f"r{number + 5}")
        await settle()
    assert setup.live.entries > 0
    for _, close in watching:
        close()
        close()  # once more does no harm
    told = [len(screen.told) for screen, _ in watching]
    setup.write("r0", 1)
    await settle()
    assert [len(screen.told) for screen, _ in watching] == told
    assert setup.live.entries == 0


async def test_l9_rows_that_were_let_go_of_are_not_remembered() -> None:
    setup = Setup(1)
    await setup.watch(Query(where=Compare(("b",), "eq", "nothing")))
    entries = setup.live.entries
    _, close = await setup.watch(Query(order_by=BY_A, limit=2))
    for number in range(50):
        setup.write(f"w{number}", -number)
        assert setup.live.entries < entries + 12
    close()
    assert setup.live.entries == entries


async def test_l4_a_dry_buffer_is_read_again_and_told_as_steps() -> None:
    setup = Setup(30)
    query = Query(order_by=BY_A, limit=4)
    screen, _ = await setup.watch(query)
    for number in range(20):
        setup.delete(f"r{number}")
    assert len(screen.rows) < 4
    await until(lambda: screen.shows(setup.world, query))
    assert screen.resets == 1


async def test_l4_events_during_a_refill_are_told_at_once_and_not_lost() -> None:
    setup = Setup(10)
    query = Query(order_by=BY_A, limit=2)
    screen, _ = await setup.watch(query)
    setup.storage.gate.clear()
    setup.delete("r0")
    await until(lambda: setup.storage.waiting)
    setup.write("r1", 0)
    assert screen.rows[0] == {"id": "r1", "a": 0}
    setup.delete("r2")
    setup.delete("r3")
    assert [row["id"] for row in screen.rows] == ["r1"]
    setup.storage.gate.set()
    await until(lambda: screen.shows(setup.world, query))
    assert [row["id"] for row in screen.rows] == ["r1", "r4"]


async def test_l8_a_first_read_that_fails_is_raised_to_all_who_wait() -> None:
    setup = Setup(1)
    setup.storage.errors = [StorageError("disk full")]
    screens = [Screen(), Screen()]
    openings = [setup.live.open(PROJECT, COLLECTION, Query(), screen) for screen in screens]
    results = await asyncio.gather(*openings, return_exceptions=True)
    assert [type(result) for result in results] == [StorageError, StorageError]
    assert all(screen.error is None and not screen.resets for screen in screens)
    assert setup.live.entries == 0
    screen, _ = await setup.watch(Query())
    assert len(screen.rows) == 1


@pytest.mark.parametrize(
    ("error", "told"), [(StorageError("disk full"), StorageError), (RuntimeError("who knows"), InternalError)], ids=str
)
async def test_l8_a_refill_that_fails_ends_the_query_with_the_error(error: Exception, told: type[Exception]) -> None:
    setup = Setup(10)
    query = Query(order_by=BY_A, limit=2)
    screen, close = await setup.watch(query)
    setup.storage.errors = [error]
    setup.delete("r0")
    await until(lambda: screen.error)
    assert type(screen.error) is told
    setup.write("r1", 0)
    await settle()
    assert setup.live.entries == 0
    close()
    again, _ = await setup.watch(query)
    assert again.shows(setup.world, query)


async def test_l7_too_many_rows_are_refused_at_first_and_end_the_query_later() -> None:
    setup = Setup(3, max_rows=3)
    with pytest.raises(SubscriptionFailed):
        await setup.watch(Query(limit=2, offset=2))
    screen, _ = await setup.watch()
    setup.write("one more", 1)
    assert isinstance(screen.error, SubscriptionFailed)
    with pytest.raises(SubscriptionFailed):
        await setup.watch()
    limited, _ = await setup.watch(Query(order_by=BY_A, limit=2))
    assert len(limited.rows) == 2
    assert len(setup.live) == 1


async def test_a_read_during_which_too_much_happens_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_queries, "_KEPT", 5)
    setup = Setup(1)
    setup.storage.gate.clear()
    opening = asyncio.create_task(setup.watch())
    await until(lambda: setup.storage.waiting)
    for number in range(20):
        setup.write(f"w{number}", number)
    setup.storage.gate.set()
    screen, _ = await opening
    assert len(setup.storage.asked) == 2
    assert screen.shows(setup.world, Query(order_by=BY_A))


async def test_an_answer_older_than_what_was_told_is_not_believed() -> None:
    setup = Setup(3)
    old = setup.world.find(Query(order_by=BY_A))
    setup.delete("r0")
    asked = 0

    async def stale(project: str, collection: str, query: Query) -> FoundRows:
        nonlocal asked
        asked += 1
        return old

    live = LiveQueries(
        stale,
        setup.storage.aggregate,
        setup.world.feed,
        find_each=never_each,
        find_contents=setup.storage.find_contents,
    )
    with pytest.raises(Unavailable):
        await live.open(PROJECT, COLLECTION, Query(), Screen())
    assert asked == 3
    await settle()
    assert live.entries == 0


class Failing(Screen):
    def steps(self, steps: Sequence[Step]) -> None:
        raise RuntimeError("this one is broken")


async def test_a_watcher_that_fails_is_told_so_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup(1)
    before, _ = await setup.watch(Query())
    failing = Failing()
    await setup.live.open(PROJECT, COLLECTION, Query(), failing)
    after, _ = await setup.watch(Query())
    with caplog.at_level(logging.CRITICAL):
        setup.write("r1", 1)
    assert isinstance(failing.error, InternalError)
    assert len(before.rows) == len(after.rows) == 2
    setup.write("r2", 2)
    assert len(before.rows) == len(after.rows) == 3


async def test_a_query_that_cannot_follow_an_event_ends_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup(3)
    other, _ = await setup.watch(Query(where=Not(a(1))))
    entries = setup.live.entries
    broken, _ = await setup.watch(Query(where=a(1)))
    event = setup.world.write("r9", {"a": 1})
    del event.data["id"]  # no entity is without, and no order can do without
    with caplog.at_level(logging.CRITICAL):
        setup.world.tell()
    assert isinstance(broken.error, InternalError)
    await settle()
    assert setup.live.entries == entries
    setup.write("r0", 7)
    assert [row["a"] for row in other.rows] == [7, 2]


async def test_a_watcher_that_closes_others_while_it_is_told_does_no_harm() -> None:
    setup = Setup(1)
    closes: list[Callable[[], None]] = []

    class Closing(Screen):
        def steps(self, steps: Sequence[Step]) -> None:
            super().steps(steps)
            for close in closes:
                close()

    screens = [Closing() for _ in range(6)]
    for number, screen in enumerate(screens):
        query = Query(where=a(1)) if number % 2 else Query()
        closes += [await setup.live.open(PROJECT, COLLECTION, query, screen)]
    setup.write("r1", 1)
    assert sum(len(screen.told) for screen in screens) == 1
    await settle()
    assert setup.live.entries == 0


async def test_other_projects_and_collections_are_not_concerned() -> None:
    setup = Setup(1)
    screen, _ = await setup.watch()
    event = setup.world.write("r9", {"a": 9})
    setup.world.untold.clear()
    setup.world.feed.publish("other", event)
    assert screen.told == []


async def test_closing_all_tells_every_watcher() -> None:
    setup = Setup(1)
    screen, close = await setup.watch()
    setup.storage.gate.clear()
    opening = asyncio.create_task(setup.watch(Query(where=a(1))))
    await until(lambda: setup.storage.waiting)
    await setup.live.close()
    assert isinstance(screen.error, Restarting)
    with pytest.raises(Restarting):
        await opening
    with pytest.raises(Restarting):
        await setup.watch()
    close()
    setup.write("r1", 1)
    assert setup.live.entries == 0


@pytest.mark.parametrize("fields", [None, {"a": 2}], ids=["deleted", "changed"])
async def test_t6_a_row_that_leaves_while_its_contents_are_read_is_not_shown(fields: dict[str, Any] | None) -> None:
    setup = Setup()
    setup.write("r0", 1)
    query = Query(where=a(1), search=Search(parse_words("x"), (CONTENTS,)))
    screen, close = await setup.watch(query)
    setup.storage.gate.clear()
    setup.world.say("r0", "x")
    setup.world.tell()
    await until(lambda: setup.storage.waiting)  # the answer has the row
    setup.world.write("r0", fields)
    setup.world.tell()
    setup.storage.gate.set()
    while setup.storage.waiting:
        await asyncio.sleep(0)
    setup.write("r1", 1)
    setup.world.say("r1", "x")
    setup.world.tell()
    await until(lambda: screen.rows)
    assert screen.shows(setup.world, query)
    close()
    assert setup.live.entries == 0


async def test_t6_rows_are_read_once_for_all_queries_that_are_unsure_of_them() -> None:
    """However many queries and rows there are, a few rows at a time."""
    setup = Setup(max_rows=200)
    rows = [f"r{number:03}" for number in range(120)]
    for name in rows:
        setup.write(name, 1)
    searches = [Search(parse_words(words), (CONTENTS, ("a",))) for words in ("x", "y", "-x", "x y")]
    queries = [Query(where=a(1), search=search, limit=limit) for search in searches for limit in (None, 5)]
    screens = [(await setup.watch(query))[0] for query in queries]
    for said in ("x", "x y", "z"):
        for name in rows:
            setup.world.say(name, said)
        setup.world.tell()
        await until(lambda: all(map(setup.is_shown, screens, queries)))
    assert len(setup.storage.read) <= 3 * (1 + len(rows) // 25)
    assert {name for some in setup.storage.read for name in some} == set(rows)


async def test_t6_a_query_that_cannot_be_updated_with_what_was_read_ends_alone() -> None:
    setup = Setup(max_rows=2)
    for name in ("r0", "r1", "r2"):
        setup.write(name, 1)
    small, end = await setup.watch(Query(search=Search(parse_words("x"), (CONTENTS,)), limit=2))
    all_of_them, _ = await setup.watch(Query(search=Search(parse_words("x"), (CONTENTS,))))
    for name in ("r0", "r1", "r2"):
        setup.world.say(name, "x")
    setup.world.tell()
    await until(lambda: all_of_them.error is not None)
    await until(lambda: len(small.rows) == 2)
    assert isinstance(all_of_them.error, SubscriptionFailed)
    setup.storage.errors += [Unavailable("away")] * 3
    setup.world.say("r0", "")
    setup.world.tell()
    await until(lambda: small.error is not None)
    end()
    assert setup.live.entries == 0


async def test_t6_rows_that_cannot_be_read_for_a_moment_are_read_again() -> None:
    setup = Setup()
    setup.write("r0", 1)
    query = Query(search=Search(parse_words("x"), (CONTENTS,)))
    screens = [(await setup.watch(each))[0] for each in (query, replace(query, limit=5))]
    setup.storage.errors += [Unavailable("away"), RuntimeError("who knows")]
    setup.world.say("r0", "x")
    setup.world.tell()
    await until(lambda: all(setup.is_shown(screen, query) for screen in screens))
    assert setup.storage.errors == []


async def test_t6_a_row_that_cannot_be_read_ends_only_the_queries_that_need_it() -> None:
    setup = Setup()
    for name, value in (("r0", 1), ("r1", 2)):
        setup.write(name, value)
    search = Search(parse_words("x"), (CONTENTS,))
    queries = [Query(where=a(1), search=search), Query(where=a(2), search=search), Query(search=search)]
    (one, _), (other, _), (both, _) = [await setup.watch(query) for query in queries]
    setup.storage.damaged = "r0"
    for name in ("r0", "r1"):
        setup.world.say(name, "x")
    setup.world.tell()
    await until(lambda: one.error is not None and both.error is not None)
    await until(lambda: setup.is_shown(other, queries[1]))
    assert [type(screen.error) for screen in (one, other, both)] == [DocumentDamaged, type(None), DocumentDamaged]


async def test_l6_queries_that_say_the_same_in_another_order_are_one() -> None:
    setup = Setup(3)
    await setup.watch(Query(where=And((a(1), Not(a("x"))))))
    await setup.watch(Query(where=And((Not(a("x")), a(1)))))
    assert len(setup.live) == 1
    assert len(setup.storage.asked) == 1


@pytest.mark.parametrize(
    "query",
    [
        Query(where=a(True)),
        Query(where=a("1")),
        Query(where=a(1), limit=1),
        Query(where=a(1), offset=1),
        Query(where=a(1), order_by=BY_A),
        Query(where=a(1), order_by=(Order(("a",), descending=True),)),
        Query(where=a(1), after=("r", ())),
        Query(where=Compare(("a",), "gte", 1)),
        Query(where=Not(a(1))),
        Query(where=Compare(("a", "a"), "eq", 1)),
    ],
    ids=str,
)
async def test_l6_different_queries_are_never_shared(query: Query) -> None:
    setup = Setup(3)
    one, _ = await setup.watch(Query(where=a(1)))
    other, _ = await setup.watch(query)
    assert len(setup.live) == 2
    assert one.shows(setup.world, Query(where=a(1)))
    assert other.shows(setup.world, query)
