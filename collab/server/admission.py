"""Who is let in: origin, host, credential, rights and numbers, checked before anything is accepted or loaded."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic, time
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

from collab.access.credentials import LONGEST_CLAIM, Authenticator
from collab.access.handshake import client_address, host_allowed, origin_allowed, token_from
from collab.access.identity import Access, Identity
from collab.access.limits import Rates, Slots, Strikes
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    InternalError,
    InvalidName,
    PermissionDenied,
    RateLimitExceeded,
)
from collab.names import RoomKey, parse_name
from collab.rooms.hooks import Hooks, Request
from collab.server.settings import Settings
from collab.wire.realtime import Hello

log = logging.getLogger(__name__)

_SAFE = ("GET", "HEAD")  # browsers send these without an origin, and let no foreign page read the answer


ReadData = Callable[[RoomKey], Awaitable[Mapping[str, Any] | None]]
"""The data of an entity as it is in the record."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An identity, the document it asked for, and what it may do there.

    ``epoch`` tells whether rights have changed since (:meth:`Admission.is_current`).
    """

    identity: Identity
    key: RoomKey
    access: Access
    epoch: int = 0


class Admission:
    """The gate of a server for people, as :mod:`collab.wire.update` is for bytes."""

    def __init__(self, settings: Settings, authenticator: Authenticator, hooks: Hooks, data: ReadData) -> None:
        self._data = data
        self._settings = settings
        self._authenticator = authenticator
        self._hooks = hooks
        self._strikes = Strikes()
        self._addresses = Slots(settings.max_sockets_per_address)
        self._users = Slots(settings.max_sockets_per_user)
        self._writes = Rates(settings.writes_per_second, settings.bytes_per_second)
        self._epoch = 0
        self._asks_rows = type(hooks).authorize_row is not Hooks.authorize_row
        # an application that asks for credentials itself does not become open by answering "I do not know"
        self._asks_itself = type(hooks).authenticate is not Hooks.authenticate

    def read(self, scope: Scope) -> Request:
        """What a handshake or an HTTP request says of its sender.

        Raises :class:`PermissionDenied` if the page it comes from, or the name it calls us by, is not allowed.
        """
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        found = token_from(headers, query, self._settings.token_cookie)
        host = headers.get("host")
        if not host_allowed(host, self._settings.allowed_hosts):
            raise PermissionDenied("this server is not called by that name")
        by_cookie = found.from_cookie and not (scope["type"] == "http" and scope["method"] in _SAFE)
        if not origin_allowed(headers.get("origin"), host, self._settings.allowed_origins, by_cookie):
            raise PermissionDenied("pages of this origin may not connect")
        peer = scope.get("client")
        address = client_address(
            peer[0] if peer else None, headers.get("x-forwarded-for"), self._settings.trusted_proxies
        )
        return Request(found.token, headers, query, address)

    async def identify(self, request: Request) -> Identity:
        """Who sends a request. An API key may come beside a user's token, in ``X-API-Key``.

        Raises :class:`CollabError`.
        """
        try:
            identity = await self._hooks.authenticate(request)
        except CollabError:
            raise
        except Exception as error:
            log.exception("a hook failed")
            raise InternalError("the request could not be checked") from error
        if identity is not None:
            return identity
        if self._asks_itself and self._authenticator.is_open:
            raise AuthenticationFailed("a credential is required")
        return self._authenticator.authenticate(request.token, time(), request.headers.get("x-api-key"))

    async def admit(self, request: Request, name: str) -> Admitted:
        """Identify a request and look up its rights on ``name``.

        Raises :class:`CollabError`. What may not be read does not differ from what is not there.
        """
        return await self.admit_identity(await self.identify(request), name)

    async def admit_identity(self, identity: Identity, name: str) -> Admitted:
        """The same for somebody who is known already."""
        epoch = self._epoch
        try:
            key = parse_name(identity.project, name)
            access = Access.NONE if self._asks_rows else await self._hooks.authorize_row(identity, key, None)
            if access < Access.WRITE and self.depends_on_row(identity):
                access = await self._hooks.authorize_row(identity, key, await self._data(key))
        except CollabError:
            raise
        except Exception as error:
            log.exception("a hook failed")
            raise InternalError("the request could not be checked") from error
        if access < Access.READ:
            raise PermissionDenied("this identity may not open this document")
        return Admitted(identity, key, access, epoch)

    def depends_on_row(self, identity: Identity) -> bool:
        """Whether what an identity may do with a document can depend on what is in it."""
        return self._asks_rows or any(rule.where is not None for rule in identity.rules)

    def changed(self) -> None:
        """Rights have changed: nobody who was admitted before is current."""
        self._epoch += 1

    def is_current(self, admitted: Admitted) -> bool:
        """Whether rights are as they were when somebody was admitted."""
        return admitted.epoch == self._epoch

    async def admit_token(self, request: Request, token: str | None, name: str) -> Admitted:
        """The same for a token that came in a message; without one, that of the handshake counts."""
        return await self.admit(replace(request, token=token or request.token), name)

    async def admit_session(self, request: Request, hello: Hello) -> Identity:
        """Identify who says ``hello`` on a connection that ``request`` opened.

        The API key says which application this is, the token which user; without either the token of the handshake
        counts. Raises :class:`AuthenticationFailed`, also if they are not of the project and the user that are named.
        """
        headers = dict(request.headers)
        if hello.api_key is not None:
            headers["x-api-key"] = hello.api_key
        token = hello.token or (None if hello.api_key else request.token)
        identity = await self.identify(replace(request, token=token, headers=headers))
        if not identity.verified and identity.user_id is None and hello.user_id is not None:
            if not 0 < len(hello.user_id) <= LONGEST_CLAIM:
                raise AuthenticationFailed(f"a user's id is a text of 1-{LONGEST_CLAIM} characters")
            identity = replace(identity, user_id=hello.user_id)
        if hello.project_id is not None and hello.project_id != identity.project:
            raise AuthenticationFailed("this credential is not of the project that was named")
        if hello.user_id is not None and hello.user_id != identity.user_id:
            raise AuthenticationFailed("this credential is not of the user who was named")
        return identity

    def connect(self, request: Request) -> None:
        """Count one open socket of an address, until :meth:`disconnect`. Raises :class:`RateLimitExceeded`."""
        if not self._addresses.take(request.client):
            raise RateLimitExceeded("too many connections from this address")

    def disconnect(self, request: Request) -> None:
        """A socket that was counted has ended."""
        self._addresses.give_back(request.client)

    def check_strikes(self, request: Request, admitted: Admitted) -> None:
        """Refuse for a while who was sent away for good and came back. Raises :class:`RateLimitExceeded`."""
        if not self._strikes.allowed(_who(request, admitted), monotonic()):
            raise RateLimitExceeded("sent away for good several times: wait before the next attempt")

    def strike(self, request: Request, admitted: Admitted) -> None:
        """This connection was closed for good: whoever comes back again and again will have to wait."""
        self._strikes.strike(_who(request, admitted), monotonic())

    def count_write(self, request: Request, identity: Identity, size: int) -> None:
        """Count a write of ``size`` bytes that came over HTTP, of a verified user or else of an address.

        Raises :class:`RateLimitExceeded`, with ``retryAfter`` (seconds) in its details.
        """
        who = ("user", identity.user_id) if is_somebody(identity) else ("address", request.client)
        wait = self._writes.take((identity.project, *who), size, monotonic())
        if wait:
            raise RateLimitExceeded("too many writes", retryAfter=round(wait, 3))

    def enter(self, identity: Identity) -> None:
        """Count one session of a verified user, until :meth:`leave`. Raises :class:`RateLimitExceeded`."""
        if is_somebody(identity) and not self._users.take((identity.project, identity.user_id)):
            raise RateLimitExceeded("too many sessions of this user")

    def leave(self, identity: Identity) -> None:
        """A session that was counted has ended."""
        if is_somebody(identity):
            self._users.give_back((identity.project, identity.user_id))


def is_somebody(identity: Identity) -> bool:
    """Whether this is somebody: a name that nobody verified may be anybody's."""
    return identity.verified and identity.user_id is not None


def _who(request: Request, admitted: Admitted) -> tuple[str | None, str | None, RoomKey]:
    """A client as far as it can be told from others: many may share an address, and open documents."""
    return request.client, admitted.identity.user_id, admitted.key


def own_path(scope: Scope) -> str:
    """The path below the point where the application is mounted.

    Raises :class:`InvalidName` if it was written with escapes: they have no place in a document's name, and
    decoded, ``%2F`` would be a slash (servers differ in what they make of it).
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        path = path[len(root) :]
    raw: Any = scope.get("raw_path")
    if not path.isascii() or (raw is not None and not raw.partition(b"?")[0].endswith(path.encode())):
        raise InvalidName("escapes have no place in a document's name")
    return path
