"""The page on a server that asks who is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenWindow, Visit
from tests.browser.demo import Demo, Window, running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SECRET = "a secret for tests, long enough for HS256"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """`collab demo` with a secret, so that it wants tokens."""
    async with running(tmp_path_factory.mktemp("demo"), {"COLLAB_JWT_SECRET": SECRET}) as demo:
        yield demo


def token(user: str, *options: str) -> str:
    command = (sys.executable, "-m", "collab", "token", "--secret", SECRET, "--user", user, *options)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def sign_in(person: Window, with_token: str) -> None:
    await expect(person.page.get_by_text("This server asks for a token")).to_be_visible()
    await person.page.get_by_label("Token").fill(with_token)
    await person.page.get_by_role("button", name="Sign in").click()


async def test_a_token_opens_the_document_and_names_its_holder(window: OpenWindow) -> None:
    ada, alan = await window("Somebody"), await window("Someone")
    await sign_in(ada, "not a token")
    await expect(ada.page.locator("#denied-reason")).to_contain_text("not valid")
    await sign_in(ada, token("ada", "--name", "Ada Lovelace"))
    await ada.is_told("Saved")
    await sign_in(alan, token("alan", "--name", "Alan Turing"))
    await ada.type("codemirror", "signed")
    await alan.sees("codemirror", "signed")
    await expect(alan.caret_of("codemirror", "Ada Lovelace")).to_be_visible()
    await expect(ada.page.get_by_label("Your name")).to_have_value("Ada Lovelace")

    await ada.page.reload()
    await ada.sees("codemirror", "signed")
    await ada.is_told("Saved")


async def test_a_reader_reads_and_cannot_write(window: OpenWindow) -> None:
    ada, reader = await window("Ada"), await window("Reader")
    await sign_in(ada, token("ada"))
    await sign_in(reader, token("reader", "--access", "documents/*=read"))
    await ada.type("codemirror", "look")
    await reader.sees("codemirror", "look")
    await reader.is_told("Read only")
    await reader.page.click("#editor-codemirror .cm-content")
    await reader.page.keyboard.type("no")
    await ada.type("codemirror", "!")
    for person in (ada, reader):
        await person.sees("codemirror", "look!")


async def test_an_example_asks_for_a_token_and_takes_that_of_the_demo_page(visit: Visit) -> None:
    ada, alan = await visit("tasks", "Somebody"), await visit("tasks", "Someone")
    for person, user, name in ((ada, "ada", "Ada Lovelace"), (alan, "alan", "Alan Turing")):
        asked = person.page.get_by_role("alert").filter(has_text="This server asks for a token")
        await expect(asked).to_contain_text("a token is required")
        await person.page.get_by_role("link", name="Sign in on the demo page").click()
        await sign_in(person, token(user, "--name", name))
        await expect(person.page.get_by_label("Your name")).to_have_value(name)
        await person.page.get_by_role("link", name="Task board").click()
        await person.is_told("Saved")
        await expect(person.page.get_by_label("Your name")).to_have_value(name)
    old = "Repair the east bank signpost"
    for person, new in ((ada, "Repair the signpost"), (alan, "Paint the signpost")):
        await person.page.get_by_role("button", name=old, exact=True).click()
        await person.page.get_by_label("Title", exact=True).fill(new)
    await ada.page.keyboard.press("Enter")
    await expect(ada.page.get_by_role("button", name="Repair the signpost", exact=True)).to_be_visible()
    await ada.is_told("Saved")
    await alan.page.keyboard.press("Enter")
    for person, other in ((ada, "alan"), (alan, "ada")):
        await expect(person.page.get_by_role("status", name="Notices")).to_contain_text(
            f"You and {other} changed the title at the same time."
        )
