"""Shapes as a class of the Python client that knows the collections: its operations, and the types of queries. Pure.

A query is a ``TypedDict``. Its ``where`` has the members of rows, and those of their members by their paths. What a
``TypedDict`` cannot say is left to the server: members of maps by their paths, and escaped names.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from collab.event import RECORD_MEMBERS
from collab.query.query import spelled
from collab.server.types.python import PythonLibrary, identifier, python_types, type_of
from collab.server.types.shapes import (
    NULL,
    UNKNOWN,
    Choice,
    ListOf,
    MapOf,
    NameOf,
    ObjectShape,
    RelationShape,
    Shape,
    Shapes,
    SimpleShape,
    options_of,
    type_name,
)

CLIENT_MEMBERS = {
    *("analytics", "authenticate", "collection", "connect", "create_subscription_batch", "disconnect", "events"),
    *("is_connected", "on_conflict", "on_connect", "on_disconnect", "on_error", "on_reconnect", "pending", "presence"),
    *("refresh_schema", "saved", "schema", "system", "transaction"),
}
"""The public members of :class:`collab.client.BaseClient`."""

_USED_IN_CLASS = {"lumenize", "property"}
_STRING = SimpleShape("string")
_LOGIC = ("AND", "OR", "NOT")
_DEEPEST_PATH = 4
_RECORD = tuple(sorted(RECORD_MEMBERS))
_DIRECTION = "typing.Literal['asc', 'desc']"


class _Named(NamedTuple):
    """A member that a query can name: its path, as queries write it, and its shape."""

    path: str
    shape: Shape


def python_client(shapes: Shapes, library: PythonLibrary) -> str:
    """A module with the types, those of queries of each collection, and the class ``Client``."""
    writer = _Writer(shapes, library)
    used = CLIENT_MEMBERS | _USED_IN_CLASS
    properties = [writer.collection(name, shape, _attribute(name, used)) for name, shape in shapes.collections.items()]
    head = f'class {writer.client}(lumenize.BaseClient):\n    """A client that knows the declared collections."""\n'
    return "\n\n".join([python_types(shapes, library, client=True), *writer.parts, "\n".join([head, *properties])])


def _attribute(collection: str, used: set[str]) -> str:
    """The name of a collection's property: its own if that is possible."""
    made = identifier(collection, "collection")
    while made in used or keyword.iskeyword(made):
        made += "_"
    used.add(made)
    return made


class _Names:
    """The names of the types of a collection."""

    def __init__(self, shape: ObjectShape, free: Callable[[str], str]) -> None:
        self.shape = shape
        self.row = f"{shape.name}Row"
        self.changes, self.field, self.path, self.number, self.ordered = (
            free(f"{shape.name}{part}") for part in ("Changes", "Field", "Path", "Number", "Ordered")
        )
        self.where, self.related, self.include, self.query, self.aggregate = (
            free(f"{shape.name}{part}") for part in ("Where", "Related", "Include", "Query", "Aggregate")
        )


class _Writer:
    """Writes the types of queries; each kind of operators once."""

    def __init__(self, shapes: Shapes, library: PythonLibrary) -> None:
        self.parts: list[str] = []
        self._library = library
        self._objects = {each.name: each for each in shapes.objects}
        self._relations = shapes.relations
        self._taken = {name for each in shapes.objects for name in (each.name, f"{each.name}Row")}
        self.client = self._free("Client")
        self._names = {each.name: _Names(each, self._free) for each in shapes.collections.values() if each.members}
        self._operators: dict[tuple[Shape, ...], str] = {}
        self._wheres: dict[str, str] = {}
        self._options: dict[str, str] = {}

    def collection(self, name: str, shape: ObjectShape, attribute: str) -> str:
        """The property of a collection, after the types that it needs."""
        names = self._names.get(shape.name)
        if names is None:
            return _property(attribute, "lumenize.Collection", f"self.collection({name!r})")
        members = list(self._members(shape))
        relations = self._relations[name]
        self._alias(names.field, [*_RECORD, *(member.name for member in shape.members)])
        self._alias(names.path, [each.path for each in members])
        changes = {each.name: type_of(each.shape, self._library) for each in shape.members}
        self._typed_dict(names.changes, changes)
        self._where(names.where, shape.name, members)
        related = "dict[str, typing.Any]"
        query = _query(names)
        if relations:
            self._typed_dict(names.related, {each.name: self._related(each) for each in relations})
            self._typed_dict(names.include, {each.name: self._included(each) for each in relations})
            related = names.related
            query["include"] = names.include
        self._typed_dict(names.query, query)
        self._typed_dict(names.aggregate, self._aggregate(names, members))
        types = [names.row, shape.name, names.changes, names.query, names.aggregate, names.field, related]
        rows = "".join(f"{each.name!r}: {self._row(each)}, " for each in relations if self._row(each)).rstrip(", ")
        kind = f"lumenize.TypedCollection[{', '.join(types)}]"
        alias = f"_{shape.name}"  # a property may have the name of a type, but none begins with `_`
        self.parts.append(f"{alias}: typing.TypeAlias = {kind!r}\n")
        made = f"lumenize.TypedCollection(self.collection({name!r}), {names.row}, {{{rows}}})"
        return _property(attribute, alias, made)

    def _aggregate(self, names: _Names, members: list[_Named]) -> dict[str, str]:
        made = {"where": names.where, "search": "str"} | dict.fromkeys(
            ("group_by", "groupBy"), _one_or_several(names.path)
        )
        for measures, alias, kinds in (
            (("sum", "avg"), names.number, {"number", "unknown"}),
            (("min", "max"), names.ordered, {"number", "string", "unknown"}),
        ):
            paths = [each.path for each in members if any(_kinds_of(option) & kinds for option in _options(each.shape))]
            if paths:
                self._alias(alias, paths)
                made |= dict.fromkeys(measures, _one_or_several(alias))
        return made | {"condition": "abc.Callable[[], object]"}

    def _row(self, relation: RelationShape) -> str:
        """The class of related rows; empty if there is none."""
        return self._names[relation.target.name].row if relation.target and relation.target.name in self._names else ""

    def _related(self, relation: RelationShape) -> str:
        row = self._row(relation) or "dict[str, typing.Any]"
        return f"{row} | None" if relation.one else f"list[{row}]"

    def _included(self, relation: RelationShape) -> str:
        """What a query says of a relation. Rows of a class have all its fields, so ``fields`` is for typed dicts."""
        target = self._names.get(relation.target.name) if relation.target is not None else None
        if target is None:
            return "bool | abc.Mapping[str, typing.Any]"
        order = _order(target)
        options = {"where": target.where}
        if not relation.one:
            options |= {"order_by": order, "orderBy": order, "limit": "int"}
        if self._library == "typeddict":
            options["fields"] = f"abc.Sequence[{target.field}]"
        name = f"{target.shape.name}{'One' if relation.one else 'Many'}"
        if name not in self._options:
            self._options[name] = self._free(name)
            self._typed_dict(self._options[name], options)
        return f"bool | {self._options[name]}"

    def _members(self, shape: ObjectShape) -> Iterator[_Named]:
        """What a query of a collection can name."""
        yield from (_Named(name, _STRING) for name in _RECORD)
        yield from self._inside(shape, (), ())

    def _inside(self, shape: ObjectShape, path: tuple[str, ...], seen: tuple[str, ...]) -> Iterator[_Named]:
        for member in shape.members:
            here = (*path, member.name)
            written = spelled(here)
            yield _Named(f"\\{written}" if written in _LOGIC else written, member.shape)
            for option in _options(member.shape):
                if isinstance(option, NameOf) and option.name not in seen and len(here) < _DEEPEST_PATH:
                    yield from self._inside(self._objects[option.name], here, (*seen, option.name))

    def _where(self, where: str, name: str, members: list[_Named]) -> None:
        conditions = {each.path: self._condition(each.shape, f"{name} {each.path}") for each in members}
        self._typed_dict(where, conditions | dict.fromkeys(_LOGIC, _one_or_several(where)))

    def _condition(self, shape: Shape, name: str) -> str:
        """The type of a condition on a member: a value, operators, or conditions on its members."""
        options = _options(shape)
        if UNKNOWN in options or any(isinstance(option, MapOf) for option in options):
            return "typing.Any"
        inner = [self._inner(option.name) for option in options if isinstance(option, NameOf)]
        return " | ".join(dict.fromkeys([*self._values(options), "None", self._operators_of(options, name), *inner]))

    def _inner(self, name: str) -> str:
        """The type of conditions on the members of an object."""
        if not self._objects[name].members:
            return "abc.Mapping[str, typing.Any]"
        if name not in self._wheres:
            where = self._wheres[name] = self._free(f"{name}Where")
            conditions = {
                spelled((each.name,)): self._condition(each.shape, f"{name} {each.name}")
                for each in self._objects[name].members
            }
            self._typed_dict(where, conditions)
        return self._wheres[name]

    def _operators_of(self, options: tuple[Shape, ...], name: str) -> str:
        compared = tuple(sorted(options, key=repr))
        if compared in self._operators:
            return self._operators[compared]
        kinds = {kind for option in options for kind in _kinds_of(option)}
        made = self._operators[compared] = self._free(_name_of_operators(options, kinds, name))
        values = self._values(options)
        inner = [self._inner(option.name) for option in options if isinstance(option, NameOf)]
        members = {"not": " | ".join(dict.fromkeys([*values, "None", made, *inner])), "isNull": "bool"}
        if values:
            members |= dict.fromkeys(("in", "notIn"), f"abc.Sequence[{' | '.join(dict.fromkeys([*values, 'None']))}]")
        ordered = [option for option in options if _kinds_of(option) & {"string", "number"}]
        if ordered:
            members |= dict.fromkeys(("lt", "lte", "gt", "gte"), " | ".join(self._values(tuple(ordered))))
        items = [item for option in options if isinstance(option, ListOf) for item in _options(option.item)]
        contained = [*(["str"] if "string" in kinds else []), *self._values(tuple(items))]
        if items:
            contained = ["typing.Any"] if UNKNOWN in items else [*contained, "None"]
        if contained:
            members["contains"] = " | ".join(dict.fromkeys(contained))
        if "string" in kinds:
            members |= dict.fromkeys(("startsWith", "endsWith"), "str")
        self._typed_dict(made, members)
        return made

    def _values(self, options: tuple[Shape, ...]) -> list[str]:
        """The types of the values that a member can be equal to; points in time are strings, too."""
        types: dict[str, None] = {}
        for option in options:
            match option:
                case SimpleShape("string"):
                    types |= {"str": None, "datetime.date": None}
                case SimpleShape("integer" | "number"):
                    types["float"] = None
                case SimpleShape("boolean"):
                    types["bool"] = None
                case Choice(values) if some := [value for value in values if value is not None]:
                    types[_literal(some)] = None
        return list(types)

    def _alias(self, name: str, values: Sequence[str]) -> None:
        self.parts.append(f"{name} = {_literal(values)}\n")

    def _typed_dict(self, name: str, members: Mapping[str, str]) -> None:
        inside = "".join(f"        {member!r}: {kind!r},\n" for member, kind in members.items())
        self.parts.append(f"{name} = typing.TypedDict(\n    {name!r},\n    {{\n{inside}    }},\n    total=False,\n)\n")

    def _free(self, name: str) -> str:
        made, number = name, 2
        while made in self._taken:
            made, number = f"{name}{number}", number + 1
        self._taken.add(made)
        return made


def _property(attribute: str, kind: str, value: str) -> str:
    return f"    @property\n    def {attribute}(self) -> {kind}:\n        return {value}\n"


def _one_or_several(kind: str) -> str:
    return f"{kind} | abc.Sequence[{kind}]"


def _order(names: _Names) -> str:
    return _one_or_several(f"abc.Mapping[{names.path}, {_DIRECTION}]")


def _query(names: _Names) -> dict[str, str]:
    """The members of a query, without ``include``."""
    members = {"where": names.where, "search": "str", "limit": "int", "offset": "int", "after": "str"}
    return members | dict.fromkeys(("order_by", "orderBy"), _order(names)) | {"condition": "abc.Callable[[], object]"}


def _options(shape: Shape) -> tuple[Shape, ...]:
    """The types of a value, without ``null``."""
    return tuple(option for option in options_of(shape) if option != NULL)


def _kinds_of(option: Shape) -> set[str]:
    match option:
        case SimpleShape("integer"):
            return {"number"}
        case SimpleShape(name):
            return {name}
        case Choice(values):
            kinds = {bool: "boolean", int: "number", str: "string"}
            return {kinds[type(value)] for value in values if value is not None}
    return set()


def _name_of_operators(options: tuple[Shape, ...], kinds: set[str], name: str) -> str:
    """A name that says of what: of the kind if there may be others like it, else of the member."""
    if len(kinds) == 1 and all(isinstance(option, SimpleShape) for option in options):
        return f"{kinds.copy().pop().capitalize()}Operators"
    return f"{type_name(name)}Operators"


def _literal(values: Sequence[str | int | None]) -> str:
    return f"typing.Literal[{', '.join(map(repr, values))}]"
