"""The READMEs of the packages for React, Svelte and Vue: their tables are complete, and their examples run."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.collab.client.world import world
from tests.e2e.pages import build, chromium, listen
from tools import machine

JS = machine.ROOT / "js"
PACKAGES = ["react", "svelte", "vue"]
STORES = "client/src/stores/index.ts"
PAGE = """<!doctype html>
<html lang="en">
  <head><meta charset="utf-8" /><title>README</title></head>
  <body><div id="app"></div><script type="module" src="./{script}"></script></body>
</html>
"""


def readme(package: str) -> str:
    return (JS / package / "README.md").read_text()


@cache
def exports() -> dict[str, Any]:
    modules = [*(f"{package}/src/index.ts" for package in PACKAGES), STORES]
    command = [str(machine.node()), str(JS / "tests" / "exports.mjs"), *modules]
    found: dict[str, Any] = json.loads(subprocess.check_output(command, text=True, timeout=120))
    return found


def exported(package: str) -> dict[str, Any]:
    """The exports of a package: ``parameters`` of functions, ``members`` of interfaces."""
    found: dict[str, Any] = exports()[f"{package}/src/index.ts"]
    return found


def table(text: str) -> list[list[str]]:
    """The rows of the first table in a text, without its head."""
    found = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()]


def signatures(rows: list[list[str]]) -> dict[str, list[str]]:
    """The functions that rows are about, with their parameters."""
    found = {}
    for cell, what in rows:
        assert what
        first, *others = re.findall(r"\w+", cell)
        # a component is closed by its name
        found[first] = [word for word in others if word != first]
    return found


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_function_is_documented_with_its_parameters(package: str) -> None:
    functions = {name: it["parameters"] for name, it in exported(package).items() if "parameters" in it}
    assert functions
    assert signatures(table(readme(package).split("## Functions")[1])) == functions


@pytest.mark.parametrize("package", PACKAGES)
def test_each_option_is_documented_with_its_default(package: str) -> None:
    options = {name: it["members"] for name, it in exported(package).items() if name.endswith("Options")}
    assert options
    for name, members in options.items():
        rows = table(readme(package).split(f"\n`{name}` of ")[1])
        assert [option for row in rows for option in named(row[0])] == members
        for _, default, what in rows:
            assert default
            assert what


@pytest.mark.parametrize("package", PACKAGES)
def test_each_member_of_what_is_given_is_documented(package: str) -> None:
    states = {name: it["members"] for name, it in exported(package).items() if name.endswith("State")}
    assert states
    for name, members in states.items():
        rows = table(re.split(rf"^(?:.*, )?`{name}`:\n", readme(package), flags=re.MULTILINE)[1])
        assert [member for row in rows for member in named(row[0])] == members


@pytest.mark.parametrize("package", PACKAGES)
def test_all_that_is_exported_is_a_function_options_or_a_state(package: str) -> None:
    others = [
        name for name, it in exported(package).items() if "members" in it and not name.endswith(("Options", "State"))
    ]
    assert others == []


@pytest.mark.parametrize(("package", "column"), [(package, 1 + index) for index, package in enumerate(PACKAGES)])
def test_each_function_stands_beside_those_of_the_other_packages(package: str, column: int) -> None:
    rows = table((machine.ROOT / "docs" / "clients.md").read_text().split("## React, Svelte, Vue")[1])
    functions = {name for name, it in exported(package).items() if "parameters" in it}
    words = {word for row in rows for word in re.findall(r"\w+", row[column])}
    assert functions <= words
    assert words <= functions | {"app", "use", "client"}


def test_each_store_beneath_them_is_documented() -> None:
    known = {name: it["parameters"] for name, it in exports()[STORES].items() if "parameters" in it}
    rows = table((machine.ROOT / "docs" / "clients.md").read_text().split("### Other frameworks")[1])
    assert signatures([row for row in rows if "(" in row[0]]) == {name: it for name, it in known.items() if it}
    constants = [name for row in rows if "(" not in row[0] for name in named(row[0])]
    assert sorted(constants) == sorted(name for name, it in known.items() if not it)


def write_example(package: str, folder: Path) -> None:
    """The files of a README's example, and a page that loads them."""
    example = readme(package).split("## Functions")[0]
    for language, code in re.findall(r"^```(tsx|ts|svelte|vue)\n(.*?)^```", example, re.MULTILINE | re.DOTALL):
        component = re.match(r"<!-- (\S+) -->", code)
        script = f"{package}-main.{language}"
        (folder / (component[1] if component else script)).write_text(code)
        if not component:
            (folder / f"{package}.html").write_text(PAGE.format(script=script))


@pytest.mark.browser
async def test_the_examples_run(tmp_path: Path) -> None:
    folder = JS / "tests" / ".page" / "readmes"  # beside `node_modules`, which they import from
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        write_example(package, folder)
    pages = build(tmp_path / "pages", folder)
    async with world(tmp_path, pages=str(pages)) as (cable, _), chromium() as browser:
        for package in PACKAGES:
            page = await browser.new_page()
            complaints = listen(page, package)
            await page.goto(f"http://{cable.address}/{package}.html")
            await page.get_by_role("button", name="New").click()
            await expect(page.get_by_role("listitem")).to_contain_text(["Write it down"])
            await page.get_by_role("button", name="Done").click()
            await expect(page.get_by_role("listitem")).to_have_count(0)
            await page.close()
            assert complaints == []
