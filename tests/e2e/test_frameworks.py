"""The packages for React, Svelte and Vue: the same pages made with each of them, in a browser and on a server."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from collab import Collab
from tests.collab.client.world import Cable, until, world
from tests.e2e.guarded import SECRET, mint
from tests.e2e.pages import Counter, Scene, build, chromium
from tools import machine

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

Open = Callable[..., Awaitable[Scene]]

OPEN_TASKS = {"where": {"status": "open"}, "orderBy": {"title": "asc"}}
TASKS = {"kind": "query", "collection": "tasks", "query": OPEN_TASKS}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("pages"), development=True)


@pytest.fixture(scope="module")
def rendering() -> Path:
    """Modules for Node: beside `node_modules`, which they import from."""
    return build(machine.ROOT / "js" / "tests" / ".page" / "ssr", ssr=True, development=True)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


@pytest.fixture
def settings() -> dict[str, Any]:
    """Of the server; tests that want others parametrize this."""
    return {}


@pytest_asyncio.fixture(loop_scope="module")
async def place(
    counter: Counter, pages: Path, tmp_path: Path, settings: dict[str, Any]
) -> AsyncIterator[tuple[Cable, Collab]]:
    async with world(tmp_path, pages=str(pages), **settings) as running:
        yield running


@pytest.fixture
def cable(place: tuple[Cable, Collab]) -> Cable:
    return place[0]


@pytest.fixture
def collab(place: tuple[Cable, Collab]) -> Collab:
    return place[1]


@pytest.fixture(params=["react", "svelte", "vue"])
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(browser: Browser, cable: Cable, framework: str) -> AsyncIterator[Open]:
    """Opens pages, each as if on a machine of its own; afterwards none may have complained."""
    opened: list[Scene] = []

    async def open_scene(*, client: str = "provided", connect: bool = True, rendered: str = "") -> Scene:
        context = await browser.new_context()
        opened.append(Scene(await context.new_page()))
        url = f"http://{cable.address}/{framework}.html?client={client}"
        await opened[-1].open(url, connect=connect, rendered=rendered)
        return opened[-1]

    yield open_scene
    for each in opened:
        await each.page.context.close()
    assert [complaint for each in opened for complaint in each.complaints] == []


async def create(page: Scene, *titles: str, status: str = "open") -> None:
    for title in titles:
        await page.run("task => page.client.tasks.create(task)", {"id": title, "title": title, "status": status})


# live queries


async def test_rows_are_loading_and_then_there_and_then_as_they_change(scene: Open) -> None:
    page, other = await scene(connect=False), await scene()
    await create(other, "b", "c")
    await page.show(TASKS)
    assert await page.read() == {"data": [], "loading": True, "error": None}
    await page.run("page.client.connect()")
    told = await page.until("!it.loading")
    assert [row["title"] for row in told["data"]] == ["b", "c"]
    assert told["error"] is None
    await create(other, "a")
    await page.until("it.data.map(row => row.title).join() === 'a,b,c'")
    await other.run("page.client.tasks.update('b', { status: 'done' })")
    await page.until("it.data.map(row => row.title).join() === 'a,c'")


async def test_a_list_grows_page_by_page_and_stays_live_without_doubles_or_gaps(scene: Open, counter: Counter) -> None:
    page, other = await scene(), await scene()
    await create(other, *"bdfhjln")
    pages = {"kind": "pages", "collection": "tasks", "query": OPEN_TASKS, "pageSize": 3}
    await page.show(pages)
    shown = "it.data.map(row => row.title).join('')"
    await page.until(f"{shown} === 'bdf' && it.hasMore && !it.loadingMore")
    await create(other, "a")
    await page.until(f"{shown} === 'abd'")
    await page.run("page.more.w0()")
    await page.until(f"{shown} === 'abdfhj' && it.hasMore && !it.loadingMore")
    await page.run("page.more.w0()")
    await page.until(f"{shown} === 'abdfhjln' && !it.hasMore")
    assert len(counter) == 1
    # from the first page to the last, and away from one
    await other.run("page.client.tasks.update('a', { title: 'z' })")
    await page.until(f"{shown} === 'bdfhjlnz'")
    await other.run("page.client.tasks.update('h', { status: 'done' })")
    await page.until(f"{shown} === 'bdfjlnz'")
    await page.show({**pages, "query": {**OPEN_TASKS, "orderBy": {"title": "desc"}}})
    await page.until(f"{shown} === 'znl' && it.hasMore")
    await page.show({**pages, "enabled": False})
    told = await page.until("it.data.length === 0")
    assert (told["loading"], told["hasMore"]) == (False, False)


async def test_counts_and_sums_follow_the_rows(scene: Open, counter: Counter) -> None:
    page, other = await scene(), await scene()
    await create(other, "a", "b")
    await create(other, "c", status="done")
    by_status = {"kind": "aggregate", "collection": "tasks", "query": {"groupBy": "status", "max": "title"}}
    await page.show(by_status, by_status)
    told = await page.until("it.data.length === 2")
    assert told == {
        "data": [
            {"id": '["done"]', "group": {"status": "done"}, "count": 1, "max": {"title": "c"}},
            {"id": '["open"]', "group": {"status": "open"}, "count": 2, "max": {"title": "b"}},
        ],
        "loading": False,
        "error": None,
    }
    assert len(counter) == 1
    await other.run("page.client.tasks.update('b', { status: 'done' })")
    await page.until("it.data.map(group => group.count + group.max.title).join() === '2c,1a'", "w1")
    await other.run("page.client.tasks.delete('a')")
    await page.until("it.data.length === 1")
    await page.show({**by_status, "query": {"sum": "points"}})
    assert (await page.until("it.data[0]?.sum"))["data"] == [
        {"id": "[]", "group": {}, "count": 2, "sum": {"points": 0}}
    ]
    await page.show({**by_status, "enabled": False})
    await page.until("it.data.length === 0 && !it.loading")


async def test_ten_components_with_one_query_cost_one_subscription(scene: Open, counter: Counter) -> None:
    page = await scene()
    await create(page, "one")
    # the same query in other words: members in another order, an object of its own for each
    words = [OPEN_TASKS, dict(reversed(OPEN_TASKS.items()))]
    await page.show(*({**TASKS, "query": words[index % 2]} for index in range(10)))
    for index in range(10):
        await page.until("it.data.length === 1", f"w{index}")
    assert len(counter) == 1
    assert counter.opened == 1
    await create(page, "two")
    for index in range(10):
        await page.until("it.data.length === 2", f"w{index}")
    await page.show(TASKS)
    await create(page, "three")
    await page.until("it.data.length === 3")
    assert counter.opened == 1
    await page.show()
    await until(lambda: len(counter) == 0)


async def test_what_is_drawn_again_with_an_equal_query_is_not_subscribed_to_again(
    scene: Open, counter: Counter
) -> None:
    page = await scene()
    await page.show(TASKS)
    await page.until("!it.loading")
    for _ in range(5):
        await page.show({**TASKS, "query": {"orderBy": {"title": "asc"}, "where": {"status": "open"}}})
    await create(page, "one")
    await page.until("it.data.length === 1")
    assert counter.opened == 1


async def test_a_query_that_changes_is_followed(scene: Open, counter: Counter) -> None:
    page = await scene()
    await create(page, "one")
    await create(page, "two", status="done")
    await page.show(TASKS)
    await page.until("it.data[0]?.id === 'one'")
    await page.show({**TASKS, "query": {"where": {"status": "done"}}})
    await page.until("it.data[0]?.id === 'two'")
    await until(lambda: len(counter) == 1)
    await page.show({**TASKS, "query": {"where": {"status": "done"}}, "enabled": False})
    assert await page.until("it.data.length === 0") == {"data": [], "loading": False, "error": None}
    await until(lambda: len(counter) == 0)


async def test_a_refused_query_says_why(scene: Open) -> None:
    page = await scene()
    await page.show({**TASKS, "query": {"where": {"title": {"startsWith": 7}}}})
    told = await page.until("it.error !== null")
    assert told["error"]["code"] == "INVALID_REQUEST"
    assert told["loading"] is False
    await page.show({**TASKS, "query": {"where": {"title": float("nan")}}})  # the client says so, before it is sent
    told = await page.until("it.error?.message.includes('NaN')")
    assert (told["error"]["code"], told["loading"]) == ("INVALID_REQUEST", False)


async def test_only_the_fields_that_are_asked_for_come(scene: Open) -> None:
    page = await scene()
    await create(page, "one")
    await page.show({**TASKS, "fields": ["title"]})
    told = await page.until("it.data.length === 1")
    assert told["data"] == [{"id": "one", "title": "one"}]


async def test_while_a_condition_does_not_hold_nothing_changes(scene: Open) -> None:
    page = await scene()
    await page.show({**TASKS, "conditional": True})
    await page.until("!it.loading")
    await page.run("page.allowed = false")
    await create(page, "one")
    assert (await page.read())["data"] == []
    await page.run("page.allowed = true")
    await create(page, "two")
    await page.until("it.data.length === 2")


async def test_after_a_break_the_rows_are_what_they_are_by_then(scene: Open, cable: Cable, counter: Counter) -> None:
    page, other = await scene(), await scene()
    await create(page, "one")
    await page.show(TASKS, {"kind": "connection"})
    await page.until("it.data.length === 1")
    assert (await page.until("it.state === 'connected'", "w1"))["saved"] is True
    target, cable.target = cable.target, None
    cable.cut()
    await page.until("it.state === 'offline'", "w1")
    await page.run("void page.client.tasks.create({ id: 'two', title: 'two', status: 'open' })")
    assert (await page.until("it.pending === 1", "w1"))["saved"] is False
    await page.until("it.data.length === 2")  # what is written is shown before it is saved
    cable.target = target
    await page.until("it.state === 'connected' && it.saved", "w1")
    await other.run("page.client.tasks.delete('one')")
    await page.until("it.data.map(row => row.id).join() === 'two'")
    await until(lambda: len(counter) == 1)


async def test_what_does_not_concern_its_rows_does_not_draw_a_component(scene: Open) -> None:
    page, other = await scene(), await scene()
    await create(other, "a", "b")
    done = {**TASKS, "query": {"where": {"status": "done"}}}
    await page.show({**TASKS, "each": True}, done, {"kind": "connection"}, {"kind": "presence", "room": "rooms/one"})
    await page.until("it.data.length === 2")
    await page.until("!it.loading", "w1")
    await page.until("!it.loading", "w3")
    drawn = await page.run("({ ...page.draws })")
    await create(other, "elsewhere", status="done")
    await page.until("it.data.length === 1", "w1")
    now = await page.run("({ ...page.draws })")
    assert {key for key in now if now[key] != drawn[key]} == {"w1"}
    # of a list only the row that changed
    await other.run("page.client.tasks.update('b', { title: 'better' })")
    await page.until("it.data[1].title === 'better'")
    now = await page.run("({ ...page.draws })")
    assert {key for key in now if now[key] != drawn[key]} == {"w1", "w0", "w0:b"}


async def test_rows_that_a_break_and_a_write_leave_as_they_were_are_not_drawn_again(scene: Open, cable: Cable) -> None:
    page, other = await scene(), await scene()
    await create(other, "a", "b")
    await page.show({**TASKS, "each": True}, {"kind": "connection"})
    await page.until("it.data.length === 2")
    drawn = await page.run("({ ...page.draws })")
    target, cable.target = cable.target, None
    cable.cut()
    await page.until("it.state === 'offline'", "w1")
    cable.target = target
    await page.until("it.state === 'connected'", "w1")
    await other.run("page.client.tasks.update('b', { title: 'better' })")
    await page.until("it.data[1].title === 'better'")
    await page.run("page.client.tasks.update('b', { title: 'best' })")
    await page.until("it.data[1].title === 'best'")
    now = await page.run("({ ...page.draws })")
    assert now["w0:a"] == drawn["w0:a"]
    assert now["w0:b"] > drawn["w0:b"]


# presence


async def test_people_come_change_and_leave(scene: Open, counter: Counter) -> None:
    page, other = await scene(), await scene()
    await page.show({"kind": "presence", "room": "rooms/one"})
    assert (await page.until("!it.loading"))["people"] == []
    here = {"kind": "presence", "room": "rooms/one", "state": {"name": "Ada"}}
    await other.show(here, {**here, "state": {"line": 3}})
    told = await page.until("it.people[0]?.name === 'Ada' && it.people[0].line === 3")
    assert told["count"] == 1  # two components of one page are one person
    await other.show({**here, "state": {"name": "Ada King"}})
    await page.until("it.people[0]?.name === 'Ada King' && it.people[0].line === undefined")
    await other.show({**here, "room": "rooms/two"})
    await page.until("it.count === 0")
    await other.show(here)
    await page.until("it.count === 1")
    await other.show({**here, "state": None})  # still there to look
    await page.until("it.count === 0")
    await other.until("it.count === 0 && !it.loading")
    await other.show({**here, "room": None})
    assert await other.until("!it.loading") == {"people": [], "count": 0, "loading": False, "error": None}
    await until(lambda: len(counter) == 1)
    await other.show()
    await page.show()
    await until(lambda: len(counter) == 0)


# documents


def editing(collab: Collab) -> float:
    """How many sessions have documents open."""
    return collab._gauges()["collab_sessions"][1]


async def test_a_document_is_open_as_long_as_somebody_wants_it(scene: Open, collab: Collab) -> None:
    page, other = await scene(), await scene()
    note = {"kind": "document", "id": "notes/n1"}
    await page.show(note, note)
    await other.show(note)
    for each, key in ((page, "w0"), (page, "w1"), (other, "w0")):
        await each.until("it.open && it.synced && it.state === 'saved'", key)
    await until(lambda: editing(collab) == 2)
    await page.run("page.docs['notes/n1'].getText('content').insert(0, 'Hello')")
    await page.until("it.state === 'saved'")
    await other.page.wait_for_function("page.docs['notes/n1'].getText('content').toString() === 'Hello'")
    await page.show(note)
    assert (await page.read())["open"] is True
    await page.show()
    await until(lambda: editing(collab) == 1)
    await page.show({**note, "id": None})
    assert await page.until("!it.open") == {"open": False, "state": "saving", "synced": False, "error": None}
    await page.show(note)
    await page.until("it.synced")
    assert await page.run("page.docs['notes/n1'].getText('content').toString()") == "Hello"


async def test_a_document_that_nobody_shows_any_more_is_saved_before_it_is_closed(scene: Open, cable: Cable) -> None:
    page, other = await scene(), await scene()
    note = {"kind": "document", "id": "notes/n1"}
    await page.show(note)
    await page.until("it.synced && it.state === 'saved'")
    target, cable.target = cable.target, None
    cable.cut()
    await page.until("it.state !== 'saved' || true")
    await page.run("page.docs['notes/n1'].getText('content').insert(0, 'written offline')")
    await page.until("it.state === 'offline'")
    await page.show()
    cable.target = target
    await other.show(note)
    await other.page.wait_for_function("page.docs['notes/n1']?.getText('content').toString() === 'written offline'")


async def test_who_comes_back_before_a_document_was_saved_goes_on_with_it(scene: Open, cable: Cable) -> None:
    page, other = await scene(), await scene()
    note = {"kind": "document", "id": "notes/n1"}
    await page.show(note)
    await page.until("it.synced && it.state === 'saved'")
    target, cable.target = cable.target, None
    cable.cut()
    await page.run("page.docs['notes/n1'].getText('content').insert(0, 'written offline')")
    await page.until("it.state === 'offline'")
    await page.show()
    await page.show(note)
    await page.until("it.state === 'offline'")
    cable.target = target
    await page.until("it.state === 'saved' && it.synced")
    await other.show(note)
    await other.until("it.synced")
    await other.run("page.docs['notes/n1'].getText('content').insert(0, 'Not only ')")
    await page.page.wait_for_function(
        "page.docs['notes/n1'].getText('content').toString() === 'Not only written offline'"
    )
    await page.until("it.open && it.state === 'saved'")


# events and numbers


async def test_events_are_heard_in_their_channels_while_somebody_listens(scene: Open, counter: Counter) -> None:
    page, other = await scene(), await scene()
    typing = {"kind": "event", "type": "user_typing", "channels": ["chat-1"]}
    await page.show(typing, typing)
    await other.show({**typing, "channels": ["chat-2"]})
    await until(lambda: len(counter) == 3)
    await page.run("page.emits.user_typing({ name: 'Ada', channels: ['chat-1'] })")
    for key in ("w0", "w1"):
        assert [event["name"] for event in await page.until("it.length === 1", key)] == ["Ada"]
    await page.run("page.emits.user_typing({ name: 'Alan', channels: ['chat-2'] })")
    assert [event["name"] for event in await other.until("it.length === 1")] == ["Alan"]
    await page.show(typing)
    await page.run("page.emits.user_typing({ name: 'Grace', channels: ['chat-1'] })")
    await page.until("it.length === 2")  # the channel is not left while one of two still listens
    await page.show()
    await other.show()
    await until(lambda: len(counter) == 0)


async def test_what_happens_to_entities_is_heard(scene: Open, counter: Counter) -> None:
    page, other = await scene(), await scene()
    every = {"kind": "entity", "collection": "tasks", "id": "*"}
    await page.show(every, {**every, "id": "one", "fields": ["status"]})
    await until(lambda: len(counter) == 2)
    await create(other, "one", "two")
    await other.run("page.client.tasks.update('one', { title: 'another' })")
    await other.run("page.client.tasks.update('one', { status: 'done' })")
    await other.run("page.client.tasks.delete('two')")
    all_of_it = await page.until("it.length === 5")
    assert [(event["type"], event["id"]) for event in all_of_it] == [
        ("created", "one"),
        ("created", "two"),
        ("updated", "one"),
        ("updated", "one"),
        ("deleted", "two"),
    ]
    some = await page.until("it.length === 2", "w1")
    assert [(event["type"], event["data"]["status"]) for event in some] == [("created", "open"), ("updated", "done")]
    await page.show()
    await until(lambda: len(counter) == 0)


async def test_numbers_and_what_the_system_says_arrive(scene: Open, counter: Counter) -> None:
    page = await scene()
    await page.show({"kind": "metric"}, {"kind": "metric"}, {"kind": "system", "type": "health"})
    await page.until("it.value === 1")
    assert (await page.until("it.length > 0", "w2"))[0]["state"] == "ok"
    assert len(counter) == 2  # both numbers are one subscription
    await scene()
    await page.until("it.value === 2", "w1")
    await page.show()
    await until(lambda: len(counter) == 0)


# mounting and unmounting

EVERYTHING: list[dict[str, Any]] = [
    TASKS,
    {"kind": "presence", "room": "rooms/one", "state": {"name": "Ada"}},
    {"kind": "document", "id": "notes/n1"},
    {"kind": "metric"},
    {"kind": "event", "type": "user_typing", "channels": ["chat-1"]},
    {"kind": "entity", "collection": "tasks", "id": "*"},
    {"kind": "system", "type": "health"},
    {"kind": "connection"},
]
SUBSCRIPTIONS = 6  # all of it but the document and the connection


async def until_all_is_there(page: Scene) -> None:
    await page.until("!it.loading && it.error === null && it.data.length === 1")
    await page.until("it.count === 1 && it.error === null", "w1")
    await page.until("it.synced && it.error === null", "w2")
    await page.until("it.value === 1 && it.error === null", "w3")
    await page.until("it.state === 'connected'", "w7")


async def test_what_is_mounted_anew_at_once_costs_nothing_and_leaves_nothing(
    scene: Open, counter: Counter, collab: Collab
) -> None:
    page = await scene()
    await create(page, "one")
    await page.show(*EVERYTHING)
    await until_all_is_there(page)
    for _ in range(3):
        await page.run("page.again()")
    await until_all_is_there(page)
    assert len(counter) == SUBSCRIPTIONS
    # what is shared stays; who hears events themselves begins anew
    assert counter.opened <= SUBSCRIPTIONS + 3 * 3
    assert editing(collab) == 1
    await page.show()
    await until(lambda: len(counter) == 0)
    await until(lambda: editing(collab) == 0)
    assert await page.run("page.subscriptions(page.client)") == 0


async def test_what_is_hidden_costs_nothing_and_comes_back_as_things_are_by_then(
    scene: Open, counter: Counter, collab: Collab
) -> None:
    page = await scene()
    await create(page, "one")
    await page.show(*EVERYTHING)
    await until_all_is_there(page)
    await page.run("page.change({ hidden: true })")
    await until(lambda: len(counter) == 0)
    await until(lambda: editing(collab) == 0)
    await page.run("page.client.tasks.update('one', { title: 'another' })")
    await page.run("page.change({ hidden: false })")
    await page.until("it.data[0]?.title === 'another'")
    await until_all_is_there(page)
    assert len(counter) == SUBSCRIPTIONS
    await page.show()
    await until(lambda: len(counter) == 0)


# clients


async def test_another_client_takes_the_place_of_the_one_before(scene: Open, counter: Counter) -> None:
    page = await scene()
    await create(page, "one")
    await page.show(TASKS, {"kind": "connection"}, {"kind": "event", "type": "user_typing", "channels": []})
    await page.until("it.data.length === 1")
    await page.run("window.before = page.client")
    await page.run("page.exchange()")
    await page.until("it.state === 'connected'", "w1")
    await page.until("it.data.length === 1")
    await until(lambda: len(counter) == 2)
    assert await page.run("[before, page.client].map(client => page.subscriptions(client))") == [0, 2]
    await page.run("before.disconnect()")
    await create(page, "two")
    await page.until("it.data.length === 2")
    await page.run("page.emits.user_typing({ name: 'Ada' })")
    await page.until("it.length === 1", "w2")


@pytest.mark.parametrize("settings", [{"jwt_secret": SECRET}])
async def test_each_says_what_it_was_refused_and_asks_again_for_the_next_user(scene: Open, counter: Counter) -> None:
    page = await scene(connect=False)
    await page.run("void page.client.onError(() => {})")
    await page.show(*EVERYTHING)
    await page.run("token => page.client.connect({ token })", mint("guest", {"*/*": "none"}))
    for key in ("w0", "w1", "w2"):
        assert (await page.until("it.error !== null", key))["error"]["code"] == "PERMISSION_DENIED"
    for key in ("w4", "w5"):
        await page.until("it.some(({ refused }) => refused === 'PERMISSION_DENIED')", key)
    await page.run("page.client.disconnect()")
    await page.run("token => page.client.connect({ token })", mint("ada"))
    await create(page, "one")
    await until_all_is_there(page)
    await page.until("it.at(-1).type === 'created'", "w5")
    await page.run("page.emits.user_typing({ channels: ['chat-1'] })")
    await page.until("it.at(-1).type === 'user_typing'", "w4")
    await page.show()
    await until(lambda: len(counter) == 0)


async def test_one_client_for_everything_needs_no_provider(scene: Open, counter: Counter) -> None:
    page = await scene(client="set")
    await create(page, "one")
    await page.show(*EVERYTHING)
    await until_all_is_there(page)
    await page.show()
    await until(lambda: len(counter) == 0)


async def test_without_a_client_the_error_says_what_to_do(scene: Open) -> None:
    page = await scene(client="none", connect=False)
    await page.run(
        "scene => { try { page.show(scene) } catch (error) { console.error(error.message) } }", [{**TASKS, "key": "w0"}]
    )
    await until(lambda: [said for said in page.complaints if "there is no client" in said and "setClient(" in said])
    await page.page.close()
    page.complaints.clear()


# servers


def in_node(program: str) -> Any:
    """The output, as JSON, of a program that ends by itself: it leaves no timer and no socket."""
    command = [str(machine.node()), "--input-type=module", "--eval", program]
    environment = {**os.environ, "NODE_ENV": "development"}
    done = subprocess.run(
        command, cwd=machine.ROOT / "js" / "tests", env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


async def render(rendering: Path, framework: str, scene: list[dict[str, Any]]) -> Any:
    """A scene rendered on a server, and how many subscriptions remain there."""
    program = f"""
        import {{ LumenizeClient }} from "@lumenize/client"
        import {{ render }} from {json.dumps(str(rendering / framework) + ".js")}
        const client = new LumenizeClient({{ url: "http://127.0.0.1:9" }})
        const html = await render(client, {json.dumps(scene)})
        const [core] = Object.getOwnPropertySymbols(client)
        console.log(JSON.stringify({{ html, left: client[core].subscriptions.size }}))
    """
    return await asyncio.to_thread(in_node, program)


def on_a_page(widgets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"key": f"w{index}", **widget} for index, widget in enumerate(widgets)]


def texts(rendered: str) -> list[Any]:
    """The texts of the widgets on a page that a server rendered."""
    found = re.findall(r"<pre[^>]*>(.*?)</pre>", rendered, re.DOTALL)
    return [json.loads(html.unescape(re.sub(r"<!--.*?-->", "", text))) for text in found]


async def test_on_a_server_everything_is_loading_and_nothing_is_left_behind(framework: str, rendering: Path) -> None:
    waiting = {"enabled": False, "collection": "tasks", "query": {}, "kind": "query"}
    said = await render(rendering, framework, on_a_page([*EVERYTHING, waiting]))
    assert said["left"] == 0
    rows, people, document, number, *heard, connection, disabled = texts(said["html"])
    assert rows == {"data": [], "loading": True, "error": None}
    assert people == {"people": [], "count": 0, "loading": True, "error": None}
    assert document == {"open": False, "state": "saving", "synced": False, "error": None}
    assert number == {"value": None, "loading": True, "error": None}
    assert heard == [[], [], []]
    assert connection == {"state": "connecting", "pending": 0, "saved": True}
    assert disabled["data"] == []


@pytest.mark.parametrize("known", [False, True], ids=["before", "after"])
async def test_a_page_that_a_server_rendered_is_taken_over_as_it_is(
    scene: Open, counter: Counter, framework: str, rendering: Path, *, known: bool
) -> None:
    """``known``: the client is connected by then, and has the rows."""
    writer = await scene()
    await create(writer, "one")
    widgets = on_a_page(EVERYTHING)
    markup = (await render(rendering, framework, widgets))["html"]
    script = f"""
        window.initial = {json.dumps({"scene": widgets, "known": known})}
        for (const each of document.querySelectorAll("pre")) each.rendered = true
    """
    page = await scene(rendered=f"{markup}</div><script>{script}</script><div>", connect=not known)
    await page.until("!it.loading && it.data.length === 1")
    await page.until("it.synced && it.error === null", "w2")
    await page.until("it.state === 'connected'", "w7")
    # these are the server's elements, and not others in their place
    assert await page.run("[...document.querySelectorAll('pre')].every(each => each.rendered)")
    await page.run("page.forget()")
    await create(writer, "two")
    await page.until("it.data.length === 2")
    await page.show()
    await until(lambda: len(counter) == 0)
