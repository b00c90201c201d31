"""``collab export`` and ``collab import``: entities and their documents as lines of JSON."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from time import time

import click

from collab.names import is_part
from collab.server.commands.answers import RESERVED, json_option, run, say
from collab.server.commands.where import record_options, take_over_option
from collab.server.options import load_settings

_SHOWN = 20


def _parts(_context: click.Context, _option: click.Parameter, value: tuple[str, ...] | str | None) -> object:
    for each in (value,) if isinstance(value, str) else value or ():
        if not is_part(each):
            raise click.BadParameter("must be 1-128 characters of [A-Za-z0-9_.:-]")
    return value


@click.command("export")
@click.argument("folder", metavar="TO", type=click.Path(path_type=Path))
@click.option("--project", "projects", multiple=True, callback=_parts, help="Only this project. May be repeated.")
@click.option("--collection", "collections", multiple=True, callback=_parts, help="Only this one. May be repeated.")
@click.option("--deleted", is_flag=True, help="Also deleted entities, which could be restored.")
@json_option()
@record_options
def export_command(
    folder: Path,
    projects: tuple[str, ...],
    collections: tuple[str, ...],
    deleted: bool,
    as_json: bool,
    config: Path | None,
    **where: str | None,
) -> None:
    """Export entities and their documents to the folder TO, as lines of JSON. The server may be running.

    Writes TO/PROJECT/COLLECTION.jsonl: one entity per line, with its data, its version and the state of its document as
    a Yjs update. An interrupted export goes on where it ended if you repeat the command. Entities inside documents of a
    collection come with it. Not exported: earlier versions, who may do what, and the progress of webhooks; for these,
    see `collab backup`.

    Exit status: 0 if all is exported, 3 if only what is damaged is missing, which is named, 1 if the export is not
    complete: also if a document could not be read in time, on a machine that is busy or was asleep.
    """
    from collab.server.exporting import Selection, export
    from collab.server.progress import ProgressReport, how_many

    settings = load_settings(config, where)
    with ProgressReport(sys.stderr) as report:
        done = run(
            export(
                settings.location,
                folder,
                Selection(projects, collections, deleted),
                now=time(),
                declared=settings.collections,
                keep_deleted=settings.keep_deleted,
                moved=lambda seen, total: report.show(how_many(seen, total, "entities")),
            )
        )
    resumed = f", {done.resumed:,} of them before" if done.resumed else ""
    say(
        f"exported {done.entities:,} entities{resumed} to {folder}",
        {"to": str(folder), "entities": done.entities, "resumed": done.resumed, "damaged": len(done.damaged)},
        as_json=as_json,
    )
    _name("Damaged", done.damaged)
    if done.damaged:
        sys.exit(RESERVED)


@click.command("import")
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
@click.option("--project", "projects", multiple=True, callback=_parts, help="Only this project. May be repeated.")
@click.option("--collection", "collections", multiple=True, callback=_parts, help="Only this one. May be repeated.")
@click.option("--into", metavar="PROJECT", callback=_parts, help="Put everything into this project.")
@take_over_option("Import")
@json_option()
@record_options
def import_command(
    source: Path,
    projects: tuple[str, ...],
    collections: tuple[str, ...],
    into: str | None,
    take_over: bool,
    as_json: bool,
    config: Path | None,
    **where: str | None,
) -> None:
    """Import what `collab export` wrote, or a file of such lines. The server must be stopped.

    FROM is the folder of an export, or one .jsonl file. Lines of other programs need only "collection", "id" and
    "data". An entity that is new to the record is added, with its version and times, as one event. One that the record
    has already stays as it is: importing twice changes nothing, and an interrupted import goes on if you repeat it.

    Exit status: 0 if the record has everything, 3 if it has some entities in another state, or lines were refused
    (both are named), 1 if nothing more was imported.
    """
    from collab.server.importing import import_lines
    from collab.server.progress import ProgressReport, how_many

    settings = load_settings(config, where)
    with ProgressReport(sys.stderr) as report:
        done = run(
            import_lines(
                settings,
                source,
                projects=projects,
                collections=collections,
                into=into,
                takes_over=take_over,
                clock=time,
                client_id=lambda: random.getrandbits(32),
                moved=lambda seen, total: report.show(how_many(seen, total, "bytes")),
            )
        )
    say(
        f"imported {done.created:,} entities; {done.unchanged:,} were there already",
        {
            "created": done.created,
            "unchanged": done.unchanged,
            "different": len(done.different),
            "refused": len(done.refused),
        },
        as_json=as_json,
    )
    _name("Different in the record, which was kept", done.different)
    _name("Refused", done.refused)
    if done.different or done.refused:
        sys.exit(RESERVED)


def _name(what: str, which: list[str]) -> None:
    for each in which[:_SHOWN]:
        click.echo(f"{what}: {each}", err=True)
    if len(which) > _SHOWN:
        click.echo(f"{what}: {len(which) - _SHOWN} more", err=True)
