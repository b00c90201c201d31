"""The page while the server or the network fails: nothing is lost, nothing is doubled, and it says what is so."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenWindow
from tests.browser.demo import EDITORS, Demo, Window

pytestmark = [pytest.mark.browser, pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]


async def _write(person: Window, text: str) -> None:
    for editor in EDITORS:
        await person.show(editor)
        await person.type(editor, text)


async def _agree(people: list[Window], *parts: str) -> None:
    """All see the same in every editor, and each part exactly once."""
    for editor in EDITORS:
        for person in people:
            await person.show(editor)
    for editor in EDITORS:
        for person in people:
            await expect(person.area(editor)).to_contain_text(parts[-1])
        written = await people[0].text(editor)
        assert sorted(re.findall(r"\[.*?\]", written)) == sorted(parts), editor
        assert len(written) == sum(map(len, parts)), editor
        for person in people[1:]:
            await person.sees(editor, written)


async def test_a_killed_worker_costs_the_windows_a_reconnect_and_nothing_else(window: OpenWindow, demo: Demo) -> None:
    ada, alan = await window("Ada"), await window("Alan")
    await _write(ada, "[one]")
    await ada.is_told("Saved")
    await demo.kill_worker()
    await _write(alan, "[two]")
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(person.avatars()).to_have_count(2)
    await _agree([ada, alan], "[one]", "[two]")
    await ada.type("prosemirror", "!")
    await expect(alan.caret_of("prosemirror", "Ada")).to_be_visible()


async def test_killed_with_everything_and_started_again_the_server_has_it_all(window: OpenWindow, demo: Demo) -> None:
    ada, alan = await window("Ada"), await window("Alan")
    await _write(ada, "[one]")
    await ada.is_told("Saved")
    await demo.kill_everything()
    for person in (ada, alan):
        await person.is_told(re.compile("^Offline"))
    await _write(alan, "[two]")
    await alan.is_told(re.compile(r"^Offline . 2\d changes waiting$"))
    await demo.start()
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(person.avatars()).to_have_count(2)
    await _agree([ada, alan], "[one]", "[two]")

    # What was saved is on the disk, not only in the windows.
    await ada.page.close()
    await alan.page.close()
    await demo.kill_everything()
    await demo.start()
    grace = await window("Grace")
    await _agree([grace], "[one]", "[two]")


async def test_what_was_written_offline_merges(window: OpenWindow) -> None:
    ada, alan = await window("Ada"), await window("Alan")
    await _write(ada, "[one]")
    for editor in EDITORS:
        await alan.show(editor)
        await alan.sees(editor, "[one]")
    await ada.page.context.set_offline(True)
    await ada.is_told(re.compile("^Offline"))
    await expect(alan.avatars()).to_have_count(1)
    await _write(ada, "[ada]")
    await _write(alan, "[alan]")
    await ada.is_told(re.compile(r"^Offline . 2\d changes waiting$"))
    await alan.is_told("Saved")
    await ada.page.context.set_offline(False)
    for person in (ada, alan):
        await person.is_told("Saved")
        await expect(person.avatars()).to_have_count(2)
    await _agree([ada, alan], "[one]", "[ada]", "[alan]")
