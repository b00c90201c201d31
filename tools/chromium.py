"""A headless Chromium from an npm package, for machines without one."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.machine import CACHE, node, node_environment, npm_command
from tools.progress import Command, Progress

CHROMIUM_PACKAGE = "@sparticuz/chromium@147.0.0"  # the newest that supports Node 20


def unpack_chromium(progress: Progress, target: Path) -> None:
    """Install the Chromium of an npm package into ``target``: for Linux on x86-64, without root."""
    package = CACHE / "chromium-package"
    package.mkdir(parents=True, exist_ok=True)
    (package / "package.json").write_text("{}")
    install = [*npm_command(), "install", "--ignore-scripts", "--no-audit", "--no-fund", CHROMIUM_PACKAGE]
    unpack = (
        "const fs = require('fs'), [from, to] = process.argv.slice(1);"
        "const brotli = require('zlib').createBrotliDecompress();"
        "const {pipeline} = require('stream/promises');"
        "pipeline(fs.createReadStream(from), brotli, fs.createWriteStream(to));"
    )
    packed = package / "node_modules" / "@sparticuz" / "chromium" / "bin"
    fresh = CACHE / "chromium-new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    parts = ("chromium", "al2023.tar", "fonts.tar", "swiftshader.tar")
    unpacks: list[Command] = []
    for part in parts:
        unpacks.append([node(), "-e", unpack, packed / f"{part}.br", fresh / part])
        if part.endswith(".tar"):
            unpacks.append(["tar", "-xf", fresh / part, "-C", fresh])
    progress.run(
        "Chromium",
        install,
        *unpacks,
        cwd=package,
        env=node_environment(),
    )
    for name in parts[1:]:
        (fresh / name).unlink()
    (fresh / "chromium").chmod(0o755)
    (fresh / "fonts.conf").write_text(
        "<fontconfig><dir>/usr/share/fonts</dir>"
        f"<dir>{target / 'fonts'}</dir><cachedir>{target / 'fonts-cache'}</cachedir></fontconfig>"
    )
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    shutil.rmtree(package)
