"""The command ``collab``."""

from __future__ import annotations

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
from collab.access.identity import parse_rules
from collab.errors import AuthenticationFailed
from collab.server.configure import Option, SettingsError, load, options, unknown_variables
from collab.server.settings import MIB, Settings, secret_issuer

DEMO_PAGE = Path(__file__).parent / "demo"

_LOOPBACK_NAMES = ["localhost", "127.0.0.1", "::1"]
_DURATION = re.compile(r"(?P<count>[1-9][0-9]{0,8})(?P<unit>[smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

_CREDENTIALS = """\
Every option may also be set by the environment variable in brackets, or by its name (with _ for -) in the TOML
file; flags win over the environment, the environment over the file. Lists are separated by commas.

\b
Credentials are no flags, for command lines can be read by others:
  COLLAB_API_KEY, COLLAB_JWT_SECRET              (or COLLAB_…_FILE: a file that holds it)
  COLLAB_KEYS, COLLAB_ISSUERS                    (JSON; in the file: [[keys]] and [[issuers]])
Without any of them the server is open, and listens on the loopback address only.

\b
Tables are no flags either:
  COLLAB_COLLECTIONS, COLLAB_WEBHOOKS            (JSON; in the file: [collections.NAME] and [[webhooks]])
"""


class _SettingOption(click.Option):
    """A flag that sets an option of :class:`Settings`; its text is read like the environment's."""

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
    """A command that takes all settings as flags, and shows them by group."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="TOML file with settings; paths in it are relative to it.  [COLLAB_CONFIG]",
        )
        self.params += [config, *(_SettingOption(option) for option in options() if option.flag)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags, one section for each group."""
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
    """Lumenize Collab: Yjs documents that people and programs edit together."""


@main.command(cls=_SettingsCommand, epilog=_CREDENTIALS)
def serve(config: Path | None, **flags: Any) -> None:
    """Serve documents until SIGTERM or SIGINT.

    Exit status: 0 after a stop in good order, 1 if serving failed, 2 if the settings forbid it.
    """
    sys.exit(_serve(_load(config, flags)))


@main.command(cls=_SettingsCommand, epilog=_CREDENTIALS)
def demo(config: Path | None, **flags: Any) -> None:
    """Serve documents, and a page at / that shows what they can do.

    Takes the same options as `serve`. Data is kept in data/demo unless --data says otherwise.
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
@click.option("--name", help="Name that others see.")
@click.option("--project", help="Project (tenant) to work in.")
@click.option(
    "--access",
    "rules",
    multiple=True,
    metavar="PATTERN=RIGHT",
    help="Rule, e.g. documents/*=write; rights are none, read, write. May be repeated: the first that matches "
    "decides.  [*/*=write]",
)
@click.option("--expires", default="8h", show_default=True, metavar="TIME", help="Life, e.g. 90s, 15m, 8h, 7d.")
@click.option("--issuer", help="Which of the configured HS256 issuers signs, if there are several.")
@click.option("--secret", help="Sign with this secret, as if it were COLLAB_JWT_SECRET. Others can see it.")
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
    """Mint a token for development, signed with the configured secret, and print it."""
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


def _load(config: Path | None, flags: dict[str, Any]) -> Settings:
    for variable in unknown_variables(os.environ):
        click.echo(f"Warning: {variable} names no setting", err=True)
    texts = {name: str(value) if isinstance(value, bool) else value for name, value in flags.items()}
    try:
        return load(flags=texts, environ=os.environ, config=config)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _serve(settings: Settings) -> int:
    if settings.is_open:
        if not is_loopback(settings.host):
            click.echo(
                f"Error: {settings.host} can be reached from outside, and no credentials are configured.\n"
                "Set COLLAB_JWT_SECRET or COLLAB_API_KEY, or configure [[issuers]] or [[keys]] (collab serve "
                "--help); or listen on 127.0.0.1.",
                err=True,
            )
            return 2
        if not settings.allowed_hosts:
            settings = msgspec.structs.replace(settings, allowed_hosts=[*_LOOPBACK_NAMES, settings.host])
    from collab.server.supervisor import run  # `collab token` needs nothing of it

    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each URL, and they may hold secrets
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
        click.echo(f"  data         {Path(settings.data).absolute()}")
        if settings.is_open:
            click.echo("  access       open: whoever reaches this address may read and write everything")
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
        issuers = load(flags={}, environ=os.environ, config=config).all_issuers
    except (SettingsError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    signers = [issuer for issuer in issuers if issuer.secret is not None and name in (None, issuer.issuer)]
    if not signers:
        raise click.UsageError(
            "no HS256 issuer is configured" + (" by that name" if name else "; set COLLAB_JWT_SECRET")
        )
    if len({signer.issuer for signer in signers}) > 1:
        names = ", ".join(signer.issuer for signer in signers)
        raise click.UsageError(f"say which --issuer is to sign: {names}")
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
        raise click.BadParameter("a time is a number and s, m, h or d", param_hint="--expires")
    return int(match["count"]) * _SECONDS[match["unit"]]
