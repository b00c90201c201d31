"""Notes of two people: one text, cursors with names, an honest word about what is saved, and the way back."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import Visit
from tests.browser.demo import Demo
from tests.browser.examples import OFFLINE, Visitor, agree, fits_on_a_phone

pytestmark = [pytest.mark.browser, pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]

_TEXT = """
(editor) => [...editor.querySelectorAll(".cm-line")].map((line) => {
  const copy = line.cloneNode(true)
  copy.querySelectorAll(".cm-ySelectionCaret, .cm-placeholder").forEach((element) => element.remove())
  return copy.textContent
}).join("\\n")
"""


def area(person: Visitor) -> Locator:
    return person.page.get_by_role("textbox", name="Text")


def people(person: Visitor) -> Locator:
    return person.page.get_by_role("complementary", name="People in this note").get_by_role("listitem")


def cursor_of(person: Visitor, name: str) -> Locator:
    return area(person).locator(".cm-ySelectionInfo").filter(has_text=name)


def notes(person: Visitor) -> Locator:
    return person.page.get_by_role("navigation", name="Notes").get_by_role("link")


async def write(person: Visitor, text: str) -> None:
    """At the end of the note."""
    await area(person).focus()
    await person.page.keyboard.press("Control+End")
    await person.page.keyboard.type(text)


async def text(person: Visitor) -> str:
    return str(await area(person).evaluate(_TEXT))


async def both_see(ada: Visitor, alan: Visitor, *parts: str) -> str:
    """Wait until two have the same text, with each part once in it; returns it."""
    for person in (ada, alan):
        for part in parts:
            await expect(area(person)).to_contain_text(part)
    seen = str(await agree(lambda: text(ada), lambda: text(alan)))
    assert [seen.count(part) for part in parts] == [1] * len(parts)
    return seen


async def test_whoever_comes_first_finds_one_note_with_its_text_once(visit: Visit) -> None:
    ada, alan = await asyncio.gather(visit("editor", "Ada L"), visit("editor", "Alan T"))
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(notes(person)).to_have_text(["Field notes"])
        await expect(person.page.get_by_label("Title")).to_have_value("Field notes")
    await both_see(ada, alan, "Forty-one herons", "## For tomorrow", "the page says what is saved.")


async def test_people_see_each_other_by_name_where_they_write(visit: Visit) -> None:
    ada, alan = await visit("editor", "Ada L", at="cursors"), await visit("editor", "Alan T", at="cursors")
    await write(ada, "one\ntwo\nthree")
    await expect(cursor_of(alan, "Ada L")).to_be_visible()
    await expect(people(alan)).to_have_text([re.compile(r"Alan T \(you\)"), re.compile("Ada L.*line 3")])
    await area(alan).click()
    await alan.page.keyboard.press("Control+Home")
    await expect(people(ada).filter(has_text="Alan T")).to_contain_text("line 1")
    await people(alan).get_by_role("button", name=re.compile("Ada L")).click()  # go to where she is
    await expect(people(ada).filter(has_text="Alan T")).to_contain_text("line 3")
    await ada.page.get_by_label("Your name").fill("Countess Ada")
    await ada.page.keyboard.press("Enter")
    await expect(people(alan).filter(has_text="Countess Ada")).to_have_count(1)
    await expect(people(alan)).to_have_count(2)
    await alan.page.context.close()
    await expect(people(ada)).to_have_count(1)


async def test_a_new_note_and_its_title_are_there_for_everybody(visit: Visit) -> None:
    ada, alan = await visit("editor", "Ada L"), await visit("editor", "Alan T")
    await ada.button("New note")
    await ada.page.get_by_label("Title").fill("Ferry times")
    await ada.page.keyboard.press("Enter")
    await ada.page.keyboard.type("Every hour.")
    await expect(ada.page).to_have_title(re.compile("^Ferry times"))
    await notes(alan).filter(has_text="Ferry times").click()
    await both_see(ada, alan, "Every hour.")
    await expect(alan.page.get_by_label("Title")).to_have_value("Ferry times")


async def test_what_was_written_without_a_network_merges_and_the_page_is_honest(visit: Visit) -> None:
    ada, alan = await visit("editor", "Ada L", at="tunnel"), await visit("editor", "Alan T", at="tunnel")
    await write(ada, "[before]")
    await ada.is_told("Saved")
    await both_see(ada, alan, "[before]")
    await ada.loses_the_network()
    await expect(people(alan)).to_have_count(1)
    await expect(cursor_of(alan, "Ada L")).to_have_count(0)
    await write(ada, "[ada]")
    await ada.is_told(re.compile("^Offline . your text is kept here$"))
    await write(alan, "[alan]")
    await alan.is_told("Saved")
    await ada.page.get_by_label("Your name").fill("Countess Ada")  # no reason to lose anything
    await ada.page.keyboard.press("Enter")
    await ada.has_it_back()
    await both_see(ada, alan, "[before]", "[ada]", "[alan]")
    await expect(people(alan).filter(has_text="Countess Ada")).to_have_count(1)
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(people(person)).to_have_count(2)


async def test_a_killed_server_loses_and_doubles_no_letter(visit: Visit, demo: Demo) -> None:
    ada, alan = await visit("editor", "Ada L", at="crash"), await visit("editor", "Alan T", at="crash")
    await write(ada, "[one]")
    await ada.is_told("Saved")
    await both_see(ada, alan, "[one]")
    await demo.kill_everything()
    for person in (ada, alan):
        await person.is_told(OFFLINE)
    await write(ada, "[two]")
    await write(alan, "[three]")
    await demo.start()
    await both_see(ada, alan, "[one]", "[two]", "[three]")
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(people(person)).to_have_count(2)
    await write(ada, "[four]")
    await ada.is_told("Saved")
    await both_see(ada, alan, "[four]")
    await expect(cursor_of(alan, "Ada L")).to_be_visible()
    await ada.page.reload()  # from the disk
    await both_see(ada, alan, "[one]", "[two]", "[three]", "[four]")


async def test_an_older_version_is_looked_at_and_restored_for_everybody(visit: Visit) -> None:
    ada, alan = await visit("editor", "Ada L", at="versions"), await visit("editor", "Alan T", at="versions")
    await write(ada, "A good sentence.")
    await both_see(ada, alan, "A good sentence.")
    await ada.button("Versions")
    versions = ada.page.get_by_role("list", name="Versions").get_by_role("button")
    then = ada.page.get_by_label("What it was like")
    await expect(then).to_have_text("A good sentence.")
    await area(alan).focus()
    await alan.page.keyboard.press("Control+A")
    await alan.page.keyboard.type("Nonsense")
    await expect(versions.first).to_contain_text("Alan T wrote")  # while the list is open
    restore = ada.page.get_by_role("button", name="Restore this version")
    await versions.filter(has_text="Ada L").first.click()
    await expect(then).to_have_text("A good sentence.")
    await restore.click()
    await expect(ada.page.get_by_role("dialog")).to_have_count(0)
    await expect(area(alan)).not_to_contain_text("Nonsense")
    await both_see(ada, alan, "A good sentence.")
    await ada.button("Versions")
    await expect(then).to_have_text("A good sentence.")
    await expect(restore).to_be_disabled()  # it is the newest
    await ada.page.keyboard.press("Escape")
    await expect(ada.page.get_by_role("dialog")).to_have_count(0)


async def test_the_editor_fits_on_a_phone(visit: Visit) -> None:
    ada, alan = await visit("editor", "Wilhelmina Featherstonehaugh", phone=True), await visit("editor", "Alan T")
    await expect(area(ada)).to_contain_text("Forty-one herons")
    await write(alan, "\nA-word-as-long-as-a-sentence-that-nobody-can-break-anywhere-at-all-" * 2)
    await expect(cursor_of(ada, "Alan T")).to_be_attached()
    await fits_on_a_phone(
        ada.page,
        ada.page.get_by_role("button", name="New note"),
        ada.page.get_by_role("button", name="Versions"),
        ada.page.get_by_label("Title"),
        ada.page.get_by_label("Your name"),
        people(ada).first,
    )
    await ada.page.get_by_role("button", name="Versions").tap()
    await expect(ada.page.get_by_role("button", name="Restore this version")).to_be_in_viewport()
    await fits_on_a_phone(ada.page)
