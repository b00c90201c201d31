"""JSON Schemas: compiled once, and what does not fit them explained field by field.

Two libraries check a value. ``jsonschema_rs`` is compiled, and says at once that a value fits; ``jsonschema`` explains
one that does not, error by error, and asks the other which parts need no explanation. What a schema means is what
``jsonschema`` says: a value that only the compiled library refuses is accepted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import jsonschema_rs
from jsonschema import FormatChecker
from jsonschema._legacy_keywords import find_evaluated_item_indexes_by_schema as _items_of_2019
from jsonschema._legacy_keywords import find_evaluated_property_keys_by_schema as _properties_of_2019
from jsonschema._utils import find_evaluated_item_indexes_by_schema as _items_of_2020
from jsonschema._utils import find_evaluated_property_keys_by_schema as _properties_of_2020
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft201909Validator, Draft202012Validator, extend, validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from collab.dates import canonical
from collab.errors import shortened

LONGEST_MESSAGE = 300
"""Characters of the library's messages, and of the path of a field, that are told."""
MOST_TOLD = 20
"""Number of names or items that one message lists."""


class CompiledSchema:
    """A JSON Schema that values are checked against, in time proportional to their size."""

    def __init__(self, validator: Validator, explaining: Validator, fast: Mapping[int, _Fits]) -> None:
        self._validator = validator
        self._explaining = explaining
        self._fits = fast.get(id(validator.schema), _never)

    def iter_errors(self, value: Any) -> Iterator[ValidationError]:
        """Yield what does not fit, one error after the other. Raises :class:`RecursionError` for a deep value."""
        if self._fits(value):
            return
        told = False
        for error in self._explaining.iter_errors(value):
            told = True
            yield error
        if not told:
            yield from self._validator.iter_errors(value)


def compile_schema(schema: Mapping[str, Any]) -> CompiledSchema:
    """Compile a JSON Schema. Raises :class:`ValueError` if it is invalid, or refers to something outside itself."""
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
        # an empty registry: references are never fetched
        registry: Registry[Any] = Registry()
        root = registry.resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
        for reference in _references(schema):
            root.lookup(reference)
        checks = _BOUNDED | _EVALUATED.get(kind, {})
        known = {name: check for name, check in checks.items() if name in kind.VALIDATORS}
        bounded = extend(kind, known)  # type: ignore[no-untyped-call]
        formats = _formats()
        validator: Validator = bounded(schema, registry=registry, format_checker=formats)
        validator.is_valid({})
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message[:LONGEST_MESSAGE]}") from None
    except Unresolvable as error:
        raise ValueError(f"the JSON Schema refers to {error.ref!r}, which it does not contain") from None
    except (RecursionError, re.error):
        raise ValueError("the JSON Schema is infinite, or contains an invalid pattern") from None
    fast = _compiled(schema, formats)
    explaining = _skipping(extend(kind, bounded.VALIDATORS), fast)  # type: ignore[no-untyped-call]
    return CompiledSchema(validator, explaining(schema, registry=registry, format_checker=formats), fast)


_Fits = Callable[[Any], bool]


def _never(value: Any) -> bool:
    return False


def _compiled(schema: Mapping[str, Any], formats: FormatChecker) -> Mapping[int, _Fits]:
    """Whether a value fits, for each part of a schema, by the identity of that part.

    It has nothing for a schema that only the other library understands, such as one with a pattern of Python's.
    """
    checks = {name: _format_check(formats, name) for name in _values_of("format", schema)}
    try:
        found = jsonschema_rs.validator_map_for(dict(schema), formats=checks, validate_formats=True, retriever=_refuse)
    except ValueError:
        return {}
    fast = {}
    for pointer in found.keys():  # noqa: SIM118 - it has no iterator
        part = _part_of(schema, pointer)
        if isinstance(part, Mapping):
            fast[id(part)] = _fitting(found[pointer])
    return fast


def _fitting(validator: jsonschema_rs.Validator) -> _Fits:
    def fits(value: Any) -> bool:
        try:
            return validator.is_valid(value)
        except ValueError:  # no JSON value, for example one with a lone surrogate
            return False

    return fits


def _refuse(uri: str) -> Any:
    raise ValueError("references are never fetched")


def _format_check(formats: FormatChecker, name: str) -> Callable[[str], bool]:
    return lambda text: formats.conforms(text, name)


def _part_of(schema: Any, pointer: str) -> Any:
    """The part of a schema at a pointer like ``#/properties/a~1b``; ``None`` if there is none."""
    part = schema
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(part, Mapping):
            part = part.get(name)
        elif isinstance(part, list) and name.isdecimal() and int(name) < len(part):
            part = part[int(name)]
        else:
            return None
    return part


def _skipping(kind: Any, fast: Mapping[int, _Fits]) -> Any:
    """A kind of validator, changed to look for errors only where a value does not fit."""
    descend, is_valid = kind.descend, kind.is_valid

    def descend_if_needed(self: Any, instance: Any, schema: Any, *places: Any, **more: Any) -> Iterator[Any]:
        fits = fast.get(id(schema), _never)
        errors: Iterator[Any] = iter(()) if fits(instance) else descend(self, instance, schema, *places, **more)
        return errors

    def is_valid_at_once(self: Any, instance: Any) -> bool:
        return fast.get(id(self.schema), _never)(instance) or bool(is_valid(self, instance))

    kind.descend, kind.is_valid = descend_if_needed, is_valid_at_once
    return kind


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


def _unevaluated_items(evaluated: Callable[..., list[int]]) -> Any:
    def check(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if validator.is_type(instance, "array"):
            known = set(evaluated(validator, instance, schema))
            found = [item for at, item in enumerate(instance) if at not in known]
            if found:
                yield ValidationError(f"Unevaluated items are not allowed ({_some(found)})")

    return check


def _unevaluated_properties(evaluated: Callable[..., list[str]]) -> Any:
    def check(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if validator.is_type(instance, "object"):
            known = set(evaluated(validator, instance, schema))
            names = (name for name in instance if name not in known)
            part = validator.evolve(schema=wanted)
            found = sorted(name for name in names if not part.is_valid(instance[name]))
            if found:
                why = "not allowed" if wanted is False else "not valid under the given schema"
                yield ValidationError(f"Unevaluated properties are {why} ({_some(found)})")

    return check


def _some(values: Sequence[Any]) -> str:
    """Values that nothing in a schema expects, for messages: the first ones."""
    more = ", …" if len(values) > MOST_TOLD else ""
    return ", ".join(map(repr, values[:MOST_TOLD])) + more + (" was" if len(values) == 1 else " were") + " unexpected"


_BOUNDED: dict[str, Any] = {"uniqueItems": _unique_items, "anyOf": _any_of, "oneOf": _one_of}
"""Keywords whose check in the library takes time that grows with the square of a list, or that finds and keeps every
error of each alternative: one entity could stop the server."""
_EVALUATED: dict[Any, dict[str, Any]] = {
    Draft201909Validator: {
        "unevaluatedItems": _unevaluated_items(_items_of_2019),
        "unevaluatedProperties": _unevaluated_properties(_properties_of_2019),
    },
    Draft202012Validator: {
        "unevaluatedItems": _unevaluated_items(_items_of_2020),
        "unevaluatedProperties": _unevaluated_properties(_properties_of_2020),
    },
}
"""As before, of the drafts that have them."""


def _formats() -> FormatChecker:
    """The library's format checks, with dates and times as the rest of the server parses them."""
    checker = FormatChecker()
    checker.checks("date-time")(lambda text: not isinstance(text, str) or (len(text) > 10 and bool(canonical(text))))
    checker.checks("date")(lambda text: not isinstance(text, str) or (len(text) == 10 and bool(canonical(text))))
    return checker


def _references(schema: Any) -> Iterator[str]:
    return _values_of("$ref", schema, "$dynamicRef")


def _values_of(keyword: str, schema: Any, *others: str) -> Iterator[str]:
    """The strings that keywords have anywhere in a schema."""
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name in (keyword, *others) and isinstance(value, str):
                yield value
            else:
                yield from _values_of(keyword, value, *others)
    elif isinstance(schema, list):
        for value in schema:
            yield from _values_of(keyword, value, *others)


def explain(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield the fields that an error is about, each with its message."""
    for path, message in _explained(error):
        yield shortened(".".join(path), LONGEST_MESSAGE), message


def _explained(error: ValidationError) -> Iterator[tuple[list[str], str]]:
    path = [str(part) for part in error.absolute_path]
    instance, schema, value = cast(Any, error.instance), cast(Any, error.schema), cast(Any, error.validator_value)
    match error.validator:
        case "required":
            for name in value:
                if name not in instance:
                    yield [*path, name], "is required"
        case "additionalProperties" if value is False:
            patterns = schema.get("patternProperties", {})
            for name in instance:
                if name not in schema.get("properties", {}) and not any(re.search(known, name) for known in patterns):
                    yield [*path, name], "is not a declared field"
        case _:
            yield path, error.message[:LONGEST_MESSAGE]
