"""The files that a guide of `docs/` has its readers write: blocks whose first line is a comment with a name."""

from __future__ import annotations

import re
from pathlib import Path

from tools.machine import ROOT

_NAME = r"[\w./-]+\.\w+|\S*Caddyfile[ \w]*?"
_BLOCK = re.compile(rf"^```\w+\n(?:#|//|<!--) ({_NAME})(?: -->)?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def files(guide: str) -> dict[str, str]:
    """The files of a guide (`start/react`) by their names, without the line that names them."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    return dict(_BLOCK.findall(text))


def write(guide: str, folder: Path, *, address: str | None = None) -> list[Path]:
    """Write the files of a guide; ``address`` replaces that of the server. Returns where they are."""
    written = []
    for name, code in files(guide).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code if address is None else code.replace("127.0.0.1:8000", address))
        written.append(path)
    return written


def commands(guide: str, program: str) -> list[str]:
    """The commands of a guide that begin with a program, without the prompt."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    return re.findall(rf"^\$ ((?:sudo )?{program}\b.*)$", text, re.MULTILINE)
