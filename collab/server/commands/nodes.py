"""``collab nodes``: who uses a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

import click

from collab.dates import iso
from collab.server.commands.answers import encode, json_option, run, table
from collab.server.commands.where import record_options
from collab.server.options import load_settings

_COLUMNS = ("NODE", "NAME", "VERSION", "STARTED", "BEATS", "STATE", "ROOMS", "URL")


@click.command()
@json_option(lines=True)
@record_options
def nodes(as_json: bool, config: Path | None, **where: str | None) -> None:
    """List the nodes of a PostgreSQL database: each server that has used it is one.

    A server that lives beats once a second. It is dead once it has stopped, or another one has taken its place.

    Exit status: 0, or 1 if the database cannot be read.
    """
    from collab.server.offline import read_nodes

    found = run(read_nodes(load_settings(config, where)))
    if as_json:
        for node in found:
            click.echo(encode({**node._asdict(), "started": iso(node.started)}))
        return
    rows = [
        (
            str(node.nid),
            node.name,
            node.version,
            iso(node.started),
            str(node.beats),
            "dead" if node.dead else "alive",
            str(node.rooms),
            node.url or "-",
        )
        for node in found
    ]
    click.echo(table(_COLUMNS, rows))
