"""Build the documentation site: `python -m website.build [--serve]`. `python3 dev.py docs` installs what it needs.

The pages are copied to `.cache/site/pages`, with links that work in the site, and built to `.cache/site/html`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tools.machine import CACHE, ROOT, node, node_environment
from website.links import SECTIONS, place, rewritten, source_page, with_anchors
from website.reference import PACKAGES, python_page, typescript_page, typescript_place

SOURCE = ROOT / "website"
STAGE = CACHE / "site"
HTML = STAGE / "html"
_PICTURES = (".svg", ".jpg", ".png")


def repository() -> str:
    """The address of the repository, without a slash at the end."""
    urls: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    return urls["Repository"].rstrip("/")


def sources() -> list[str]:
    """Files of the repository that are pages or pictures of the site, as paths."""
    files = [*(ROOT / "docs").rglob("*"), *(ROOT / "bench" / "results").iterdir()]
    files += [*(ROOT / "examples").glob("*.py"), *(ROOT / "docker").iterdir(), ROOT / "LICENSE"]
    paths = [path.relative_to(ROOT).as_posix() for path in files if path.is_file() and path.suffix != ".json"]
    paths += ["docker/grafana-dashboard.json", *(path for path, there in SECTIONS.items() if there)]
    return sorted({path for path in paths if place(path) is not None})


def stage(pages: Path) -> None:
    """Write all pages, but those of TypeScript, into an empty folder."""
    address = repository()
    for path in sources():
        there, file = pages / str(place(path)), ROOT / path
        there.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in _PICTURES:
            shutil.copyfile(file, there)
        elif file.suffix == ".md":
            text = rewritten(file.read_text(), path, address, lambda linked: (ROOT / linked).exists())
            there.write_text(with_anchors(text))
        else:
            there.write_text(source_page(path, file.read_text()))
    python = pages / "reference" / "python"
    python.mkdir(parents=True)
    for package in PACKAGES:
        code = (ROOT / package.replace(".", "/") / "__init__.py").read_text()
        (python / f"{package.rpartition('.')[2]}.md").write_text(python_page(package, code))
    shutil.copyfile(SOURCE / "style.css", pages / "style.css")


def stage_typescript(pages: Path, made: Path) -> None:
    """Have TypeDoc write the reference of our npm packages."""
    typedoc = SOURCE / "node_modules" / "typedoc" / "bin" / "typedoc"
    command: list[str | Path] = [node(), typedoc, "--logLevel", "Warn", "--out", made]
    subprocess.run(command, cwd=SOURCE, env=node_environment(), check=True)
    target = pages / "reference" / "typescript"
    target.mkdir(parents=True)
    for file in made.rglob("*.md"):
        path = file.relative_to(made).as_posix()
        if path != "README.md":
            (target / typescript_place(path)).write_text(with_anchors(typescript_page(path, file.read_text())))


def build(*, serve: bool = False) -> None:
    """Build the site, or show it and build it again on each change of its pages.

    Raises:
        subprocess.CalledProcessError: a page has a link that leads nowhere; what the command printed says which.
    """
    pages = STAGE / "pages"
    shutil.rmtree(STAGE, ignore_errors=True)
    pages.mkdir(parents=True)
    stage(pages)
    stage_typescript(pages, STAGE / "typedoc")
    shutil.copyfile(SOURCE / "zensical.toml", STAGE / "zensical.toml")
    command = ["serve"] if serve else ["build", "--clean", "--strict"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # for website.roles
    subprocess.run([sys.executable, "-m", "zensical", *command], cwd=STAGE, env=environment, check=True)


if __name__ == "__main__":
    build(serve="--serve" in sys.argv[1:])
