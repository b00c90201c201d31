"""Each process loads only the modules that it needs."""

import ast
import inspect
import json
import subprocess
import sys
from types import ModuleType

import pytest

import collab
import collab.client

SERVER = {"starlette", "hypercorn", "httpx", "jwt", "jsonschema", "jsonschema_rs", "prometheus_client", "websockets"}


def loaded(statement: str) -> set[str]:
    """The modules of a new process that has run a statement."""
    code = f"import sys\n{statement}\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(shown.stdout))


@pytest.mark.parametrize(
    "statement",
    ["import collab", "import collab.client", "import collab.sandbox.__main__", "import collab.wire.realtime.messages"],
)
def test_a_part_does_not_load_the_server(statement: str) -> None:
    assert not loaded(statement) & SERVER


def test_a_sandbox_child_loads_at_most_300_modules() -> None:
    assert len(loaded("import collab.sandbox.__main__")) <= 300


def test_a_sandbox_child_loads_rich_text_only_when_it_is_asked_for_some() -> None:
    assert "collab.richtext.model" not in loaded("import collab.sandbox.__main__")


def test_presence_loads_nothing_of_collab() -> None:
    found = loaded("from presence import *")
    assert "presence.awareness" in found
    assert not [module for module in found if module.partition(".")[0] == "collab"]


def imported_for_type_checkers(package: ModuleType) -> dict[str, str]:
    """The names that a package imports under ``if TYPE_CHECKING``, and from where."""
    return {
        alias.name: str(node.module)
        for block in ast.parse(inspect.getsource(package)).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("package", [collab, collab.client])
def test_each_public_name_is_found_where_its_package_says(package: ModuleType) -> None:
    assert dir(package) == sorted(package.__all__)
    assert imported_for_type_checkers(package) == package._HOME
    assert sorted(package._HOME) == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is getattr(sys.modules[package._HOME[name]], name)
    with pytest.raises(AttributeError, match="has no attribute 'Colab'"):
        package.Colab  # noqa: B018
