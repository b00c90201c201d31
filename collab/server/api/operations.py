"""The operations of ``/api/v1``: how each is asked for, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response

from collab.access.identity import Access, Identity
from collab.errors import CollabError, InvalidRequest, PermissionDenied
from collab.realtime.reads import Caller
from collab.realtime.services import Services
from collab.server.answers import json_answer, read_body
from collab.server.api import parameters
from collab.server.api.bodies import (
    Asked,
    Changes,
    Counted,
    Described,
    Health,
    Past,
    Permissions,
    Restoring,
    Where,
    read,
    read_object,
)
from collab.server.api.parameters import Parameter
from collab.server.api.stream import EventStream
from collab.wire.realtime import AnyTarget, Entities, Found, FoundMany, Rows, Written

PERMISSIONS = ("system", "permissions")
"""Who may write this entity may say that rights have changed."""

Method = Literal["GET", "POST", "PATCH", "DELETE"]


class Server(Protocol):
    """What the API asks of the server that it belongs to."""

    @property
    def services(self) -> Services:
        """What the operations are done with."""

    @property
    def max_body_bytes(self) -> int:
        """The limit of one request."""

    async def identify(self, request: Request) -> Identity:
        """Who sends a request. Raises :class:`CollabError`."""

    def count_write(self, request: Request, identity: Identity) -> None:
        """Count a write of somebody. Raises :class:`CollabError` if there were too many."""

    async def permissions_changed(self, project: str, resource: str | None, user_id: str | None) -> None:
        """Rights have changed, of one user or of all."""

    async def stream(self, request: Request, identity: Identity, target: AnyTarget) -> EventStream:
        """A subscription that is in force. Raises :class:`CollabError`."""

    def unready(self) -> str | None:
        """Why there should be no traffic now; ``None`` if there may be."""


class Ask(NamedTuple):
    """A request whose sender is known."""

    server: Server
    request: Request
    identity: Identity

    @property
    def collection(self) -> str:
        """The collection in the path."""
        return str(self.request.path_params["collection"])

    @property
    def entity(self) -> str:
        """The entity's id in the path."""
        return str(self.request.path_params["id"])

    @property
    def caller(self) -> Caller:
        """The sender, as somebody who has seen nothing of what others, or itself, wrote before."""
        return Caller(self.identity, f"http:{token_hex(8)}")

    async def body(self) -> bytes:
        """What was sent. Raises :class:`collab.errors.TooLarge`."""
        return await read_body(self.request, self.server.max_body_bytes)

    @property
    def key(self) -> str | None:
        """The name of the write."""
        return parameters.IDEMPOTENCY_KEY.of(self.request)


Handler = Callable[[Ask], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``body`` and ``answer`` are types that are sent as JSON; ``dict`` is any object.

    ``public``: nobody is asked for a credential. Then the handler's ``identity`` stands for nobody. ``write``: it is
    one of those whose rate is limited.
    """

    name: str
    method: Method
    path: str
    summary: str
    handler: Handler
    answer: type
    body: type | None = None
    status: int = 200
    parameters: tuple[Parameter[Any], ...] = ()
    media_type: str = "application/json"
    public: bool = False
    write: bool = False


async def _create(ask: Ask) -> Response:
    data = read_object(await ask.body())
    written = await ask.server.services.records.create(ask.caller, ask.collection, data, request=ask.key)
    where = f"{ask.request.url.path.rstrip('/')}/{written.data['id']}"
    return json_answer(written, 201, {"etag": f'"{written.version}"', "location": where})


async def _list(ask: Ask) -> Response:
    said = {
        "where": parameters.WHERE.of(ask.request),
        "orderBy": parameters.ORDER_BY.of(ask.request),
        "limit": parameters.LIMIT.of(ask.request),
        "offset": parameters.OFFSET.of(ask.request),
        "after": parameters.AFTER.of(ask.request),
    }
    return await _find(
        ask,
        {name: value for name, value in said.items() if value is not None},
        parameters.FIELDS.of(ask.request),
        include_permissions=parameters.PERMISSIONS.of(ask.request) or False,
    )


async def _query(ask: Ask) -> Response:
    asked = read(await ask.body(), Asked)
    return await _find(ask, asked.query(), asked.fields, include_permissions=asked.include_permissions)


async def _find(
    ask: Ask, query: dict[str, Any], fields: tuple[str, ...] | None, *, include_permissions: bool
) -> Response:
    found = await ask.server.services.records.find_many(
        ask.caller, ask.collection, query, fields=fields, include_permissions=include_permissions
    )
    return json_answer(found)


async def _count(ask: Ask) -> Response:
    query = {"where": read(await ask.body(), Where).where}
    return json_answer(Counted(count=await ask.server.services.records.count(ask.caller, ask.collection, query)))


async def _read(ask: Ask) -> Response:
    version, at = parameters.VERSION.of(ask.request), parameters.AT.of(ask.request)
    content = parameters.CONTENT.of(ask.request) or False
    found = await ask.server.services.records.find_by_id(
        ask.caller,
        ask.collection,
        ask.entity,
        content=content,
        version=version,
        at=at,
        include_permissions=parameters.PERMISSIONS.of(ask.request) or False,
    )
    # content changes before its event gives the entity another version
    headers = {} if content or version is not None or at is not None else {"etag": f'"{found.version}"'}
    return json_answer(found, headers=headers)


async def _update(ask: Ask) -> Response:
    said = read(await ask.body(), Changes)
    version, on_conflict = said.version, said.on_conflict
    matching = parameters.IF_MATCH.of(ask.request)
    if matching is not None:
        if version not in (None, matching):
            raise InvalidRequest("If-Match and version say different things")
        version, on_conflict = matching, "reject"
    written = await ask.server.services.records.update(
        ask.caller,
        ask.collection,
        ask.entity,
        said.changes,
        unset=said.unset,
        version=version,
        on_conflict=on_conflict,
        request=ask.key,
    )
    return _written(written)


async def _delete(ask: Ask) -> Response:
    return json_answer(
        await ask.server.services.records.delete(ask.caller, ask.collection, ask.entity, request=ask.key)
    )


async def _restore(ask: Ask) -> Response:
    said = read(await ask.body(), Restoring)
    written = await ask.server.services.records.restore(
        ask.caller, ask.collection, ask.entity, version=said.version, request=ask.key
    )
    return _written(written)


def _written(written: Written) -> Response:
    return json_answer(written, headers={"etag": f'"{written.version}"'})


async def _history(ask: Ask) -> Response:
    limit, before = parameters.LIMIT.of(ask.request), parameters.BEFORE.of(ask.request)
    events = await ask.server.services.records.history(
        ask.caller, ask.collection, ask.entity, limit=50 if limit is None else limit, before=before
    )
    return json_answer(Past(events=events))


async def _subscribe(ask: Ask) -> Response:
    fields = parameters.FIELDS.of(ask.request)
    include_permissions = parameters.PERMISSIONS.of(ask.request) or False
    target: AnyTarget
    query = {
        parameter.name: value
        for parameter in (parameters.WHERE, parameters.ORDER_BY, parameters.LIMIT, parameters.OFFSET)
        if (value := parameter.of(ask.request)) is not None
    }
    if parameters.KIND.of(ask.request) == "rows":
        if parameters.ENTITY.of(ask.request) is not None:
            raise InvalidRequest("rows are of a collection: entity belongs to kind=entities")
        target = Rows(collection=ask.collection, query=query, fields=fields, include_permissions=include_permissions)
    else:
        if query:
            raise InvalidRequest(f"{', '.join(query)}: of rows, which kind=rows asks for")
        target = Entities(
            collection=ask.collection,
            entity=parameters.ENTITY.of(ask.request) or "*",
            fields=fields,
            include_permissions=include_permissions,
            cursor=parameters.LAST_EVENT_ID.of(ask.request),
        )
    return await ask.server.stream(ask.request, ask.identity, target)


async def _emit(ask: Ask) -> Response:
    event = read_object(await ask.body())
    return json_answer(ask.server.services.events.emit(ask.identity.project, event, sender=ask.identity))


async def _permissions_changed(ask: Ask) -> Response:
    said = read(await ask.body(), Permissions)
    if await ask.server.services.records.access(ask.caller, *PERMISSIONS) < Access.WRITE:
        raise PermissionDenied(f"this takes the right to write {'/'.join(PERMISSIONS)}")
    if max(len(said.resource_id or ""), len(said.user_id or "")) > 512:
        raise InvalidRequest("resourceId and userId have at most 512 characters")
    await ask.server.permissions_changed(ask.identity.project, said.resource_id, said.user_id)
    return json_answer(said, 202)


async def _schema(ask: Ask) -> Response:
    described = {}
    for name, said in ask.server.services.schema(ask.identity.project).items():
        try:
            await ask.server.services.records.visible(ask.caller, name)
        except CollabError:
            continue
        described[name] = said
    return json_answer(Described(collections=described))


async def _health(ask: Ask) -> Response:
    reason = ask.server.unready()
    return json_answer(Health(status="ok" if reason is None else reason), 200 if reason is None else 503)


_ALL = "/collections/{collection}"
_ONE = "/collections/{collection}/{id}"
_ROWS = (
    parameters.WHERE,
    parameters.ORDER_BY,
    parameters.LIMIT,
    parameters.OFFSET,
    parameters.FIELDS,
    parameters.PERMISSIONS,
)
_STREAM = (*_ROWS, parameters.KIND, parameters.ENTITY, parameters.LAST_EVENT_ID)
_NAMED = (parameters.IDEMPOTENCY_KEY,)

OPERATIONS: tuple[Operation, ...] = (
    Operation("list", "GET", _ALL, "Entities that match", _list, FoundMany, parameters=(*_ROWS, parameters.AFTER)),
    Operation("create", "POST", _ALL, "A new entity, of these fields", _create, Written, dict, 201, _NAMED, write=True),
    # before the paths with an id: nothing else may be called so with these methods
    Operation("query", "POST", f"{_ALL}/query", "Entities that match", _query, FoundMany, Asked),
    Operation("count", "POST", f"{_ALL}/count", "How many entities match", _count, Counted, Where),
    Operation(
        "subscribe",
        "GET",
        f"{_ALL}/subscribe",
        "What happens, as server-sent events",
        _subscribe,
        str,
        parameters=_STREAM,
        media_type="text/event-stream",
    ),
    Operation(
        "read",
        "GET",
        _ONE,
        "One entity, as it is or was",
        _read,
        Found,
        parameters=(parameters.VERSION, parameters.AT, parameters.CONTENT, parameters.PERMISSIONS),
    ),
    Operation(
        "update",
        "PATCH",
        _ONE,
        "New values of some fields",
        _update,
        Written,
        Changes,
        parameters=(parameters.IF_MATCH, *_NAMED),
        write=True,
    ),
    Operation(
        "delete",
        "DELETE",
        _ONE,
        "Delete an entity; its history is kept",
        _delete,
        Written,
        parameters=_NAMED,
        write=True,
    ),
    Operation(
        "restore",
        "POST",
        f"{_ONE}/restore",
        "Bring an entity back, or back to a version",
        _restore,
        Written,
        Restoring,
        parameters=_NAMED,
        write=True,
    ),
    Operation(
        "history",
        "GET",
        f"{_ONE}/history",
        "Events of an entity, the newest first",
        _history,
        Past,
        parameters=(parameters.LIMIT, parameters.BEFORE),
    ),
    Operation("emit", "POST", "/events", "A custom event", _emit, dict, dict, write=True),
    Operation(
        "permissionsChanged",
        "POST",
        "/permissions-changed",
        "Say that rights have changed, so that open subscriptions are checked",
        _permissions_changed,
        Permissions,
        Permissions,
        202,
        write=True,
    ),
    Operation("schema", "GET", "/schema", "The declared collections", _schema, Described),
    Operation("health", "GET", "/health", "Whether this server should get traffic", _health, Health, public=True),
)
