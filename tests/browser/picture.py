"""Takes the README's pictures: two people in one document, and the examples. `python -m tests.browser.picture`."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from tests.browser.demo import Window, running
from tests.browser.examples import PHONE, Visitor
from tools import machine

IMAGES = machine.ROOT / "docs" / "images"
WINDOW = ViewportSize(width=760, height=560)
BOARD = ViewportSize(width=1120, height=690)
FRAME = """
<style>
  body { margin: 0; padding: 34px 36px; display: flex; gap: 28px; width: max-content;
         background: linear-gradient(120deg, #6d5ef6, #c2288f 55%, #f59e6c) }
  img { display: block; border-radius: 12px; box-shadow: 0 18px 50px #0007 }
</style>
"""
TEXT = (
    "# Field notes\n"
    "Forty-one herons on the east bank, most of them fishing.\n"
    "## For tomorrow\n"
    "- Bring the long lens\n"
    "Ask about the old ferry house\n"
)


async def take(browser: Browser, url: str) -> bytes:
    """Two windows side by side, one light and one dark, as JPEG."""
    light = await browser.new_context(viewport=WINDOW, color_scheme="light")
    dark = await browser.new_context(viewport=WINDOW, color_scheme="dark")
    ada = await Window.open(light, url, "field-notes", "Ada Lovelace")
    await ada.is_told("Saved")
    alan = await Window.open(dark, url, "field-notes", "Alan Turing")
    for person in (ada, alan):
        await person.show("tiptap")
        await person.is_told("Saved")
    await ada.type("tiptap", TEXT + "Photographs go to the shared album")
    await expect(alan.area("tiptap")).to_contain_text("shared album")
    sentence = alan.area("tiptap").locator("p").first
    await sentence.click()
    await alan.page.keyboard.press("End")
    await alan.page.keyboard.type(" Two had rings.")
    await expect(ada.caret_of("tiptap", "Alan")).to_be_visible()
    await expect(alan.caret_of("tiptap", "Ada")).to_be_visible()
    for person in (ada, alan):
        await person.sees("tiptap", await ada.text("tiptap"))
        await person.is_told("Saved")
    return await _framed(browser, [ada.page, alan.page])


async def take_examples(browser: Browser, url: str) -> bytes:
    """The board with a conflict, and on phones the dashboard and the chat, as JPEG."""
    examples = f"{url}examples"
    ada = await Visitor.open(await browser.new_context(viewport=BOARD), f"{examples}/tasks/", "", "Ada Lovelace")
    alan = await Visitor.open(await browser.new_context(viewport=BOARD), f"{examples}/tasks/", "", "Alan Turing")
    for person, new in ((ada, "Choose ten photographs"), (alan, "Choose photographs of herons")):
        await person.page.get_by_role("button", name="Choose photographs for the field guide", exact=True).click()
        await person.page.get_by_label("Title", exact=True).fill(new)
    await ada.page.keyboard.press("Enter")
    await expect(ada.page.get_by_role("button", name="Choose ten photographs", exact=True)).to_be_visible()
    await ada.is_told("Saved")
    await alan.page.keyboard.press("Enter")
    await expect(ada.page.get_by_role("status", name="Notices")).to_contain_text("Alan Turing")
    await alan.page.get_by_role("button", name="Draw the map of the reed beds", exact=True).click()
    await expect(ada.page.get_by_text("Alan Turing is editing")).to_be_visible()
    await ada.page.mouse.click(5, 400)

    phone = {**PHONE, "viewport": {"width": 390, "height": 780}, "device_scale_factor": 1, "color_scheme": "dark"}
    shop = await Visitor.open(await browser.new_context(**phone), f"{examples}/dashboard/", "", "Grace Hopper")
    await shop.button("5 hours")
    await expect(shop.page.get_by_role("region", name="Revenue")).to_contain_text("60 orders in 5 hours")
    await shop.button("Simulate orders")
    await expect(shop.page.get_by_role("region", name="Revenue")).to_contain_text("64 orders")
    chat = await Visitor.open(await browser.new_context(**phone), f"{examples}/chat/", "", "Grace Hopper")
    await expect(chat.page.get_by_role("log")).to_contain_text("Welcome!")
    other = await Visitor.open(await browser.new_context(), f"{examples}/chat/", "", "Ada Lovelace")
    await expect(chat.page.get_by_text("Ada Lovelace")).to_be_visible()
    for person, text in ((other, "Forty-three today. Who has the long lens?"), (chat, "I do! Bringing it tomorrow.")):
        await person.page.get_by_label("Message", exact=True).fill(text)
        await person.page.keyboard.press("Enter")
        await expect(chat.page.get_by_role("log")).to_contain_text(text)
        await person.is_told("Saved")
    await other.page.get_by_label("Message", exact=True).press_sequentially("Wonder")
    await expect(chat.page.get_by_text("Ada Lovelace is typing")).to_be_visible()
    return await _framed(browser, [ada.page, shop.page, chat.page], height=560)


async def _framed(browser: Browser, pages: list[Page], height: int = WINDOW["height"]) -> bytes:
    shots = [base64.b64encode(await page.screenshot(caret="initial")).decode() for page in pages]
    context = await browser.new_context(viewport=ViewportSize(width=1620, height=628))
    page = await context.new_page()
    images = (f'<img height="{height}" src="data:image/png;base64,{shot}">' for shot in shots)
    await page.set_content(FRAME + "".join(images))
    return await page.screenshot(full_page=True, type="jpeg", quality=88)


async def main() -> None:
    """Take each picture with its own demo, and write it."""
    executable, environment = machine.browser()
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, env={**environment}, args=list(machine.BROWSER_FLAGS)
        )
        for name, taken in (("demo.jpg", take), ("examples.jpg", take_examples)):
            with tempfile.TemporaryDirectory() as folder:
                async with running(Path(folder)) as demo:
                    picture = await taken(browser, demo.url)
            (IMAGES / name).write_bytes(picture)
            print(f"docs/images/{name}: {len(picture) / 1000:.0f} kB")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
