"""Commands on a record: erase, dead-letters, copy, migrate, nodes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import click
import msgspec

from collab.dates import iso
from collab.errors import CollabError
from collab.names import DEFAULT_PROJECT, parse_name
from collab.server.options import load_settings
from collab.storage.location import has_password, is_postgres, shown


def _record_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say where the record is."""
    for option in (
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML file with settings."),
        click.option("--database", metavar="URL", help="URL of the PostgreSQL database.  [COLLAB_DATABASE]"),
        click.option("--data", metavar="FOLDER", help="Folder of the SQLite database.  [COLLAB_DATA]"),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name", metavar="COLLECTION/ID")
@click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="Project (tenant) of the entity.")
@click.option("--take-over", is_flag=True, help="Erase even if a killed server has left its mark in PostgreSQL.")
@_record_options
def erase(name: str, project: str, take_over: bool, config: Path | None, **where: str | None) -> None:
    """Erase an entity and its document permanently. The server must be stopped.

    Deletes log, snapshots, history, events and dead letters, and rewrites the database. For a running server, send
    DELETE /api/v1/collections/COLLECTION/ID?erase=true instead.
    """
    from collab.server.offline import erase_offline  # the other commands do not need it

    settings = load_settings(config, where)
    try:
        key = parse_name(project, name)
        count = asyncio.run(erase_offline(settings, key, takes_over=take_over))
    except CollabError as error:
        raise click.ClickException(error.message) from None
    click.echo(f"erased {key.name}" + (f" and {count - 1} entities inside it" if count > 1 else ""))


@click.command("dead-letters")
@click.argument("webhook")
@_record_options
def dead_letters(webhook: str, config: Path | None, **where: str | None) -> None:
    """List the events not delivered to WEBHOOK, oldest first, one JSON object per line. The server may be running."""
    from collab.server.offline import read_dead_letters

    settings = load_settings(config, where)
    try:
        letters = asyncio.run(read_dead_letters(settings, webhook))
    except CollabError as error:
        raise click.ClickException(error.message) from None
    for letter in letters:
        row = {"at": iso(letter.at), "project": letter.project, "reason": letter.reason, "event": letter.event}
        click.echo(msgspec.json.encode(row))


def _location(_context: click.Context, _argument: click.Parameter, value: str) -> str:
    """A location on the command line: a folder, a URL without a password, or ``@FILE``, which holds a location."""
    text = value
    if value.startswith("@"):
        try:
            text = Path(value[1:]).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise click.BadParameter(f"{value[1:]} cannot be read: {reason}") from None
        if not text:
            raise click.BadParameter(f"{value[1:]} is empty")
    try:
        url = is_postgres(text)
    except ValueError:
        raise click.BadParameter("must be a folder or like postgresql://user@host:5432/name") from None
    if url and text == value and has_password(text):
        raise click.BadParameter(
            "must not contain a password, because other users can read command lines: write the URL into a file and "
            "pass @FILE, or use a password file (PGPASSFILE)"
        )
    return text


@click.command()
@click.argument("source", metavar="FROM", callback=_location)
@click.argument("target", metavar="TO", callback=_location)
@click.option("--take-over", is_flag=True, help="Copy even if a killed server has left its mark in PostgreSQL.")
def copy(source: str, target: str, take_over: bool) -> None:
    """Copy a whole record from one storage to another. The server must be stopped.

    FROM and TO are each the folder of a SQLite database, a URL like postgresql://user@host:5432/name without a
    password, or @FILE: a file that holds one of these, with a password if needed. TO must be empty; it is created if
    necessary. Versions, positions and the epoch stay the same, so clients and webhooks go on where they were. FROM is
    not changed: start no server on it again.

    If the copy fails or is interrupted, TO stays empty. Content that does not match its checksum is named, and copied
    as it is. Exit status: 0 if all is copied, 3 if all is copied and some of it was damaged before, 1 if nothing is
    copied.
    """
    from collab.server.offline import copy_offline
    from collab.server.progress import ProgressReport, summary

    began = monotonic()
    report = ProgressReport(sys.stderr)
    try:
        done = asyncio.run(
            copy_offline(
                source,
                target,
                takes_over=take_over,
                moved=report.show,
                damaged=lambda damage: report.say(f"Damaged: {damage}"),
            )
        )
    except CollabError as error:
        report.clear()
        raise click.ClickException(error.message) from None
    report.clear()
    click.echo(f"copied {summary(done)} in {monotonic() - began:.1f} s to {shown(target)}")
    if done.damaged:
        click.echo(
            f"Warning: {done.damaged} of the parts do not match their checksums and are named above. The copy has them "
            "as they are, and refuses to load them as the source does.",
            err=True,
        )
        sys.exit(3)


@click.command()
@click.option("--take-over", is_flag=True, help="Migrate even if a killed server has left its mark in PostgreSQL.")
@_record_options
def migrate(take_over: bool, config: Path | None, **where: str | None) -> None:
    """Bring the schema of a database to the newest version. The server must be stopped.

    A server does the same when it starts.
    """
    from collab.server.offline import migrate_offline

    settings = load_settings(config, where)
    try:
        version, newest = asyncio.run(migrate_offline(settings, takes_over=take_over))
    except CollabError as error:
        raise click.ClickException(error.message) from None
    if version == newest:
        click.echo(f"{shown(settings.location)} has schema version {newest}, the newest")
    else:
        click.echo(f"brought {shown(settings.location)} from schema version {version} to {newest}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@_record_options
def nodes(as_json: bool, config: Path | None, **where: str | None) -> None:
    """List the nodes of a PostgreSQL database: each server that has used it is one.

    A server that lives beats once a second. It is dead once it has stopped, or another one has taken its place.
    """
    from collab.server.offline import read_nodes

    settings = load_settings(config, where)
    try:
        found = asyncio.run(read_nodes(settings))
    except CollabError as error:
        raise click.ClickException(error.message) from None
    if as_json:
        for node in found:
            click.echo(msgspec.json.encode({**node._asdict(), "started": iso(node.started)}))
        return
    rows = [("NODE", "NAME", "VERSION", "STARTED", "BEATS", "STATE", "ROOMS")]
    for node in found:
        state = "dead" if node.dead else "alive"
        rows.append(
            (str(node.nid), node.name, node.version, iso(node.started), str(node.beats), state, str(node.rooms))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
