"""``collab erase``: forget an entity for good."""

from __future__ import annotations

from pathlib import Path

import click

from collab.names import DEFAULT_PROJECT, parse_name
from collab.server.commands.answers import json_option, run, say
from collab.server.commands.where import record_options, take_over_option
from collab.server.options import load_settings


@click.command()
@click.argument("name", metavar="COLLECTION/ID")
@click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="Project (tenant) of the entity.")
@take_over_option("Erase")
@json_option()
@record_options
def erase(name: str, project: str, take_over: bool, as_json: bool, config: Path | None, **where: str | None) -> None:
    """Erase an entity and its document permanently. The server must be stopped.

    Deletes log, snapshots, history, events and dead letters, and rewrites the database. For a running server, send
    DELETE /api/v1/collections/COLLECTION/ID?erase=true instead.

    Exit status: 0 if it is erased, 1 if nothing was.
    """
    from collab.server.offline import erase_offline  # the other commands do not need it

    settings = load_settings(config, where)

    async def work() -> tuple[str, int]:
        key = parse_name(project, name)
        return key.name, await erase_offline(settings, key, takes_over=take_over)

    erased, count = run(work())
    text = f"erased {erased}" + (f" and {count - 1} entities inside it" if count > 1 else "")
    say(text, {"erased": erased, "project": project, "entities": count}, as_json=as_json)
