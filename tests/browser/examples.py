"""Browser windows on the examples of the demo."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.browser.demo import PATIENCE, Window

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
OFFLINE = re.compile("^Offline")


class Visitor(Window):
    """One person's window on an example. Warnings count as complaints here."""

    COMPLAINTS = frozenset({"error", "warning"})

    async def is_told(self, status: str | re.Pattern[str]) -> None:
        """Wait until the page shows this save state."""
        await expect(self.page.locator("output.status")).to_have_text(status)

    async def loses_the_network(self) -> None:
        await self.page.context.set_offline(True)
        await self.is_told(OFFLINE)

    async def has_it_back(self) -> None:
        await self.page.context.set_offline(False)

    async def button(self, name: str) -> None:
        """Press a button."""
        await self.page.get_by_role("button", name=name, exact=True).click()


async def fits_on_a_phone(page: Page, *controls: Locator) -> None:
    """Check that nothing overflows horizontally, and that these elements are in view."""
    wide, there = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= there
    for control in controls:
        await expect(control).to_be_in_viewport(ratio=1)


async def agree(one: Callable[[], Awaitable[Any]], other: Callable[[], Awaitable[Any]]) -> Any:
    """Wait until two pages show the same content."""
    seen = (await one(), await other())
    try:
        async with asyncio.timeout(PATIENCE):
            while seen[0] != seen[1]:
                await asyncio.sleep(0.05)
                seen = (await one(), await other())
    except TimeoutError:
        raise AssertionError(f"{seen[0]!r} here, {seen[1]!r} there") from None
    return seen[0]
