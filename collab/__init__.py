"""Lumenize Collab: collaborative editing, presence and live data on Yjs.

An edit passes through these folders: ``server`` (sockets, HTTP) → ``wire`` (bytes to messages) → ``gate`` (may the
CRDT library have it?) → ``rooms`` (apply, relay) → ``entities`` (changed fields, recorder) → ``storage`` →
``realtime`` (live queries, subscriptions). ``records`` reads and writes entities, ``access`` holds the rules,
``presence`` the users who are online. The client is :mod:`collab.client`. See docs/architecture.md.
"""

from typing import TYPE_CHECKING

from collab.lazy import attributes as _attributes

if TYPE_CHECKING:
    from collab.access.configuration import ApiKey, Issuer
    from collab.access.identity import Identity
    from collab.access.rules import Access, Rule, parse_rules
    from collab.errors import (
        AuthenticationFailed,
        CollabError,
        Conflict,
        EntityDeleted,
        InternalError,
        InvalidName,
        InvalidRequest,
        NotFound,
        PermissionDenied,
        Quarantined,
        RateLimitExceeded,
        Restarting,
        SessionTimeout,
        TooLarge,
        Unavailable,
        ValidationFailed,
    )
    from collab.event import EntityEvent
    from collab.hooks import Changed, Hooks, ProposedWrite, Request
    from collab.names import RoomKey
    from collab.query.parse import parse_where
    from collab.query.query import Condition
    from collab.records.declaration import declaration
    from collab.records.handle import Collection
    from collab.records.transaction_handle import Transaction
    from collab.rooms.handle import RoomHandle, Update
    from collab.server.app import Collab
    from collab.server.config.settings import Settings
    from collab.server.http.responses import exception_handlers
    from collab.wire.realtime.values import ConnectedSession, Found, FoundMany, Present, Written

__all__ = [
    "Access",
    "ApiKey",
    "AuthenticationFailed",
    "Changed",
    "Collab",
    "CollabError",
    "Collection",
    "Condition",
    "Conflict",
    "ConnectedSession",
    "EntityDeleted",
    "EntityEvent",
    "Found",
    "FoundMany",
    "Hooks",
    "Identity",
    "InternalError",
    "InvalidName",
    "InvalidRequest",
    "Issuer",
    "NotFound",
    "PermissionDenied",
    "Present",
    "ProposedWrite",
    "Quarantined",
    "RateLimitExceeded",
    "Request",
    "Restarting",
    "RoomHandle",
    "RoomKey",
    "Rule",
    "SessionTimeout",
    "Settings",
    "TooLarge",
    "Transaction",
    "Unavailable",
    "Update",
    "ValidationFailed",
    "Written",
    "declaration",
    "exception_handlers",
    "parse_rules",
    "parse_where",
]

_HOME = {
    "Access": "collab.access.rules",
    "ApiKey": "collab.access.configuration",
    "Issuer": "collab.access.configuration",
    "Identity": "collab.access.identity",
    "Rule": "collab.access.rules",
    "parse_rules": "collab.access.rules",
    "AuthenticationFailed": "collab.errors",
    "CollabError": "collab.errors",
    "Conflict": "collab.errors",
    "EntityDeleted": "collab.errors",
    "InternalError": "collab.errors",
    "InvalidName": "collab.errors",
    "InvalidRequest": "collab.errors",
    "NotFound": "collab.errors",
    "PermissionDenied": "collab.errors",
    "Quarantined": "collab.errors",
    "RateLimitExceeded": "collab.errors",
    "Restarting": "collab.errors",
    "SessionTimeout": "collab.errors",
    "TooLarge": "collab.errors",
    "Unavailable": "collab.errors",
    "ValidationFailed": "collab.errors",
    "EntityEvent": "collab.event",
    "RoomKey": "collab.names",
    "parse_where": "collab.query.parse",
    "Condition": "collab.query.query",
    "Collection": "collab.records.handle",
    "declaration": "collab.records.declaration",
    "Transaction": "collab.records.transaction_handle",
    "RoomHandle": "collab.rooms.handle",
    "Update": "collab.rooms.handle",
    "Changed": "collab.hooks",
    "Hooks": "collab.hooks",
    "ProposedWrite": "collab.hooks",
    "Request": "collab.hooks",
    "exception_handlers": "collab.server.http.responses",
    "Collab": "collab.server.app",
    "Settings": "collab.server.config.settings",
    "ConnectedSession": "collab.wire.realtime.values",
    "Present": "collab.wire.realtime.values",
    "Found": "collab.wire.realtime.values",
    "FoundMany": "collab.wire.realtime.values",
    "Written": "collab.wire.realtime.values",
}


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:
    __getattr__ = _attributes(__name__, _HOME)
