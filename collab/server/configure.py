"""Reads :class:`collab.server.settings.Settings` from flags, environment and a TOML file, in this order of weight.

Every value is checked where it is read, so that an error says which option of which source is wrong.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from collab.server.settings import Settings

PREFIX = "COLLAB_"
CONFIG = f"{PREFIX}CONFIG"  # names the file

_TABLES = ("keys", "issuers", "webhooks", "collections")
_FILES = ("api_key", "jwt_secret")  # options that may also be read from a file of their own
_TABLE_FILES = ("key", "secret", "public_key")
_PATHS = ("data", "pages")
_WHERE = re.compile(r" - at `\$(?P<path>[^`]*)`$")


class SettingsError(ValueError):
    """A setting is unknown or makes no sense. The message names source and option, and quotes no secret."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of :class:`Settings` as an operator sees it.

    ``kind`` is the type of its values: int, float, bool, str, list (of texts or tables), or dict (of tables).
    """

    name: str
    group: str
    description: str
    kind: type
    annotation: Any
    default: Any
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def secret(self) -> bool:
        """Whether it must not be given as a flag."""
        return self.group == "Who (secrets)"

    @property
    def flag(self) -> bool:
        """Whether there is a flag for it."""
        return not self.secret and self.kind is not dict


def options() -> Iterator[Option]:
    """All options, in the order of the fields."""
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        annotation = hints[field.name]
        plain, meta = get_args(annotation)
        choices: tuple[str, ...] = ()
        kinds = [kind for kind in get_args(plain) if kind is not NoneType]
        if get_origin(plain) in (list, dict):
            plain = get_origin(plain)
        elif kinds and isinstance(kinds[0], str):
            plain, choices = str, tuple(kinds)
        elif kinds:
            plain = kinds[0]
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        yield Option(field.name, meta.extra["group"], meta.description, plain, annotation, default, choices)


def load(*, flags: Mapping[str, str | None], environ: Mapping[str, str], config: Path | None = None) -> Settings:
    """The settings of this process.

    ``flags`` are by option name, ``None`` if not given. ``config`` defaults to what ``COLLAB_CONFIG`` names.
    Raises :class:`SettingsError`.
    """
    known = {option.name: option for option in options()}
    if config is None and environ.get(CONFIG):
        config = Path(environ[CONFIG])
    values = {} if config is None else _read_file(config, known)
    for option in known.values():
        values.update(_from_environment(option, environ))
    for name, text in flags.items():
        if text is not None:
            values[name] = _from_text(known[name], text, f"--{name.replace('_', '-')}")
    try:
        return Settings(**values)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like ours and name no option: probably a slip of the pen."""
    known = {option.variable for option in options()} | {CONFIG}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in _FILES}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def _read_file(path: Path, known: Mapping[str, Option]) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    _read_named_files(raw, _FILES, path.parent, str(path))
    values = {}
    for name, value in raw.items():
        if name not in known:
            raise SettingsError(f"{path}: unknown setting {name}")
        if name in _TABLES:
            _read_table_files(value, path.parent, f"{path}: {name}")
        value = _convert(known[name], value, f"{path}: {name}", strict=True)
        if name in _PATHS and value is not None:
            value = str(path.parent / value)  # relative to the file, wherever the server is started from
        values[name] = value
    return values


def _from_environment(option: Option, environ: Mapping[str, str]) -> dict[str, Any]:
    name, variable = option.name, option.variable
    raw: dict[str, Any] = {}
    if environ.get(variable):
        raw[name] = environ[variable]
    if name in _FILES and environ.get(f"{variable}_FILE"):
        raw[f"{name}_file"] = environ[f"{variable}_FILE"]
    _read_named_files(raw, _FILES, Path(), variable)
    return {name: _from_text(option, text, variable) for name, text in raw.items()}


def _from_text(option: Option, text: str, source: str) -> Any:
    value: Any = text
    if option.name in _TABLES:
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise SettingsError(f"{source}: not JSON") from None
        _read_table_files(value, Path(), source)
        return _convert(option, value, source, strict=True)
    if option.kind is list:
        value = [part.strip() for part in text.split(",") if part.strip()]
    elif option.kind is str:
        return _convert(option, value, source, strict=True)
    return _convert(option, value, source, strict=False)


def _convert(option: Option, value: Any, source: str, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, option.annotation, strict=strict)
    except msgspec.ValidationError as error:
        text = str(error)
        where = _WHERE.search(text)
        if where is not None:
            text = f"{text[: where.start()]} (in {option.name}{where['path']})"
        raise SettingsError(f"{source}: {text}") from None


def _read_table_files(tables: Any, base: Path, source: str) -> None:
    for table in tables if isinstance(tables, list) else ():
        if isinstance(table, dict):
            _read_named_files(table, _TABLE_FILES, base, source)


def _read_named_files(table: dict[str, Any], names: tuple[str, ...], base: Path, source: str) -> None:
    """Replace ``secret_file = "path"`` by ``secret = "what is in it"``, and so on."""
    for name in names:
        file = table.pop(f"{name}_file", None)
        if file is None:
            continue
        if name in table:
            raise SettingsError(f"{source}: has both {name} and {name}_file")
        if not isinstance(file, str):
            raise SettingsError(f"{source}: {name}_file is a path")
        try:
            table[name] = (base / file).read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise SettingsError(f"{source}: {name}_file {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{source}: {name}_file {file}: not text") from None
