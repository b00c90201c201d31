"""What an application says of its collections: fields, content, indexes, and where they live.

A declaration is checked once, when it is made. A write is checked against it as a whole document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Literal, cast

import msgspec
from jsonschema import FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from msgspec import Meta
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from collab.dates import canonical, iso
from collab.errors import NotFound, ValidationFailed
from collab.names import is_part
from collab.query.query import Path
from collab.storage.base import Storage

RECORD_MEMBERS = frozenset({"id", "createdAt", "updatedAt"})
"""Members of ``data`` that are the record's: no schema is asked about them, no write may set them."""

EVERY_PROJECT = "*"
"""Under which declarations are saved: they are a server's, for all its projects. No project has this name."""

MOST_ERRORS = 20
LONGEST_MESSAGE = 300

ContentKind = Literal["text", "array", "map", "xml"]
_Root = Annotated[str, Meta(min_length=1, max_length=128)]

_FIELDS = "fields"


class Mapped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"collection": "in"}):
    """Entities that live as members of the root map ``root`` in each document of ``collection`` (``in``)."""

    collection: str
    root: _Root


class CollectionDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One collection. Raises :class:`ValueError` if it makes no sense.

    ``fields`` is a JSON Schema (2020-12 unless ``$schema`` says otherwise, references only within itself) of the
    fields, so of ``data`` without ``id``, ``createdAt`` and ``updatedAt``. ``content`` names shared roots besides
    them and what each is. ``indexes`` are paths, as in a query, that are looked up often.
    """

    fields: dict[str, Any] | None = None
    content: dict[_Root, ContentKind] = {}
    indexes: list[Annotated[str, Meta(min_length=1, max_length=512)]] = []
    mapped: Mapped | None = None

    def __post_init__(self) -> None:
        if self.fields is not None:
            compile_schema(self.fields)
        if _FIELDS in self.content:
            raise ValueError(f"the root {_FIELDS} holds the fields, and is no content")
        if any("" in path for path in self.index_paths()):
            raise ValueError("an index is the name of a field, or names with dots between them")
        if len(self.indexes) > 32:
            raise ValueError("a collection has at most 32 indexes")
        if self.mapped is not None:
            if self.content:
                raise ValueError("a mapped collection has no content: its entities have no document of their own")
            if not is_part(self.mapped.collection):
                raise ValueError("mapped.in is the name of a collection")
            if self.mapped.root == _FIELDS:
                raise ValueError(f"the root {_FIELDS} holds the fields of the document, and no other entities")

    def index_paths(self) -> tuple[Path, ...]:
        """``indexes`` as paths."""
        return tuple(dict.fromkeys(tuple(name.split(".")) for name in self.indexes))

    def fingerprint(self) -> bytes:
        """The same for declarations that applications cannot tell apart (they differ in indexes at most)."""
        said = msgspec.to_builtins(self)
        said.pop("indexes", None)
        return msgspec.json.encode(said, order="deterministic")


def declaration(
    fields: type | Mapping[str, Any] | None = None,
    *,
    content: Mapping[str, ContentKind] | None = None,
    indexes: Sequence[str] = (),
    mapped: Mapping[str, str] | None = None,
) -> CollectionDeclaration:
    """A declaration as Python code makes it.

    ``fields`` may be a JSON Schema, a :class:`msgspec.Struct` or a pydantic model; members of the latter that are
    the record's (``id``, ``createdAt``, ``updatedAt``) are left out. ``mapped`` is ``{"in": …, "root": …}``.
    Raises :class:`ValueError`.
    """
    schema = None if fields is None else schema_of(fields)
    said = {"fields": schema, "content": dict(content or {}), "indexes": list(indexes), "mapped": mapped}
    return msgspec.convert(said, CollectionDeclaration)


def schema_of(fields: type | Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a class (msgspec or pydantic), or a copy of one. Raises :class:`ValueError`."""
    if isinstance(fields, Mapping):
        return _copy(fields)
    described: Callable[[], dict[str, Any]] | None = getattr(fields, "model_json_schema", None)
    try:
        schema = described() if described is not None else msgspec.json.schema(fields)
    except TypeError as error:
        raise ValueError(f"fields is a JSON Schema, a msgspec.Struct or a pydantic model: {error}") from None
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in schema.get("$defs", {}):
        schema = {**schema["$defs"][name], "$defs": schema["$defs"]}
    if schema.get("type") != "object":
        raise ValueError("fields is a class whose instances are objects")
    schema = _copy(schema)
    for member in RECORD_MEMBERS:
        schema.get("properties", {}).pop(member, None)
    if "required" in schema:
        schema["required"] = [member for member in schema["required"] if member not in RECORD_MEMBERS]
    return schema


def compile_schema(schema: Mapping[str, Any]) -> Validator:
    """The validator of a JSON Schema. Raises :class:`ValueError` if it is none, or names something outside itself."""
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
        # an empty registry: nothing is ever fetched
        registry: Registry[Any] = Registry()
        root = registry.resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
        for reference in _references(schema):
            root.lookup(reference)
        validator = kind(schema, registry=registry, format_checker=_formats())
        validator.is_valid({})
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message[:LONGEST_MESSAGE]}") from None
    except Unresolvable as error:
        raise ValueError(f"the JSON Schema refers to {error.ref!r}, which it does not hold") from None
    except (RecursionError, re.error):
        raise ValueError("the JSON Schema is without end, or holds a pattern that is none") from None
    return validator


class Schemas:
    """The declared collections of a server. ``strict``: no other collection may be used."""

    def __init__(self, declared: Mapping[str, CollectionDeclaration] | None = None, *, strict: bool = False) -> None:
        self.strict = strict
        self._declared: dict[str, CollectionDeclaration] = {}
        self._validators: dict[str, Validator] = {}
        self._versions: dict[str, int] = {}
        for name, said in (declared or {}).items():
            self.declare(name, said)

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def get(self, collection: str) -> CollectionDeclaration | None:
        """What is declared of a collection."""
        return self._declared.get(collection)

    def version(self, collection: str) -> int:
        """How often its declaration has changed, from 1; 0 before :meth:`save` has seen it."""
        return self._versions.get(collection, 0)

    def declare(self, collection: str, said: CollectionDeclaration) -> None:
        """Declare a collection, or declare it anew. Raises :class:`ValueError`. :meth:`save` is to follow."""
        if not is_part(collection):
            raise ValueError("a collection is named with 1-128 characters of [A-Za-z0-9_.:-]")
        mapped = said.mapped
        if mapped is not None:
            if mapped.collection == collection or any(
                other.mapped is not None and other.mapped.collection == collection for other in self._declared.values()
            ):
                raise ValueError(f"{collection} is mapped itself: it cannot hold others")
            outer = self._declared.get(mapped.collection)
            if outer is not None and outer.mapped is not None:
                raise ValueError(f"{mapped.collection} is mapped itself: it cannot hold {collection}")
            if self.mapped_in(mapped.collection).get(mapped.root, collection) != collection:
                raise ValueError(f"the root {mapped.root} of {mapped.collection} holds another collection already")
        self._declared[collection] = said
        if said.fields is None:
            self._validators.pop(collection, None)
        else:
            self._validators[collection] = compile_schema(said.fields)

    def mapped_in(self, collection: str) -> dict[str, str]:
        """The roots of documents of a collection that hold other entities, and the collections of those."""
        return {
            said.mapped.root: name
            for name, said in self._declared.items()
            if said.mapped is not None and said.mapped.collection == collection
        }

    def lives_inside(self, collection: str) -> bool:
        """Whether its entities live inside documents of another collection."""
        said = self._declared.get(collection)
        return said is not None and said.mapped is not None

    def check_collection(self, collection: str) -> None:
        """Raise :class:`collab.errors.NotFound` for a collection that may not be used."""
        if self.strict and collection not in self._declared:
            raise NotFound(f"there is no collection {collection}")

    def validate(self, collection: str, data: Mapping[str, Any]) -> None:
        """Check an entity as it would be after a write; the record's own members are not looked at.

        Raises :class:`collab.errors.ValidationFailed` with ``errors``, a list of ``{"field": "a.b", "message": …}``.
        """
        validator = self._validators.get(collection)
        if validator is None:
            return
        fields = {name: value for name, value in data.items() if name not in RECORD_MEMBERS}
        try:
            found = [each for error in islice(validator.iter_errors(fields), MOST_ERRORS) for each in _explain(error)]
        except RecursionError:
            found = [("", "is nested too deeply")]
        if found:
            errors = [{"field": field, "message": message} for field, message in dict.fromkeys(found)][:MOST_ERRORS]
            field, message = found[0]
            raise ValidationFailed(f"{field}: {message}" if field else message, errors=errors)

    def describe(self) -> dict[str, dict[str, Any]]:
        """``{collection: {"schema": …, "content": {root: kind}, "version": n}}``, and ``mapped`` where it is."""
        described: dict[str, dict[str, Any]] = {}
        for name, said in self._declared.items():
            described[name] = {"schema": said.fields, "content": dict(said.content), "version": self.version(name)}
            if said.mapped is not None:
                described[name]["mapped"] = msgspec.to_builtins(said.mapped)
        return described

    async def save(self, storage: Storage, now: float) -> list[dict[str, Any]]:
        """Save what is declared, and have it indexed. Returns ``schema_updated`` events for what has changed.

        ``now`` is in seconds since the epoch.
        """
        saved = await storage.schemas(EVERY_PROJECT)
        events = []
        for name, said in self._declared.items():
            await storage.index(name, said.index_paths())
            version, known = saved.get(name, (0, b""))
            fingerprint = said.fingerprint()
            if known != fingerprint:
                version += 1
                await storage.save_schema(EVERY_PROJECT, name, version, fingerprint)
                events.append({"type": "schema_updated", "entityName": name, "version": version, "at": iso(now)})
            self._versions[name] = version
        return events


def _formats() -> FormatChecker:
    """Checks of the formats that the library knows, with points in time as the rest of us reads them."""
    checker = FormatChecker()
    checker.checks("date-time")(lambda text: not isinstance(text, str) or (len(text) > 10 and bool(canonical(text))))
    checker.checks("date")(lambda text: not isinstance(text, str) or (len(text) == 10 and bool(canonical(text))))
    return checker


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _explain(error: ValidationError) -> Iterator[tuple[str, str]]:
    """The fields that an error is about, and what is wrong with each."""
    path = [str(part) for part in error.absolute_path]
    instance, schema, value = cast(Any, error.instance), cast(Any, error.schema), cast(Any, error.validator_value)
    match error.validator:
        case "required":
            for name in value:
                if name not in instance:
                    yield ".".join([*path, name]), "is required"
        case "additionalProperties" if value is False:
            patterns = schema.get("patternProperties", {})
            for name in instance:
                if name not in schema.get("properties", {}) and not any(re.search(known, name) for known in patterns):
                    yield ".".join([*path, name]), "is not a declared field"
        case _:
            yield ".".join(path), error.message[:LONGEST_MESSAGE]


def _copy(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that nobody else can change. Raises :class:`ValueError` for what is no JSON."""
    try:
        copied: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    except (TypeError, msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"fields is not JSON: {error}") from None
    return copied
