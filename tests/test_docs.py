"""The documentation has every setting, hook and error."""

import inspect
import re
from pathlib import Path

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
