"""``collab doctor``: what may be wrong, and what to do."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import click

from collab.server.commands.answers import FAILED, encode, run
from collab.server.config.load import CONFIG, SECRET_FILES, secrets_in
from collab.server.config.settings import Settings
from collab.server.doctor.finding import Finding
from collab.server.options import SettingsCommand, load_settings


@click.command(cls=SettingsCommand)
@click.option("--url", metavar="URL", help="Also ask the running server at this public address, through its proxies.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def doctor(config: Path | None, url: str | None, as_json: bool, **flags: Any) -> None:
    """Look for what may be wrong with settings, record, clock and proxies, and say what to do.

    The server may be running.

    Takes the same options as `serve`: give those with which you serve. Open doors such as no credentials, weak secrets,
    or pages of all origins are among what it looks for. It changes nothing and prints no secret.

    Exit status: 0 if nothing is wrong (there may be notes), 1 if something is, 2 if the settings are invalid.
    """
    settings = load_settings(config, flags)
    found = run(_examine(settings, config, url))
    wrong = [finding for finding in found if finding.level == "wrong"]
    if as_json:
        click.echo(encode({"ok": not wrong, "findings": [finding._asdict() for finding in found]}))
    else:
        for finding in sorted(found, key=lambda each: each.level != "wrong"):
            mark = "WRONG" if finding.level == "wrong" else "note"
            click.echo(f"{mark:<6}{finding.area}: {finding.what}\n      -> {finding.advice}")
        notes = len(found) - len(wrong)
        click.echo(f"{len(wrong)} wrong, {notes} {'note' if notes == 1 else 'notes'}" if found else "nothing is wrong")
    if wrong:
        sys.exit(FAILED)


async def _examine(settings: Settings, config: Path | None, url: str | None) -> list[Finding]:
    from collab.server.doctor.address_checks import check_address
    from collab.server.doctor.record_checks import check_record
    from collab.server.doctor.settings_checks import check_settings

    found = [*_files(config), *check_settings(settings), *await check_record(settings, time)]
    if url is not None:
        found += await check_address(url, settings, time)
    return found


def _files(config: Path | None) -> Iterator[Finding]:
    """Files with secrets that everybody on the machine may read. A group may: it can be that of the server."""
    secrets = [Path(os.environ[name]) for name in SECRET_FILES if os.environ.get(name)]
    configs = [config] if config is not None else [Path(os.environ[CONFIG])] if os.environ.get(CONFIG) else []
    for config in configs:
        holds, named = secrets_in(config)
        secrets += [config] if holds else []
        secrets += named
    for path in dict.fromkeys(secrets):
        if path.exists() and path.stat().st_mode & stat.S_IRWXO:
            yield Finding("wrong", "secrets", f"other users may read {path}, which holds secrets", f"chmod o= {path}")
