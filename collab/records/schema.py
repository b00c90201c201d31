"""Declarations of collections: fields, content, indexes, and location.

A declaration is validated once, when it is made. After each write the whole entity must fit it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar, cast

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
from collab.errors import InvalidRequest, NotFound, ValidationFailed
from collab.event import RECORD_MEMBERS
from collab.names import is_part
from collab.nearest import did_you_mean
from collab.query.aggregate import Aggregation
from collab.query.parse import quoted
from collab.query.query import MAX_INDEX_MEMBERS, IndexPaths, Path, Query
from collab.query.search import CONTENTS
from collab.records.field_types import schema_of
from collab.records.schema_versions import SavedSchema, decide, digest_of, read_saved, write_saved
from collab.storage.base import EntityStorage
from collab.storage.rules import is_simple

EVERY_PROJECT = "*"
"""The project under which declarations are saved: they apply to all projects. No real project has this name."""

MAX_SEARCHED = 32
"""Maximum number of members of a collection that are searched."""
MAX_INDEXES = 32
"""Maximum number of indexes of a collection."""
MAX_RELATIONS = 32
"""Maximum number of relations of a collection."""
MOST_ERRORS = 20
LONGEST_MESSAGE = 300

ContentKind = Literal["text", "array", "map", "xml"]
_Root = Annotated[str, Meta(min_length=1, max_length=128)]
_Member = Annotated[str, Meta(min_length=1, max_length=512)]

Searching = TypeVar("Searching", bound=Query | Aggregation)

_FIELDS = "fields"
_RELATION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


class Mapped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"collection": "in"}):
    """Entities that live as members of the root map ``root`` in each document of ``collection`` (``in``)."""

    collection: str
    root: _Root


class Relation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Related entities: the ``one`` of a collection whose id is in the field ``by``, or the ``many`` of a collection
    whose field ``by`` has this entity's id. Raises :class:`ValueError` if it is invalid.
    """

    one: str | None = None
    many: str | None = None
    by: _Root

    def __post_init__(self) -> None:
        if (self.one is None) == (self.many is None):
            raise ValueError("a relation has either one or many: the name of a collection")
        if not is_part(self.collection):
            raise ValueError("one and many of a relation must be the name of a collection")
        if self.by in RECORD_MEMBERS or "." in self.by or not is_simple(self.by):
            raise ValueError(f"a relation is by a field, not by {self.by!r}")

    @property
    def collection(self) -> str:
        """The collection of the related entities."""
        return self.one or self.many or ""


class CollectionDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Declares one collection. Raises :class:`ValueError` if it is invalid.

    ``fields`` is a JSON Schema (2020-12 unless ``$schema`` says otherwise; references must stay within it) of the
    fields, which means ``data`` without ``id``, ``createdAt`` and ``updatedAt``. ``content`` maps further shared roots
    to their kinds. ``indexes`` are what queries use often: a path, or a list of paths for an index over several members
    in this order. ``search`` are the paths of what the ``search`` of a query finds, which with ``search_content`` also
    finds what the documents say. ``relations`` are those that queries may ``include``, by name.
    """

    fields: dict[str, Any] | None = None
    content: dict[_Root, ContentKind] = {}
    indexes: list[_Member | Annotated[list[_Member], Meta(min_length=1)]] = []
    search: list[_Member] = []
    search_content: bool = False
    mapped: Mapped | None = None
    relations: dict[str, Relation] = {}

    def __post_init__(self) -> None:
        if self.fields is not None:
            compile_schema(self.fields)
        if _FIELDS in self.content:
            raise ValueError(f"the root {_FIELDS} holds the fields and cannot be content")
        if len(self.indexes) > MAX_INDEXES:
            raise ValueError(f"a collection may have at most {MAX_INDEXES} indexes")
        for paths in self.index_paths():
            _check_index(paths, self.fields or {})
        if len(self.relations) > MAX_RELATIONS:
            raise ValueError(f"a collection may have at most {MAX_RELATIONS} relations")
        for name, relation in self.relations.items():
            if not _RELATION.fullmatch(name):
                raise ValueError("a relation's name must be 1-64 letters, digits and _, and begin with a letter")
            if relation.one is not None:
                _check_declared((relation.by,), self.fields or {}, f"the relation {name}")
        if len(self.search) > MAX_SEARCHED:
            raise ValueError(f"search may name at most {MAX_SEARCHED} members")
        for name in self.search:
            _check_searched(tuple(name.split(".")), self.fields or {})
        if self.mapped is not None:
            if self.content or self.search_content:
                raise ValueError("a mapped collection cannot have content: its entities have no document of their own")
            if not is_part(self.mapped.collection):
                raise ValueError("mapped.in must be the name of a collection")
            if self.mapped.root == _FIELDS:
                raise ValueError(f"the root {_FIELDS} holds the document's fields and cannot hold other entities")

    def index_paths(self) -> tuple[IndexPaths, ...]:
        """The different indexes, each as the paths of its members."""
        lists = ([index] if isinstance(index, str) else index for index in self.indexes)
        return tuple(dict.fromkeys(tuple(tuple(name.split(".")) for name in names) for names in lists))

    def search_paths(self) -> IndexPaths:
        """The different members that are searched, in the order of their names: any other means the same.

        What documents say is :data:`collab.query.search.CONTENTS` among them.
        """
        contents = [CONTENTS] if self.search_content else []
        return tuple(sorted({*contents, *(tuple(name.split(".")) for name in self.search)}))

    def fingerprint(self) -> bytes:
        """Equal for declarations that look the same to applications (they may differ in indexes)."""
        said = msgspec.to_builtins(self)
        said.pop("indexes", None)
        said.pop("search", None)
        said.pop("search_content", None)
        return msgspec.json.encode(said, order="deterministic")


def declaration(
    fields: type | Mapping[str, Any] | None = None,
    *,
    content: Mapping[str, ContentKind] | None = None,
    indexes: Sequence[str | Sequence[str]] = (),
    search: Sequence[str] = (),
    search_content: bool = False,
    mapped: Mapping[str, str] | None = None,
    relations: Mapping[str, Mapping[str, str]] | None = None,
) -> CollectionDeclaration:
    """Build a declaration in Python.

    ``fields`` is a JSON Schema, a pydantic model, a :class:`msgspec.Struct`, a dataclass, a ``TypedDict``, or the types
    of all fields by name: see :func:`collab.records.field_types.schema_of`. Each of ``indexes`` is a path or a list of
    paths, each of ``search`` a path; with ``search_content`` rows are found by what their documents say. ``mapped``
    is ``{"in": …, "root": …}``. Each of ``relations`` is ``{"one": collection, "by": field}`` or
    ``{"many": collection, "by": field}``. Raises :class:`ValueError`.
    """
    schema = None if fields is None else schema_of(fields)
    listed = [index if isinstance(index, str) else list(index) for index in indexes]
    said = {"fields": schema, "content": dict(content or {}), "indexes": listed, "mapped": mapped}
    said["search"] = list(search)
    said["relations"] = {name: dict(relation) for name, relation in (relations or {}).items()}
    return msgspec.convert({**said, "search_content": search_content}, CollectionDeclaration)


def compile_schema(schema: Mapping[str, Any]) -> Validator:
    """Compile a JSON Schema. Raises :class:`ValueError` if it is invalid, or refers to something outside itself."""
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
        # an empty registry: references are never fetched
        registry: Registry[Any] = Registry()
        root = registry.resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
        for reference in _references(schema):
            root.lookup(reference)
        validator = kind(schema, registry=registry, format_checker=_formats())
        validator.is_valid({})
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message[:LONGEST_MESSAGE]}") from None
    except Unresolvable as error:
        raise ValueError(f"the JSON Schema refers to {error.ref!r}, which it does not contain") from None
    except (RecursionError, re.error):
        raise ValueError("the JSON Schema is infinite, or contains an invalid pattern") from None
    return validator


class Schemas:
    """The declared collections of a server. ``strict``: only declared collections may be used.

    ``reads_content``: somebody reads what documents say, so that it may be searched.
    """

    def __init__(
        self,
        declared: Mapping[str, CollectionDeclaration] | None = None,
        *,
        strict: bool = False,
        reads_content: bool = True,
    ) -> None:
        self.strict = strict
        self._reads_content = reads_content
        self._declared: dict[str, CollectionDeclaration] = {}
        self._validators: dict[str, Validator] = {}
        self._versions: dict[str, int] = {}
        self._contents_paths: dict[str, Path] = {}
        for name, said in (declared or {}).items():
            self.declare(name, said)

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def get(self, collection: str) -> CollectionDeclaration | None:
        return self._declared.get(collection)

    def version(self, collection: str) -> int:
        """Return the version of its declaration, from 1; 0 before :meth:`save`."""
        return self._versions.get(collection, 0)

    def declare(self, collection: str, said: CollectionDeclaration) -> None:
        """Declare a collection, or replace its declaration. Raises :class:`ValueError`. Call :meth:`save` next."""
        if not is_part(collection):
            raise ValueError("a collection's name must be 1-128 characters of [A-Za-z0-9_.:-]")
        if said.search_content and not self._reads_content:
            raise ValueError(f"search_content of {collection} needs content_event_seconds, which is 0")
        mapped = said.mapped
        if mapped is not None:
            if mapped.collection == collection or any(
                other.mapped is not None and other.mapped.collection == collection for other in self._declared.values()
            ):
                raise ValueError(f"{collection} is mapped itself, so it cannot hold other entities")
            outer = self._declared.get(mapped.collection)
            if outer is not None and outer.mapped is not None:
                raise ValueError(f"{mapped.collection} is mapped itself, so it cannot hold {collection}")
            if self.mapped_in(mapped.collection).get(mapped.root, collection) != collection:
                raise ValueError(f"the root {mapped.root} of {mapped.collection} already holds another collection")
        self._declared[collection] = said
        if said.fields is None:
            self._validators.pop(collection, None)
        else:
            self._validators[collection] = compile_schema(said.fields)
        for name, each in self._declared.items():
            if each.search_content:
                self._contents_paths[name] = search_paths_of(self._declared, name)[0]
            else:
                self._contents_paths.pop(name, None)

    def mapped_in(self, collection: str) -> dict[str, str]:
        """Return the roots of documents of a collection that hold other entities, with those entities' collections."""
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

    def search(self, collection: str, query: Searching) -> Searching:
        """Return a query or an aggregate with the members that it searches.

        Raises :class:`collab.errors.InvalidRequest` if the collection declares none.
        """
        if query.search is None:
            return query
        paths = search_paths_of(self._declared, collection)
        if not paths:
            raise InvalidRequest(f"search: {collection} declares nothing to search")
        return replace(query, search=replace(query.search, paths=paths))

    @property
    def contents_paths(self) -> Mapping[str, Path]:
        """The collections whose searches find what documents say, each with the path of these contents."""
        return self._contents_paths

    def validate(self, collection: str, data: Mapping[str, Any]) -> None:
        """Validate an entity as it would be after a write. Metadata is ignored.

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
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise ValidationFailed(f"{field}: {message}{more}" if field else f"{message}{more}", errors=errors)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return ``{collection: {"schema": …, "content": {root: kind}, "version": n}}``, and ``mapped``,
        ``relations`` if it has them.
        """
        described: dict[str, dict[str, Any]] = {}
        for name, said in self._declared.items():
            described[name] = {"schema": said.fields, "content": dict(said.content), "version": self.version(name)}
            if said.mapped is not None:
                described[name]["mapped"] = msgspec.to_builtins(said.mapped)
            if said.relations:
                described[name]["relations"] = msgspec.to_builtins(said.relations)
        return described

    def relation(self, collection: str, name: str) -> Relation:
        """Return a relation of a collection. Raises :class:`collab.errors.InvalidRequest`."""
        said = self._declared.get(collection)
        known = {} if said is None else said.relations
        if name not in known:
            if not known:
                raise InvalidRequest(f"include: {collection} declares no relations")
            has = f"only {', '.join(sorted(known))}"
            meant = did_you_mean(name, known)
            raise InvalidRequest(f"include: {collection} has no relation {quoted(name)}, {has}{meant}")
        return known[name]

    async def differing(self, storage: EntityStorage) -> list[str]:
        """The collections of which the record has another declaration as the newest: see :func:`differing`."""
        return differing(self._declared, await storage.schemas(EVERY_PROJECT))

    async def save(self, storage: EntityStorage, now: float, *, others: bool = False) -> list[dict[str, Any]]:
        """Save the declarations; create their indexes, and those that their relations need.

        Returns a ``schema_updated`` event for each change.

        While ``others`` write to the record, a declaration that was replaced before stays replaced: this process
        uses it, with the version that it had. ``now`` is in seconds since the epoch.
        """
        saved = await storage.schemas(EVERY_PROJECT)
        events = []
        for name, said in self._declared.items():
            before = read_saved(*saved[name]) if name in saved else SavedSchema()
            fingerprint = said.fingerprint()
            version, after, newest = decide(before, fingerprint, _digest(self._declared, name), others=others)
            if newest:
                await storage.index(name, indexes_of(self._declared, name))
                many = {relation.many for relation in said.relations.values() if relation.many is not None}
                for other in sorted(many - self._declared.keys()):
                    await storage.index(other, indexes_of(self._declared, other))
                await storage.searchable(name, search_paths_of(self._declared, name))
            if after is not None:
                await storage.save_schema(EVERY_PROJECT, name, version, write_saved(after))
                if version != before.version:
                    events.append({"type": "schema_updated", "entityName": name, "version": version, "at": iso(now)})
            self._versions[name] = version
        return events


def differing(declared: Mapping[str, CollectionDeclaration], saved: Mapping[str, tuple[int, bytes]]) -> list[str]:
    """The collections, by name, of which a record has another declaration as the newest, indexes included."""
    names = []
    for name in sorted(declared.keys() & saved.keys()):
        editions = read_saved(*saved[name]).editions
        if editions and editions[-1].digest != _digest(declared, name):
            names.append(name)
    return names


def declared_in(saved: Mapping[str, tuple[int, bytes]]) -> dict[str, CollectionDeclaration]:
    """The declarations, without indexes, that :meth:`Schemas.save` has saved in a record.

    Those that this version does not understand are left out.
    """
    found = {}
    for name, (version, content) in saved.items():
        with suppress(msgspec.MsgspecError):
            found[name] = msgspec.json.decode(read_saved(version, content).fingerprint, type=CollectionDeclaration)
    return found


def indexes_of(declared: Mapping[str, CollectionDeclaration], collection: str) -> tuple[IndexPaths, ...]:
    """The indexes of a collection: those that it declares, and those by which the relations of others find its rows.

    What is related to a thousand rows is a thousand searches: each would read the whole collection.
    """
    said = declared.get(collection)
    listed = () if said is None else said.index_paths()
    relations = (relation for other in declared.values() for relation in other.relations.values())
    found = sorted({relation.by for relation in relations if relation.many == collection})
    return (*listed, *(((by,),) for by in found if not any(paths[0] == (by,) for paths in listed)))


def search_paths_of(declared: Mapping[str, CollectionDeclaration], collection: str) -> IndexPaths:
    """What is searched in a collection.

    Entities inside its documents have rights of their own, and are searched where they are declared. So their roots
    are no contents: if other roots are declared, the documents are read again.
    """
    said = declared.get(collection)
    inside = (other.mapped for other in declared.values() if other.mapped is not None)
    roots = sorted(mapped.root for mapped in inside if mapped.collection == collection)
    paths = () if said is None else said.search_paths()
    return tuple((*path, *roots) if path == CONTENTS else path for path in paths)


def _digest(declared: Mapping[str, CollectionDeclaration], collection: str) -> str:
    """Equal for equal declarations, with what is indexed and searched."""
    paths = search_paths_of(declared, collection)
    searched = (paths,) if paths else ()
    return digest_of(declared[collection].fingerprint(), (*indexes_of(declared, collection), *searched))


def _check_searched(path: Path, schema: Mapping[str, Any]) -> None:
    """Raise :class:`ValueError` for a member that cannot be searched."""
    if "" in path:
        raise ValueError("search must list field names, or names separated by dots")
    if path[0] in RECORD_MEMBERS:
        raise ValueError(f"{path[0]} cannot be searched: compare it in where")
    _check_declared(path, schema, f"search {'.'.join(path)}")


def _check_index(paths: IndexPaths, schema: Mapping[str, Any]) -> None:
    """Raise :class:`ValueError` if there can be no such index."""
    names = [".".join(path) for path in paths]
    if any("" in path for path in paths):
        raise ValueError("an index must be a field name, or names separated by dots, or a list of these")
    if len(paths) > MAX_INDEX_MEMBERS:
        raise ValueError(f"an index may have at most {MAX_INDEX_MEMBERS} members, not {len(paths)}: {', '.join(names)}")
    for at, (path, name) in enumerate(zip(paths, names, strict=True)):
        if path in paths[:at]:
            raise ValueError(f"the index {', '.join(names)} has the member {name} twice")
        if not all(map(is_simple, path)):
            raise ValueError(f"the member {name!r} cannot be indexed: quotation mark, backslash or control character")
        if path[0] not in RECORD_MEMBERS:
            _check_declared(path, schema, f"the index {'.'.join(path)}")


def _check_declared(path: Path, schema: Any, what: str) -> None:
    """Raise :class:`ValueError` for a member of ``what`` that a JSON Schema forbids."""
    for depth, name in enumerate(path):
        if not isinstance(schema, Mapping):
            return
        properties = schema.get("properties", {})
        if name not in properties:
            closed = schema.get("additionalProperties") is False
            if closed and not any(re.search(pattern, name) for pattern in schema.get("patternProperties", {})):
                known = [*properties, *(sorted(RECORD_MEMBERS) if depth == 0 else ())]
                raise ValueError(f"{what} names no declared field{did_you_mean(name, known)}")
            return
        schema = properties[name]


def _formats() -> FormatChecker:
    """The library's format checks, with dates and times as the rest of the server parses them."""
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
    """Yield the fields that an error is about, each with its message."""
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
