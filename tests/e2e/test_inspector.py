"""The inspector as an operator uses it: `collab serve --inspect`, its link, and its views in Chromium."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pycrdt
import pytest
from playwright.async_api import Page, expect
from websockets.asyncio.client import connect

from tests.e2e.conftest import SECRET
from tests.e2e.pages import chromium, listen
from tests.e2e.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

INSPECT = "the secret of the inspector, of more than 32 bytes"
HOOK = '[{"name": "crm", "url": "http://127.0.0.1:9/", "secret": "whsec_' + "A" * 32 + '", "attempts": 1}]'
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, secret=SECRET, inspect=True, webhooks=HOOK)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def link_of(server: Server) -> str:
    """The link that the server has printed."""
    found = re.search(r"^ +inspector +(http\S+)$", server.log(), re.MULTILINE)
    assert found is not None
    return found[1]


def api(server: Server, user: str = "ada") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {server.token(user)}"}
    return httpx.AsyncClient(base_url=f"{server.http}/api/v1", headers=headers, timeout=40)


@asynccontextmanager
async def operator(server: Server, **options: object) -> AsyncIterator[Page]:
    """A page that has signed in with the link. At the end it must not have complained."""
    async with chromium() as browser:
        context = await browser.new_context(viewport=WIDE, **options)  # type: ignore[arg-type]
        page = await context.new_page()
        complaints = listen(page, "inspector")
        page.on("dialog", lambda dialog: dialog.accept())
        await page.goto(link_of(server))
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        yield page
        assert complaints == []


def view(page: Page, path: str) -> str:
    return f"{page.url.partition('#')[0]}#/default/{path}"


async def test_a_link_signs_in_once_and_the_secret_signs_in_again(tmp_path: Path) -> None:
    server = Server(tmp_path, secret=SECRET, inspect=True, inspect_secret=INSPECT)
    server.start()
    try:
        async with operator(server) as page:
            assert "eyJ" not in page.url
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_label("Secret of the inspector")).to_be_visible()
        async with chromium() as browser:
            page = await browser.new_page()
            await page.goto(link_of(server))
            await expect(page.get_by_role("alert")).to_contain_text("this link was used")
            assert "eyJ" not in page.url
            await page.get_by_label("Secret of the inspector").fill(INSPECT)
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    finally:
        server.stop()


async def test_rows_are_live_and_can_be_queried_edited_deleted_and_restored(served: Server) -> None:
    async with api(served) as http, operator(served) as page:
        for number in range(60):
            body = {"id": f"t{number:02}", "title": f"Task {number}", "done": number % 2 == 0}
            assert (await http.post("/collections/tasks", json=body)).status_code == 201
        await page.goto(view(page, "rows/tasks"))
        await expect(page.get_by_role("row")).to_have_count(51)
        await page.get_by_role("button", name="More rows").click()
        await expect(page.get_by_role("row")).to_have_count(62)  # the second table has a head too
        await http.patch("/collections/tasks/t01", json={"changes": {"title": "Written elsewhere"}})
        await expect(page.get_by_role("cell", name="Written elsewhere")).to_be_visible()

        await page.get_by_label("Where, as JSON").fill('{"id": {"in": ["t03", "t05"]}}')
        await page.get_by_label("Order").fill("title desc")
        await page.get_by_role("button", name="Query").click()
        await expect(page.get_by_role("row")).to_have_count(3)
        await expect(page.get_by_role("row").nth(1)).to_contain_text("Task 5")
        await page.get_by_label("Where, as JSON").fill('{"id": ')
        await page.get_by_role("button", name="Query").click()
        await expect(page.get_by_role("alert")).to_contain_text("Where:")

        await page.goto(view(page, "rows/tasks/t03"))
        fields = page.get_by_label("Fields as JSON")
        await expect(fields).to_have_value(re.compile("Task 3"))
        await fields.fill('{"title": "By the operator", "points": 3}')
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
        assert (await http.get("/collections/tasks/t03")).json()["data"].keys() >= {"title", "points"}
        assert "done" not in (await http.get("/collections/tasks/t03")).json()["data"]

        await expect(fields).to_have_value(re.compile("By the operator"))
        await http.patch("/collections/tasks/t03", json={"changes": {"title": "By somebody else"}})
        await expect(page.get_by_role("status").filter(has_text="meanwhile")).to_be_visible()
        await fields.fill('{"title": "Too late", "points": 3}')
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("written by somebody else")).to_be_visible()
        assert (await http.get("/collections/tasks/t03")).json()["data"]["title"] == "By somebody else"

        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="Not here")).to_be_visible()
        assert (await http.get("/collections/tasks/t03")).status_code == 410
        await page.goto(view(page, "rows/tasks"))
        await page.get_by_text("Deleted entities").click()
        await page.get_by_role("region", name="Deleted tasks").get_by_role("link", name="t03").click()
        await page.get_by_role("button", name="Restore").click()
        await expect(fields).to_have_value(re.compile("By somebody else"))


async def test_two_versions_stand_side_by_side_and_one_can_be_gone_back_to(served: Server) -> None:
    async with api(served) as http, operator(served) as page:
        await http.post("/collections/tasks", json={"id": "t1", "title": "first"})
        await http.patch("/collections/tasks/t1", json={"changes": {"title": "second"}})
        await page.goto(view(page, "rows/tasks/t1?tab=history"))
        await page.get_by_label("Compare version 1").check()
        await page.get_by_label("Compare version 2").check()
        differences = page.get_by_role("region", name="Differences")
        await expect(differences.locator("td.gone").filter(has_text="title")).to_have_text('  "title": "first",')
        await expect(differences.locator("td.new").filter(has_text="title")).to_have_text('  "title": "second",')
        await page.get_by_role("row").filter(has_text="created").get_by_role("button").click()
        await expect(page.get_by_label("Compare version 3")).to_be_visible()
        await expect(page.get_by_label("Compare version 1")).to_be_checked()
        assert (await http.get("/collections/tasks/t1")).json()["data"]["title"] == "first"


async def test_older_versions_are_shown_once_however_often_they_are_asked_for(served: Server) -> None:
    async with api(served) as http, operator(served) as page:
        await http.post("/collections/tasks", json={"id": "t1", "title": "0"})
        for number in range(1, 60):
            await http.patch("/collections/tasks/t1", json={"changes": {"title": str(number)}})
        await page.goto(view(page, "rows/tasks/t1?tab=history"))
        await page.get_by_role("button", name="Older versions").dblclick()
        await expect(page.get_by_label("Compare version 1", exact=True)).to_be_visible()
        await expect(page.get_by_role("checkbox")).to_have_count(60)


async def test_a_document_its_sessions_and_sending_one_away(served: Server) -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=77)
    text = doc.get("text", type=pycrdt.Text)
    text += "Hello, operator"
    del text[0:7]
    async with operator(served) as page, httpx.AsyncClient(timeout=40) as http:
        written = await http.post(
            f"{served.http}/rooms/notes/first",
            content=doc.get_update(),
            headers={"authorization": f"Bearer {served.token('ada')}"},
        )
        assert written.status_code == 204
        await page.goto(view(page, "rows/notes/first?tab=content"))
        await expect(page.locator("pre")).to_contain_text("operator")
        await page.goto(view(page, "rows/notes/first?tab=document"))
        client = page.get_by_role("row").filter(has_text="77")
        await expect(client).to_contain_text("ada")
        await expect(page.get_by_text("7 (47 %)")).to_be_visible()
        async with connect(f"{served.rooms}/notes/first?token={served.token('bob')}") as socket:
            await page.goto(view(page, "sessions"))
            session = page.get_by_role("row").filter(has_text="bob")
            await session.get_by_role("button", name="Send away").click()
            await socket.wait_closed()
            assert socket.close_code == 4403
            await expect(session).to_have_count(0)


async def test_events_queries_refusals_webhooks_and_usage(served: Server) -> None:
    async with api(served) as http, operator(served) as page:
        await http.post("/collections/tasks", json={"id": "t1", "title": "first"})
        await page.goto(view(page, "rows/tasks"))
        await expect(page.get_by_role("cell", name="first")).to_be_visible()
        await page.goto(view(page, "events"))
        await expect(page.get_by_text("of 1 collections: tasks")).to_be_visible()
        await http.patch("/collections/tasks/t1", json={"changes": {"title": "as it happens"}})
        await expect(page.get_by_role("row").filter(has_text="as it happens")).to_contain_text("ada")

        async with http.stream("GET", '/collections/tasks/subscribe?kind=rows&where={"done":true}') as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            await page.goto(view(page, "queries"))
            await expect(page.get_by_role("row").filter(has_text="done")).to_contain_text("tasks")

        await http.get("/collections/tasks", headers={"authorization": "Bearer nonsense"})
        await page.goto(view(page, "refused"))
        await expect(page.get_by_role("row").filter(has_text="JSON web token")).to_be_visible()

        await page.goto(view(page, "webhooks"))
        await page.get_by_role("button", name="Look at them").first.click()
        await page.get_by_role("button", name="Send again").first.click()
        await expect(page.get_by_role("status").filter(has_text="failed")).to_be_visible()

        await page.goto(view(page, "quarantine"))
        await expect(page.get_by_text("Nothing is in quarantine.")).to_be_visible()
        await page.goto(view(page, "usage"))
        await expect(page.get_by_role("row").filter(has_text="default")).to_be_visible()


VIEWS = ("overview", "rows/tasks", "rows/tasks/t1", "rows/tasks/t1?tab=document", "rows/tasks/t1?tab=history")
MORE_VIEWS = ("sessions", "queries", "events", "webhooks", "refused", "quarantine", "usage")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_view_is_wider_than_a_phone_and_all_text_can_be_read(served: Server, scheme: str) -> None:
    async with api(served) as http, operator(served, color_scheme=scheme) as page:
        await http.post("/collections/tasks", json={"id": "t1", "title": "word " * 50, "long": "x" * 300})
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        for path in (*VIEWS, *MORE_VIEWS):
            await page.goto(view(page, path))
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            await expect(page.get_by_text("Loading…")).to_have_count(0)
            assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        colours = await page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        light, dark = ("rgb(236, 236, 242)", "rgb(18, 18, 23)"), ("rgb(29, 29, 38)", "rgb(244, 244, 248)")
        assert tuple(colours) == (light if scheme == "dark" else dark)


async def test_the_keyboard_is_enough(served: Server) -> None:
    async with operator(served) as page:
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.get_by_role("link", name="Live queries").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Live queries")).to_be_visible()
        unnamed = await page.evaluate(
            "[...document.querySelectorAll('button, a, input, select, textarea')].filter((each) =>"
            " !(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.length)).length"
        )
        assert unnamed == 0


async def test_a_link_that_somebody_opens_who_has_signed_in_does_not_stay_in_the_address(served: Server) -> None:
    async with operator(served) as page:
        await page.goto("about:blank")
        for _ in range(2):  # from elsewhere, and from the page itself
            await page.goto(link_of(served))
            await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
            await expect(page).to_have_url(re.compile(r"/inspect/$"))
            await expect(page.get_by_label("Project", exact=True)).to_have_value("default")


async def test_what_is_no_view_shows_the_overview(served: Server) -> None:
    async with operator(served) as page:
        await page.goto(view(page, "webhooks"))
        await expect(page.get_by_role("heading", name="Webhooks", level=1)).to_be_visible()
        await page.goto(view(page, "constructor"))
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def test_skipping_to_the_content_stays_in_the_view(served: Server) -> None:
    async with operator(served) as page:
        await page.goto(view(page, "webhooks"))
        await expect(page.get_by_role("heading", name="Webhooks", level=1)).to_be_visible()
        before = page.url
        await page.get_by_role("link", name="Skip to the content").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("main")).to_be_focused()
        await expect(page).to_have_url(before)
        await expect(page.get_by_role("heading", name="Webhooks", level=1)).to_be_visible()
