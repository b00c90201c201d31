"""What a page keeps in IndexedDB: reloaded without network, in several tabs, killed, full, upgraded and signed out."""

from __future__ import annotations

import asyncio
import mimetypes
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, WebSocketRoute

from tests.e2e.pages import PATIENCE, build, chromium
from tests.e2e.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]

ORIGIN = "http://localhost:9"
"""Of the page. Its files come from a folder, also without network, as a service worker would give them."""

Open = Callable[..., Awaitable["Tab"]]


class Tab:
    """A tab with the page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def run(self, script: str, argument: Any = None) -> Any:
        return await self.page.evaluate(script, argument)

    async def until(self, condition: str) -> None:
        """Wait until the JavaScript ``condition`` holds."""
        try:
            # not `wait_for_function`: a hidden tab draws no frames
            await self.page.evaluate(
                f"""async () => {{
                  const end = Date.now() + {PATIENCE * 1000}
                  while (!(await ({condition}))) {{
                    if (Date.now() > end) throw new Error("too late")
                    await new Promise((resolve) => setTimeout(resolve, 20))
                  }}
                }}"""
            )
        except Exception as error:
            said = await self.run("[page.errors, page.client.pending, page.text, page.rows]")
            raise AssertionError(f"the page says {said!r:.500}, and not that {condition}") from error

    async def shows(self, *rows: str) -> None:
        await self.until(f"JSON.stringify(page.rows) === JSON.stringify({list(rows)!r})")

    async def keeps(self, store: str, condition: str) -> None:
        """Wait until the JavaScript ``condition`` holds for what a store of the database has (``all``)."""
        await self.until(f"page.kept('{store}').then((all) => {condition})")

    async def create(self, name: str, title: str) -> None:
        await self.run("([id, title]) => void page.tasks.create({id, title}).catch(() => {})", [name, title])

    async def type(self, at: int, text: str) -> None:
        await self.run("([at, text]) => page.document.doc.getText('content').insert(at, text)", [at, text])

    async def codes(self) -> list[str]:
        """What ``onError`` was told, except for lost connections."""
        errors = await self.run("page.errors")
        return [
            f"{error['code']} {error['details'].get('reason', '')}".strip()
            for error in errors
            if error["code"] != "CONNECTION_LOST"
        ]

    async def reload(self) -> None:
        await self.page.reload()
        await self.until("globalThis.page !== undefined")

    async def crash(self) -> None:
        """End its process at once."""
        devtools = await self.page.context.new_cdp_session(self.page)
        async with self.page.expect_event("crash"):
            sent = asyncio.ensure_future(devtools.send("Page.crash"))  # is never answered
        sent.cancel()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("pages"))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), allowed_origins=ORIGIN)
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser, pages: Path) -> AsyncIterator[BrowserContext]:
    """A browser profile of its own; its tabs share what is kept."""
    context = await browser.new_context()

    async def serve(route: Route) -> None:
        file = pages / route.request.url.removeprefix(f"{ORIGIN}/").partition("?")[0]
        kind = mimetypes.guess_type(file.name)[0] or "text/plain"
        if file.is_file():
            await route.fulfill(body=file.read_bytes(), content_type=kind)
        else:
            await route.fulfill(status=404, body="nothing")

    await context.route(f"{ORIGIN}/**", serve)
    yield context
    await context.close()


@pytest.fixture
def tab(context: BrowserContext, served: Server, request: pytest.FixtureRequest) -> Open:
    """Opens a tab, with a collection and a document of this test."""
    name = re.sub(r"\W", "-", request.node.name)[5:60]

    async def open_tab(*, user: str = "ada", document: bool = True) -> Tab:
        opened = Tab(await context.new_page())
        said = {"url": served.http, "user": user, "collection": name} | ({"document": name} if document else {})
        await opened.page.goto(f"{ORIGIN}/offline.html?{urlencode(said)}")
        await opened.until("globalThis.page !== undefined" + (" && page.document !== null" if document else ""))
        return opened

    return open_tab


async def test_a_page_reloaded_without_network_shows_what_it_knew_and_sends_what_it_owes_once(
    tab: Open, context: BrowserContext
) -> None:
    ada = await tab()
    await ada.create("a", "first")
    await ada.type(0, "known ")
    await ada.run("page.client.saved()")
    await ada.run("page.document.whenSaved()")
    await ada.shows("a: first")
    await ada.keeps("rows", "all.some((text) => text.includes('first'))")
    await context.set_offline(True)
    await ada.until("!page.client.isConnected()")
    await ada.run("() => void page.tasks.update('a', {title: 'second'}).catch(() => {})")
    await ada.create("b", "made offline")
    await ada.type(6, "and new")
    await ada.keeps("writes", "all.length === 2")
    await ada.keeps("items", "all.some(({unsaved}) => unsaved)")
    for _ in range(2):
        await ada.reload()
        await ada.until("page.document !== null && page.document.state === 'offline'")
        await ada.shows("a: second", "b: made offline")
        await ada.until("page.client.pending === 3")  # two writes, and the document
        assert await ada.run("[page.text, page.client.isConnected()]") == ["known and new", False]
    await context.set_offline(False)
    await ada.run("page.client.saved()")
    await ada.run("page.document.whenSaved()")
    await ada.shows("a: second", "b: made offline")
    await ada.keeps("writes", "all.length === 0")
    history = "(id) => page.tasks.history(id).then((events) => events.map(({type}) => type))"
    assert await ada.run(history, "a") == ["updated", "created"]
    assert await ada.run(history, "b") == ["created"]
    assert await ada.codes() == []
    other = await tab(user="bob")
    await other.until("page.text === 'known and new'")


async def test_a_tab_killed_while_its_write_is_answered_owes_it_to_another_and_it_is_made_once(
    tab: Open, context: BrowserContext
) -> None:
    heir = await tab(document=False)
    await heir.shows()
    deaf = False

    def listen(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        route.on_message(server.send)
        server.on_message(lambda message: None if deaf else route.send(message))

    await context.route_web_socket(re.compile("realtime"), listen)
    victim = await tab(document=False)
    await victim.until("page.client.isConnected()")
    await victim.shows()
    deaf = True
    await victim.create("a", "sent and not answered")
    await heir.shows("a: sent and not answered")
    assert await victim.run("page.client.pending") == 1
    await heir.keeps("writes", "all.length === 1 && all[0].sent !== null")
    deaf = False
    await victim.crash()
    await heir.keeps("writes", "all.length === 0")
    await heir.run("page.client.saved()")
    assert await heir.run("page.tasks.history('a').then((events) => events.length)") == 1
    assert await heir.codes() == []


async def test_tabs_merge_a_document_without_network_and_each_sends_its_own_writes(
    tab: Open, context: BrowserContext
) -> None:
    one, two = await tab(), await tab()
    for each in (one, two):
        await each.shows()
        await each.run("page.document.synced")
    await context.set_offline(True)
    for each in (one, two):
        await each.until("!page.client.isConnected()")
    await one.type(0, "one ")
    await two.until("page.text === 'one '")
    await two.type(4, "two")
    await one.until("page.text === 'one two'")
    await one.create("a", "of one")
    await two.create("b", "of two")
    await one.keeps("writes", "all.length === 2")
    await context.set_offline(False)
    for each in (one, two):
        await each.run("page.document.whenSaved()")
        await each.shows("a: of one", "b: of two")
    await one.keeps("writes", "all.length === 0")
    assert await one.run("page.tasks.history('a').then((events) => events.length)") == 1
    assert [await one.codes(), await two.codes()] == [[], []]


async def test_a_write_refused_after_a_reload_is_told_and_its_row_taken_back(
    tab: Open, context: BrowserContext
) -> None:
    bob = await tab(user="bob", document=False)
    ada = await tab(document=False)
    await ada.shows()
    await ada.keeps("rows", "all.length > 0")
    await context.set_offline(True)
    await ada.until("!page.client.isConnected()")
    await ada.create("a", "hers")
    await ada.keeps("writes", "all.length === 1")
    await ada.page.goto("about:blank")
    await context.set_offline(False)
    await bob.create("a", "his")
    await bob.run("page.client.saved()")
    ada = await tab(document=False)
    await ada.shows("a: his")
    await ada.until("page.errors.length > 0")
    (error,) = await ada.run("page.errors")
    assert error["code"] == "CONFLICT"
    assert error["details"]["request"]["data"] == {"title": "hers"}
    await ada.keeps("writes", "all.length === 0")


async def test_a_user_sees_nothing_of_another_and_signing_out_erases_in_all_tabs(
    tab: Open, context: BrowserContext
) -> None:
    ada, other = await tab(), await tab()
    await ada.create("a", "secret")
    await ada.type(0, "secret")
    await ada.run("page.client.saved()")
    await ada.keeps("rows", "all.some((text) => text.includes('secret'))")
    await context.set_offline(True)
    bob = await tab(user="bob")
    assert await bob.run("[page.rows, page.text]") == [None, ""]
    await ada.run("page.client.signOut()")
    await other.until("page.errors.some(({code}) => code === 'AUTHENTICATION_FAILED')")
    for store in ("rows", "updates", "items", "writes", "claims"):
        await bob.keeps(store, "all.length === 0")
    await other.reload()
    await other.until("page.document !== null")
    assert await other.run("[page.rows, page.text]") == [None, ""]


async def test_a_full_disk_is_told_and_the_page_goes_on(tab: Open, context: BrowserContext) -> None:
    nothing = await context.new_page()
    await nothing.goto(f"{ORIGIN}/nothing")
    noise = "".join(chr(33 + random.randrange(90)) for _ in range(250_000))  # the browser compresses other text
    devtools = await context.new_cdp_session(nothing)
    # before the page opens its database, because the browser asks for its quota only now and then
    await devtools.send("Storage.overrideQuotaForOrigin", {"origin": ORIGIN, "quotaSize": 100_000})
    ada = await tab()
    await ada.shows()
    await ada.create("a", noise)
    await ada.until("page.errors.some(({details}) => details.reason === 'quota')")
    await ada.run("page.client.saved()")
    await ada.type(0, noise)
    await ada.run("page.document.whenSaved()")
    assert set(await ada.codes()) == {"STORAGE_FAILED quota"}
    await devtools.send("Storage.overrideQuotaForOrigin", {"origin": ORIGIN})
    await ada.create("b", "kept again")
    await ada.keeps("rows", "all.some((text) => text.includes('kept again'))")


async def test_a_newer_version_of_the_page_takes_the_database_and_the_older_one_leaves_it_alone(tab: Open) -> None:
    ada = await tab()
    await ada.create("a", "kept")
    await ada.keeps("rows", "all.some((text) => text.includes('kept'))")
    newer = await tab(document=False)
    version = await newer.run(
        """new Promise((resolve, reject) => {
          const opening = indexedDB.open("kept", 2)
          opening.onupgradeneeded = () => opening.result.createObjectStore("more")
          opening.onsuccess = () => { resolve(opening.result.version); opening.result.close() }
          opening.onerror = () => reject(opening.error)
        })"""
    )
    assert version == 2
    await ada.until("page.errors.some(({details}) => details.reason === 'outdated')")
    await ada.create("b", "goes on")
    await ada.shows("a: kept", "b: goes on")
    await ada.reload()
    await ada.until("page.errors.some(({details}) => details.reason === 'newer')")
    await ada.shows("a: kept", "b: goes on")
    await ada.keeps("rows", "all.some((text) => text.includes('kept'))")
