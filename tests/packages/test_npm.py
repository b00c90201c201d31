"""The npm packages, installed into an empty project, are used by Node and by the compiler there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.server import Server
from tests.packages.npm import JS, install, run, words

_USE = """
  const client = new LumenizeClient({{ url: process.env.COLLAB_URL }})
  await client.connect()
  const {{ id }} = await client.tasks.create({{ title: "{title}" }})
  const {{ doc }} = await client.documents.open("doc")
  doc.getText("content").insert(0, "!")
  const found = await client.tasks.findById(id)
  await client.disconnect()
  console.log(found.title, doc.getText("content").length > 0)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, packed: list[Path]) -> Path:
    """An empty project that has installed all four packages, and what they need."""
    project = tmp_path_factory.mktemp("project")
    (project / "package.json").write_text('{"private": true}')
    install(
        project,
        *packed,
        "ws@8",
        "yjs@13",
        "y-protocols@1",
        "lib0@0.2",
        "react@19",
        "@types/react@19",
        "svelte@5",
        "vue@3",
    )
    return project


def test_an_ecmascript_module_imports_them(project: Path, server: Server) -> None:
    script = project / "use.mjs"
    script.write_text(f'import {{ LumenizeClient }} from "@lumenize/client"\n{_USE.format(title="module")}')
    assert words(run(project, script, COLLAB_URL=server.http)) == ["module", "true"]


def test_a_commonjs_script_imports_them(project: Path, server: Server) -> None:
    script = project / "use.cjs"
    script.write_text(
        f"""(async () => {{
          const {{ LumenizeClient }} = await import("@lumenize/client")
          const names = await Promise.all(["react", "svelte", "vue"].map((name) => import(`@lumenize/${{name}}`)))
          if (names.some((each) => Object.keys(each).length === 0)) throw new Error("empty")
          {_USE.format(title="commonjs")}
        }})()"""
    )
    assert words(run(project, script, COLLAB_URL=server.http)) == ["commonjs", "true"]


def test_a_commonjs_script_requires_them_where_node_can(project: Path) -> None:
    script = project / "require.cjs"
    script.write_text(
        """
        const able = process.features.require_module === true
        console.log(able ? typeof require("@lumenize/client").LumenizeClient : "function")
        """
    )
    assert words(run(project, script)) == ["function"]


@pytest.mark.parametrize("resolution", ["nodenext", "bundler"])
def test_the_strict_compiler_takes_them(project: Path, resolution: str) -> None:
    use = project / f"use-{resolution}.mts"
    use.write_text(
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
        // @ts-expect-error: titles are texts
        client.tasks.subscribe({}, (tasks) => tasks.map(({ title }) => title.nope()))
        """
    )
    module = "nodenext" if resolution == "nodenext" else "esnext"
    options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2023,dom,dom.iterable", "--skipLibCheck"]
    compiler = JS / "node_modules" / "typescript" / "bin" / "tsc"
    run(project, compiler, *options, "--module", module, "--moduleResolution", resolution, use)
