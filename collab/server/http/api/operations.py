"""The operations of ``/api/v1``: their routes and their handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import InvalidRequest, PermissionDenied
from collab.names import RoomKey
from collab.realtime.sending.slices import encoded_in_slices, rows_in_slices
from collab.records.reads import Caller
from collab.server.http.api import parameters
from collab.server.http.api.bodies import (
    AggregateAsked,
    Asked,
    Changes,
    Connected,
    Counted,
    Described,
    Disconnecting,
    Done,
    Health,
    Past,
    Permissions,
    Restoring,
    Results,
    Revoking,
    Where,
    Writing,
    read,
    read_object,
)
from collab.server.http.api.parameters import Parameter
from collab.server.http.api.serving import Api
from collab.server.http.api.targets import AGGREGATE, GROUPS, QUERY, given, target_of
from collab.server.http.responses import json_answer, read_body
from collab.wire.realtime.messages import Aggregate, Count, Create, Delete, FindById, FindMany, History, Restore, Update
from collab.wire.realtime.values import Found, FoundMany, Groups, Present, WriteResult, Written

PERMISSIONS = ("system", "permissions")
"""The right to write this entity allows reporting changed rights."""

SESSIONS = ("system", "sessions")
"""The right to read this entity allows listing sessions, the right to write it ending them and revoking tokens."""

Method = Literal["GET", "POST", "PATCH", "DELETE"]


class Ask(NamedTuple):
    """A request with a known sender."""

    api: Api
    request: Request
    identity: Identity
    address: str | None

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
        """The sender, as a writer of its own: one that has not seen any earlier write."""
        return Caller(self.identity, f"http:{token_hex(8)}", self.address)

    async def body(self) -> bytes:
        """Return the request body. Raises :class:`collab.errors.CollabError`, also if the sender's token is revoked."""
        body = await read_body(self.request, self.api.max_body_bytes)
        self.api.check_revoked(self.identity)  # a slow body may take a minute
        return body

    @property
    def key(self) -> str | None:
        """The idempotency key."""
        return parameters.IDEMPOTENCY_KEY.of(self.request)


OperationHandler = Callable[[Ask], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``body`` and ``answer`` are types sent as JSON; ``dict`` is any object.

    ``public``: no credential is required, and the handler's ``identity`` is a placeholder. ``write``: the limit of
    writes applies.
    """

    name: str
    method: Method
    path: str
    summary: str
    handler: OperationHandler
    answer: type
    body: type | None = None
    status: int = 200
    parameters: tuple[Parameter[Any], ...] = ()
    media_type: str = "application/json"
    public: bool = False
    write: bool = False


async def _create(ask: Ask) -> Response:
    data = read_object(await ask.body())
    written = await ask.api.hub.records.create(
        ask.caller, Create(id=0, collection=ask.collection, data=data, request=ask.key)
    )
    where = f"{ask.request.url.path.rstrip('/')}/{written.data['id']}"
    return json_answer(written, 201, {"etag": f'"{written.version}"', "location": where})


async def _list(ask: Ask) -> Response:
    return await _find(
        ask,
        given(ask.request, (*QUERY, parameters.AFTER)),
        parameters.FIELDS.of(ask.request),
        include_permissions=parameters.PERMISSIONS.of(ask.request) or False,
    )


async def _query(ask: Ask) -> Response:
    asked = read(await ask.body(), Asked)
    return await _find(ask, asked.query(), asked.fields, include_permissions=asked.include_permissions)


async def _find(
    ask: Ask, query: dict[str, Any], fields: tuple[str, ...] | None, *, include_permissions: bool
) -> Response:
    message = FindMany(
        id=0, collection=ask.collection, query=query, fields=fields, include_permissions=include_permissions
    )
    found = await ask.api.hub.records.find_many(ask.caller, message)
    return json_answer(await rows_in_slices(found, "json"))


async def _count(ask: Ask) -> Response:
    message = Count(id=0, collection=ask.collection, query=read(await ask.body(), Where).query())
    return json_answer(Counted(count=await ask.api.hub.records.count(ask.caller, message)))


async def _aggregate(ask: Ask) -> Response:
    return await _groups(ask, read(await ask.body(), AggregateAsked).query())


async def _list_groups(ask: Ask) -> Response:
    return await _groups(ask, given(ask.request, AGGREGATE))


async def _groups(ask: Ask, query: dict[str, Any]) -> Response:
    message = Aggregate(id=0, collection=ask.collection, query=query)
    return json_answer(await ask.api.hub.records.aggregate(ask.caller, message))


async def _read(ask: Ask) -> Response:
    message = FindById(
        id=0,
        collection=ask.collection,
        entity=ask.entity,
        content=parameters.CONTENT.of(ask.request) or False,
        version=parameters.VERSION.of(ask.request),
        at=parameters.AT.of(ask.request),
        include_permissions=parameters.PERMISSIONS.of(ask.request) or False,
    )
    found = await ask.api.hub.records.find_by_id(ask.caller, message, "json")
    # content changes before its event increments the entity's version
    as_it_is = not message.content and message.version is None and message.at is None
    return json_answer(found, headers={"etag": f'"{found.version}"'} if as_it_is else {})


async def _update(ask: Ask) -> Response:
    said = read(await ask.body(), Changes)
    version, on_conflict = said.version, said.on_conflict
    matching = parameters.IF_MATCH.of(ask.request)
    if matching is not None:
        if version not in (None, matching):
            raise InvalidRequest("If-Match and version contradict each other")
        version, on_conflict = matching, "reject"
    message = Update(
        id=0,
        collection=ask.collection,
        entity=ask.entity,
        changes=said.changes,
        unset=said.unset,
        version=version,
        on_conflict=on_conflict,
        request=ask.key,
    )
    return _written(await ask.api.hub.records.update(ask.caller, message))


async def _delete(ask: Ask) -> Response:
    records = ask.api.hub.records
    if parameters.ERASE.of(ask.request):
        return json_answer(await records.erase(ask.caller, ask.collection, ask.entity))
    message = Delete(id=0, collection=ask.collection, entity=ask.entity, request=ask.key)
    return json_answer(await records.delete(ask.caller, message))


async def _restore(ask: Ask) -> Response:
    said = read(await ask.body(), Restoring)
    message = Restore(id=0, collection=ask.collection, entity=ask.entity, version=said.version, request=ask.key)
    return _written(await ask.api.hub.records.restore(ask.caller, message))


def _written(written: Written) -> Response:
    return json_answer(written, headers={"etag": f'"{written.version}"'})


async def _write_many(ask: Ask) -> Response:
    writes = read(await ask.body(), Writing).writes
    ask.api.count_more_writes(ask.request, ask.identity, len(writes) - 1 if writes else 0)
    outcomes = await ask.api.hub.records.write_many(ask.caller, writes)
    return json_answer(Results(results=await encoded_in_slices(map(WriteResult.of, outcomes), "json")))


async def _transaction(ask: Ask) -> Response:
    writes = read(await ask.body(), Writing).writes
    ask.api.count_more_writes(ask.request, ask.identity, len(writes) - 1 if writes else 0)
    written = await ask.api.hub.records.transact(ask.caller, writes, ask.key)
    return json_answer(Results(results=await encoded_in_slices(map(WriteResult.of, written), "json")))


async def _history(ask: Ask) -> Response:
    limit, before = parameters.LIMIT.of(ask.request), parameters.BEFORE.of(ask.request)
    message = History(
        id=0, collection=ask.collection, entity=ask.entity, limit=50 if limit is None else limit, before=before
    )
    events = await ask.api.hub.records.history(ask.caller, message)
    return json_answer(Past(events=await encoded_in_slices(events, "json")))


async def _subscribe(ask: Ask) -> Response:
    return await ask.api.stream(ask.request, ask.identity, target_of(ask.request, ask.collection))


async def _emit(ask: Ask) -> Response:
    event = read_object(await ask.body())
    emitted = await ask.api.hub.events.emit(ask.identity.project, event, sender=ask.identity, request=ask.key)
    return json_answer(emitted)


async def _permissions_changed(ask: Ask) -> Response:
    said = read(await ask.body(), Permissions)
    await _require(ask, PERMISSIONS, Access.WRITE)
    if max(len(said.resource_id or ""), len(said.user_id or "")) > 512:
        raise InvalidRequest("resourceId and userId may have at most 512 characters")
    await ask.api.permissions_changed(ask.identity.project, said.resource_id, said.user_id)
    return json_answer(said, 202)


async def _present(ask: Ask) -> Response:
    key = RoomKey(ask.identity.project, ask.collection, ask.entity)
    if await ask.api.hub.records.document_access(ask.caller, key) < Access.READ:
        raise PermissionDenied("this identity may not read this room")
    return json_answer(await ask.api.hub.presence.present(key))


async def _sessions(ask: Ask) -> Response:
    await _require(ask, SESSIONS, Access.READ)
    limit = parameters.LIMIT.of(ask.request)
    found = await ask.api.sessions.listed(
        ask.identity.project, parameters.USER_ID.of(ask.request), 1000 if limit is None else limit
    )
    return json_answer(Connected(sessions=found))


async def _disconnect(ask: Ask) -> Response:
    said = read(await ask.body(), Disconnecting)
    await _require(ask, SESSIONS, Access.WRITE)
    count = await ask.api.sessions.disconnect(
        ask.identity.project, user_id=said.user_id, session=said.session, reason=said.reason
    )
    return json_answer(Counted(count=count))


async def _revoke(ask: Ask) -> Response:
    said = read(await ask.body(), Revoking)
    if said.token is not None and said.token_id is said.user_id is None:
        # whoever holds a token may give it up
        identity = await ask.api.recognise(said.token)
        if identity.project != ask.identity.project:
            raise PermissionDenied("this token belongs to another project")
        await ask.api.sessions.revoke_token(identity)
        return json_answer(Done())
    await _require(ask, SESSIONS, Access.WRITE)
    if said.token is not None:
        raise InvalidRequest("revoke needs one of token, tokenId and userId")
    await ask.api.sessions.revoke(
        ask.identity.project, token_id=said.token_id, user_id=said.user_id, seconds=said.seconds
    )
    return json_answer(Done())


async def _require(ask: Ask, right: tuple[str, str], wanted: Access) -> None:
    if await ask.api.hub.records.access(ask.caller, *right) < wanted:
        raise PermissionDenied(f"this requires the right to {wanted.name.lower()} {'/'.join(right)}")


async def _schema(ask: Ask) -> Response:
    return json_answer(Described(collections=await ask.api.hub.readable_schema(ask.caller)))


async def _health(ask: Ask) -> Response:
    reason = ask.api.unready()
    return json_answer(Health(status="ok" if reason is None else reason), 200 if reason is None else 503)


_ALL = "/collections/{collection}"
_ONE = "/collections/{collection}/{id}"
_ROWS: tuple[Parameter[Any], ...] = (*QUERY, parameters.FIELDS, parameters.PERMISSIONS)
_STREAM = (*_ROWS, *GROUPS, parameters.KIND, parameters.ENTITY, parameters.LAST_EVENT_ID)
_NAMED = (parameters.IDEMPOTENCY_KEY,)

OPERATIONS: tuple[Operation, ...] = (
    Operation("list", "GET", _ALL, "List entities", _list, FoundMany, parameters=(*_ROWS, parameters.AFTER)),
    Operation("create", "POST", _ALL, "Create an entity", _create, Written, dict, 201, _NAMED, write=True),
    # before the paths with an id, so that these words win over ids
    Operation("query", "POST", f"{_ALL}/query", "Query entities", _query, FoundMany, Asked),
    Operation("count", "POST", f"{_ALL}/count", "Count entities", _count, Counted, Where),
    Operation(
        "aggregate",
        "POST",
        f"{_ALL}/aggregate",
        "Count, sum, average, minimum and maximum of entities, by group",
        _aggregate,
        Groups,
        AggregateAsked,
    ),
    Operation(
        "listGroups",
        "GET",
        f"{_ALL}/aggregate",
        "The same, with parameters",
        _list_groups,
        Groups,
        parameters=AGGREGATE,
    ),
    Operation(
        "subscribe",
        "GET",
        f"{_ALL}/subscribe",
        "Subscribe to events, as server-sent events",
        _subscribe,
        str,
        parameters=_STREAM,
        media_type="text/event-stream",
    ),
    Operation(
        "read",
        "GET",
        _ONE,
        "Get an entity, now or in the past",
        _read,
        Found,
        parameters=(parameters.VERSION, parameters.AT, parameters.CONTENT, parameters.PERMISSIONS),
    ),
    Operation(
        "update",
        "PATCH",
        _ONE,
        "Set some fields",
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
        "Delete an entity; its history is kept unless it is erased",
        _delete,
        Written,
        parameters=(parameters.ERASE, *_NAMED),
        write=True,
    ),
    Operation(
        "restore",
        "POST",
        f"{_ONE}/restore",
        "Restore an entity, or reset it to a version",
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
        "List events of an entity, newest first",
        _history,
        Past,
        parameters=(parameters.LIMIT, parameters.BEFORE),
    ),
    Operation(
        "writeMany",
        "POST",
        "/writes",
        "Create, update and delete, each on its own",
        _write_many,
        Results,
        Writing,
        write=True,
    ),
    Operation(
        "transaction",
        "POST",
        "/transaction",
        "Create, update and delete different entities, all or none",
        _transaction,
        Results,
        Writing,
        parameters=_NAMED,
        write=True,
    ),
    Operation("emit", "POST", "/events", "Emit a custom event", _emit, dict, dict, parameters=_NAMED, write=True),
    Operation(
        "permissionsChanged",
        "POST",
        "/permissions-changed",
        "Report changed rights, so that open subscriptions are checked",
        _permissions_changed,
        Permissions,
        Permissions,
        202,
        write=True,
    ),
    Operation("present", "GET", "/presence/{collection}/{id}", "Who is in a document now", _present, Present),
    Operation(
        "sessions",
        "GET",
        "/sessions",
        "List the sessions that are connected",
        _sessions,
        Connected,
        parameters=(parameters.USER_ID, parameters.LIMIT),
    ),
    Operation(
        "disconnect",
        "POST",
        "/disconnect",
        "End the sessions of a user, or one session",
        _disconnect,
        Counted,
        Disconnecting,
        write=True,
    ),
    Operation(
        "revoke",
        "POST",
        "/revoke",
        "Refuse a token, or all tokens of a user, from now on",
        _revoke,
        Done,
        Revoking,
        write=True,
    ),
    Operation("schema", "GET", "/schema", "List the declared collections", _schema, Described),
    Operation("health", "GET", "/health", "Whether this server should get traffic", _health, Health, public=True),
)
