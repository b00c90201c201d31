"""Where a file of the repository is in the site, and how its links are written there. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

SECTIONS = {
    "README.md": None,  # the site has a home of its own, docs/index.md
    "bench/results/README.md": "numbers/index.md",
    "bench/README.md": "numbers/editing.md",
    "bench/record/README.md": "numbers/applications.md",
    "bench/cluster/README.md": "numbers/cluster.md",
    "js/README.md": "reference/javascript/index.md",
    "js/client/README.md": "reference/javascript/client.md",
    "js/react/README.md": "reference/javascript/react.md",
    "js/svelte/README.md": "reference/javascript/svelte.md",
    "js/vue/README.md": "reference/javascript/vue.md",
    "examples/README.md": "examples/index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
"""Pages outside of ``docs/`` that have a place of their own."""
_FOLDERS = (("docs/", ""), ("bench/results/", "numbers/"))
_SOURCES = re.compile(r"(?:examples|docker)/[\w.-]+|LICENSE")
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})")
_ANCHOR = re.compile(r'<a id="([^"]+)">')
_HEADING = re.compile(r"(#{1,6}) +(.+?) *")
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=[)\s])")
_MARKED_FENCE = re.compile(r"^( *```+\w+) +[\w-]+$")


def place(path: str) -> str | None:
    """The path in the site of a file of the repository; None if the site does not have it.

    Sources that pages link to (examples, files for containers) become pages that show them.
    """
    if path in SECTIONS:
        return SECTIONS[path]
    for folder, target in _FOLDERS:
        if path.startswith(folder):
            return target + path.removeprefix(folder)
    if _SOURCES.fullmatch(path):
        return f"sources/{path.replace('.', '-').lower()}.md"
    return None


def rewritten(text: str, path: str, repository: str, exists: Callable[[str], bool]) -> str:
    """The text of the page ``path``, with links that work in the site.

    A link to a file that the site does not have leads to ``repository``. Code is left alone, but for the names of
    snippets behind the language of a fence, which only our tests read.

    Raises:
        LookupError: a link leads to no file for which ``exists``.
    """
    here = place(path)
    assert here is not None, path

    def target(found: re.Match[str]) -> str:
        link, _, anchor = found[0].partition("#")
        if not link or re.match(r"[a-z]+:", link):
            return found[0]
        linked = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        if not exists(linked):
            raise LookupError(f"{path}: {found[0]}")
        there = place(linked) or place(f"{linked}/README.md")
        if linked == "README.md":
            there = "index.md"
        if there is None:
            return f"{repository}/blob/HEAD/{linked}"
        relative = posixpath.relpath(there, posixpath.dirname(here) or ".")
        return f"{relative}#{anchor}" if anchor else relative

    lines, fence = [], ""
    for line in text.split("\n"):
        if found := _FENCE.match(line):
            if not fence:
                fence = found[2]
                line = _MARKED_FENCE.sub(r"\1", line)
            elif line.strip().startswith(fence):
                fence = ""
        elif not fence:
            line = _LINK.sub(target, line)
        lines.append(line)
    return "\n".join(lines)


def with_anchors(text: str) -> str:
    """The text of a page, each heading with the anchor that GitHub gives it: those of repeated titles get numbers."""
    met: dict[str, int] = {}
    lines, fence = [], ""
    for line in text.split("\n"):
        if found := _FENCE.match(line):
            fence = "" if fence and line.strip().startswith(fence) else fence or found[2]
        elif not fence and (title := _HEADING.fullmatch(line)):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title[2]).replace("\\", "")
            anchor = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
            count = met[anchor] = met.get(anchor, -1) + 1
            line = f"{title[1]} {title[2]} {{ #{anchor}{f'-{count}' if count else ''} }}"
        elif not fence:  # TypeDoc counts its own anchors, too
            met |= {anchor: met.get(anchor, 0) for anchor in _ANCHOR.findall(line)}
        lines.append(line)
    return "\n".join(lines)


def source_page(path: str, text: str) -> str:
    """A page that shows a source file."""
    language = {"py": "python", "yaml": "yaml", "sh": "sh", "json": "json", "Caddyfile": "text"}
    kind = language.get(path.rpartition(".")[2], "docker" if "Dockerfile" in path else "text")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n````{kind}\n{text.rstrip()}\n````\n"
