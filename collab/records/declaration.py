"""The declaration of one collection: its fields, content, indexes, what is searched, and where it lives.

It is validated once, when it is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from collab.event import RECORD_MEMBERS
from collab.names import is_part
from collab.nearest import did_you_mean
from collab.query.query import MAX_INDEX_MEMBERS, IndexPaths, Path
from collab.query.search import CONTENTS
from collab.records.field_types import schema_of
from collab.records.json_schema import compile_schema
from collab.storage.rules import is_simple

MAX_SEARCHED = 32
"""Maximum number of members of a collection that are searched."""
MAX_INDEXES = 32
"""Maximum number of indexes of a collection."""
MAX_RELATIONS = 32
"""Maximum number of relations of a collection."""

ContentKind = Literal["text", "array", "map", "xml"]
_Root = Annotated[str, Meta(min_length=1, max_length=128)]
_Member = Annotated[str, Meta(min_length=1, max_length=512)]

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
