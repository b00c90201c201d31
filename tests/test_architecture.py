"""The rules of docs/architecture.md that a machine can hold."""

import ast
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import collab

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("collab/**/*.py"), *ROOT.glob("presence/**/*.py")])

# What stands here may import what stands at its right, and itself.
ORDER = [
    *("django", "server", "cluster", "realtime", "records", "consumers", "rooms", "entities", "sandbox"),
    *("richtext", "contents"),
    *("testing", "storage", "bus", "hooks", "access", "query"),
]
# These import nothing of collab but ``BOTTOM``, and ``transport`` not even that.
GROUND = {"wire", "gate", "transport"}
BOTTOM = {
    *("errors", "jsonable", "json_values", "names", "nearest", "metrics", "refusals", "event", "dates", "turns"),
    *("lazy", "project_names", "tasks", "tracing"),
}
CLIENT_MAY = {"client", "wire", "query", *BOTTOM}
ENTRANCES = {"__init__", "__main__"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, those for type checkers alone included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{path} imports by a relative name"
            assert not node.level, f"{path} imports by a relative name"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name


IMPORTS = {module: {*imports(path)} - {module} for module, path in MODULES.items()}


def test_names_are_imported_from_where_they_are_defined() -> None:
    """Only a package exports names of others. For other modules mypy refuses what neither of these two exports."""
    for path in SOURCES:
        if path.name != "__init__.py":
            for node in ast.walk(ast.parse(path.read_text())):
                assert not (isinstance(node, ast.alias) and node.name == node.asname), f"{path} exports {node.name}"
                assert not (isinstance(node, ast.Name) and node.id == "__all__"), f"{path} exports names"


def assert_no_circle(graph: Mapping[str, Set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_every_folder_has_its_floor() -> None:
    known = {*ORDER, *GROUND, *BOTTOM, *ENTRANCES, "client"}
    assert {
        path.relative_to(ROOT).with_suffix("").parts[1] for path in SOURCES if path.parts[-2] != "presence"
    } == known


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    relative = path.relative_to(ROOT).with_suffix("")
    mine = relative.parts[1]
    for module in IMPORTS[module_of(path)]:
        parts = module.split(".")
        if relative.parts[0] == "presence":
            assert parts[0] != "collab", f"presence stands alone, but imports {module}"
        elif parts[0] == "collab" and mine not in ENTRANCES:
            assert len(parts) > 1, f"{relative} imports from all of collab"
            if mine == "transport":
                assert parts[1] == mine, f"transport stands alone, but imports {module}"
            elif mine in GROUND:
                assert parts[1] in {mine, *BOTTOM}, f"{mine} stands on the ground, but imports {module}"
            elif mine in BOTTOM:
                assert parts[1] in BOTTOM, f"{mine} stands at the bottom, but imports {module}"
            elif mine == "client":
                assert parts[1] in CLIENT_MAY, f"the client stands alone, but imports {module}"
            elif parts[1] not in GROUND | BOTTOM:
                assert ORDER.index(mine) <= ORDER.index(parts[1]), f"{mine} is below {module}"


def test_no_files_import_each_other_in_a_circle() -> None:
    assert_no_circle({module: found & MODULES.keys() for module, found in IMPORTS.items()})


@pytest.mark.parametrize("folder", sorted({module.rpartition(".")[0] for module in MODULES if "." in module}))
def test_the_parts_of_a_folder_import_each_other_in_no_circle(folder: str) -> None:
    """A part is a file or a folder. Two folders may import each other where no two files do."""
    graph: dict[str, set[str]] = {}
    prefix = f"{folder}."
    for module in MODULES:
        if module.startswith(prefix):
            part = module.removeprefix(prefix).partition(".")[0]
            found = {each.removeprefix(prefix).partition(".")[0] for each in IMPORTS[module] if each.startswith(prefix)}
            graph.setdefault(part, set()).update(found - {part})
    assert_no_circle(graph)


JS_SOURCES = sorted(
    path for kind in ("ts", "tsx", "svelte", "vue") for path in ROOT.glob(f"js/*/src/**/*.{kind}") if path.is_file()
)
JS_IMPORT = re.compile(r"""\b(?:from|import)\s*\(?\s*["'](\.[^"']*)["']""")


def js_imports(path: Path) -> Iterator[Path]:
    """The files of ours that a file imports; those for types alone included."""
    for name in JS_IMPORT.findall(path.read_text()):
        target = (path.parent / name.partition("?")[0]).resolve()
        found = [target, target.with_suffix(".ts"), target.with_suffix(".tsx")]
        yield from [each for each in found if each in JS_SOURCES][:1]


def test_no_files_of_the_packages_import_each_other_in_a_circle() -> None:
    graph = {
        str(path.relative_to(ROOT)): {str(each.relative_to(ROOT)) for each in js_imports(path)} for path in JS_SOURCES
    }
    assert {"js/client/src/core.ts", "js/client/src/client.ts"} <= graph["js/client/src/shared-store.ts"]
    assert_no_circle(graph)


def test_the_document_names_files_that_are_there_and_each_folder() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    files = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(files) > 50
    assert not [name for name in files if not any((folder / name).is_file() for folder in (ROOT / "collab", ROOT))]
    folders = {str(path.parent.relative_to(ROOT / "collab")) for path in ROOT.glob("collab/*/**/__init__.py")}
    assert folders == {name.rstrip("/") for name in re.findall(r"`([\w/]+/)`", text)} - {"presence", "collab"}


@pytest.mark.parametrize("name", ["wire", "gate", "access", "query", "contents", "rooms/live"])
def test_what_decides_never_waits(name: str) -> None:
    for path in ROOT.glob(f"collab/{name}/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Await | ast.AsyncFunctionDef), f"{path.name} waits"


@pytest.mark.filterwarnings("default:.*lines")
def test_a_file_of_more_than_500_lines_draws_a_warning() -> None:
    for path in SOURCES:
        if (lines := len(path.read_text().splitlines())) > 500:
            warnings.warn(f"{path.relative_to(ROOT)} has {lines} lines: does it hold more than one idea?", stacklevel=1)


@pytest.mark.parametrize("name", collab.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = getattr(collab, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__, f"collab.{name} has no docstring"
    if inspect.isclass(value):
        for member, function in vars(value).items():
            if inspect.isfunction(function) and not member.startswith("_"):
                assert function.__doc__, f"collab.{name}.{member} has no docstring"
