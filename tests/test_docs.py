"""What a user can set, override or meet is in the documentation."""

import inspect
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


@pytest.mark.parametrize("name", [name for name, _ in inspect.getmembers(Hooks, inspect.isfunction)])
def test_each_hook_is_documented(name: str) -> None:
    assert f"| `{name}(" in (DOCS / "hooks.md").read_text()


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Settings)])
def test_each_setting_is_documented(field: str) -> None:
    assert f"`{field}`" in (DOCS / "deploying.md").read_text()


def test_the_public_names_are_those_that_are_exported() -> None:
    public = {name for name, value in vars(collab).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == set(collab.__all__)
