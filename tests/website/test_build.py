"""The built site: its links, what it loads, its search, on a desk and on a phone."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from playwright.async_api import CDPSession, Page, Route, expect
from selectolax.lexbor import LexborHTMLParser

from tests.e2e.pages import PATIENCE, chromium, listen
from tests.test_docs import entries_of
from tools.machine import ROOT
from website.build import HTML, SOURCE

pytestmark = pytest.mark.browser

LOADED = "script[src], link[rel=stylesheet], link[rel=preload], link[rel=icon], img[src], iframe[src]"


@pytest.fixture(scope="module")
def pages() -> dict[str, LexborHTMLParser]:
    """The pages of the site, by their path below its root."""
    done = subprocess.run(
        [sys.executable, "-m", "website.build"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    return {path.relative_to(HTML).as_posix(): LexborHTMLParser(path.read_text()) for path in HTML.rglob("*.html")}


def targets(page: LexborHTMLParser) -> Iterator[str]:
    """Everything that a page links to or loads."""
    for node in page.css("[href], [src]"):
        yield str(node.attributes.get("href") or node.attributes.get("src") or "")


def article(page: LexborHTMLParser) -> str:
    """The text of a page, without what is around it."""
    (found,) = page.css("article")
    return found.text()


def anchors(page: LexborHTMLParser) -> set[str]:
    return {str(node.attributes["id"]) for node in page.css("[id]")}


def test_each_link_within_the_site_leads_to_a_file_and_each_anchor_to_an_element(
    pages: dict[str, LexborHTMLParser],
) -> None:
    known = {path: anchors(page) for path, page in pages.items()}
    broken = []
    count = 0
    for path, page in pages.items():
        if path == "404.html":  # is shown at any address; its links begin at the root
            continue
        for target in targets(page):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            linked = (HTML / path).parent / unquote(parts.path) if parts.path else HTML / path
            file = (linked / "index.html" if linked.is_dir() else linked).resolve()
            there = file.relative_to(HTML).as_posix() if file.is_relative_to(HTML) else ""
            if not file.is_file() or not there:
                broken.append(f"{path}: {target}")
            elif parts.fragment and there in known and unquote(parts.fragment) not in known[there] | {"__top"}:
                broken.append(f"{path}: {target} (no such anchor)")
    assert broken == []
    assert count > 10_000


def test_nothing_is_loaded_from_other_hosts(pages: dict[str, LexborHTMLParser]) -> None:
    loaded = {
        str(node.attributes.get("src") or node.attributes.get("href"))
        for page in pages.values()
        for node in page.css(LOADED)
    }
    assert len(loaded) > 5
    assert {each for each in loaded if urlsplit(each).netloc} == set()
    styles = "".join(path.read_text() for path in HTML.rglob("*.css"))
    assert re.findall(r"@import[^;]*http|url\(['\"]?(?:https?:)?//[^)]*", styles) == []


def test_each_entry_of_the_navigation_has_a_page_with_a_title(pages: dict[str, LexborHTMLParser]) -> None:
    nav = tomllib.loads((SOURCE / "zensical.toml").read_text())["project"]["nav"]
    for entry in entries_of(nav):
        name = entry.removesuffix(".md").removesuffix("index").rstrip("/")
        page = pages[f"{name}/index.html" if name else "index.html"]
        titles = page.css("article h1")
        assert len(titles) == 1, entry
        assert len(article(page)) > 200, entry


def test_the_reference_has_each_method_with_what_its_docstring_says(pages: dict[str, LexborHTMLParser]) -> None:
    collab = article(pages["reference/python/collab/index.html"])
    for said in (
        "settings: Settings | None = None",
        "mint",
        "permissions_changed",
        "Return the rights of this identity on a document",
    ):
        assert said in collab
    client = article(pages["reference/typescript/client/index.html"])
    for said in ("LumenizeClient", "refreshSchema", "Resolves once the server has accepted the session"):
        assert said in client


def test_the_search_knows_each_page_but_those_of_sources(pages: dict[str, LexborHTMLParser]) -> None:
    items = json.loads((HTML / "search.json").read_text())["items"]
    found = {item["location"].partition("#")[0].strip("/") for item in items}
    there = {path.removesuffix("index.html").strip("/") for path in pages if path != "404.html"}
    assert {page for page in there if not page.startswith("sources/")} == found


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url(pages: dict[str, LexborHTMLParser]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def here_alone(page: Page, url: str) -> list[str]:
    """Let a page load nothing of other hosts; returns what it wanted from there."""
    wanted: list[str] = []

    async def stay(route: Route) -> None:
        if route.request.url.startswith((url, "data:", "blob:")):
            await route.continue_()
        else:
            wanted.append(route.request.url)
            await route.abort()

    await page.route("**/*", stay)
    return wanted


async def names_read_by(reader: CDPSession) -> list[str]:
    """The names of everything on a page, as a screen reader has them."""
    tree = await reader.send("Accessibility.getFullAXTree")
    return [str(node["name"]["value"]) for node in tree["nodes"] if node.get("name", {}).get("value")]


async def test_the_search_finds_a_task_without_any_network(url: str) -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        complaints, wanted = listen(page, "site"), await here_alone(page, url)
        await page.goto(f"{url}/")
        await page.wait_for_load_state("networkidle")  # the search is ready
        await page.keyboard.press("Control+k")
        await page.wait_for_function("document.activeElement !== document.body")
        await page.keyboard.type("keycloak")
        # results are in a closed shadow root, whose elements only a screen reader can find
        reader = await page.context.new_cdp_session(page)
        async with asyncio.timeout(PATIENCE):
            while not any(name.startswith("Login with ") for name in await names_read_by(reader)):
                await asyncio.sleep(0.1)
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/login/*")
        # the theme hides its dialog before the focus has left it; Chromium says so if it comes to it
        assert [each for each in complaints if "Blocked aria-hidden" not in each] == []
        assert wanted == []


@pytest.mark.parametrize("width", [1280, 390])
async def test_no_page_is_wider_than_the_screen(url: str, width: int, pages: dict[str, LexborHTMLParser]) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": width, "height": 800})
        wanted = await here_alone(page, url)
        for path in sorted(pages):
            if path.startswith("sources/") or path == "404.html":
                continue
            await page.goto(f"{url}/{path.removesuffix('index.html')}")
            await expect(page.locator("article h1").first).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert wanted == []
