"""Shapes as Python: pydantic models, msgspec structs, or ``TypedDict``s. Pure."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from collab.server.types.shapes import (
    NULL,
    Choice,
    ListOf,
    MapOf,
    Member,
    NameOf,
    ObjectShape,
    OneOf,
    Shape,
    Shapes,
    SimpleName,
    SimpleShape,
    options_of,
)

PythonLibrary = Literal["pydantic", "msgspec", "typeddict"]

_SCALARS: Mapping[SimpleName, str] = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "unknown": "Any",
}
_IMPORTS = {
    "pydantic": "from typing import Any, Literal\n\nfrom pydantic import BaseModel, ConfigDict, Field",
    "msgspec": "from typing import Any, Literal\n\nimport msgspec",
    "typeddict": "from typing import Any, Literal, NotRequired, TypedDict",
}
# modules, and not what is in them: no class of a collection has a name in lower case
_CLIENT_IMPORTS = (
    "import datetime\nimport typing\nfrom collections import abc\n",
    "\nfrom collab import client as lumenize\n",
)
# members of the base classes, which a field must not hide
_TAKEN = {
    *("schema", "json", "copy", "dict", "construct", "validate", "fields", "parse_obj", "parse_raw", "parse_file"),
    *("from_orm", "update_forward_refs", "schema_json", "msgspec", "Any", "Literal", "Field", "str", "int", "float"),
    *("bool", "list", "BaseModel", "ConfigDict"),
}
_NOT_A_LETTER = re.compile(r"[^A-Za-z0-9_]", re.ASCII)


def python_types(shapes: Shapes, library: PythonLibrary, *, client: bool = False) -> str:
    """A module with a class for each object; that of a collection and of its rows, ``<Name>Row``.

    ``client``: with the imports of :func:`collab.server.types.python_client.python_client`.
    """
    row_names = {each.name for each in shapes.collections.values()}
    names = {each.name for each in shapes.objects}
    parts = [
        f'"""Written by `collab types {library}`: change the declarations instead."""\n\n'
        "from __future__ import annotations\n\n"
        f"{_CLIENT_IMPORTS[0] if client else ''}{_IMPORTS[library]}\n{_CLIENT_IMPORTS[1] if client else ''}"
    ]
    for each in shapes.objects:
        parts.append(_typed_dict(each, names) if library == "typeddict" else _class(each, library, names))
        if each.name in row_names:
            parts.append(_row(each, library))
    return "\n\n".join(parts)


def _class(shape: ObjectShape, library: PythonLibrary, names: set[str]) -> str:
    bases, config = _base(shape, library)
    lines = [f"class {shape.name}({bases}):", *_docstring(shape.description), *config]
    used = set(names)
    lines += [f"    {_field(member, library, used)}" for member in shape.members]
    return "\n".join(lines if len(lines) > 1 else [*lines, "    pass"]) + "\n"


def _typed_dict(shape: ObjectShape, names: set[str]) -> str:
    """A class, or a call if Python does not allow a member's name in a class."""
    members = {each.name: type_of(each.shape, "typeddict") for each in shape.members}
    types = {
        each.name: members[each.name] if each.required else f"NotRequired[{members[each.name]}]"
        for each in shape.members
    }
    if all(name == _name(name, set(names)) and name not in ("NotRequired", "TypedDict") for name in types):
        lines = [f"class {shape.name}(TypedDict):", *_docstring(shape.description)]
        lines += [f"    {name}: {kind}" for name, kind in types.items()]
        return "\n".join(lines if len(lines) > 1 else [*lines, "    pass"]) + "\n"
    inside = "".join(f"        {name!r}: {kind!r},\n" for name, kind in types.items())
    return f"{shape.name} = TypedDict(\n    {shape.name!r},\n    {{\n{inside}    }},\n)\n"


def _base(shape: ObjectShape, library: PythonLibrary) -> tuple[str, list[str]]:
    if library == "msgspec":
        return f"msgspec.Struct, kw_only=True{', forbid_unknown_fields=True' if shape.closed else ''}", []
    extra = "forbid" if shape.closed else "allow"
    return "BaseModel", [f'    model_config = ConfigDict(extra="{extra}", populate_by_name=True)', ""]


def _row(shape: ObjectShape, library: PythonLibrary) -> str:
    options = ", kw_only=True" + (", forbid_unknown_fields=True" if shape.closed else "")
    head = f"class {shape.name}Row({shape.name}{options if library == 'msgspec' else ''}):"
    return f"{head}\n    id: str\n    createdAt: str\n    updatedAt: str\n"


def _field(member: Member, library: PythonLibrary, used: set[str]) -> str:
    name = _name(member.name, used)
    kind = type_of(member.shape, library)
    renamed = name != member.name
    if library == "msgspec":
        if not member.required:
            kind = kind if kind == "Any" else f"{kind} | msgspec.UnsetType"
        options = [] if member.required else ["default=msgspec.UNSET"]
        options += [f"name={member.name!r}"] if renamed else []
        if renamed:
            return f"{name}: {kind} = msgspec.field({', '.join(options)})"
        return f"{name}: {kind}" + ("" if member.required else " = msgspec.UNSET")
    if not member.required and kind != "Any" and NULL not in options_of(member.shape):
        kind = f"{kind} | None"
    if renamed:
        return f"{name}: {kind} = Field({'' if member.required else 'default=None, '}alias={member.name!r})"
    return f"{name}: {kind}" + ("" if member.required else " = None")


def _name(name: str, used: set[str]) -> str:
    """A name of a field: the member's own if that is possible."""
    made = identifier(name, "field")
    if made.startswith("model_"):
        made = f"field_{made}"
    elif keyword.iskeyword(made) or made in _TAKEN:
        made = f"{made}_"
    base, number = made, 2
    while made in used:
        made, number = f"{base}_{number}", number + 1
    used.add(made)
    return made


def identifier(name: str, kind: str) -> str:
    """What Python allows of a name, without ``_`` at its beginning. If that is no name, it follows ``kind``."""
    made = _NOT_A_LETTER.sub("_", name)
    if made.startswith("_"):
        made = made.strip("_")
    return f"{kind}_{made}" if not made or made[0].isdigit() else made


def type_of(shape: Shape, library: PythonLibrary) -> str:
    match shape:
        case SimpleShape(name):
            return _SCALARS[name]
        case Choice(values):
            return f"Literal[{', '.join(repr(value) for value in values)}]" if _is_literal(shape, library) else "Any"
        case ListOf(item):
            return f"list[{type_of(item, library)}]"
        case MapOf(value):
            return f"dict[str, {type_of(value, library)}]"
        case OneOf(options):
            if library == "msgspec" and not _is_union_of_msgspec(options):
                return "Any"
            kinds = dict.fromkeys(type_of(each, library) for each in options)
            return "Any" if "Any" in kinds else " | ".join(kinds)
        case NameOf(name):
            return name


def _is_literal(choice: Choice, library: PythonLibrary) -> bool:
    """Whether a library takes it: msgspec knows no booleans in ``Literal``."""
    return library != "msgspec" or not any(isinstance(value, bool) for value in choice.values)


def _is_union_of_msgspec(options: tuple[Shape, ...]) -> bool:
    """Whether msgspec tells the options apart: it takes one object, one list, one type of strings, one of integers."""
    kinds = [kind for option in options for kind in _kinds(option)]
    return len(kinds) == len(set(kinds))


def _kinds(shape: Shape) -> Iterator[str]:
    match shape:
        case SimpleShape(name):
            yield name
        case Choice(values):
            yield from {_kind_of(value) for value in values}
        case ListOf():
            yield "list"
        case MapOf() | NameOf():
            yield "object"
        case OneOf(options):
            for option in options:
                yield from _kinds(option)


def _kind_of(value: str | int | bool | None) -> str:
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case None:
            return "null"


def _docstring(text: str) -> list[str]:
    if not text:
        return []
    safe = text.replace("\\", "\\\\").replace('"""', "'''")
    return [f'    """{safe}{" " if safe.endswith(chr(34)) else ""}"""', ""]
