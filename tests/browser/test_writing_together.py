"""Two people, two windows, four editors."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenWindow
from tests.browser.demo import EDITORS, Demo

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("editor", EDITORS)
async def test_two_people_write_in_one_document_and_see_each_other(window: OpenWindow, editor: str) -> None:
    ada, alan = await window("Ada Lovelace"), await window("Alan Turing")
    for person in (ada, alan):
        await person.show(editor)
        await person.is_told("Saved")
        await expect(person.avatars()).to_have_count(2)

    await ada.type(editor, "Hello from Ada.")
    await alan.sees(editor, "Hello from Ada.")
    await expect(alan.caret_of(editor, "Ada Lovelace")).to_be_visible()

    await alan.type(editor, " And from Alan.")
    await ada.sees(editor, "Hello from Ada. And from Alan.")
    await expect(ada.caret_of(editor, "Alan Turing")).to_be_visible()
    await ada.type(editor, "Re: ", at="Control+Home")
    for person in (ada, alan):
        await person.is_told("Saved")

    written = await ada.text(editor)
    await alan.sees(editor, written)
    await alan.page.reload()
    await alan.show(editor)
    await alan.sees(editor, written)
    await alan.is_told("Saved")


@pytest.mark.parametrize(("editor", "bold"), [("tiptap", "strong"), ("quill", "strong"), ("prosemirror", "strong")])
async def test_formats_reach_the_other_window(window: OpenWindow, editor: str, bold: str) -> None:
    ada, alan = await window("Ada"), await window("Alan")
    for person in (ada, alan):
        await person.show(editor)
    await ada.type(editor, "heavy")
    await ada.page.keyboard.press("Control+A")
    await ada.page.get_by_role("toolbar").get_by_title("Bold").click()
    await expect(alan.area(editor).locator("strong")).to_have_text("heavy")
    await ada.page.get_by_role("toolbar").get_by_title("Heading 1").click()
    await expect(alan.area(editor).locator("h1")).to_contain_text("heavy")


@pytest.mark.parametrize("editor", EDITORS)
async def test_undo_takes_back_my_words_and_not_the_other_persons(window: OpenWindow, editor: str) -> None:
    ada, alan = await window("Ada"), await window("Alan")
    for person in (ada, alan):
        await person.show(editor)
    await ada.area(editor).focus()
    await ada.page.keyboard.insert_text("mine")  # at once: a pause between two letters would be two steps of undoing
    await alan.sees(editor, "mine")
    await alan.type(editor, "theirs")
    await ada.sees(editor, "minetheirs")
    await ada.page.get_by_role("toolbar").get_by_title("Undo").click()
    for person in (ada, alan):
        await person.sees(editor, "theirs")


async def test_opening_a_document_writes_nothing_into_it(window: OpenWindow, demo: Demo) -> None:
    ada, alan = await window("Ada", "untouched"), await window("Alan", "untouched")
    for person in (ada, alan):
        for editor in EDITORS:
            await person.show(editor)
        await person.is_told("Saved")
    for editor in EDITORS:
        answer = await ada.page.request.get(f"{demo.url}rooms/documents/untouched.{editor}?format=update")
        assert await answer.body() == b"\x00\x00", editor


async def test_people_come_rename_themselves_move_and_leave(window: OpenWindow) -> None:
    ada, alan = await window("Ada"), await window("Alan")
    await alan.type("codemirror", "here")
    await expect(ada.caret_of("codemirror", "Alan")).to_be_visible()

    await alan.page.get_by_label("Your name").fill("Alan M. Turing")
    await alan.page.keyboard.press("Enter")
    await expect(ada.avatars().filter(has_text="AT")).to_have_count(1)
    await expect(ada.caret_of("codemirror", "Alan M. Turing")).to_be_visible()

    await alan.show("quill")
    await expect(ada.page.locator("#tab-quill .dot")).to_have_count(1)
    await expect(ada.page.locator("#tab-codemirror .dot")).to_have_count(0)
    await expect(ada.caret_of("codemirror", "Alan")).to_have_count(0)
    await ada.page.get_by_title("Alan M. Turing, in Quill").click()
    await expect(ada.page.get_by_role("tab", name="Quill")).to_have_attribute("aria-selected", "true")

    await expect(ada.page.locator("#alone")).to_be_hidden()
    await alan.page.close()
    await expect(ada.avatars()).to_have_count(1)
    await expect(ada.page.locator("#alone")).to_be_visible()


async def test_the_address_names_the_document(window: OpenWindow) -> None:
    ada, alan = await window("Ada", "one"), await window("Alan", "two")
    await ada.type("codemirror", "first")
    await alan.type("codemirror", "second")
    await ada.is_told("Saved")
    await alan.is_told("Saved")
    await expect(ada.avatars()).to_have_count(1)

    name = alan.page.get_by_label("Document name")
    await name.fill("one")
    await name.press("Enter")
    await alan.sees("codemirror", "first")
    await expect(alan.page).to_have_url(re.compile("#one$"))
    for person in (ada, alan):
        await expect(person.avatars()).to_have_count(2)


async def test_a_second_window_and_the_copied_link_lead_to_the_same_document(window: OpenWindow) -> None:
    ada = await window("Ada", "shared-one")
    await ada.type("codemirror", "look")
    await ada.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await ada.page.get_by_role("button", name="Copy link").click()
    await expect(ada.page.get_by_role("button", name="Copied")).to_be_visible()
    assert await ada.page.evaluate("navigator.clipboard.readText()") == ada.page.url

    async with ada.page.context.expect_page() as opening:
        await ada.page.locator("#open").click()
    second = await opening.value
    await expect(second.locator("#editor-codemirror .cm-line").first).to_contain_text("look")
    await expect(ada.avatars()).to_have_count(2)


async def test_the_page_fits_a_phone(window: OpenWindow) -> None:
    ada = await window("Ada", "a-document-with-a-name-that-is-far-too-long-for-a-phone")
    await ada.page.set_viewport_size({"width": 360, "height": 640})
    for editor in EDITORS:
        await ada.show(editor)
        await ada.type(editor, "a line that is too long for a phone to show in one piece " * 3)
        assert await ada.page.evaluate("document.documentElement.scrollWidth") == 360
