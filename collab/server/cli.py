"""The ``collab`` command."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from secrets import token_urlsafe
from time import time
from typing import Any

import click
import msgspec

from collab.access.configuration import Issuer
from collab.access.handshake import is_loopback
from collab.access.inspection import InspectionKey
from collab.access.minting import mint, signer_of
from collab.access.rules import parse_rules
from collab.errors import InvalidRequest
from collab.server.commands.backup import backup, restore
from collab.server.commands.doctor import doctor
from collab.server.commands.erase import erase
from collab.server.commands.exchange import export_command, import_command
from collab.server.commands.moving import copy, migrate
from collab.server.commands.nodes import nodes
from collab.server.commands.quarantine import quarantine
from collab.server.commands.rename import rename
from collab.server.commands.types import types
from collab.server.commands.webhooks import webhooks
from collab.server.config.load import SettingsError
from collab.server.config.settings import Settings, secret_issuer
from collab.server.logs import log_to_stderr
from collab.server.options import SettingsCommand, load_settings, warn
from collab.storage.location import shown

DEMO_PAGE = Path(__file__).parent / "demo"
INSPECTOR_PAGE = Path(__file__).parent / "inspector" / "page"

_DURATION = re.compile(r"(?P<count>[1-9][0-9]{0,8})(?P<unit>[smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

_CREDENTIALS = """\
Every option may also be set by the environment variable in brackets, or by its name (with _ for -) in the TOML
file. Flags override the environment; the environment overrides the file. Lists are separated by commas.

\b
There are no flags for credentials, because other users can read command lines:
  COLLAB_API_KEY, COLLAB_JWT_SECRET              (or COLLAB_…_FILE: a file that holds it)
  COLLAB_KEYS, COLLAB_ISSUERS                    (JSON; in the file: [[keys]] and [[issuers]])
  COLLAB_INSPECT_SECRET                          (of --inspect; it does not open the API)
  COLLAB_METRICS_SECRET                          (of /metrics; it opens nothing else)
--database must not contain a password; COLLAB_DATABASE (or COLLAB_DATABASE_FILE) may.
Without any of them the server is open, and listens on the loopback address only.

\b
There are no flags for tables either:
  COLLAB_COLLECTIONS, COLLAB_WEBHOOKS            (JSON; in the file: [collections.NAME] and [[webhooks]])
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(version("lumenize-collab"), message="%(version)s")
def main() -> None:
    """Lumenize Collab: a server for collaborative editing on Yjs."""


for command in (
    *(doctor, backup, restore, copy, export_command, import_command, migrate),
    *(rename, erase, webhooks, quarantine, nodes, types),
):
    main.add_command(command)


@main.command(cls=SettingsCommand, epilog=_CREDENTIALS)
@click.option(
    "--app",
    metavar="MODULE:NAME",
    help="Serve the Collab of this name in a Python module of yours, with its hooks (or the one that a function of "
    "this name returns). Settings.from_env() in the module returns the settings of this command.",
)
def serve(config: Path | None, app: str | None, **flags: Any) -> None:
    """Serve documents until SIGTERM or SIGINT.

    Exit status: 0 after a clean stop, 1 if serving failed, 2 if the settings forbid it, or --app names no Collab.
    """
    sys.exit(_serve(load_settings(config, flags), app))


@main.command(cls=SettingsCommand, epilog=_CREDENTIALS)
def demo(config: Path | None, **flags: Any) -> None:
    """Serve documents, and a demo page at /.

    Takes the same options as `serve`. Data is stored in data/demo unless --data is given.
    """
    if not (DEMO_PAGE / "index.html").exists():
        raise click.ClickException(
            "the demo page is not built. In a checkout, `python3 dev.py demo` builds and serves it."
        )
    settings = load_settings(config, flags)
    if settings.data == Settings().data:
        settings = msgspec.structs.replace(settings, data=str(Path(settings.data) / "demo"))
    sys.exit(_serve(msgspec.structs.replace(settings, pages=str(DEMO_PAGE))))


@main.command()
@click.option("--user", required=True, help="Id of the user (claim sub).")
@click.option("--name", help="Name that other users see.")
@click.option("--project", help="Project (tenant) of the token.")
@click.option(
    "--access",
    "rules",
    multiple=True,
    metavar="PATTERN=RIGHT",
    help="Rule, e.g. documents/*=write; rights are none, read, write. May be repeated; the first match decides.  "
    "[*/*=write]",
)
@click.option("--expires", default="8h", show_default=True, metavar="TIME", help="Lifetime, e.g. 90s, 15m, 8h, 7d.")
@click.option("--issuer", help="The HS256 issuer that signs, if several are configured.")
@click.option(
    "--secret", help="Sign with this secret instead of COLLAB_JWT_SECRET. Other users of the machine can see it."
)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML file with settings.")
def token(
    user: str,
    name: str | None,
    project: str | None,
    rules: Sequence[str],
    expires: str,
    issuer: str | None,
    secret: str | None,
    config: Path | None,
) -> None:
    """Create a token for development, signed with the configured secret, and print it."""
    signer = _signer(config, issuer, secret)
    access = dict(_split_rule(rule) for rule in rules) or {"*/*": "write"}
    seconds = _duration(expires)
    try:
        minted = mint(
            signer,
            user,
            access=access,
            seconds=seconds,
            now=time(),
            token_id=token_urlsafe(12),
            name=name,
            project=project,
        )
    except InvalidRequest as error:
        raise click.UsageError(error.message) from None
    click.echo(minted)


def _serve(settings: Settings, app: str | None = None) -> int:
    if app is None and settings.is_open and not settings.open and not is_loopback(settings.host):
        click.echo(
            f"Error: {settings.host} can be reached from outside, but no credentials are configured.\n"
            "Set COLLAB_JWT_SECRET or COLLAB_API_KEY, or configure [[issuers]] or [[keys]] (collab serve "
            "--help); or listen on 127.0.0.1; or pass --open to let everybody who can connect write everything.",
            err=True,
        )
        return 2
    if settings.inspect:
        if not (INSPECTOR_PAGE / "index.html").exists():
            click.echo("Error: the inspector is not built. In a checkout, `python3 dev.py setup` builds it.", err=True)
            return 2
        if settings.inspect_secret is None:
            settings = msgspec.structs.replace(settings, inspect_secret=token_urlsafe(32))
    from collab.server.process.supervisor import run  # `collab token` does not need it

    log_to_stderr(settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs URLs, which may contain secrets
    try:
        return run(settings, app=app, serving=_announcer(settings, app))
    except OSError as error:
        click.echo(f"Error: cannot listen on {settings.host} port {settings.port}: {error.strerror}", err=True)
        return 1


def _announcer(settings: Settings, app: str | None) -> Callable[[Sequence[tuple[str, int]]], None]:
    def announce(addresses: Sequence[tuple[str, int]]) -> None:
        for host, port in addresses:
            click.echo(f"Listening on http://{_in_url(host)}:{port}")
        host, port = addresses[0]
        where = f"{_in_url(host)}:{port}"
        click.echo(f"  y-websocket  ws://{where}/rooms")
        click.echo(f"  Hocuspocus   ws://{where}/hocuspocus")
        click.echo(f"  application  ws://{where}/realtime, http://{where}/api/v1")
        if settings.inspect and settings.inspect_secret is not None:
            link = InspectionKey(settings.inspect_secret).issue_link(token_urlsafe(12), time())
            local = f"127.0.0.1:{port}" if host in ("0.0.0.0", "::") else where  # noqa: S104 - compared, not bound
            click.echo(f"  inspector    http://{local}/inspect/#{link}")
            click.echo("               (this link signs in once, within an hour)")
        if app is not None:  # only the worker knows what its module has decided
            click.echo(f"  access       as {app} decides")
            sys.stdout.flush()
            return
        click.echo(f"  data         {shown(settings.location)}")
        if settings.is_open:
            whose = "everybody who can connect" if settings.open else "everybody on this machine"
            click.echo(f"  access       open: {whose} may read and write everything")
        else:
            click.echo("  access       by credential")
        sys.stdout.flush()

    return announce


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _signer(config: Path | None, name: str | None, secret: str | None) -> Issuer:
    try:
        if secret is not None:
            return secret_issuer(secret)
        issuers = Settings.load(environ=os.environ, config=config, warn=warn).all_issuers
    except (SettingsError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    try:
        return signer_of(issuers, name)
    except InvalidRequest as error:
        hint = " (--issuer)" if "choose" in error.message else ""
        raise click.UsageError(f"{error.message}{hint}") from None


def _split_rule(text: str) -> tuple[str, str]:
    pattern, _, word = text.rpartition("=")
    try:
        parse_rules({pattern: word})
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--access") from None
    return pattern, word


def _duration(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter("a time must be a number and s, m, h or d", param_hint="--expires")
    return int(match["count"]) * _SECONDS[match["unit"]]
