"""The rules of docs/architecture.md that a machine can hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("collab/**/*.py"), *ROOT.glob("presence/**/*.py")])

# A package may import those at its right, and itself.
ORDER = ["server", "realtime", "rooms", "entities", "sandbox", "storage", "access", "query", "wire"]
BOTTOM = {"errors", "names", "metrics", "event", "dates"}
CLIENT_MAY = {"client", "wire", "query", *BOTTOM}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    relative = path.relative_to(ROOT).with_suffix("")
    for module in imports(path):
        parts = module.split(".")
        if relative.parts[0] == "presence":
            assert parts[0] != "collab", f"presence stands alone, but imports {module}"
        elif parts[0] == "collab" and len(parts) > 1:
            mine = relative.parts[1]
            if mine in BOTTOM:
                assert parts[1] in BOTTOM, f"{mine} stands at the bottom, but imports {module}"
            elif mine == "client":
                assert parts[1] in CLIENT_MAY, f"the client stands alone, but imports {module}"
            elif mine in ORDER and parts[1] in ORDER:
                assert ORDER.index(mine) <= ORDER.index(parts[1]), f"{mine} is below {module}"


@pytest.mark.parametrize("name", ["wire", "access", "query"])
def test_what_decides_never_waits(name: str) -> None:
    for path in ROOT.glob(f"collab/{name}/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Await | ast.AsyncFunctionDef), f"{path.name} waits"


def test_a_room_never_waits() -> None:
    for name in ("room", "relay", "outbox", "pacing", "merge", "shared_state", "session", "quarantine", "deletions"):
        for node in ast.walk(ast.parse((ROOT / f"collab/rooms/{name}.py").read_text())):
            assert not isinstance(node, ast.Await | ast.AsyncFunctionDef), f"{name}.py waits"


def test_files_stay_small_enough_to_hold_in_the_head() -> None:
    for path in SOURCES:
        assert len(path.read_text().splitlines()) <= 500, f"{path.name} holds more than one idea"
