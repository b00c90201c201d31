"""``collab rename``: another name for a collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from collab.server.commands.answers import json_option, run, say
from collab.server.commands.where import record_options, take_over_option
from collab.server.config.settings import Settings
from collab.server.options import load_settings


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--project", help="Only in this project (tenant).  [all]")
@take_over_option("Rename")
@json_option()
@record_options
def rename(
    old: str, new: str, project: str | None, take_over: bool, as_json: bool, config: Path | None, **where: str | None
) -> None:
    """Give the collection OLD the name NEW. The server must be stopped.

    Entities, documents, their history and events, quarantined edits and dead letters get the new name, all at once or
    not at all. NEW must not exist. The record gets a new epoch, so that clients read everything again. Settings and
    rules that say OLD stay as they are: those that the command knows it names.

    Exit status: 0 if it is renamed, 1 if nothing was changed.
    """
    from collab.server.offline import rename_offline

    settings = load_settings(config, where)
    done = run(rename_offline(settings, old, new, project, takes_over=take_over))
    say(
        f"renamed {old} to {new}: {done.entities:,} entities, {done.documents:,} documents",
        {
            "from": old,
            "to": new,
            "project": project,
            "entities": done.entities,
            "documents": done.documents,
            "quarantined": done.quarantined,
            "deadLetters": done.dead_letters,
        },
        as_json=as_json,
    )
    for place in _places(settings, old):
        click.echo(f"Note: {place} still says {old}", err=True)


def _places(settings: Settings, old: str) -> Iterator[str]:
    """Settings that name a collection."""
    if old in settings.collections:
        yield f"collections.{old}"
    for name, declaration in settings.collections.items():
        if declaration.mapped is not None and declaration.mapped.collection == old:
            yield f"collections.{name}.mapped"
        for relation, related in declaration.relations.items():
            if related.collection == old:
                yield f"collections.{name}.relations.{relation}"
    if old in settings.keep_deleted:
        yield "keep_deleted"
    for webhook in settings.webhooks:
        if old in webhook.collections:
            yield f"the webhook {webhook.name}"
    for number, key in enumerate(settings.keys, 1):
        if any(pattern.partition("/")[0] == old for pattern in key.rules):
            yield f"a rule of API key {number}"
    for issuer in settings.issuers:
        if any(pattern.partition("/")[0] == old for pattern in issuer.rules or {}):
            yield f"a rule of the issuer {issuer.issuer}"
