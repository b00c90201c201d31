"""The packages for React, Svelte and Vue: the same pages made with each of them, in a browser and on a server."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

import dev
from collab import Collab
from tests.collab.client.world import Cable, until, world
from tests.e2e.pages import Counter, Scene, build, chromium

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

Open = Callable[..., Awaitable[Scene]]

OPEN_TASKS = {"where": {"status": "open"}, "orderBy": {"title": "asc"}}
TASKS = {"kind": "query", "collection": "tasks", "query": OPEN_TASKS}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def rendering() -> Path:
    """Modules for Node: beside `node_modules`, which they import from."""
    return build(dev.ROOT / "js" / "tests" / ".page" / "ssr", ssr=True)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


@pytest_asyncio.fixture(loop_scope="module")
async def place(counter: Counter, pages: Path, tmp_path: Path) -> AsyncIterator[tuple[Cable, Collab]]:
    async with world(tmp_path, pages=str(pages)) as running:
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

    async def open_scene(*, connect: bool = True) -> Scene:
        context = await browser.new_context()
        opened.append(Scene(await context.new_page()))
        await opened[-1].open(f"http://{cable.address}/{framework}.html", connect=connect)
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
    await other.show()
    await page.show()
    await until(lambda: len(counter) == 0)


# documents


async def test_a_document_is_open_as_long_as_somebody_wants_it(scene: Open, collab: Collab) -> None:
    def sessions() -> float:
        return collab._gauges()["collab_sessions"][1]

    page, other = await scene(), await scene()
    note = {"kind": "document", "id": "notes/n1"}
    await page.show(note, note)
    await other.show(note)
    for each, key in ((page, "w0"), (page, "w1"), (other, "w0")):
        await each.until("it.open && it.synced && it.state === 'saved'", key)
    await until(lambda: sessions() == 2)
    await page.run("page.docs['notes/n1'].getText('content').insert(0, 'Hello')")
    await page.until("it.state === 'saved'")
    await other.page.wait_for_function("page.docs['notes/n1'].getText('content').toString() === 'Hello'")
    await page.show(note)
    assert (await page.read())["open"] is True
    await page.show()
    await until(lambda: sessions() == 1)
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


async def test_numbers_and_what_the_system_says_arrive(scene: Open, counter: Counter) -> None:
    page = await scene()
    await page.show({"kind": "metric"}, {"kind": "metric"}, {"kind": "system", "type": "health"})
    await page.until("it === 1")
    assert (await page.until("it.length > 0", "w2"))[0]["state"] == "ok"
    assert len(counter) == 2  # both numbers are one subscription
    await scene()
    await page.until("it === 2", "w1")
    await page.show()
    await until(lambda: len(counter) == 0)


# servers


def in_node(program: str) -> Any:
    """What a program says, as JSON, that ends by itself: no timer and no socket is left."""
    command = [str(dev.node()), "--input-type=module", "--eval", program]
    done = subprocess.run(command, cwd=dev.ROOT / "js" / "tests", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_on_a_server_everything_is_loading_and_nothing_is_left_behind(framework: str, rendering: Path) -> None:
    program = f"""
        import {{ LumenizeClient }} from "@lumenize/client"
        import {{ render }} from {json.dumps(str(rendering / framework) + ".js")}
        const client = new LumenizeClient({{ url: "http://127.0.0.1:9" }})
        const html = await render(client)
        console.log(JSON.stringify({{ html, left: client.core.subscriptions.size }}))
    """
    said = await asyncio.to_thread(in_node, program)
    assert "[[],true,null,[],false,null,&quot;connecting&quot;]" in said["html"].replace('"', "&quot;")
    assert said["left"] == 0
