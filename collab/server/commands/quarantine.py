"""``collab quarantine``: edits that ended a worker, and log rows that cannot be read."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from collab.dates import iso
from collab.server.commands.answers import encode, json_option, run, say, table
from collab.server.commands.where import record_options, take_over_option
from collab.server.options import load_settings
from collab.storage.reading import NumberedAside


@click.group()
def quarantine() -> None:
    """See what the server has quarantined, and put it back or forget it.

    Exit status of each: 0 if it is done, 1 if it failed and nothing was changed.
    """


@quarantine.command("list")
@click.option("--project", help="Only this project (tenant).")
@json_option(lines=True)
@record_options
def list_entries(project: str | None, as_json: bool, config: Path | None, **where: str | None) -> None:
    """List what is in quarantine, oldest first. The server may be running.

    ROW is the row of the document's log, - for an edit that never reached it.

    Exit status: 0, or 1 if the record cannot be read.
    """
    from collab.server.quarantined import list_quarantine

    found = run(list_quarantine(load_settings(config, where).location, project))
    if as_json:
        for each in found:
            click.echo(encode(_row(each)))
        return
    rows = [
        (
            str(each.number),
            iso(each.entry.at),
            each.entry.key.project,
            each.entry.key.name,
            "-" if each.entry.seq is None else str(each.entry.seq),
            str(len(each.entry.update)),
            each.entry.reason,
        )
        for each in found
    ]
    click.echo(table(("NUMBER", "AT", "PROJECT", "DOCUMENT", "ROW", "BYTES", "REASON"), rows))


@quarantine.command()
@click.argument("number", type=int)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Also write the bytes to a new file.")
@json_option()
@record_options
def show(number: int, output: Path | None, as_json: bool, config: Path | None, **where: str | None) -> None:
    """Show what an edit in quarantine writes and deletes: clients, and ranges of their clocks. It is not applied.

    Exit status: 0, or 1 if there is none with this number, or FILE exists.
    """
    from collab.server.quarantined import contents_of, find_aside

    each = run(find_aside(load_settings(config, where).location, number))
    what = contents_of(each.entry.update)
    row = {
        **_row(each),
        "sha256": sha256(each.entry.update).hexdigest(),
        "writes": [{"client": client, "from": start, "to": end} for client, start, end in what.writes],
        "deletes": [{"client": client, "from": start, "to": end} for client, start, end in what.deletes],
        "malformed": what.malformed,
    }
    if output is not None:
        try:
            with output.open("xb") as file:
                file.write(each.entry.update)
        except OSError as error:
            raise click.ClickException(f"{output} cannot be written: {error.strerror}") from None
    lines = [
        f"{name}: {'-' if row[name] is None else row[name]}"
        for name in ("number", "at", "project", "document", "row", "reason", "bytes")
    ]
    lines += [f"writes: client {client}, clocks {start} to {end}" for client, start, end in what.writes]
    lines += [f"deletes: client {client}, clocks {start} to {end}" for client, start, end in what.deletes]
    lines += [f"malformed: {what.malformed}"] if what.malformed is not None else []
    say("\n".join(lines), row, as_json=as_json)


@quarantine.command()
@click.argument("number", type=int)
@take_over_option("Release")
@json_option()
@record_options
def release(number: int, take_over: bool, as_json: bool, config: Path | None, **where: str | None) -> None:
    """Put an edit in quarantine back into its document. A server that runs does this itself.

    First a child process loads the document with it. If that refuses the edit, or dies of it, the document is not
    changed, and the list says why. The edit then counts as new: it becomes a row of the log, and an event if it writes
    fields.

    Exit status: 0 if it is in the document, 1 if that was not changed.
    """
    from collab.server.quarantine import release as release_one

    each = run(release_one(load_settings(config, where), number, takes_over=take_over))
    say(f"released {number} into {each.entry.key.name}", {"released": number, **_row(each)}, as_json=as_json)


@quarantine.command()
@click.argument("number", type=int)
@json_option()
@record_options
def discard(number: int, as_json: bool, config: Path | None, **where: str | None) -> None:
    """Forget an edit in quarantine: its bytes are deleted. The server may be running.

    A client that still has the edit may send it again once the document was closed for a while: no longer is it
    recognised and refused.

    Exit status: 0 if it is forgotten, 1 if nothing was changed.
    """
    from collab.server.quarantined import discard as discard_one

    each = run(discard_one(load_settings(config, where).location, number))
    say(f"discarded {number} of {each.entry.key.name}", {"discarded": number, **_row(each)}, as_json=as_json)


def _row(each: NumberedAside) -> dict[str, Any]:
    entry = each.entry
    return {
        "number": each.number,
        "at": iso(entry.at),
        "project": entry.key.project,
        "document": entry.key.name,
        "row": entry.seq,
        "bytes": len(entry.update),
        "reason": entry.reason,
    }
