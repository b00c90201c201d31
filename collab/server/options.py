"""The settings as flags of commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from collab.server.config.load import Option, SettingsError, options
from collab.server.config.settings import MIB, Settings
from collab.storage.location import has_password


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


class SettingsCommand(click.Command):
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


def load_settings(config: Path | None, flags: dict[str, Any]) -> Settings:
    """The settings of a command; ``flags`` are by name of an option. Ends the command if they are wrong."""
    for name, instead in (("database", ", or use a password file (PGPASSFILE)"), ("redis", "")):
        if has_password(flags.get(name) or ""):
            variable = f"COLLAB_{name.upper()}"
            raise click.UsageError(
                f"--{name} must not contain a password, because other users can read command lines: set {variable}, "
                f"or {variable}_FILE (a file that holds it){instead}"
            )
    texts = {name: str(value) if isinstance(value, bool) else value for name, value in flags.items()}
    try:
        return Settings.load(flags=texts, environ=os.environ, config=config, warn=warn)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def warn(complaint: str) -> None:
    """Show a warning."""
    click.echo(f"Warning: {complaint}", err=True)
