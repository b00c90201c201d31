"""Options and arguments that say where a record is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from collab.storage.location import has_password, is_postgres

_Command = Callable[..., None]


def record_options(command: _Command) -> _Command:
    """Give a command ``config``, ``data`` and ``database``, from which :func:`load_settings` makes settings."""
    for option in (
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML file with settings."),
        click.option("--database", metavar="URL", help="URL of the PostgreSQL database.  [COLLAB_DATABASE]"),
        click.option("--data", metavar="FOLDER", help="Folder of the SQLite database.  [COLLAB_DATA]"),
    ):
        command = option(command)
    return command


def take_over_option(verb: str) -> Callable[[_Command], _Command]:
    """Give a command ``take_over``. ``verb``: what it does, as the first word of a sentence."""
    return click.option(
        "--take-over", is_flag=True, help=f"{verb} even if a killed server has left its mark in PostgreSQL."
    )


def read_location(_context: click.Context, _argument: click.Parameter, value: str) -> str:
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


def location_argument(name: str, shown: str) -> Callable[[_Command], _Command]:
    """Give a command an argument that is a location: see :func:`read_location`."""
    return click.argument(name, metavar=shown, callback=read_location)
