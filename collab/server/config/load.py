"""Reads a struct of settings from flags, environment and a TOML file, in this order of precedence.

Every value is validated where it is read, so that an error names the option and its source.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec

from collab.nearest import did_you_mean

PREFIX = "COLLAB_"
CONFIG = f"{PREFIX}CONFIG"  # path of the file

_TABLES = ("keys", "issuers", "webhooks", "collections")
_FILES = (
    "database",
    "redis",
    "api_key",
    "jwt_secret",
    "inspect_secret",
    "metrics_secret",
)  # options that may be read from files of their own
SECRET_FILES = tuple(f"{PREFIX}{name.upper()}_FILE" for name in _FILES)
"""Environment variables that name files with secrets."""
_TABLE_FILES = ("key", "secret", "public_key")
_SECRETS = (*_FILES, "key", "secret", "previous_secret")
_PATHS = ("data", "pages")
_NOT_EMPTY = ("database", "redis")  # empty would mean another record, or a server alone
_WHERE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")

StructType = type[msgspec.Struct]
"""A struct whose fields are annotated with a description and a group."""


class SettingsError(ValueError):
    """A setting is unknown or invalid. The message names source and option, and contains no secret."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of the settings, as an operator sees it.

    ``kind`` is the type of its values: int, float, bool, str, list (of strings or tables), or dict (of tables).
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
        """Whether it must not be set by a flag."""
        return self.group == "Who (secrets)"

    @property
    def flag(self) -> bool:
        """Whether there is a flag for it."""
        return not self.secret and self.kind is not dict


@cache
def options(kind: StructType) -> tuple[Option, ...]:
    """Return all options, in the order of the fields."""
    return tuple(_options(kind))


def _options(kind: StructType) -> Iterator[Option]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
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


def read_values(
    kind: StructType, *, flags: Mapping[str, str | None], environ: Mapping[str, str], config: Path | None = None
) -> dict[str, Any]:
    """Read the options that are set anywhere.

    ``flags`` are by option name, ``None`` if not given. ``config`` defaults to the path in ``COLLAB_CONFIG``. Raises
    :class:`SettingsError`.
    """
    known = {option.name: option for option in options(kind)}
    if config is None and CONFIG in environ:
        config = Path(_given(environ, CONFIG))
    values = {} if config is None else _read_file(config, known)
    for option in known.values():
        values.update(_from_environment(option, environ))
    for name, text in flags.items():
        if text is not None:
            values[name] = _from_text(known[name], text, f"--{name.replace('_', '-')}")
    return values


def convert_value(option: Option, value: Any) -> Any:
    """Convert a value set by a program: tables may be dicts, paths any path. Raises :class:`SettingsError`."""
    if option.kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    return _convert(option, value, option.name, strict=True)


def unknown_variables(kind: StructType, environ: Mapping[str, str]) -> list[str]:
    """Return complaints about variables that look like ours but match no option."""
    known = {option.variable for option in options(kind)} | {CONFIG}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in _FILES}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    return [f"{name} names no setting{did_you_mean(name, known)}" for name in unknown]


def unread_variables(kind: StructType, settings: msgspec.Struct, environ: Mapping[str, str]) -> list[str]:
    """Return complaints about variables that would change options which ``settings`` leave at their defaults."""
    if not any(name.startswith(PREFIX) for name in environ):
        return []
    try:
        told = read_values(kind, flags={}, environ=environ)
    except SettingsError as error:
        return [str(error)]
    unread = {
        option.variable if any(name in environ for name in _variables(option)) else CONFIG
        for option in options(kind)
        if told.get(option.name, option.default) != option.default == getattr(settings, option.name)
    }
    return [f"{name} is set, but nothing has read it" for name in sorted(unread)]


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
            raise SettingsError(f"{path}: unknown setting {name}{did_you_mean(name, known)}")
        if name in _TABLES:
            _read_table_files(value, path.parent, f"{path}: {name}")
        value = _convert(known[name], value, f"{path}: {name}", strict=True)
        if name in _PATHS and value is not None:
            value = str(path.parent / value)  # relative to the file, not to the working directory
        values[name] = value
    return values


def _from_environment(option: Option, environ: Mapping[str, str]) -> dict[str, Any]:
    guards = option.group.startswith("Who") or option.name in _NOT_EMPTY
    names = [name for name in _variables(option) if (environ.get(name) is not None if guards else environ.get(name))]
    raw = {name.removeprefix(PREFIX).lower(): _given(environ, name) for name in names}
    _read_named_files(raw, _FILES, Path(), option.variable)
    return {name: _from_text(option, text, option.variable) for name, text in raw.items()}


def _variables(option: Option) -> list[str]:
    return [option.variable, *([f"{option.variable}_FILE"] if option.name in _FILES else [])]


def _given(environ: Mapping[str, str], variable: str) -> str:
    """Read a variable. Empty is an error, because it was probably meant to restrict access."""
    text = environ[variable]
    if not text.strip():
        raise SettingsError(f"{variable} is set but empty: give it a value, or unset it")
    return text


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
        unknown = _UNKNOWN.search(text)
        if unknown is not None:
            text += did_you_mean(unknown["name"], _members(msgspec.inspect.type_info(option.annotation)))
        raise SettingsError(f"{source}: {text}") from None


def _members(kind: Any) -> Iterator[str]:
    """Yield the field names of all structs in a type."""
    match kind:
        case msgspec.inspect.Metadata(type=inner) | msgspec.inspect.ListType(item_type=inner):
            yield from _members(inner)
        case msgspec.inspect.DictType(value_type=inner):
            yield from _members(inner)
        case msgspec.inspect.UnionType(types=types):
            for inner in types:
                yield from _members(inner)
        case msgspec.inspect.StructType(fields=fields):
            for field in fields:
                yield field.encode_name
                yield from _members(field.type)


def secrets_in(path: Path) -> tuple[bool, list[Path]]:
    """Whether a valid configuration file holds a secret, and the files that it takes secrets from."""
    raw = tomllib.loads(path.read_text("utf-8"))
    tables = [raw, *(table for name in _TABLES for table in _list(raw.get(name)) if isinstance(table, dict))]
    files = [path.parent / table[f"{name}_file"] for table in tables for name in _SECRETS if f"{name}_file" in table]
    values = [str(table[name]) for table in tables for name in _SECRETS if name in table]
    return any("://" not in value or urlsplit(value).password is not None for value in values), files


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_table_files(tables: Any, base: Path, source: str) -> None:
    for table in tables if isinstance(tables, list) else ():
        if isinstance(table, dict):
            _read_named_files(table, _TABLE_FILES, base, source)


def _read_named_files(table: dict[str, Any], names: tuple[str, ...], base: Path, source: str) -> None:
    """Replace ``secret_file = "path"`` by ``secret = "content of the file"``, and so on."""
    for name in names:
        file = table.pop(f"{name}_file", None)
        if file is None:
            continue
        if name in table:
            raise SettingsError(f"{source}: has both {name} and {name}_file")
        if not isinstance(file, str):
            raise SettingsError(f"{source}: {name}_file must be a path")
        try:
            table[name] = (base / file).read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise SettingsError(f"{source}: {name}_file {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{source}: {name}_file {file}: not text") from None
