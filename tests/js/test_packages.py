"""The packages as those who install them get them: what is in them, what a page carries, whether types resolve."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import machine

JS = Path(__file__).parents[2] / "js"
PACKAGES = ("client", "react", "svelte", "vue")
ROOM = 0.75
"""How far, in KB, a size may be from what the README says."""


@pytest.fixture(scope="module")
def sizes() -> dict[str, Any]:
    done = subprocess.run([machine.node(), JS / "sizes.mjs"], cwd=JS, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def later(sizes: dict[str, Any], part: str) -> int:
    """The size of what is loaded later and holds a module of this name."""
    chunks = [each["size"] for each in sizes["client"]["later"] if any(part in module for module in each["modules"])]
    assert len(chunks) == 1, part
    return int(chunks[0])


def test_the_readme_says_what_a_page_carries(sizes: dict[str, Any]) -> None:
    rows = re.findall(r"^\| (.+) \| (\d+) \|$", (JS / "README.md").read_text(), re.MULTILINE)
    said = {name.split(",")[0].strip("`"): int(size) for name, size in rows}
    measured = {
        "LumenizeClient": sizes["client"]["entry"],
        "the cause of a failed connection": later(sizes, "diagnosis.js"),
        "persist": later(sizes, "persist/keeper.js"),
        "MessagePack": later(sizes, "@msgpack"),
        "documents": later(sizes, "documents.js"),
        **{f"@lumenize/{name}": sizes[name]["entry"] for name in ("react", "svelte", "vue")},
    }
    assert said.keys() == measured.keys()
    for name, size in measured.items():
        assert abs(size / 1000 - said[name]) <= ROOM, f"js/README.md: {name} is {size / 1000:.1f} KB"


def test_a_page_carries_no_more_than_it_uses(sizes: dict[str, Any]) -> None:
    assert sizes["client"]["entry"] <= 17_050
    assert sizes["everything"]["entry"] <= 18_300
    assert sizes["one"]["entry"] <= 1000
    carried = sizes["client"]["modules"]
    assert not [module for module in carried if re.search("msgpack|documents|store|persist|idb", module)]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_holds_what_is_needed_to_use_it_and_nothing_else(name: str) -> None:
    folder = JS / name
    (packed,) = json.loads(machine.npm("pack", "--dry-run", "--json", cwd=folder).stdout)
    files = {each["path"] for each in packed["files"]}
    built = {source.relative_to(folder / "src").with_suffix("") for source in (folder / "src").rglob("*.ts*")}
    modules = {f"dist/{each}{ending}" for each in built for ending in (".js", ".d.ts")}
    assert files == modules | {"package.json", "LICENSE", "README.md"}
    assert (folder / "LICENSE").read_text() == (JS.parent / "LICENSE").read_text()
    said = json.loads((folder / "package.json").read_text())
    for paths in said["exports"].values():
        assert {path.removeprefix("./") for path in paths.values()} <= files
    # browsers need no other: frameworks, Yjs and `ws` are what the application has
    assert said.get("dependencies", {}).keys() <= {"@msgpack/msgpack", "idb"}
    assert said["sideEffects"] is False


def test_node_can_import_each_package(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    names = ["@lumenize/client", "@lumenize/client/stores", "@lumenize/client/documents"]
    names += [f"@lumenize/{name}" for name in PACKAGES[1:]]
    script = tmp_path / "import.mjs"
    script.write_text(f"for (const name of {json.dumps(names)}) console.log(Object.keys(await import(name)).length)")
    done = subprocess.run([machine.node(), script], capture_output=True, text=True, check=True)
    assert len(done.stdout.split()) == len(names)
    assert all(int(count) > 0 for count in done.stdout.split())


@pytest.mark.parametrize("resolution", ["nodenext", "bundler"])
def test_types_resolve_as_node_and_as_bundlers_look_for_them(resolution: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "use.ts").write_text(
        """
        import { LumenizeClient, type Entity } from "@lumenize/client"
        import type { QueryState } from "@lumenize/client/stores"
        import { OpenDocument } from "@lumenize/client/documents"
        import { useLumenizeSubscription } from "@lumenize/react"
        import { lumenizeSubscription } from "@lumenize/svelte"
        import * as vue from "@lumenize/vue"
        const client = new LumenizeClient<{ tasks: { title: string } }>()
        client.tasks.subscribe({}, (tasks) => tasks.map(({ title }) => title.toUpperCase()))
        export const kept: [Entity, QueryState<object>, OpenDocument] | null = null
        export const all = [useLumenizeSubscription, lumenizeSubscription, vue.useLumenizeSubscription]
        // @ts-expect-error: the types are there, and strict
        client.tasks.subscribe({}, (tasks) => tasks.map(({ title }) => title.nope()))
        """
    )
    module = "nodenext" if resolution == "nodenext" else "esnext"
    options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--lib", "es2023,dom"]
    tsc = JS / "node_modules" / "typescript" / "bin" / "tsc"
    command: list[str | Path] = [
        machine.node(),
        tsc,
        *options,
        "--module",
        module,
        "--moduleResolution",
        resolution,
        "use.ts",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
