"""What PyPI and npm say of our packages: where they come from, and pages whose links work there."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.packages.npm import JS, PACKAGES
from tools.machine import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]


def package(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((JS / name / "package.json").read_text())
    return found


def test_the_page_on_pypi_has_no_link_or_picture_that_is_relative() -> None:
    readme = WheelBuilder(str(ROOT)).metadata.core.readme
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", readme, flags=re.DOTALL))
    assert len(targets) > 20
    assert [target for target in targets if not target.startswith("https://")] == []
    for target in targets:
        if target.startswith(REPOSITORY):
            path = re.sub(r"/(blob|raw)/HEAD/", "", target.removeprefix(REPOSITORY)).partition("#")[0]
            assert (ROOT / path).exists(), target


@pytest.mark.parametrize("name", PACKAGES)
def test_an_npm_package_says_where_it_comes_from(name: str) -> None:
    said = package(name)
    assert said["repository"] == {"type": "git", "url": f"git+{REPOSITORY}.git", "directory": f"js/{name}"}
    assert said["homepage"].startswith(PROJECT["urls"]["Documentation"])
    assert said["bugs"] == PROJECT["urls"]["Issues"]
    assert len(said["keywords"]) > 5
    assert said["license"] == PROJECT["license"] == "MIT"
    assert said["version"] == PROJECT["version"]
    assert said["sideEffects"] is False
    assert (JS / name / "README.md").exists()


@pytest.mark.parametrize("name", PACKAGES)
def test_each_entry_of_an_npm_package_has_types_and_code(name: str) -> None:
    for entry in package(name)["exports"].values():
        assert list(entry) == ["types", "default"], "types come first"
        assert all((JS / name / path).is_file() for path in entry.values())
