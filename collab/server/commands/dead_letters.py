"""``collab dead-letters``: what a webhook did not accept."""

from __future__ import annotations

from pathlib import Path

import click

from collab.dates import iso
from collab.server.commands.answers import encode, run
from collab.server.commands.where import record_options
from collab.server.options import load_settings


@click.command("dead-letters")
@click.argument("webhook")
@record_options
def dead_letters(webhook: str, config: Path | None, **where: str | None) -> None:
    """List the events not delivered to WEBHOOK, oldest first, one JSON object per line. The server may be running.

    Exit status: 0, or 1 if the record cannot be read.
    """
    from collab.server.offline import read_dead_letters

    for letter in run(read_dead_letters(load_settings(config, where), webhook)):
        row = {"at": iso(letter.at), "project": letter.project, "reason": letter.reason, "event": letter.event}
        click.echo(encode(row))
