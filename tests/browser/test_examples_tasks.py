"""The task board of two people: live, with conflicts told, and through failures."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import Visit
from tests.browser.demo import PATIENCE, Demo
from tests.browser.examples import OFFLINE, Visitor, agree, fits_on_a_phone

pytestmark = [pytest.mark.browser, pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]


def column(person: Visitor, name: str) -> Locator:
    return person.page.get_by_role("region", name=re.compile(f"^{name}"))


def title(where: Visitor | Locator, text: str) -> Locator:
    root = where.page if isinstance(where, Visitor) else where
    return root.get_by_role("button", name=text, exact=True)


def card(person: Visitor, text: str) -> Locator:
    return person.page.get_by_role("listitem").filter(has=title(person, text))


def told(person: Visitor) -> Locator:
    return person.page.get_by_role("status", name="Notices")


def people(person: Visitor) -> Locator:
    return person.page.get_by_role("group", name="People here").get_by_role("img")


async def add(person: Visitor, text: str, to: str = "To do") -> None:
    field = person.page.get_by_label(f"Add a task to {to}")
    await field.fill(text)
    await field.press("Enter")


async def begin_to_rename(person: Visitor, old: str, new: str) -> None:
    await title(person, old).click()
    await person.page.get_by_label("Title", exact=True).fill(new)


async def rename(person: Visitor, old: str, new: str) -> None:
    await begin_to_rename(person, old, new)
    await person.page.keyboard.press("Enter")
    await expect(title(person, new)).to_be_visible()


async def titles(person: Visitor) -> list[str]:
    return await person.page.locator("[data-task] .text").all_inner_texts()


async def test_whoever_comes_first_finds_each_example_once(visit: Visit) -> None:
    ada, alan = await asyncio.gather(visit("tasks", "Ada L"), visit("tasks", "Alan T"))
    for person in (ada, alan):
        await expect(person.page.locator("[data-task]")).to_have_count(6)
        await person.is_told("Saved")
        await expect(people(person)).to_have_count(2)
    seen = await agree(lambda: titles(ada), lambda: titles(alan))
    assert len(seen) == len(set(seen)) == 6
    grace = await visit("tasks", "Grace H")
    await expect(people(grace)).to_have_count(3)
    assert await agree(lambda: titles(ada), lambda: titles(grace)) == seen


async def test_a_card_is_made_dragged_and_moved_by_keys_for_everybody(visit: Visit) -> None:
    ada, alan = await visit("tasks", "Ada L"), await visit("tasks", "Alan T")
    await add(ada, "Paint the boat")
    await expect(title(column(alan, "To do"), "Paint the boat")).to_be_visible()
    await card(alan, "Paint the boat").drag_to(
        card(alan, "Count the herons at dawn"), target_position={"x": 20, "y": 6}
    )
    doing = column(ada, "In progress").locator("[data-task] .text")
    await expect(doing).to_have_text(["Paint the boat", "Count the herons at dawn", "Draw the map of the reed beds"])
    await title(ada, "Paint the boat").focus()
    await ada.page.keyboard.press("Shift+ArrowDown")
    doing = column(alan, "In progress").locator("[data-task] .text")
    await expect(doing).to_have_text(["Count the herons at dawn", "Paint the boat", "Draw the map of the reed beds"])
    await ada.page.keyboard.press("Shift+ArrowRight")
    await expect(title(column(alan, "Done"), "Paint the boat")).to_be_visible()
    await expect(title(ada, "Paint the boat")).to_be_focused()


async def test_filters_show_what_comes_and_goes(visit: Visit) -> None:
    ada, alan = await visit("tasks", "Ada L"), await visit("tasks", "Alan T")
    await add(ada, "Feed the ducks", to="In progress")
    await ada.page.get_by_label("Whose tasks").select_option("Alan T")
    await ada.button("In progress")
    await expect(ada.page.locator("[data-task]")).to_have_count(0)
    await expect(ada.page.get_by_role("region")).to_have_count(1)
    take = card(alan, "Feed the ducks").get_by_role("button", name=re.compile("^(Take this task|Assigned)"))
    await take.click()
    await expect(title(ada, "Feed the ducks")).to_be_visible()
    await take.click()
    await expect(title(ada, "Feed the ducks")).to_have_count(0)
    await add(ada, "Count the ducks", to="In progress")  # among what is shown
    await expect(title(ada, "Count the ducks")).to_be_visible()
    await expect(card(alan, "Count the ducks").get_by_role("button", name="Assigned to Alan T")).to_be_visible()


async def test_two_who_rename_a_card_at_once_are_both_told_and_can_take_the_other_name(visit: Visit) -> None:
    ada, alan = await visit("tasks", "Ada L"), await visit("tasks", "Alan T")
    await add(ada, "Mend the net")
    await expect(title(alan, "Mend the net")).to_be_visible()
    await begin_to_rename(ada, "Mend the net", "Mend both nets")
    await begin_to_rename(alan, "Mend the net", "Buy a net")
    await expect(ada.page.get_by_text("Alan T is editing")).to_be_visible()
    await ada.page.keyboard.press("Enter")
    await ada.is_told("Saved")
    await alan.page.keyboard.press("Enter")
    await expect(told(alan)).to_contain_text("You and Ada L changed the title at the same time.")
    await expect(told(alan)).to_contain_text("“Buy a net” holds; theirs was “Mend both nets”.")
    await expect(told(ada)).to_contain_text("You and Alan T changed the title at the same time.")
    await expect(told(ada)).to_contain_text("“Buy a net” holds; yours was “Mend both nets”.")
    await ada.button("Use “Mend both nets”")
    await expect(title(alan, "Mend both nets")).to_be_visible()
    await alan.button("Leave it")
    for person in (ada, alan):
        await expect(told(person)).to_have_text("")


async def test_what_is_being_typed_survives_what_others_do_to_the_card(visit: Visit) -> None:
    ada, alan = await visit("tasks", "Ada L"), await visit("tasks", "Alan T")
    await add(ada, "Tie the knot")
    await begin_to_rename(ada, "Tie the knot", "Tie the bow")
    await card(alan, "Tie the knot").get_by_role("button", name=re.compile("^Move right")).click()
    typed = column(ada, "In progress").get_by_label("Title", exact=True)
    await expect(typed).to_be_focused()
    await ada.page.keyboard.type("line")
    await ada.page.keyboard.press("Enter")
    await expect(title(column(alan, "In progress"), "Tie the bowline")).to_be_visible()

    await begin_to_rename(ada, "Tie the bowline", "Tie it twice")
    await card(alan, "Tie the bowline").get_by_role("button", name=re.compile("^Delete")).click()
    await expect(told(ada)).to_contain_text("Somebody has deleted this card while you renamed it.")
    await ada.button("Bring it back")
    for person in (ada, alan):
        await expect(title(person, "Tie it twice")).to_be_visible()


async def test_what_was_deleted_comes_back_and_a_card_tells_its_history(visit: Visit) -> None:
    ada, alan = await visit("tasks", "Ada L"), await visit("tasks", "Alan T")
    await add(ada, "Ask for the keys")
    await rename(alan, "Ask for the keys", "Find the keys")
    await card(ada, "Find the keys").get_by_role("button", name=re.compile("^Delete")).click()
    await expect(title(alan, "Find the keys")).to_have_count(0)
    await ada.button("Undo")
    await expect(title(alan, "Find the keys")).to_be_visible()

    await card(ada, "Find the keys").get_by_role("button", name=re.compile("^History")).click()
    history = ada.page.get_by_role("list", name="History")
    await expect(history.get_by_role("listitem").locator("p")).to_have_text(
        [
            "Ada L brought it back",
            "Ada L deleted it",
            "Alan T renamed it to “Find the keys”",
            "Ada L made this card",
        ]
    )
    await history.get_by_role("button", name="Restore version 1").click()
    await expect(title(alan, "Ask for the keys")).to_be_visible()
    await expect(history.get_by_role("listitem").first).to_contain_text("Ada L renamed it to “Ask for the keys”")
    await ada.page.keyboard.press("Escape")
    await expect(history).to_have_count(0)


async def test_what_is_done_without_a_network_waits_and_meets_what_others_did(visit: Visit) -> None:
    ada, alan = await visit("tasks", "Ada L"), await visit("tasks", "Alan T")
    await add(ada, "Oil the oars")
    await expect(title(alan, "Oil the oars")).to_be_visible()
    await ada.is_told("Saved")
    await ada.loses_the_network()
    await expect(people(alan)).to_have_count(1)
    await rename(ada, "Oil the oars", "Oil the new oars")
    await add(ada, "Written in a tunnel")
    await ada.is_told(re.compile("^Offline . 2 waiting$"))
    for text in ("Oil the new oars", "Written in a tunnel"):
        await expect(card(ada, text).get_by_text("not saved yet")).to_be_visible()
    await rename(alan, "Oil the oars", "Varnish the oars")
    await alan.is_told("Saved")
    await ada.has_it_back()
    for person, other in ((ada, "Alan T"), (alan, "Ada L")):
        await person.is_told("Saved")
        await expect(told(person)).to_contain_text(f"You and {other} changed the title at the same time.")
        await expect(person.page.get_by_text("not saved yet")).to_have_count(0)
        await expect(people(person)).to_have_count(2)
    seen = await agree(lambda: titles(ada), lambda: titles(alan))
    assert seen.count("Written in a tunnel") == seen.count("Oil the new oars") == 1


async def test_who_takes_another_name_without_a_network_loses_nothing(visit: Visit) -> None:
    ada, alan = await visit("tasks", "Ada L"), await visit("tasks", "Alan T")
    await expect(people(alan)).to_have_count(2)
    await ada.loses_the_network()
    await add(ada, "Signed by Ada")
    await ada.page.get_by_label("Your name").fill("Countess Ada")
    await ada.page.keyboard.press("Enter")
    said: list[str | bytes] = []
    ada.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: said.append(frame)))
    await ada.has_it_back()
    await expect(title(alan, "Signed by Ada")).to_be_visible()
    await expect(alan.page.get_by_role("img", name="Countess Ada")).to_have_count(1)
    async with asyncio.timeout(PATIENCE):  # what she writes from then on is written under her new name
        while not any('"hello"' in str(frame) and "Countess Ada" in str(frame) for frame in said):
            await asyncio.sleep(0.05)
    await expect(people(alan)).to_have_count(2)
    await rename(ada, "Signed by Ada", "Signed by the Countess")
    await card(alan, "Signed by the Countess").get_by_role("button", name=re.compile("^History")).click()
    history = alan.page.get_by_role("list", name="History").get_by_role("listitem").locator("p")
    await expect(history).to_have_text(["Countess Ada renamed it to “Signed by the Countess”", "Ada L made this card"])


async def test_a_killed_server_loses_nothing_of_the_board(visit: Visit, demo: Demo) -> None:
    ada, alan = await visit("tasks", "Ada L"), await visit("tasks", "Alan T")
    await add(ada, "Before the crash")
    await expect(title(alan, "Before the crash")).to_be_visible()
    await ada.is_told("Saved")
    await demo.kill_everything()
    for person in (ada, alan):
        await person.is_told(OFFLINE)
    await add(alan, "While it is away")
    await rename(ada, "Before the crash", "Through the crash")
    await demo.start()
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(title(person, "Through the crash")).to_be_visible()
        await expect(title(person, "While it is away")).to_be_visible()
        await expect(people(person)).to_have_count(2)
        await expect(person.page.get_by_text("not saved yet")).to_have_count(0)
    seen = await agree(lambda: titles(ada), lambda: titles(alan))
    assert len(seen) == len(set(seen))


async def test_the_board_fits_on_a_phone(visit: Visit) -> None:
    ada = await visit("tasks", "Wilhelmina Featherstonehaugh", phone=True)
    await expect(title(ada, "Ask the ferry house about the keys")).to_be_visible()
    await fits_on_a_phone(
        ada.page,
        ada.page.get_by_label("Whose tasks"),
        ada.page.get_by_label("Your name"),
        ada.page.get_by_role("button", name="In progress", exact=True),
        title(ada, "Ask the ferry house about the keys"),
    )
    await add(ada, "A-word-as-long-as-a-sentence-that-nobody-can-break-anywhere-at-all-" * 2)
    await ada.is_told("Saved")
    await fits_on_a_phone(ada.page)
    await card(ada, "Ask the ferry house about the keys").get_by_role("button", name=re.compile("^Move right")).tap()
    await ada.page.get_by_role("button", name="In progress", exact=True).tap()
    await expect(title(column(ada, "In progress"), "Ask the ferry house about the keys")).to_be_visible()
    await card(ada, "Ask the ferry house about the keys").get_by_role("button", name=re.compile("^History")).tap()
    await expect(ada.page.get_by_role("dialog").get_by_role("button", name="Close")).to_be_in_viewport()
    await fits_on_a_phone(ada.page)
