"""``collab webhooks``: where they are, what they did not accept, and sending that again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from collab.dates import iso
from collab.server.commands.answers import RESERVED, encode, json_option, run, say, table
from collab.server.commands.where import record_options
from collab.server.config.settings import Settings
from collab.server.options import load_settings


@click.group()
def webhooks() -> None:
    """Look after webhooks. The server may be running.

    Exit status of each: 0 if it is done, 1 if it failed, 3 if events were sent and not all of them taken.
    """


@webhooks.command("list")
@json_option(lines=True)
@record_options
def list_webhooks(as_json: bool, config: Path | None, **where: str | None) -> None:
    """List the webhooks: how many events they are behind, and how many dead letters they have.

    Those that are configured come first, then those of which only the record knows.

    Exit status: 0, or 1 if the record cannot be read.
    """
    settings = load_settings(config, where)
    found = run(_read(settings))
    if as_json:
        for row in found:
            click.echo(encode(row))
        return
    names = ("name", "project", "url", "position", "behind", "deadLetters")
    cells = [["-" if row[name] is None else str(row[name]) for name in names] for row in found]
    click.echo(table(("NAME", "PROJECT", "URL", "POSITION", "BEHIND", "DEAD"), cells))


async def _read(settings: Settings) -> list[dict[str, str | int | None]]:
    from collab.server.webhook_list import webhook_rows
    from collab.storage.location import reader_at

    async with reader_at(settings.location) as reader:
        return await webhook_rows(reader, settings.webhooks)


@webhooks.command("dead-letters")
@click.argument("name")
@json_option(lines=True)
@record_options
def dead_letters(name: str, as_json: bool, config: Path | None, **where: str | None) -> None:
    """List the events that the webhook NAME did not accept, oldest first. With --json, each with the whole event.

    Exit status: 0, or 1 if the record cannot be read.
    """
    from collab.storage.location import reader_at
    from collab.storage.reading import NumberedLetter

    settings = load_settings(config, where)

    async def work() -> list[NumberedLetter]:
        async with reader_at(settings.location) as reader:
            return list(await reader.dead_letters(name))

    found = run(work())
    if as_json:
        for number, letter in found:
            row = {"number": number, "at": iso(letter.at), "project": letter.project, "reason": letter.reason}
            click.echo(encode({**row, "event": letter.event}))
        return
    rows = [
        (
            str(number),
            iso(letter.at),
            letter.project,
            f"{letter.event.collection}/{letter.event.id}",
            str(letter.event.version),
            letter.event.type,
            letter.reason,
        )
        for number, letter in found
    ]
    click.echo(table(("NUMBER", "AT", "PROJECT", "ENTITY", "VERSION", "EVENT", "REASON"), rows))


@webhooks.command()
@click.argument("name")
@click.option("--number", "numbers", type=int, multiple=True, help="Only this dead letter. May be repeated.  [all]")
@json_option()
@record_options
def replay(name: str, numbers: tuple[int, ...], as_json: bool, config: Path | None, **where: str | None) -> None:
    """Send the dead letters of the webhook NAME again, oldest first, and forget those that are taken.

    The webhook must be configured, with --config or COLLAB_WEBHOOKS. The requests are signed, and have the webhook-id
    that they had before. Events of one entity stay in order: if one fails, its later ones wait. Each event is tried
    once; what fails stays a dead letter.

    Exit status: 0 if all were taken, 3 if some were not, 1 if nothing was sent.
    """
    from collab.server import replay as replaying
    from collab.server.progress import ProgressReport, how_many

    settings = load_settings(config, where)

    async def work(report: ProgressReport) -> replaying.Replayed:
        webhook = replaying.webhook_named(settings.webhooks, name)
        return await replaying.replay(
            settings.location,
            webhook,
            numbers,
            progress=lambda done, total: report.show(how_many(done, total, "events")),
        )

    with ProgressReport(sys.stderr) as report:
        done = run(work(report))
    left = len(done.failed) + done.waiting
    say(
        f"{name} took {done.sent} events" + (f", {left} are left" if left else ""),
        {"sent": done.sent, "failed": len(done.failed), "waiting": done.waiting},
        as_json=as_json,
    )
    for each, reason in done.failed:
        event = each.letter.event
        click.echo(
            f"Failed: {each.number}, version {event.version} of {event.collection}/{event.id}: {reason}", err=True
        )
    if left:
        sys.exit(RESERVED)
