"""``collab types``: types of declared collections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import click

from collab.errors import InvalidRequest
from collab.records.declaration import CollectionDeclaration
from collab.records.schema import EVERY_PROJECT, declared_in
from collab.server.commands.answers import FAILED, encode, json_option, run
from collab.server.commands.where import record_options
from collab.server.config.settings import Settings
from collab.server.options import load_settings

TypesLanguage = Literal["typescript", "pydantic", "msgspec", "typeddict"]


@click.command()
@click.argument("language", type=click.Choice(["typescript", "pydantic", "msgspec", "typeddict"]))
@click.option("--app", metavar="MODULE:COLLAB", help="The Collab of an application that declares the collections.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to a file, replacing it.")
@click.option("--check", is_flag=True, help="Write nothing: fail if FILE is not what would be written.")
@click.option("--no-register", is_flag=True, help="typescript: do not tell client and hooks of the types everywhere.")
@click.option("--client", is_flag=True, help="Python: add a Client that knows the collections, for collab.client.")
@json_option()
@record_options
def types(
    language: TypesLanguage,
    app: str | None,
    output: Path | None,
    check: bool,
    no_register: bool,
    client: bool,
    as_json: bool,
    config: Path | None,
    **where: str | None,
) -> None:
    """Print the types of declared collections: for TypeScript, or as pydantic, msgspec or TypedDict classes.

    The declarations are those of the settings (--config, COLLAB_COLLECTIONS) or of the application (--app); without
    any, those that the record remembers of its last server, which may be running.

    Exit status: 0 if it is done, 1 if nothing is declared or, with --check, FILE is another one.
    """
    if check and output is None:
        raise click.UsageError("--check needs --output FILE")
    if client and language == "typescript":
        raise click.UsageError("--client is for Python: the client of TypeScript knows the types anyway")
    declared = run(_declared(load_settings(config, where), app))
    text = written(declared, language, register=not no_register, client=client)
    if output is None:
        click.echo(
            encode({"language": language, "collections": sorted(declared), "types": text}) if as_json else text,
            nl=as_json,
        )
        return
    try:
        if check:
            if not output.exists() or output.read_text("utf-8") != text:
                click.echo(f"Error: {output} is not what the declarations say: run this without --check", err=True)
                raise click.exceptions.Exit(FAILED)
        else:
            output.write_text(text, "utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be used: {error.strerror}") from None
    if as_json:
        click.echo(encode({"language": language, "collections": sorted(declared), "output": str(output)}))


def written(
    declared: Mapping[str, CollectionDeclaration],
    language: TypesLanguage,
    *,
    register: bool = True,
    client: bool = False,
) -> str:
    """The source code of the types."""
    from collab.server.types.python import python_types
    from collab.server.types.python_client import python_client
    from collab.server.types.shapes import shapes_of
    from collab.server.types.typescript import typescript

    shapes = shapes_of(declared)
    if language == "typescript":
        return typescript(shapes, register=register)
    return python_client(shapes, language) if client else python_types(shapes, language)


async def _declared(settings: Settings, app: str | None) -> Mapping[str, CollectionDeclaration]:
    from collab.storage.base import StorageError
    from collab.storage.location import reader_at, shown

    if app is not None:
        return _declared_by(app, settings)
    if settings.collections:
        return settings.collections
    saved: Mapping[str, CollectionDeclaration] = {}
    reason = ""
    try:
        async with reader_at(settings.location) as reader:
            saved = declared_in(await reader.schemas(EVERY_PROJECT))
    except StorageError as error:
        reason = f": {error.message}"
    if not saved:
        raise InvalidRequest(f"neither the settings nor {shown(settings.location)} declare a collection{reason}")
    return saved


def _declared_by(app: str, settings: Settings) -> Mapping[str, CollectionDeclaration]:
    from collab.server.process.application import ApplicationError, declared_by

    try:
        declared = declared_by(app, settings)
    except ApplicationError as error:
        raise click.ClickException(str(error)) from None
    if not declared:
        raise InvalidRequest(f"{app} declares no collection")
    return declared
