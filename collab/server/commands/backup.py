"""``collab backup`` and ``collab restore``."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic, time

import click

from collab.server.commands.answers import RESERVED, json_option, run, say
from collab.server.commands.where import record_options, take_over_option
from collab.server.options import load_settings
from collab.storage.copying import CopyProgress
from collab.storage.location import shown


@click.command()
@click.argument("target", metavar="TO")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@json_option()
@record_options
def backup(target: str, force: bool, as_json: bool, config: Path | None, **where: str | None) -> None:
    """Write a backup of the record to the file TO. The server may be running.

    If TO is a folder, the backup gets a name with the time, like collab-20261129T120000Z.db. It holds the record of one
    moment, with every edit acknowledged before: documents, history, entities, events, webhooks. It is one SQLite file,
    of a PostgreSQL record too, and has its name only once it is whole, compared with its checksums, and on the disk.
    `collab restore` puts it back, into a folder or a PostgreSQL database. Who can read the file can read all projects.

    Exit status: 0 if the backup is good, 3 if the record holds damaged content, which is named and kept as it is, 1 if
    there is no backup.
    """
    from collab.server.backups import back_up, backup_path
    from collab.server.progress import ProgressReport, how_far, how_many

    settings = load_settings(config, where)
    began = monotonic()

    async def work(report: ProgressReport) -> tuple[Path, CopyProgress]:
        path = backup_path(target, time(), replaces=force)
        return path, await back_up(
            settings.location,
            path,
            copied=lambda done, total: report.show(how_many(done, total, "pages")),
            moved=lambda progress: report.show(how_far(progress)),
            damaged=lambda damage: report.say(f"Damaged: {damage}"),
        )

    with ProgressReport(sys.stderr) as report:
        path, done = run(work(report))
    _tell("backed up", done, str(path.absolute()), monotonic() - began, path.stat().st_size, as_json=as_json)


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the record that is there.")
@take_over_option("Restore")
@json_option()
@record_options
def restore(
    source: Path, force: bool, take_over: bool, as_json: bool, config: Path | None, **where: str | None
) -> None:
    """Make the backup FROM the record. The server must be stopped.

    All of the backup is read and compared with its checksums before anything is changed. The record gets a new epoch,
    so that clients read everything again: events after the backup are not in it, and their positions will be those of
    other events. Edits that clients still hold come back when they connect.

    Exit status: 0 if the backup is the record now, 3 if it is and some of it was damaged, which is named, 1 if nothing
    was changed.
    """
    from collab.server.backups import restore as restore_record
    from collab.server.progress import ProgressReport, how_far, how_many

    settings = load_settings(config, where)
    began = monotonic()
    with ProgressReport(sys.stderr) as report:
        done = run(
            restore_record(
                source,
                settings.location,
                replaces=force,
                takes_over=take_over,
                copied=lambda pages, total: report.show(how_many(pages, total, "pages")),
                moved=lambda progress: report.show(how_far(progress)),
                damaged=lambda damage: report.say(f"Damaged: {damage}"),
            )
        )
    place = shown(settings.location)
    _tell("restored", done, place, monotonic() - began, source.stat().st_size, as_json=as_json)


def _tell(what: str, done: CopyProgress, to: str, seconds: float, size: int, *, as_json: bool) -> None:
    from collab.server.progress import summary

    say(
        f"{what} {summary(done)} in {seconds:.1f} s to {to}",
        {
            "to": to,
            "documents": done.documents,
            "entities": done.entities,
            "events": done.events,
            "bytes": size,
            "damaged": done.damaged,
            "seconds": round(seconds, 3),
        },
        as_json=as_json,
    )
    if done.damaged:
        click.echo(
            f"Warning: {done.damaged} of the parts do not match their checksums and are named above. The server refuses"
            " to load them.",
            err=True,
        )
        sys.exit(RESERVED)
