"""One word, one thing: a type name says which class is meant."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import collab
import collab.client

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("collab/**/*.py"), *ROOT.glob("presence/**/*.py")])

# Messages bear the names of their protocol: RFC 6455, y-protocols, Hocuspocus, ours, that of HTTP, that of the sandbox.
MESSAGES = {
    "collab/transport/frames.py",
    "collab/wire/yjs.py",
    "collab/wire/hocuspocus.py",
    "collab/wire/realtime/messages.py",
    "collab/wire/realtime/values.py",
    "collab/server/http/api/bodies.py",
    "collab/sandbox/messages.py",
}


def type_names(path: Path) -> Iterator[str]:
    """Public classes and aliases that a file defines."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            continue
        yield from (name for name in names if name[0].isupper() and not name.isupper())


def test_a_type_name_is_defined_once() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        for name in type_names(path):
            places[name].add(path.relative_to(ROOT).as_posix())
    # the server's API and the client's call the same things by the same names
    twins = set(collab.__all__) & set(collab.client.__all__)
    twice = {name: found - MESSAGES for name, found in places.items() if len(found - MESSAGES) > 1}
    assert {name: found for name, found in twice.items() if name not in twins} == {}


def test_only_public_names_are_also_those_of_a_message() -> None:
    messages = {name for path in MESSAGES for name in type_names(ROOT / path)}
    others = {
        name for path in SOURCES if path.relative_to(ROOT).as_posix() not in MESSAGES for name in type_names(path)
    }
    public = {*collab.__all__, *collab.client.__all__, "Analytics", "Person", "Presence", "System", "Token"}
    assert messages & others - public == set()


def test_file_names_of_a_folder_do_not_differ_by_an_s() -> None:
    names = {path.relative_to(ROOT).with_suffix("").as_posix() for path in SOURCES}
    assert {name for name in names if f"{name}s" in names} == set()
