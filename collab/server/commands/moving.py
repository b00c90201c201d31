"""``collab copy`` and ``collab migrate``: a record elsewhere, or in the newest schema."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic

import click

from collab.server.commands.answers import RESERVED, json_option, run, say
from collab.server.commands.where import location_argument, record_options, take_over_option
from collab.server.options import load_settings
from collab.storage.location import shown


@click.command()
@location_argument("source", "FROM")
@location_argument("target", "TO")
@take_over_option("Copy")
@json_option()
def copy(source: str, target: str, take_over: bool, as_json: bool) -> None:
    """Copy a whole record from one storage to another. The server must be stopped.

    FROM and TO are each the folder of a SQLite database, a URL like postgresql://user@host:5432/name without a
    password, or @FILE: a file that holds one of these, with a password if needed. TO must be empty; it is created if
    necessary. Versions, positions and the epoch stay the same, so clients and webhooks go on where they were. FROM is
    not changed: start no server on it again.

    If the copy fails or is interrupted, TO stays empty. Content that does not match its checksum is named, and copied
    as it is.

    Exit status: 0 if all is copied, 3 if all is copied and some of it was damaged before, 1 if nothing is copied.
    """
    from collab.server.offline import copy_offline
    from collab.server.progress import ProgressReport, how_far, summary

    began = monotonic()
    with ProgressReport(sys.stderr) as report:
        done = run(
            copy_offline(
                source,
                target,
                takes_over=take_over,
                moved=lambda progress: report.show(how_far(progress)),
                damaged=lambda damage: report.say(f"Damaged: {damage}"),
            )
        )
    seconds = monotonic() - began
    say(
        f"copied {summary(done)} in {seconds:.1f} s to {shown(target)}",
        {
            "to": shown(target),
            "documents": done.documents,
            "entities": done.entities,
            "events": done.events,
            "bytes": done.size,
            "damaged": done.damaged,
            "seconds": round(seconds, 3),
        },
        as_json=as_json,
    )
    if done.damaged:
        click.echo(
            f"Warning: {done.damaged} of the parts do not match their checksums and are named above. The copy has them "
            "as they are, and refuses to load them as the source does.",
            err=True,
        )
        sys.exit(RESERVED)


@click.command()
@take_over_option("Migrate")
@json_option()
@record_options
def migrate(take_over: bool, as_json: bool, config: Path | None, **where: str | None) -> None:
    """Bring the schema of a database to the newest version. The server must be stopped.

    A server does the same when it starts.

    Exit status: 0 if it has the newest version, 1 if it does not.
    """
    from collab.server.offline import migrate_offline

    settings = load_settings(config, where)
    version, newest = run(migrate_offline(settings, takes_over=take_over))
    place = shown(settings.location)
    say(
        f"{place} has schema version {newest}, the newest"
        if version == newest
        else f"brought {place} from schema version {version} to {newest}",
        {"at": place, "from": version, "to": newest},
        as_json=as_json,
    )
