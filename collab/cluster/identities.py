"""An identity as bytes and back, for another node of the cluster. Nothing of it is lost or approximated."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

from collab.access.identity import Identity
from collab.access.rules import Access, Rule
from collab.query.query import And, Compare, Condition, Not, Or

MOST_BYTES = 16 * 1024 * 1024
"""Limit for an identity before compression: a guard against bytes that expand without end."""

IGNORABLE: frozenset[str] = frozenset({"claims", "trusted"})
"""Members that came with a later version, and that a server may ignore if it does not know them. A member that takes
rights away must not be here: then nodes of the version before refuse who has it, until they are replaced.
"""
_DEFAULTS = {
    field.name: field.default if field.default_factory is MISSING else field.default_factory()
    for field in fields(Identity)
    if field.init
}
_HINTS = "ignorable"
_RULE = {"pattern", "access", "where"}
_OPERATORS = frozenset(get_args(get_type_hints(Compare)["operator"]))


def encode_identity(identity: Identity) -> bytes:
    """Encode an identity. Repeated patterns and conditions cost little: the result is compressed."""
    members = {name: getattr(identity, name) for name in _DEFAULTS}
    members = {name: value for name, value in members.items() if value != _DEFAULTS[name]}
    members["rules"] = [_from_rule(rule) for rule in identity.rules]
    if ignorable := sorted(IGNORABLE & members.keys()):
        members[_HINTS] = ignorable
    return zlib.compress(json.dumps(members, separators=(",", ":"), sort_keys=True).encode())


def decode_identity(encoded: bytes) -> Identity:
    """Decode what :func:`encode_identity` returned.

    Raises :class:`ValueError` for anything else, also for members that this version does not know and may not ignore.
    """
    try:
        unpacked = zlib.decompressobj()
        text = unpacked.decompress(encoded, MOST_BYTES)
        if not unpacked.eof:
            raise ValueError("the identity is truncated, or too large")
        members = json.loads(text)
        unknown = members.keys() - _DEFAULTS.keys()
        if unknown - {_HINTS} - {*members.get(_HINTS, ())}:
            raise ValueError("the identity has members that this version of the server does not know")
        for name in unknown:
            del members[name]
        return Identity(
            **{
                **members,
                "rules": tuple(_to_rule(rule) for rule in members["rules"]),
                "channels": tuple(members.get("channels", ())),
            }
        )
    except (zlib.error, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("this is not an identity") from error


def _from_rule(rule: Rule) -> dict[str, Any]:
    where = None if rule.where is None else _from_condition(rule.where)
    return {"pattern": rule.pattern, "access": rule.access.name, "where": where}


def _to_rule(rule: Mapping[str, Any]) -> Rule:
    if rule.keys() != _RULE:
        raise ValueError("a rule has other members than this version of the server knows")
    where = None if rule["where"] is None else _to_condition(rule["where"])
    return Rule(rule["pattern"], Access[rule["access"]], where)


def _from_condition(condition: Condition) -> list[Any]:
    match condition:
        case Compare(path, operator, value):
            return [operator, path, value]
        case And(parts):
            return ["and", *map(_from_condition, parts)]
        case Or(parts):
            return ["or", *map(_from_condition, parts)]
        case Not(part):
            return ["not", _from_condition(part)]


def _to_condition(condition: list[Any]) -> Condition:
    match condition:
        case ["and", *parts]:
            return And(tuple(map(_to_condition, parts)))
        case ["or", *parts]:
            return Or(tuple(map(_to_condition, parts)))
        case ["not", part]:
            return Not(_to_condition(part))
        case [str(operator), [*path], value] if operator in _OPERATORS:
            return Compare(tuple(path), operator, tuple(value) if isinstance(value, list) else value)  # type: ignore[arg-type]
    raise ValueError("a condition that this version of the server does not know")
