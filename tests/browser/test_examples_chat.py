"""The chat of two people: who types, what is unread, and what was said without a network."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import Visit
from tests.browser.demo import Demo
from tests.browser.examples import OFFLINE, Visitor, agree, fits_on_a_phone

pytestmark = [pytest.mark.browser, pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]


def log(person: Visitor) -> Locator:
    return person.page.get_by_role("log", name="Messages")


def message(person: Visitor, text: str) -> Locator:
    return log(person).get_by_role("listitem").filter(has_text=text)


def field(person: Visitor) -> Locator:
    return person.page.get_by_label("Message", exact=True)


def channel(person: Visitor, name: str) -> Locator:
    return person.page.get_by_role("navigation", name="Channels").get_by_role("link", name=name)


def people(person: Visitor) -> Locator:
    return person.page.get_by_role("complementary", name="People here").get_by_role("listitem")


async def say(person: Visitor, text: str) -> None:
    await field(person).fill(text)
    await field(person).press("Enter")
    await expect(message(person, text)).to_be_visible()


async def said(person: Visitor) -> list[str]:
    return await log(person).locator(".message p").all_inner_texts()


async def test_whoever_comes_first_finds_what_was_said_before_once(visit: Visit) -> None:
    ada, alan = await asyncio.gather(visit("chat", "Ada L"), visit("chat", "Alan T"))
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(log(person).locator(".author")).to_have_text(["Grace", "Ada", "Alan"])
        await expect(channel(person, "herons")).to_have_accessible_name(re.compile("2 unread"))


async def test_a_message_is_announced_by_typing_and_there_at_once(visit: Visit) -> None:
    ada, alan = await visit("chat", "Ada L"), await visit("chat", "Alan T")
    await expect(people(alan)).to_have_count(2)
    await field(ada).press_sequentially("Good m")
    await expect(alan.page.get_by_text("Ada L is typing")).to_be_visible()
    await field(ada).press_sequentially("orning")
    await field(ada).press("Enter")
    await expect(message(alan, "Good morning")).to_be_visible()
    await expect(alan.page.get_by_text("Ada L is typing")).to_have_count(0)
    await expect(message(ada, "Good morning").locator("time")).not_to_have_text("not sent yet")


async def test_what_one_has_begun_to_write_is_there_when_one_comes_back(visit: Visit) -> None:
    ada = await visit("chat", "Ada L")
    await field(ada).fill("Not finished")
    await channel(ada, "herons").click()
    await expect(field(ada)).to_have_value("")
    await channel(ada, "general").click()
    await expect(field(ada)).to_have_value("Not finished")


async def test_unread_messages_are_counted_until_they_are_looked_at(visit: Visit) -> None:
    ada, alan = await visit("chat", "Ada L"), await visit("chat", "Alan T", at="herons")
    await expect(people(ada).filter(has_text="Alan T")).to_contain_text("#herons")
    await channel(alan, "general").click()
    await expect(message(alan, "Welcome!")).to_be_attached()
    await channel(alan, "herons").click()
    await expect(channel(alan, "general")).to_have_accessible_name("general")
    await say(ada, "For those who are elsewhere")
    await say(ada, "and once more")
    await expect(channel(alan, "general")).to_have_accessible_name(re.compile("2 unread"))
    await expect(channel(ada, "general")).to_have_accessible_name(re.compile("^general"))
    await expect(alan.page).to_have_title(re.compile(r"^\(\d+\) Team chat"))
    await channel(alan, "general").click()
    await expect(channel(alan, "general")).to_have_accessible_name("general")
    await expect(message(alan, "and once more")).to_be_in_viewport()
    await alan.page.reload()  # what was read stays read
    await expect(message(alan, "and once more")).to_be_visible()
    await channel(alan, "herons").click()
    await expect(channel(alan, "general")).to_have_accessible_name("general")


async def test_what_was_said_without_a_network_is_marked_and_sent_later_in_order(visit: Visit) -> None:
    ada, alan = await visit("chat", "Ada L"), await visit("chat", "Alan T")
    await expect(people(alan)).to_have_count(2)
    await ada.loses_the_network()
    await expect(people(alan)).to_have_count(1)
    for text in ("from the tunnel", "still in the tunnel", "light ahead"):
        await say(ada, text)
        await expect(message(ada, text).locator("time")).to_have_text("not sent yet")
    await ada.is_told(re.compile("^Offline . 3 waiting$"))
    await say(alan, "nobody here")
    await alan.is_told("Saved")
    await ada.has_it_back()
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(people(person)).to_have_count(2)
        await expect(log(person).get_by_text("not sent yet")).to_have_count(0)
        await expect(message(person, "light ahead")).to_be_visible()
    seen = await agree(lambda: said(ada), lambda: said(alan))
    assert seen[-4:] == ["from the tunnel", "still in the tunnel", "light ahead", "nobody here"]  # as it was said


async def test_a_killed_server_loses_and_doubles_no_message(visit: Visit, demo: Demo) -> None:
    ada, alan = await visit("chat", "Ada L"), await visit("chat", "Alan T")
    await say(ada, "before the crash")
    await ada.is_told("Saved")
    await expect(message(alan, "before the crash")).to_be_visible()
    await demo.kill_everything()
    for person in (ada, alan):
        await person.is_told(OFFLINE)
        await say(person, f"{person.name} during the crash")
    await demo.start()
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(people(person)).to_have_count(2)
        await expect(log(person).get_by_text("during the crash")).to_have_count(2)
        await expect(log(person).get_by_text("not sent yet")).to_have_count(0)
    await field(ada).press_sequentially("typing works again")
    await expect(alan.page.get_by_text("Ada L is typing")).to_be_visible()
    await field(ada).press("Enter")
    await expect(message(alan, "typing works again")).to_be_visible()
    seen = await agree(lambda: said(ada), lambda: said(alan))
    assert len(seen) == len(set(seen))


async def test_older_messages_are_read_as_one_scrolls_up(visit: Visit, demo: Demo) -> None:
    author = {"name": "Grace", "color": "#0b7d5c"}
    async with httpx.AsyncClient(timeout=40, base_url=demo.url) as http:
        for number in range(1, 121):
            at = (datetime.now(UTC) + timedelta(seconds=number - 121)).isoformat()
            row = {"channel": "ferry-house", "text": f"number {number}", "author": author, "sentAt": at}
            (await http.post("api/v1/collections/messages", json=row)).raise_for_status()
    ada, alan = await visit("chat", "Ada L", at="ferry-house"), await visit("chat", "Alan T", at="ferry-house")
    shown = log(ada).locator(".message")
    await expect(shown).to_have_count(50)
    await expect(message(ada, "number 120")).to_be_in_viewport()
    await log(ada).evaluate("list => list.scrollTop = 0")
    await expect(shown).to_have_count(100)
    await expect(message(ada, "number 71")).to_be_in_viewport()  # where she was
    await say(alan, "Who reads the old ones?")
    await ada.button("New messages ↓")
    await expect(message(ada, "Who reads the old ones?")).to_be_in_viewport()
    await log(ada).evaluate("list => list.scrollTop = 0")
    await expect(log(ada).get_by_text("The beginning of #ferry-house")).to_be_attached()
    seen = [text for text in await said(ada) if text.startswith("number")]
    assert seen == [f"number {number}" for number in range(1, 121)]


async def test_the_chat_fits_on_a_phone(visit: Visit) -> None:
    ada = await visit("chat", "Wilhelmina Featherstonehaugh", phone=True)
    await expect(message(ada, "Welcome!")).to_be_visible()
    await say(ada, "A-word-as-long-as-a-sentence-that-nobody-can-break-anywhere-at-all-" * 2)
    await fits_on_a_phone(
        ada.page,
        field(ada),
        channel(ada, "ferry-house"),
        ada.page.get_by_role("button", name="Send"),
        ada.page.get_by_label("Your name"),
    )
    await channel(ada, "herons").tap()
    await expect(message(ada, "Two had rings.")).to_be_in_viewport()
