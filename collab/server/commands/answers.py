"""How commands answer: text for people, or JSON (``--json``), of which stdout then holds nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import click
import msgspec

from collab.errors import CollabError

T = TypeVar("T")

FAILED: Final = 1
"""Exit status of a command that failed."""
RESERVED: Final = 3
"""Exit status of a command that did its work and names something that needs attention."""


def json_option(lines: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command ``as_json``. ``lines``: it prints one object per line instead of one document."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object per line." if lines else "Print a JSON object."
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do the work of a command. An error ends it with a sentence and exit status 1."""
    try:
        return asyncio.run(work)
    except CollabError as error:
        raise click.ClickException(error.message) from None


def say(text: str, value: Any, *, as_json: bool) -> None:
    """Print ``text``, or ``value`` as JSON."""
    click.echo(encode(value) if as_json else text)


def encode(value: Any) -> str:
    """One line of JSON."""
    return msgspec.json.encode(value).decode()


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text under their names."""
    lines = [names, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
