"""Every snippet of the specification's page, as it is written there, in Node and in Chromium, against `collab serve`.

The page is not part of this repository. Where it lies beside the checkout, in ``../shared/spec`` (or where the
environment variable ``LUMENIZE_SPEC`` says), its snippets are taken from it, and run with what they must do checked
behind each (``js/tests/specification``). Elsewhere ``conftest.py`` does not collect this module: the same features are
then covered by the repository's own tests, ``test_specification.py`` from Python and ``js/client/integration`` from
JavaScript, one each.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from collab.client import LumenizeClient
from tests.collab.client.world import Cable, cable
from tests.e2e.hosts import BrowserHost, Host, NodeHost
from tests.e2e.pages import FOLDER, build, chromium
from tests.e2e.server import Server
from tests.e2e.specification import find_page
from tools import machine

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PROJECT, KEY = "proj_abc123", "lum_live_xyz789"
OTHER = "token_of_user_456"

SCRIPTS = {
    "Establishing Connection": 7,
    "Connection Management": 3,
    "Entity Subscriptions": 3,
    "Query Subscriptions": 2,
    "Collection Subscriptions": 2,
    "Standard Events": 1,
    "Custom Events": 2,
    "System Events": 2,
    "Live Chat": 4,
    "Live Dashboard": 5,
    "Collaborative Editing": 5,
    "Subscription Batching": 5,
    "Selective Field Updates": 2,
    "Conditional Subscriptions": 2,
    "Connection Errors": 1,
    "Subscription Errors": 1,
    "Reconnection Strategy": 1,
    "Memory Management": 4,
    "Rate Limiting": 1,
    "Bandwidth Optimization": 2,
}
"""How many snippets there are below each heading."""
COMPONENTS = {"React Hook": "react", "Svelte Store": "svelte", "Vue Composition API": "vue"}
HEADINGS = 33


def credential(word: str, rules: dict[str, str], user: str | None = None) -> dict[str, Any]:
    """A word that the server knows, for a user or for the application itself."""
    known = {"key_sha256": sha256(word.encode()).hexdigest(), "project": PROJECT, "rules": rules}
    return known if user is None else {**known, "user_id": user}


CREDENTIALS = [
    credential(KEY, {"*/*": "write"}),
    # the page's own word for the token of its user
    credential("user_jwt_token", {"secrets/*": "none", "*/*": "write"}, "user_123"),
    credential(OTHER, {"*/*": "write"}, "user_456"),
    credential("token_of_a_guest", {"users/*": "read"}, "guest"),
]


class World:
    """A server behind a cable, and what snippets have done to it from outside."""

    def __init__(self, server: Server, network: Cable) -> None:
        self.server = server
        self.network = network
        self.declared = 0

    @property
    def url(self) -> str:
        """Where the snippets find it: what is cut between it and them is cut here."""
        return f"http://{self.network.address}"

    def start(self) -> None:
        self.server.start()
        self.mend()

    def mend(self) -> None:
        self.network.target = f"{self.server.host}:{self.server.port}"

    async def control(self, command: str, parameters: list[Any]) -> Any:
        match command, parameters:
            case "cut", []:
                self.network.target = None
                self.network.cut()
            case "interrupt", []:
                self.network.cut()
            case "mend", []:
                self.mend()
            case "redeclare", [name]:
                return await asyncio.to_thread(self.redeclare, name)
            case _:
                raise ValueError(f"no such command: {command}")
        return None

    def redeclare(self, name: str) -> int:
        """Start the server again with another declaration of a collection; returns its version."""
        self.declared += 1
        fields = {"type": "object", "maxProperties": self.declared}
        self.server.settings = {**self.server.settings, "collections": json.dumps({name: {"fields": fields}})}
        self.server.stop()
        self.start()
        return self.declared


@pytest.fixture(scope="module")
def page() -> Path:
    found = find_page()
    assert found is not None, "the page is not here: LUMENIZE_SPEC says where it is"
    return found


@pytest.fixture(scope="module")
def pages(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("pages"), folder=FOLDER / "specification", page=page)


@pytest.fixture(scope="module")
def module(page: Path) -> Path:
    # below the packages, so that those that are not bundled are found
    folder = FOLDER / ".page"
    return build(folder, folder=FOLDER / "specification", ssr=True, page=page) / "node.js"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@asynccontextmanager
async def world(folder: Path, pages: Path) -> AsyncIterator[World]:
    server = Server(
        folder,
        keys=json.dumps(CREDENTIALS),
        pages=pages,
        compression="true",
        max_events_per_second=5000,
        allowed_origins="*",  # somebody else's page
    )
    async with cable() as network:
        made = World(server, network)
        made.start()
        yield made
    server.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("place") / "server", pages) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["node", "chromium"])
async def host(request: pytest.FixtureRequest, place: World, module: Path, browser: Browser) -> AsyncIterator[Host]:
    there: Host
    if request.param == "node":
        there = await NodeHost.start(module, place.url, place.server.http, place.control)
    else:
        there = await BrowserHost.start(browser, place.url, place.server.http, place.control)
    yield there
    await there.close()


def whole(page: Path) -> str:
    return without_spaces(page.read_text())


async def test_what_cannot_run_as_it_is_written_is_listed() -> None:
    """Nothing is: every snippet of the page is run below."""
    text = (machine.ROOT / "docs" / "clients.md").read_text()
    listed = text.split("Snippets that cannot run as written are listed here with the reason:")[1].split("\n")[0]
    assert listed.strip() == "at present none."


async def test_the_snippets_are_the_page_and_nothing_of_it_is_lost(page: Path, pages: Path) -> None:
    sections = json.loads((pages / "page.json").read_text())
    counts = {section["heading"]: len(section["snippets"]) for section in sections if section["snippets"]}
    assert counts == {**SCRIPTS, **dict.fromkeys(COMPONENTS, 1)}
    assert len(sections) == HEADINGS
    found = [text for section in sections for text in (section["heading"], *section["prose"], *section["snippets"])]
    assert without_spaces("".join(found)) == whole(page)


def without_spaces(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize(
    "heading", [f"{heading}-{number + 1}" for heading in SCRIPTS for number in range(SCRIPTS[heading])]
)
async def test_the_page(host: Host, heading: str) -> None:
    section, number = heading.rsplit("-", 1)
    await host.run(section, int(number))


@pytest.mark.parametrize("heading", COMPONENTS)
async def test_a_component_of_the_page_shows_loading_then_the_tasks_then_what_changes(
    browser: Browser, place: World, heading: str
) -> None:
    """And an error, where there is one."""
    context = await browser.new_context()
    tab = await context.new_page()
    await tab.goto(f"{place.url}/{COMPONENTS[heading]}.html")
    await expect(tab.locator("#app")).to_contain_text("Loading")
    async with LumenizeClient(url=place.server.http, project_id=PROJECT, token=OTHER) as other:
        for row in await other.tasks.find_many():
            await other.tasks.delete(row["id"])
        task = await other.tasks.create({"title": "first", "assignedTo": "user_123"})
        await other.tasks.create({"title": "somebody else's", "assignedTo": "user_456"})
        await tab.evaluate("client.connect()")
        titles = tab.locator(".task")
        await expect(titles).to_have_text(["first"])
        await other.tasks.create({"title": "second", "assignedTo": "user_123"})
        await expect(titles).to_have_count(2)
        assert sorted(await titles.all_inner_texts()) == ["first", "second"]
        await other.tasks.update(task["id"], {"title": "changed"})
        await expect(tab.get_by_text("changed")).to_be_visible()
        await other.tasks.delete(task["id"])
        await expect(titles).to_have_text(["second"])
    await context.close()
