"""Lumenize Collab: collaborative editing, presence and live data on Yjs.

The road of an edit through the modules: ``server`` (sockets, HTTP) → ``wire`` (bytes to messages, and the gate)
→ ``rooms`` (apply, relay) → ``entities`` (recorder) → ``storage``. ``access`` says who may do what, ``presence``
who is there.
"""

from collab.access.identity import Access, Identity, Rule
from collab.errors import (
    AuthenticationFailed,
    ClientIdInUse,
    CollabError,
    InternalError,
    InvalidName,
    InvalidRequest,
    PermissionDenied,
    Quarantined,
    RateLimitExceeded,
    Restarting,
    SessionTimeout,
    TooLarge,
    Unavailable,
)
from collab.names import RoomKey
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
    "Hooks",
    "Identity",
    "InternalError",
    "InvalidName",
    "InvalidRequest",
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
]
