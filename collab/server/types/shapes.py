"""The shapes of declared collections, from their JSON Schemas. Pure.

Each object gets a name; everything else stands where it is used. What cannot be said (a pattern, a condition, a
recursion that is no object) becomes :data:`UNKNOWN`: types accept whatever the schema accepts, and more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote

from collab.event import RECORD_MEMBERS
from collab.records.declaration import CollectionDeclaration

SimpleName = Literal["string", "integer", "number", "boolean", "null", "unknown"]


class SimpleShape(NamedTuple):
    """A simple type."""

    name: SimpleName


class Choice(NamedTuple):
    """One of these values: strings, integers, booleans, ``None``."""

    values: tuple[str | int | bool | None, ...]


class ListOf(NamedTuple):
    """A list of any length."""

    item: Shape


class MapOf(NamedTuple):
    """An object with any members."""

    value: Shape


class OneOf(NamedTuple):
    """At least one of these."""

    options: tuple[Shape, ...]


class NameOf(NamedTuple):
    """The object of this name."""

    name: str


Shape: TypeAlias = SimpleShape | Choice | ListOf | MapOf | OneOf | NameOf

UNKNOWN = SimpleShape("unknown")
NULL = SimpleShape("null")


def options_of(shape: Shape) -> tuple[Shape, ...]:
    """The shapes of which a value has at least one."""
    return shape.options if isinstance(shape, OneOf) else (shape,)


class Member(NamedTuple):
    """A member of an object."""

    name: str
    shape: Shape
    required: bool
    description: str


@dataclass(slots=True)
class ObjectShape:
    """An object with a name. ``closed``: it has no other members."""

    name: str
    description: str = ""
    members: list[Member] = field(default_factory=list)
    closed: bool = False


class RelationShape(NamedTuple):
    """A relation: to ``one`` row of a collection, or to a list. ``target`` is ``None`` if that is not declared."""

    name: str
    target: ObjectShape | None
    one: bool


@dataclass(slots=True)
class Shapes:
    """All objects, inner ones first, and the object and the relations of each collection."""

    objects: list[ObjectShape] = field(default_factory=list)
    collections: dict[str, ObjectShape] = field(default_factory=dict)
    relations: dict[str, tuple[RelationShape, ...]] = field(default_factory=dict)


_SCALARS: Mapping[str, SimpleShape] = {
    name: SimpleShape(name) for name in ("string", "integer", "number", "boolean", "null")
}
_RESERVED = {"Schema", "Record", "Any", "Literal", "None", "True", "False", "BaseModel", "ConfigDict", "Field"}
_WORD = re.compile(r"[A-Za-z0-9]+")
_MOST_DEEP = 50


def shapes_of(declared: Mapping[str, CollectionDeclaration]) -> Shapes:
    """The shapes of collections, by name."""
    shapes = Shapes()
    taken = set(_RESERVED)
    for collection in sorted(declared):
        reader = _Reader(declared[collection].fields or {}, collection, shapes, taken)
        shapes.collections[collection] = reader.root()
    for collection, each in declared.items():
        shapes.relations[collection] = tuple(
            RelationShape(name, shapes.collections.get(relation.collection), relation.one is not None)
            for name, relation in sorted(each.relations.items())
        )
    return shapes


class _Reader:
    """Reads the schema of one collection."""

    def __init__(self, schema: Mapping[str, Any], collection: str, shapes: Shapes, taken: set[str]) -> None:
        self._schema = schema
        self._shapes = shapes
        self._taken = taken
        self._prefix = self._name(collection)
        self._by_reference: dict[str, str] = {}
        self._reading: set[str] = set()

    def root(self) -> ObjectShape:
        found = self._object(self._schema, self._prefix, root=True)
        self._shapes.objects.append(found)
        return found

    def _name(self, *parts: str) -> str:
        """A new name of a type."""
        base = type_name(" ".join(parts)) or "Type"
        if base[0].isdigit():
            base = f"Type{base}"
        name, number = base, 2
        while name in self._taken or f"{name}Row" in self._taken:
            name, number = f"{base}{number}", number + 1
        self._taken |= {name, f"{name}Row"}
        return name

    def _object(self, schema: Mapping[str, Any], name: str, depth: int = 0, *, root: bool = False) -> ObjectShape:
        found = ObjectShape(name, _text(schema.get("description")), closed=schema.get("additionalProperties") is False)
        required = schema.get("required", ())
        for member, inner in _properties(schema).items():
            if root and member in RECORD_MEMBERS:
                continue
            shape = self._shape(inner, f"{name} {member}", depth + 1)
            description = _text(inner.get("description")) if isinstance(inner, Mapping) else ""
            found.members.append(Member(member, shape, member in required, description))
        return found

    def _shape(self, schema: Any, name: str, depth: int) -> Shape:
        if not isinstance(schema, Mapping) or depth > _MOST_DEEP:
            return UNKNOWN
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]), depth)
        if "const" in schema:
            return _choice([schema["const"]])
        if isinstance(schema.get("enum"), list):
            return _choice(schema["enum"])
        for word in ("anyOf", "oneOf"):
            if isinstance(schema.get(word), list):
                # what stands beside it narrows each option further, which a type need not say
                return _union([self._shape(each, name, depth + 1) for each in schema[word]])
        if isinstance(schema.get("allOf"), list):
            return self._all_of(schema, name, depth)
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return _union([self._shape({**schema, "type": kind}, name, depth + 1) for kind in kinds])
        if kinds == "object" or (kinds is None and "properties" in schema):
            return self._member_object(schema, name, depth)
        if kinds == "array":
            return ListOf(self._items(schema, name, depth))
        return _SCALARS.get(str(kinds), UNKNOWN)

    def _member_object(self, schema: Mapping[str, Any], name: str, depth: int) -> Shape:
        if _properties(schema):
            found = self._object(schema, self._name(name), depth)
            self._shapes.objects.append(found)
            return NameOf(found.name)
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping) and "patternProperties" not in schema:
            return MapOf(self._shape(values, f"{name} value", depth + 1))
        return MapOf(UNKNOWN)

    def _items(self, schema: Mapping[str, Any], name: str, depth: int) -> Shape:
        parts = schema.get("prefixItems")
        rest = schema.get("items", {})
        if not isinstance(parts, list):
            return self._shape(rest, f"{name} item", depth + 1)
        shapes = [self._shape(each, f"{name} item", depth + 1) for each in parts]
        return _union(shapes if rest is False else [*shapes, self._shape(rest, f"{name} item", depth + 1)])

    def _all_of(self, schema: Mapping[str, Any], name: str, depth: int) -> Shape:
        """Objects become one object; of anything else the first part that says something is used."""
        parts = [self._resolved(each, set()) for each in [*schema["allOf"], {**schema, "allOf": None}]]
        known = [part for part in parts if isinstance(part, Mapping)]
        if any(_properties(part) for part in known):
            merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
            for part in known:
                merged["properties"] |= _properties(part)
                merged["required"] += part.get("required", [])
            return self._member_object({**schema, "allOf": None, **merged}, name, depth)
        shapes = [self._shape(part, name, depth + 1) for part in known]
        return next((shape for shape in shapes if shape != UNKNOWN), UNKNOWN)

    def _reference(self, reference: str, depth: int) -> Shape:
        if reference in self._by_reference:
            return NameOf(self._by_reference[reference])
        if reference in self._reading:
            return UNKNOWN  # an endless list of lists, or the like
        target = self._find(reference)
        if not isinstance(target, Mapping):
            return UNKNOWN
        if reference == "#":
            return NameOf(self._prefix)
        last = reference.rpartition("/")[2]
        if target.get("type") == "object" and _properties(target) and "$ref" not in target:
            name = self._by_reference[reference] = self._name(self._prefix, last)
            self._shapes.objects.append(self._object(target, name, depth))
            return NameOf(name)
        self._reading.add(reference)
        try:
            return self._shape(target, f"{self._prefix} {last}", depth + 1)
        finally:
            self._reading.discard(reference)

    def _resolved(self, schema: Any, seen: set[str]) -> Any:
        while isinstance(schema, Mapping) and "$ref" in schema:
            reference = str(schema["$ref"])
            if reference in seen:
                return None
            seen.add(reference)
            schema = self._find(reference)
        return schema

    def _find(self, reference: str) -> Any:
        if not reference.startswith("#"):
            return None
        found: Any = self._schema
        for part in reference[1:].split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping):
                found = found.get(key)
            elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                return None
        return found


def type_name(text: str) -> str:
    """The words of a text as one name: ``OrderItemsTotal`` of ``order-items total``; empty if it has none."""
    return "".join(word[0].upper() + word[1:] for word in _WORD.findall(text))


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _choice(values: Sequence[Any]) -> Shape:
    plain = [value for value in values if value is None or isinstance(value, str | int | bool)]
    if len(plain) < len(values) or not values:
        return UNKNOWN
    return Choice(_unique(plain))


def _unique(values: Sequence[str | int | bool | None]) -> tuple[str | int | bool | None, ...]:
    """Without repeated values; ``True`` is not ``1``."""
    return tuple(value for _, value in dict.fromkeys((type(value), value) for value in values))


def _union(options: Sequence[Shape]) -> Shape:
    flat = [inner for option in options for inner in options_of(option)]
    if UNKNOWN in flat or not flat:
        return UNKNOWN
    unique = tuple(dict.fromkeys(flat))
    return unique[0] if len(unique) == 1 else OneOf(unique)


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
