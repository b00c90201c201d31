"""Subscriptions in the query parameters of an address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request

from collab.errors import InvalidRequest
from collab.server.http.api import parameters
from collab.server.http.api.parameters import Parameter
from collab.wire.realtime.values import Aggregated, AnyTarget, Entities, Rows

GROUPS: tuple[Parameter[Any], ...] = (
    parameters.GROUP_BY,
    parameters.SUM,
    parameters.AVG,
    parameters.MIN,
    parameters.MAX,
)
_CONDITIONS: tuple[Parameter[Any], ...] = (parameters.WHERE, parameters.SEARCH)
AGGREGATE: tuple[Parameter[Any], ...] = (*_CONDITIONS, *GROUPS)
"""The members of an aggregate."""
_WINDOW: tuple[Parameter[Any], ...] = (
    parameters.ORDER_BY,
    parameters.LIMIT,
    parameters.OFFSET,
    parameters.INCLUDE,
)
QUERY: tuple[Parameter[Any], ...] = (*_CONDITIONS, *_WINDOW)
"""The members of a live query."""


def given(request: Request, known: Iterable[Parameter[Any]]) -> dict[str, Any]:
    """Return those of these parameters that the address has. Raises :class:`InvalidRequest`."""
    return {one.name: value for one in known if (value := one.of(request)) is not None}


def target_of(request: Request, collection: str) -> AnyTarget:
    """Return what the address subscribes to. Raises :class:`InvalidRequest`."""
    kind = parameters.KIND.of(request) or "entities"
    fields = parameters.FIELDS.of(request)
    include_permissions = parameters.PERMISSIONS.of(request) or False
    conditions = given(request, _CONDITIONS)
    window, groups = given(request, _WINDOW), given(request, GROUPS)
    if kind != "aggregate":
        _need("aggregate", groups)
    if kind == "aggregate":
        _need("rows", window)
        if fields is not None or include_permissions:
            raise InvalidRequest("fields and includePermissions: groups have none")
    if kind == "entities":
        _need("rows", conditions | window)
        return Entities(
            collection=collection,
            entity=parameters.ENTITY.of(request) or "*",
            fields=fields,
            include_permissions=include_permissions,
            cursor=parameters.LAST_EVENT_ID.of(request),
        )
    if parameters.ENTITY.of(request) is not None:
        raise InvalidRequest("entity requires kind=entities")
    if kind == "aggregate":
        return Aggregated(collection=collection, query=conditions | groups)
    return Rows(
        collection=collection, query=conditions | window, fields=fields, include_permissions=include_permissions
    )


def _need(kind: str, said: dict[str, Any]) -> None:
    if said:
        raise InvalidRequest(f"{', '.join(said)}: requires kind={kind}")
