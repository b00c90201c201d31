"""Lumenize Collab: collaborative editing, presence and live data on Yjs.

The road of an edit through the modules: ``server`` (sockets, HTTP) → ``wire`` (bytes to messages, and the gate)
→ ``rooms`` (apply, relay) → ``entities`` (what it did to fields, recorder) → ``storage`` → ``realtime`` (live queries,
subscriptions). ``access`` says who may do what, ``presence`` who is there. The client is :mod:`collab.client`.
"""

from collab.access.identity import Access, Identity, Rule
from collab.errors import (
    AuthenticationFailed,
    ClientIdInUse,
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
from collab.names import RoomKey
from collab.query.parse import parse_where
from collab.query.query import Condition
from collab.realtime.collection import Collection
from collab.realtime.schema import declaration
from collab.rooms.handle import RoomHandle, Update
from collab.rooms.hooks import Changed, Hooks, Request
from collab.server.app import Collab
from collab.server.settings import Settings

__all__ = [
    "Access",
    "AuthenticationFailed",
    "Changed",
    "ClientIdInUse",
    "Collab",
    "CollabError",
    "Collection",
    "Condition",
    "Conflict",
    "EntityDeleted",
    "EntityEvent",
    "Hooks",
    "Identity",
    "InternalError",
    "InvalidName",
    "InvalidRequest",
    "NotFound",
    "PermissionDenied",
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
    "Unavailable",
    "Update",
    "ValidationFailed",
    "declaration",
    "parse_where",
]
