"""The documentation has every setting, hook and error."""

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import collab
from collab import CollabError, Hooks, Settings

DOCS = Path(__file__).parent.parent / "docs"


def errors() -> list[type[CollabError]]:
    return [value for value in vars(collab).values() if inspect.isclass(value) and issubclass(value, CollabError)]


@pytest.mark.parametrize("error", errors(), ids=lambda error: error.__name__)
def test_each_close_code_is_documented_with_whether_to_reconnect(error: type[CollabError]) -> None:
    answer = "yes" if error().retryable else "no"
    rows = (DOCS / "protocol.md").read_text().splitlines()
    assert any(row.startswith(f"| {error.close_code} ") and row.endswith(f"| {answer} |") for row in rows)


def test_each_rule_of_the_protocol_has_a_number_of_its_own() -> None:
    numbers = re.findall(r"^\* \*\*([A-Z]+\d+)\*\*", (DOCS / "protocol.md").read_text(), re.MULTILINE)
    assert len(numbers) > 100
    assert sorted(numbers) == sorted(set(numbers))


@pytest.mark.parametrize("name", [name for name, _ in inspect.getmembers(Hooks, inspect.isfunction)])
def test_each_hook_is_documented(name: str) -> None:
    assert f"| `{name}(" in (DOCS / "hooks.md").read_text()


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Settings)])
def test_each_setting_is_documented(field: str) -> None:
    assert f"`{field}`" in (DOCS / "deploying.md").read_text()


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found: dict[str, int] = {}
    anchors = set()
    for title in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        count = found[anchor] = found.get(anchor, -1) + 1
        anchors.add(f"{anchor}-{count}" if count else anchor)
    return anchors


PAGES = sorted(
    [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md"), *(DOCS.parent / "bench").glob("*.md"),
     *(DOCS.parent / "bench").glob("*/README.md"), DOCS.parent / "examples" / "README.md"]
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS.parent).as_posix())
def test_each_link_within_the_repository_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in headings(linked), target


def test_each_page_is_in_the_navigation_of_the_site_and_each_entry_is_a_page() -> None:
    project = tomllib.loads((DOCS.parent / "website" / "zensical.toml").read_text())["project"]
    entries = set(entries_of(project["nav"]))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages - entries == set(), "add them to `nav` in website/zensical.toml"
    made = re.compile(r"(reference|numbers|project|examples)/")
    assert {entry for entry in entries - pages if not made.match(entry)} == set(), "there are no such pages"


def entries_of(nav: list[Any]) -> Iterator[str]:
    """The pages of a navigation, in its order."""
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else entries_of(value)
