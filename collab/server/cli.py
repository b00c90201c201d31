"""The ``collab`` command."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Any

import click
import jwt
import msgspec

from collab.access.configuration import Issuer
from collab.access.credentials import Authenticator
from collab.access.handshake import is_loopback
from collab.access.rules import parse_rules
from collab.dates import iso
from collab.errors import AuthenticationFailed, CollabError
from collab.names import DEFAULT_PROJECT, parse_name
from collab.server.config.load import Option, SettingsError, options
from collab.server.config.settings import MIB, Settings, secret_issuer
from collab.server.logs import log_to_stderr
from collab.storage.location import has_password, shown

DEMO_PAGE = Path(__file__).parent / "demo"

_DURATION = re.compile(r"(?P<count>[1-9][0-9]{0,8})(?P<unit>[smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

_CREDENTIALS = """\
Every option may also be set by the environment variable in brackets, or by its name (with _ for -) in the TOML
file. Flags override the environment; the environment overrides the file. Lists are separated by commas.

\b
There are no flags for credentials, because other users can read command lines:
  COLLAB_API_KEY, COLLAB_JWT_SECRET              (or COLLAB_…_FILE: a file that holds it)
  COLLAB_KEYS, COLLAB_ISSUERS                    (JSON; in the file: [[keys]] and [[issuers]])
--database must not contain a password; COLLAB_DATABASE (or COLLAB_DATABASE_FILE) may.
Without any of them the server is open, and listens on the loopback address only.

\b
There are no flags for tables either:
  COLLAB_COLLECTIONS, COLLAB_WEBHOOKS            (JSON; in the file: [collections.NAME] and [[webhooks]])
"""


class _SettingOption(click.Option):
    """A flag that sets an option of :class:`Settings`; its value is parsed as in the environment."""

    def __init__(self, setting: Option) -> None:
        self.group = setting.group
        name = setting.name.replace("_", "-")
        kinds = {int: "INTEGER", float: "NUMBER", str: "TEXT", list: "LIST"}
        flag = setting.kind is bool
        super().__init__(
            [f"--{name}/--no-{name}" if flag else f"--{name}", setting.name],
            default=None,
            is_flag=flag,
            type=bool if flag else str,
            metavar=None if flag else "|".join(setting.choices) or kinds[setting.kind],
            help=f"{setting.description}  [{setting.variable}{_shown(setting.default)}]",
        )


def _shown(default: Any) -> str:
    if default in (None, []):
        return ""
    if isinstance(default, bool):
        return f"; {'on' if default else 'off'}"
    if isinstance(default, int | float) and default >= MIB:
        return f"; {default:.0f} = {default / MIB:g} MiB"
    return f"; {default:g}" if isinstance(default, float) else f"; {default}"


class _SettingsCommand(click.Command):
    """A command with all settings as flags, grouped in its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="TOML file with settings; paths in it are relative to it.  [COLLAB_CONFIG]",
        )
        self.params += [config, *(_SettingOption(option) for option in options(Settings) if option.flag)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags, one section per group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(param, "group", "Options"), []).append(record)
        for group, records in sections.items():
            with formatter.section(group):
                formatter.write_dl(records)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(version("lumenize-collab"), message="%(version)s")
def main() -> None:
    """Lumenize Collab: a server for collaborative editing on Yjs."""


@main.command(cls=_SettingsCommand, epilog=_CREDENTIALS)
def serve(config: Path | None, **flags: Any) -> None:
    """Serve documents until SIGTERM or SIGINT.

    Exit status: 0 after a clean stop, 1 if serving failed, 2 if the settings forbid it.
    """
    sys.exit(_serve(_load(config, flags)))


@main.command(cls=_SettingsCommand, epilog=_CREDENTIALS)
def demo(config: Path | None, **flags: Any) -> None:
    """Serve documents, and a demo page at /.

    Takes the same options as `serve`. Data is stored in data/demo unless --data is given.
    """
    if not (DEMO_PAGE / "index.html").exists():
        raise click.ClickException(
            "the demo page is not built. In a checkout, `python3 dev.py demo` builds and serves it."
        )
    settings = _load(config, flags)
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
    now = time()
    access = dict(_split_rule(rule) for rule in rules) or {"*/*": "write"}
    claims: dict[str, Any] = {
        "iss": signer.issuer,
        "aud": signer.audience,
        "sub": user,
        "iat": int(now),
        "exp": int(now) + _duration(expires),
        "access": access,
    }
    claims |= {} if name is None else {"name": name}
    claims |= {} if project is None else {"project": project}
    assert signer.secret is not None
    minted = jwt.encode(claims, signer.secret, algorithm="HS256")
    try:
        Authenticator(issuers=[signer]).authenticate(minted, now)
    except AuthenticationFailed as error:
        raise click.UsageError(f"the server would refuse this token: {error.message}") from None
    click.echo(minted)


def _record_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say where the record is."""
    for option in (
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML file with settings."),
        click.option("--database", metavar="URL", help="URL of the PostgreSQL database.  [COLLAB_DATABASE]"),
        click.option("--data", metavar="FOLDER", help="Folder of the SQLite database.  [COLLAB_DATA]"),
    ):
        command = option(command)
    return command


@main.command()
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

    settings = _load(config, where)
    try:
        key = parse_name(project, name)
        count = asyncio.run(erase_offline(settings, key, takes_over=take_over))
    except CollabError as error:
        raise click.ClickException(error.message) from None
    click.echo(f"erased {key.name}" + (f" and {count - 1} entities inside it" if count > 1 else ""))


@main.command("dead-letters")
@click.argument("webhook")
@_record_options
def dead_letters(webhook: str, config: Path | None, **where: str | None) -> None:
    """List the events not delivered to WEBHOOK, oldest first, one JSON object per line. The server may be running."""
    from collab.server.offline import read_dead_letters

    settings = _load(config, where)
    try:
        letters = asyncio.run(read_dead_letters(settings, webhook))
    except CollabError as error:
        raise click.ClickException(error.message) from None
    for letter in letters:
        row = {"at": iso(letter.at), "project": letter.project, "reason": letter.reason, "event": letter.event}
        click.echo(msgspec.json.encode(row))


def _load(config: Path | None, flags: dict[str, Any]) -> Settings:
    if has_password(flags.get("database") or ""):
        raise click.UsageError(
            "--database must not contain a password, because other users can read command lines: set COLLAB_DATABASE, "
            "or COLLAB_DATABASE_FILE (a file that holds it), or use a password file (PGPASSFILE)"
        )
    texts = {name: str(value) if isinstance(value, bool) else value for name, value in flags.items()}
    try:
        return Settings.load(flags=texts, environ=os.environ, config=config, warn=_warn)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _warn(complaint: str) -> None:
    click.echo(f"Warning: {complaint}", err=True)


def _serve(settings: Settings) -> int:
    if settings.is_open and not settings.open and not is_loopback(settings.host):
        click.echo(
            f"Error: {settings.host} can be reached from outside, but no credentials are configured.\n"
            "Set COLLAB_JWT_SECRET or COLLAB_API_KEY, or configure [[issuers]] or [[keys]] (collab serve "
            "--help); or listen on 127.0.0.1; or pass --open to let everybody who can connect write everything.",
            err=True,
        )
        return 2
    from collab.server.process.supervisor import run  # `collab token` does not need it

    log_to_stderr(settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs URLs, which may contain secrets
    try:
        return run(settings, serving=_announcer(settings))
    except OSError as error:
        click.echo(f"Error: cannot listen on {settings.host} port {settings.port}: {error.strerror}", err=True)
        return 1


def _announcer(settings: Settings) -> Callable[[Sequence[tuple[str, int]]], None]:
    def announce(addresses: Sequence[tuple[str, int]]) -> None:
        for host, port in addresses:
            click.echo(f"Listening on http://{_in_url(host)}:{port}")
        host, port = addresses[0]
        where = f"{_in_url(host)}:{port}"
        click.echo(f"  y-websocket  ws://{where}/rooms")
        click.echo(f"  Hocuspocus   ws://{where}/hocuspocus")
        click.echo(f"  application  ws://{where}/realtime, http://{where}/api/v1")
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
        issuers = Settings.load(environ=os.environ, config=config, warn=_warn).all_issuers
    except (SettingsError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    signers = [issuer for issuer in issuers if issuer.secret is not None and name in (None, issuer.issuer)]
    if not signers:
        raise click.UsageError(
            "no HS256 issuer is configured" + (" by that name" if name else "; set COLLAB_JWT_SECRET")
        )
    if len({signer.issuer for signer in signers}) > 1:
        names = ", ".join(signer.issuer for signer in signers)
        raise click.UsageError(f"choose the --issuer that signs: {names}")
    return signers[0]


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
