"""Takes the README's picture: two people in one document. `python -m tests.browser.picture`."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

import dev
from tests.browser.demo import Window, running

TARGET = dev.ROOT / "docs" / "images" / "demo.png"
WINDOW = ViewportSize(width=760, height=560)
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
    """Two windows side by side, one light and one dark, as PNG."""
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


async def _framed(browser: Browser, pages: list[Page]) -> bytes:
    shots = [base64.b64encode(await page.screenshot(caret="initial")).decode() for page in pages]
    context = await browser.new_context(viewport=ViewportSize(width=1620, height=628))
    page = await context.new_page()
    await page.set_content(FRAME + "".join(f'<img src="data:image/png;base64,{shot}">' for shot in shots))
    return await page.screenshot(full_page=True)


async def main() -> None:
    """Start a demo of its own, take the picture and write it."""
    executable, environment = dev.browser()
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as demo, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=executable, env={**environment}, args=list(dev.BROWSER_FLAGS)
            )
            picture = await take(browser, demo.url)
            await browser.close()
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(picture)
    print(f"{TARGET.relative_to(dev.ROOT)}: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    asyncio.run(main())
