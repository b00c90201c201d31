"""JSON Schemas: compiled once, and what does not fit them explained field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from jsonschema import FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, extend, validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from collab.dates import canonical

LONGEST_MESSAGE = 300
"""Characters of the library's messages that are told."""


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
        checks = {name: check for name, check in _BOUNDED.items() if name in kind.VALIDATORS}
        bounded = extend(kind, checks)  # type: ignore[no-untyped-call]
        validator: Validator = bounded(schema, registry=registry, format_checker=_formats())
        validator.is_valid({})
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message[:LONGEST_MESSAGE]}") from None
    except Unresolvable as error:
        raise ValueError(f"the JSON Schema refers to {error.ref!r}, which it does not contain") from None
    except (RecursionError, re.error):
        raise ValueError("the JSON Schema is infinite, or contains an invalid pattern") from None
    return validator


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and validator.is_type(instance, "array"):
        # strings, not tuples: their hashes are seeded, so nobody can make many that collide
        different = {json.dumps(_comparable(item), sort_keys=True) for item in instance}
        if len(different) < len(instance):
            yield ValidationError(f"{instance!r} has non-unique elements")


def _comparable(value: Any) -> Any:
    """Return a JSON value in the form that equal ones share: ``1.0`` is ``1``."""
    match value:
        case float():
            return int(value) if value.is_integer() else value
        case list():
            return [_comparable(item) for item in value]
        case dict():
            return {name: _comparable(item) for name, item in value.items()}
    return value


def _any_of(validator: Any, schemas: Sequence[Any], instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not any(validator.evolve(schema=each).is_valid(instance) for each in schemas):
        yield ValidationError(f"{instance!r} is not valid under any of the given schemas")


def _one_of(validator: Any, schemas: Sequence[Any], instance: Any, schema: Any) -> Iterator[ValidationError]:
    fitting = [each for each in schemas if validator.evolve(schema=each).is_valid(instance)]
    if not fitting:
        yield ValidationError(f"{instance!r} is not valid under any of the given schemas")
    elif len(fitting) > 1:
        yield ValidationError(f"{instance!r} is valid under each of {', '.join(map(repr, fitting))}")


_BOUNDED = {"uniqueItems": _unique_items, "anyOf": _any_of, "oneOf": _one_of}
"""Keywords whose check in the library takes time that grows with the square of a list, or that finds and keeps every
error of each alternative: one entity could stop the server."""


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


def explain(error: ValidationError) -> Iterator[tuple[str, str]]:
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
