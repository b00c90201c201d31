"""Shapes as TypeScript, and what tells the clients of them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from collab.server.types.shapes import (
    Choice,
    ListOf,
    MapOf,
    Member,
    NameOf,
    ObjectShape,
    OneOf,
    RelationShape,
    Shape,
    Shapes,
    SimpleName,
    SimpleShape,
)

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)
_SCALARS: Mapping[SimpleName, str] = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "unknown": "unknown",
}
_HEAD = """\
// Written by `collab types typescript`: change the declarations instead.
"""
_REGISTER = """\
declare module "@lumenize/client" {
  interface Register {
    schema: Schema
  }
}
"""


def typescript(shapes: Shapes, *, register: bool = True) -> str:
    """A module with a type for each object, and ``Schema`` with that of each collection.

    ``register``: it tells client and hooks of ``Schema``, in the whole program.
    """
    relations = {each.name: shapes.relations[collection] for collection, each in shapes.collections.items()}
    parts = [_HEAD, *(_object(each, relations.get(each.name, ())) for each in shapes.objects)]
    rows = [f"  {_key(name)}: {each.name}\n" for name, each in shapes.collections.items()]
    parts.append(f"export type Schema = {{\n{''.join(rows)}}}\n")
    if register:
        parts.append(_REGISTER)
    return "\n".join(parts)


def _object(shape: ObjectShape, relations: Sequence[RelationShape]) -> str:
    # a type, not an interface: only types are assignable to an object with any members
    inside = "Record<string, never>" if shape.closed else "{ [name: string]: unknown }"
    if shape.members:
        inside = f"{{\n{''.join(map(_member, shape.members))}}}"
    if relations:
        inside += f' & import("@lumenize/client").Relates<{{\n{"".join(map(_relation, relations))}}}>'
    return f"{_comment(shape.description, '')}export type {shape.name} = {inside}\n"


def _relation(relation: RelationShape) -> str:
    target = relation.target.name if relation.target is not None else "Record<string, any>"
    return f"  {relation.name}: {target}{' | null' if relation.one else '[]'}\n"


def _member(member: Member) -> str:
    mark = "" if member.required else "?"
    return f"{_comment(member.description, '  ')}  {_key(member.name)}{mark}: {_type(member.shape)}\n"


def _type(shape: Shape) -> str:
    match shape:
        case SimpleShape(name):
            return _SCALARS[name]
        case Choice(values):
            return " | ".join(json.dumps(value) for value in values)
        case ListOf(item):
            inner = _type(item)
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case MapOf(value):
            return f"{{ [name: string]: {_type(value)} }}"
        case OneOf(options):
            return " | ".join(dict.fromkeys(map(_type, options)))
        case NameOf(name):
            return name


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def _comment(text: str, indent: str) -> str:
    return f"{indent}/** {text.replace('*/', '* /')} */\n" if text else ""
