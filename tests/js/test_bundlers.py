"""Pages of applications are built with their bundlers, with and without the packages that only documents need."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import machine

JS = Path(__file__).parents[2] / "js"
YJS = ("yjs", "y-protocols", "lib0", "isomorphic.js")
PAGE = """
import { LumenizeClient } from "@lumenize/client"
const client = new LumenizeClient({ url: "http://localhost:1", WebSocket: class { close() {} } })
const said = await client.documents.open("d").then(
  ({ doc }) => doc.getText("content").constructor.name && "open",
  ({ code, message }) => `${code} ${message}`,
)
globalThis.console.log(said)
globalThis.process.exit()
"""


def project(folder: Path, *packages: str) -> Path:
    """A folder in which the client is installed as npm would: what it needs, and ``packages``."""
    modules = folder / "node_modules"
    for name in ("@lumenize/client", "@msgpack/msgpack", "idb", *packages):
        source = (JS / "node_modules" / name).resolve()
        shutil.copytree(source, modules / name, ignore=shutil.ignore_patterns("node_modules", "src", "test*"))
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "main.js").write_text(PAGE)
    return folder


def bundle(bundler: str, folder: Path) -> tuple[list[str], str]:
    """The bundler's warnings, and the output of the page."""
    file = folder / "dist" / "page.mjs"
    command: list[Any] = [machine.node(), JS / "tests" / "bundle.mjs", bundler, folder, file]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([machine.node(), file], capture_output=True, text=True, check=False, cwd=folder, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return json.loads(built.stdout.splitlines()[-1]), ran.stdout.strip()


@pytest.mark.parametrize("bundler", ["vite", "webpack", "esbuild"])
def test_a_page_is_built_without_the_packages_of_documents(bundler: str, tmp_path: Path) -> None:
    warnings, said = bundle(bundler, project(tmp_path))
    assert said.startswith("INVALID_REQUEST documents need the packages yjs, y-protocols and lib0")
    # webpack names each optional package that is not there; nothing else is worth a warning
    assert not [text for text in warnings if "Can't resolve" not in text]


@pytest.mark.parametrize("bundler", ["vite", "webpack", "esbuild"])
def test_a_page_with_documents_carries_what_they_need(bundler: str, tmp_path: Path) -> None:
    warnings, said = bundle(bundler, project(tmp_path, *YJS))
    assert (warnings, said) == ([], "open")


def test_types_hold_without_the_packages_of_documents(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "use.ts").write_text(
        """
        import { LumenizeClient, type Entity } from "@lumenize/client"
        import { queryStore } from "@lumenize/client/stores"
        const client = new LumenizeClient<{ tasks: { title: string } }>()
        client.tasks.subscribe({}, (tasks) => tasks.map(({ title }) => title.toUpperCase()))
        export const kept: [Entity, ReturnType<typeof queryStore>] | null = null
        """
    )
    tsc = JS / "node_modules" / "typescript" / "bin" / "tsc"
    options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2023,dom", "--module", "nodenext", "use.ts"]
    done = subprocess.run([machine.node(), tsc, *options], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
