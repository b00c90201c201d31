"""The OpenAPI 3.1 description of ``/api/v1``, generated from the operations and their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from collab.server.http.api.operations import Operation
from collab.server.http.responses import Refusal

_IN_PATH = re.compile(r"{([a-z]+)}")
_PART = {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,127}$"}
_OBJECT = {"type": "object"}
_HEADERS = {
    "ETag": {"description": "The version, in quotes.", "schema": {"type": "string"}},
    "Location": {"description": "The entity's path.", "schema": {"type": "string"}},
}


def describe(operations: Sequence[Operation], prefix: str) -> dict[str, Any]:
    """Describe a server with these operations below ``prefix``."""
    types = {kind for operation in operations for kind in (operation.body, operation.answer) if _is_struct(kind)}
    ordered = [Refusal, *sorted((kind for kind in types if kind is not None), key=lambda kind: kind.__name__)]
    schemas, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    references: dict[type | None, dict[str, Any]] = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, references)
    description = {
        "openapi": "3.1.0",
        "info": {
            "title": "Lumenize Collab",
            "version": version("lumenize-collab"),
            "description": "Read, write, query and follow entities in collections. The application protocol defines "
            "queries, events and errors.",
        },
        "servers": [{"url": prefix}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A JSON web token, or an API key."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"apiKey": []}, {"bearer": [], "apiKey": []}],
    }
    # convert defaults to JSON types: some are tuples, which validators do not accept as arrays
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(description))
    return plain


def _operation(operation: Operation, references: dict[type | None, dict[str, Any]]) -> dict[str, Any]:
    inside = [{"name": name, "in": "path", "required": True, "schema": _PART} for name in _names(operation.path)]
    said = [
        {"name": each.name, "in": each.place, "description": each.description, "schema": dict(each.schema)}
        for each in operation.parameters
    ]
    answer: dict[str, Any] = {
        "description": operation.summary,
        "content": {operation.media_type: {"schema": _schema(operation.answer, references)}},
    }
    if operation.name in ("create", "read", "update", "restore"):
        named = ("ETag", "Location") if operation.name == "create" else ("ETag",)
        answer["headers"] = {name: _HEADERS[name] for name in named}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": inside + said,
        "responses": {
            str(operation.status): answer,
            "default": {
                "description": "Error",
                "content": {"application/json": {"schema": references[Refusal]}},
            },
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body is dict,
            "content": {"application/json": {"schema": _schema(operation.body, references)}},
        }
    if operation.public:
        described["security"] = []
    return described


def _names(path: str) -> list[str]:
    return _IN_PATH.findall(path)


def _schema(kind: type | None, references: dict[type | None, dict[str, Any]]) -> dict[str, Any]:
    if kind in references:
        return references[kind]
    return {"type": "string"} if kind is str else _OBJECT


def _is_struct(kind: type | None) -> bool:
    return kind is not None and issubclass(kind, msgspec.Struct)
