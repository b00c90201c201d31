"""The dashboard in two windows: sums, charts and lists that follow the orders."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import Visit
from tests.browser.demo import PATIENCE, Demo
from tests.browser.examples import OFFLINE, Visitor, agree, fits_on_a_phone

pytestmark = [pytest.mark.browser, pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]


def figure(person: Visitor, name: str) -> Locator:
    return person.page.get_by_role("region", name=name, exact=True)


def orders(person: Visitor) -> Locator:
    return person.page.get_by_role("region", name="Newest orders").get_by_role("listitem")


async def revenue(person: Visitor) -> tuple[str, ...]:
    return tuple((await figure(person, "Revenue").inner_text()).splitlines())


async def sold(person: Visitor) -> int:
    """How many orders the bars stand for."""
    titles = await person.page.get_by_role("region", name=re.compile("^Sales")).locator("title").all_text_contents()
    return sum(int(title.split(", ")[-1].split()[0]) for title in titles)


async def place(demo: Demo, product: str, ago: timedelta = timedelta(), **more: Any) -> None:
    """Another application takes an order."""
    at = (datetime.now(UTC) - ago).isoformat()
    row = {"product": product, "customer": "Tim", "total": 100, "status": "pending", "placedAt": at, **more}
    async with httpx.AsyncClient(timeout=40, base_url=demo.url) as http:
        (await http.post("api/v1/collections/orders", json=row)).raise_for_status()


async def test_whoever_comes_first_finds_each_order_once(visit: Visit) -> None:
    ada, alan = await asyncio.gather(visit("dashboard", "Ada"), visit("dashboard", "Alan"))
    for person in (ada, alan):
        await person.button("5 hours")
        await expect(figure(person, "Revenue")).to_contain_text("60 orders in 5 hours")
        await expect(figure(person, "Active users").locator(".number")).to_have_text("2")
        await expect(figure(person, "Server")).to_contain_text("healthy")
        await person.is_told("Saved")
    assert await agree(lambda: revenue(ada), lambda: revenue(alan))


async def test_what_one_window_sells_moves_the_numbers_and_bars_of_the_other(visit: Visit) -> None:
    ada, alan = await visit("dashboard", "Ada"), await visit("dashboard", "Alan")
    for person in (ada, alan):
        await person.button("5 minutes")
    await expect(alan.page.get_by_role("heading", name="Sales in the last 5 minutes")).to_be_visible()
    newest = orders(alan).first
    before = await newest.get_attribute("data-order")
    drawn = await sold(alan)
    await ada.button("Simulate orders")
    await expect(newest).not_to_have_attribute("data-order", before or "")
    async with asyncio.timeout(PATIENCE):
        while await sold(alan) < drawn + 3:
            await asyncio.sleep(0.1)
    await ada.button("Stop simulating")
    await ada.is_told("Saved")
    assert await agree(lambda: revenue(ada), lambda: revenue(alan))


async def test_the_list_follows_its_filter_and_figures_follow_the_span_of_time(visit: Visit, demo: Demo) -> None:
    ada, alan = await visit("dashboard", "Ada"), await visit("dashboard", "Alan")
    await ada.button("pending")
    await place(demo, "Spyglass")
    mine = orders(ada).filter(has_text="Spyglass")
    await expect(mine).to_have_count(1)
    await orders(alan).filter(has_text="Spyglass").get_by_role("button", name=re.compile("^pending")).click()
    await expect(mine).to_have_count(0)
    await ada.button("paid")
    await expect(mine).to_contain_text("paid")

    await place(demo, "Gold ring", timedelta(hours=2), total=9_000_000)
    number = figure(ada, "Revenue").locator(".number")
    for span, amount in (
        ("5 hours", r"€9,0\d\d,\d\d\d"),
        ("30 minutes", r"€[\d,]{1,7}"),
        ("5 hours", r"€9,0\d\d,\d\d\d"),
    ):
        await ada.button(span)
        await expect(number).to_have_text(re.compile(f"^{amount}$"))


async def test_orders_taken_while_the_server_is_dead_arrive_once(visit: Visit, demo: Demo) -> None:
    ada, alan = await visit("dashboard", "Ada"), await visit("dashboard", "Alan")
    for person in (ada, alan):
        await person.button("5 minutes")
        await person.is_told("Saved")
    await demo.kill_everything()
    for person in (ada, alan):
        await person.is_told(OFFLINE)
        await expect(figure(person, "Server")).to_contain_text("away")
    await ada.button("Simulate orders")
    await expect(orders(ada).filter(has_text="not saved yet")).not_to_have_count(0)
    await ada.button("Stop simulating")
    await demo.start()
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(figure(person, "Server")).to_contain_text("healthy")
        await expect(figure(person, "Active users").locator(".number")).to_have_text("2")
        await expect(orders(person).filter(has_text="not saved yet")).to_have_count(0)
    assert await agree(lambda: revenue(ada), lambda: revenue(alan))


async def test_the_dashboard_without_a_network_catches_up(visit: Visit, demo: Demo) -> None:
    ada, alan = await visit("dashboard", "Ada"), await visit("dashboard", "Alan")
    await expect(orders(ada)).to_have_count(8)
    await ada.loses_the_network()
    await expect(figure(alan, "Active users").locator(".number")).to_have_text("1")
    await place(demo, "Sold meanwhile")
    await expect(orders(alan).filter(has_text="Sold meanwhile")).to_have_count(1)
    await ada.has_it_back()
    await expect(orders(ada).filter(has_text="Sold meanwhile")).to_have_count(1)
    await ada.is_told("Saved")


async def test_the_dashboard_fits_on_a_phone(visit: Visit) -> None:
    ada = await visit("dashboard", "Ada", phone=True)
    await expect(orders(ada)).to_have_count(8)
    await fits_on_a_phone(
        ada.page,
        ada.page.get_by_role("button", name="Simulate orders"),
        ada.page.get_by_role("button", name="5 hours"),
        figure(ada, "Revenue"),
        figure(ada, "Server"),
    )
    await ada.page.get_by_role("button", name="5 hours").tap()
    await ada.page.get_by_role("group", name="Which orders").get_by_role("button", name="shipped").tap()
    await expect(orders(ada).first).to_contain_text("shipped")
    await fits_on_a_phone(ada.page)
