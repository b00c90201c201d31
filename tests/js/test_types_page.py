"""docs/types.md: what it declares has the types that it shows, and compilers say what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collab.server.types.test_python_client import errors_of_mypy
from tools.machine import ROOT, node

PAGE = (ROOT / "docs" / "types.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = ROOT / "js" / "tests" / f".page-{os.getpid()}"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def collab(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "collab", "types", *arguments], cwd=folder, check=True)


def test_the_types_of_the_page_are_those_of_its_application_and_compile(folder: Path) -> None:
    (folder / "board.py").write_text(blocks("python")[0])
    collab(folder, "typescript", "--app", "board:collab", "--output", "schema.ts")
    assert (folder / "schema.ts").read_text() == blocks("ts")[0]
    names = ["board.tsx", "owners.tsx", "authors.tsx"]
    for name, block in zip(names, blocks("tsx"), strict=True):
        (folder / name).write_text(block)
    options = ["--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--jsx", "react-jsx"]
    tsc = ROOT / "js" / "node_modules" / "typescript" / "bin" / "tsc"
    command = [str(node()), str(tsc), "--ignoreConfig", "--noEmit", "--strict", *options, "schema.ts", *names]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_mypy_takes_the_python_of_the_page(tmp_path: Path) -> None:
    declares, uses = blocks("python")
    (tmp_path / "board.py").write_text(declares)
    collab(tmp_path, "pydantic", "--client", "--app", "board:collab", "--output", "schema.py")
    (tmp_path / "use.py").write_text(uses)
    assert errors_of_mypy(tmp_path, ["use.py", "schema.py"]) == {"use.py": [], "schema.py": []}
