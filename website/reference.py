"""Reference pages: Python's from the docstrings, TypeScript's from what TypeDoc writes. Pure."""

from __future__ import annotations

import ast
import posixpath
import re

PACKAGES = {
    "collab": "The server, as an application that you start or mount.",
    "collab.client": "The client. It needs `pip install 'lumenize-collab[client]'`.",
    "collab.django": "The server in a Django project. It needs `pip install 'lumenize-collab[django]'`.",
    "presence": "Presence of people in rooms, without the rest.",
}
"""Packages that users import from, and what their page says first."""
INHERITING = {"Collab", "LumenizeClient", "SessionHooks"}
"""Classes whose inherited methods are on their page: their bases are not offered, or not of interest."""
_MODULE = re.compile(r"(client|react|svelte|vue)/src(?:/(stores|documents)(?:-\d+)?)?\.md")
_LINK = re.compile(r"(?<=\]\()([^)#\s]+\.md)")


def homes(source: str) -> dict[str, str]:
    """Where each name is defined that a package, whose ``__init__.py`` is ``source``, offers."""
    offered: list[str] = []
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            offered = ast.literal_eval(node.value)
    return {name: found[name] for name in offered}


def python_page(package: str, source: str) -> str:
    """The page of a package."""
    parts = [f"# {package}", PACKAGES[package], f"```python\nfrom {package} import …\n```"]
    for name, home in homes(source).items():
        parts.append(f"::: {home}" + ("\n    options:\n      inherited_members: true" if name in INHERITING else ""))
    return "\n\n".join(parts) + "\n"


def typescript_place(path: str) -> str:
    """The name of the page that TypeDoc calls ``path``.

    Raises:
        LookupError: it is none of the entries of our packages.
    """
    found = _MODULE.fullmatch(path)
    if found is None:
        raise LookupError(path)
    return "-".join(part for part in found.groups() if part) + ".md"


def typescript_page(path: str, text: str) -> str:
    """A page of TypeDoc, with the name that users import, and links to the pages' places."""

    def target(found: re.Match[str]) -> str:
        return typescript_place(posixpath.normpath(posixpath.join(posixpath.dirname(path), found[0])))

    name = "@lumenize/" + typescript_place(path).removesuffix(".md").replace("-", "/")
    lines = text.split("\n")
    lines[0] = f"# {name}"
    return _LINK.sub(target, "\n".join(lines))
