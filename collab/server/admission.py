"""Admission: checks origin, host, credential, rights and quotas before anything is accepted or loaded."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic, time
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

from collab.access.credentials import LONGEST_CLAIM, Authenticator
from collab.access.handshake import (
    LOOPBACK_NAMES,
    LOOPBACK_ORIGINS,
    from_this_machine,
    host_allowed,
    origin_allowed,
    public_scheme,
    token_from,
)
from collab.access.identity import Identity
from collab.access.inspection import USER_ID as INSPECTOR
from collab.access.inspection import InspectionKey
from collab.access.limits import Rates, Strikes
from collab.access.price import METER, Payer
from collab.access.revocations import Revocations
from collab.access.rules import Access
from collab.cluster.passes import HEADER, Pass
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    InternalError,
    InvalidName,
    PermissionDenied,
    RateLimitExceeded,
)
from collab.hooks import Hooks, Request
from collab.names import RoomKey, parse_name
from collab.rooms.authorization import Authorization
from collab.server.config.settings import Settings
from collab.server.key_fetcher import KeyFetcher
from collab.server.notices import Notices, quoted
from collab.storage.base import EntityRow
from collab.transport.addresses import client_address
from collab.transport.slots import Slots
from collab.wire.realtime.messages import Hello

log = logging.getLogger(__name__)

_SAFE = ("GET", "HEAD")  # browsers send these without an origin, and hide the answer from other origins


ReadEntity = Callable[[RoomKey], Awaitable[EntityRow | None]]
"""Reads a committed entity."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An identity, the document it asked for, and its rights on it.

    :meth:`Admission.is_current` compares ``epoch`` to detect changed rights. If they depend on the row, they are those
    for its ``version``, 0 for none.
    """

    identity: Identity
    key: RoomKey
    access: Access
    epoch: int = 0
    version: int = 0


class Admission:
    """The gate of a server for clients, as :mod:`collab.gate.gate` is for bytes."""

    def __init__(
        self,
        settings: Settings,
        authenticator: Authenticator,
        keys: KeyFetcher,
        revocations: Revocations,
        hooks: Hooks,
        rights: Authorization,
        entity: ReadEntity,
        banned: Callable[[str], bool] = lambda who: False,
        inspection: InspectionKey | None = None,
    ) -> None:
        self._inspection = inspection
        self._banned = banned
        self._rights = rights
        self._entity = entity
        self._settings = settings
        self._authenticator = authenticator
        self._keys = keys
        self._revocations = revocations
        self._hooks = hooks
        self._strikes = Strikes()
        self._addresses = Slots(settings.max_sockets_per_address)
        self._users = Slots(settings.max_sockets_per_user)
        self._writes = Rates(settings.writes_per_second, settings.bytes_per_second)
        self._reads = Rates(settings.reads_per_second, 0)
        self._epoch = 0
        # an application with its own authenticate hook does not become open by returning None
        self._asks_itself = type(hooks).authenticate is not Hooks.authenticate
        self.is_open = authenticator.is_open and not self._asks_itself
        """Whether no credential is required."""
        self.allowed_origins = [*settings.allowed_origins, *(LOOPBACK_ORIGINS if self.is_open else ())]
        """Origins of pages that may connect, besides the server's own host."""
        self._local_only = self.is_open and not settings.open
        self.allowed_hosts = settings.allowed_hosts or (LOOPBACK_NAMES if self._local_only else ())
        self.notices = Notices()
        """What operators should know of clients that were refused."""

    def read(self, scope: Scope, passed: Pass | None = None) -> Request:
        """Read the sender of a handshake or an HTTP request. ``passed``: another node has read and admitted it.

        Raises :class:`PermissionDenied` if the page's origin, or the ``Host`` header, is not allowed.
        """
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        headers.pop(HEADER, None)  # hooks see the others
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        peer, forwarded_for = (scope.get("client") or (None,))[0], headers.get("x-forwarded-for")
        if passed is not None:
            found = token_from(headers, query, self._settings.token_cookie, scope.get("subprotocols", ()))
            return Request(found.token, headers, query, passed.address)
        if self._local_only and not from_this_machine(peer, forwarded_for):
            self.tell(
                f"refused {quoted(peer or 'a client without an address')}: no credentials are configured, so only this "
                "machine is served. Set COLLAB_JWT_SECRET or COLLAB_API_KEY, or open=True to serve everybody"
            )
            raise PermissionDenied("this server has no credentials configured and serves its own machine only")
        found = token_from(headers, query, self._settings.token_cookie, scope.get("subprotocols", ()))
        host, origin = headers.get("host"), headers.get("origin")
        if not host_allowed(host, self.allowed_hosts):
            self.tell(f"refused a request to the host {quoted(host or '')}: it is not in allowed_hosts")
            raise PermissionDenied("this server does not serve this host name")
        by_cookie = found.from_cookie and not (scope["type"] == "http" and scope["method"] in _SAFE)
        scheme = public_scheme(
            self._settings.public_scheme, peer, headers.get("x-forwarded-proto"), self._settings.trusted_proxies
        )
        if not origin_allowed(origin, host, self.allowed_origins, by_cookie, scheme):
            if origin is not None:
                self.tell(
                    f"refused a page of {quoted(origin)}: add its origin to --allowed-origins (COLLAB_ALLOWED_ORIGINS, "
                    "allowed_origins) to allow it"
                )
            raise PermissionDenied("pages of this origin may not connect: it is not in allowed_origins")
        address = client_address(peer, forwarded_for, self._settings.trusted_proxies)
        return Request(found.token, headers, query, address)

    def tell(self, message: str) -> None:
        """Log a message for the operator, once."""
        self.notices.tell(message, monotonic())

    async def identify(self, request: Request) -> Identity:
        """Identify the sender of a request. An API key may accompany a user's token, in ``X-API-Key``.

        Raises :class:`CollabError`.
        """
        identity = self._inspection.identity_of(request.token, time()) if self._inspection is not None else None
        if identity is None:
            identity = await self._ask(request) or await self._recognise(request)
            _check_name(identity.user_id)
        self.check_revoked(identity)
        payer = self.payer(request, identity)
        if not self.is_open and self._banned(str(payer)):
            raise RateLimitExceeded("your messages crashed the server repeatedly: wait some minutes", retryAfter=60)
        meter = METER.get()
        if meter is not None:
            meter.payer = payer
            wait = meter.wait()
            if wait:
                raise RateLimitExceeded("this caller has used too much CPU", retryAfter=round(wait, 3))
        return identity

    async def _ask(self, request: Request) -> Identity | None:
        """Ask the application who this is. Nobody who comes from outside is the program itself."""
        try:
            found = await self._hooks.authenticate(request)
            return replace(found, trusted=False) if found is not None and found.trusted else found
        except CollabError:
            raise
        except Exception as error:
            log.exception("a hook failed")
            raise InternalError("could not check the request") from error

    def payer(self, request: Request, identity: Identity | None = None) -> Payer:
        """Return who pays for the CPU time of a request."""
        if identity is None:
            return Payer(None, "address", request.client)
        if identity.is_somebody:
            return Payer(identity.project, "user", identity.user_id)
        return Payer(identity.project, "address", request.client)

    async def recognise(self, token: str) -> Identity:
        """Identify the holder of a token by the configured credentials alone. Raises :class:`CollabError`."""
        await self._keys.prepare(token)
        return self._authenticator.authenticate(token, time(), clock=monotonic())

    def check_revoked(self, identity: Identity) -> None:
        """Raise :class:`AuthenticationFailed` if the token of an identity was revoked."""
        if self._revocations.refuses(identity):
            self.tell(f"refused a credential: the token of {quoted(identity.user_id or '')} was revoked")
            raise AuthenticationFailed("the token was revoked")

    async def _recognise(self, request: Request) -> Identity:
        if self._asks_itself and self._authenticator.is_open:
            raise AuthenticationFailed("a credential is required")
        await self._keys.prepare(request.token)
        try:
            return self._authenticator.authenticate(
                request.token, time(), request.headers.get("x-api-key"), clock=monotonic()
            )
        except AuthenticationFailed as error:
            self.tell(f"refused a credential: {error.reason or error.message}")
            raise

    async def admit(self, request: Request, name: str) -> Admitted:
        """Identify a request and look up its rights on the document ``name``.

        Raises :class:`CollabError`. Unreadable and missing documents are indistinguishable.
        """
        return await self.admit_identity(await self.identify(request), name)

    async def admit_identity(self, identity: Identity, name: str) -> Admitted:
        """As :meth:`admit`, for a known identity."""
        key = parse_name(identity.project, name)
        return await self._admit(identity, key, self._entity)

    async def admit_again(self, admitted: Admitted, row: EntityRow | None) -> Admitted:
        """As :meth:`admit`, for somebody who was admitted before, given the document's row if that counts."""

        async def known(key: RoomKey) -> EntityRow | None:
            return row

        return await self._admit(admitted.identity, admitted.key, known)

    async def _admit(self, identity: Identity, key: RoomKey, entity: ReadEntity) -> Admitted:
        epoch = self._epoch
        self.check_revoked(identity)
        try:
            row = await entity(key) if self._rights.depends_on_row(identity) else None
            access = await self._rights.document_access(identity, key, row.data if row is not None else None)
        except CollabError:
            raise
        except Exception as error:
            log.exception("a hook failed")
            raise InternalError("could not check the request") from error
        if access < Access.READ:
            raise PermissionDenied("this identity may not open this document")
        return Admitted(identity, key, access, epoch, row.version if row is not None else 0)

    def changed(self) -> None:
        """Rights have changed: earlier admissions are no longer current."""
        self._epoch += 1

    def is_current(self, admitted: Admitted) -> bool:
        """Whether rights are unchanged since the admission."""
        return admitted.epoch == self._epoch

    async def admit_token(self, request: Request, token: str | None, name: str) -> Admitted:
        """As :meth:`admit`, for a token from a message; without one, the handshake's token is used."""
        return await self.admit(replace(request, token=token or request.token), name)

    async def admit_session(self, request: Request, hello: Hello) -> Identity:
        """Identify the sender of ``hello`` on a connection that ``request`` opened.

        The API key identifies the application, the token the user; without either the handshake's token is used.
        Raises :class:`AuthenticationFailed`, also if the credential belongs to another project or user than named.
        """
        headers = dict(request.headers)
        if hello.api_key is not None:
            headers["x-api-key"] = hello.api_key
        token = hello.token or (None if hello.api_key else request.token)
        identity = await self.identify(replace(request, token=token, headers=headers))
        if not identity.verified and identity.user_id is None and hello.user_id is not None:
            if not 0 < len(hello.user_id) <= LONGEST_CLAIM:
                raise AuthenticationFailed(f"a user id must be a string of 1-{LONGEST_CLAIM} characters")
            _check_name(hello.user_id)
            identity = replace(identity, user_id=hello.user_id)
        if hello.project_id is not None and hello.project_id != identity.project:
            raise AuthenticationFailed("this credential belongs to another project")
        if hello.user_id is not None and hello.user_id != identity.user_id:
            raise AuthenticationFailed("this credential belongs to another user")
        return identity

    def connect(self, request: Request) -> None:
        """Count an open socket of an address, until :meth:`disconnect`. Raises :class:`RateLimitExceeded`."""
        if not self._addresses.take(request.client):
            raise RateLimitExceeded("too many connections from this address")

    def disconnect(self, request: Request) -> None:
        """A counted socket has closed."""
        self._addresses.give_back(request.client)

    def check_strikes(self, request: Request, admitted: Admitted) -> None:
        """Refuse clients that keep coming back after permanent refusals. Raises :class:`RateLimitExceeded`."""
        if not self._strikes.allowed(_who(request, admitted), monotonic()):
            raise RateLimitExceeded("refused several times: wait before the next attempt")

    def strike(self, request: Request, admitted: Admitted) -> None:
        """Count a permanent refusal of this client."""
        self._strikes.strike(_who(request, admitted), monotonic())

    def count_write(self, request: Request, identity: Identity, size: int, count: int = 1) -> None:
        """Count ``count`` writes of ``size`` bytes together over HTTP, per verified user or else per address.

        Raises :class:`RateLimitExceeded`, with ``retryAfter`` (seconds) in its details.
        """
        wait = self._writes.take((identity.project, identity.counted_as(request.client)), size, monotonic(), count)
        if wait:
            raise RateLimitExceeded("too many writes", retryAfter=round(wait, 3))

    def count_read(self, request: Request, identity: Identity) -> None:
        """Count a read over HTTP, as :meth:`count_write` counts writes."""
        wait = self._reads.take((identity.project, identity.counted_as(request.client)), 0, monotonic())
        if wait:
            raise RateLimitExceeded("too many reads", retryAfter=round(wait, 3))

    def enter(self, identity: Identity) -> None:
        """Count a session of a verified user, until :meth:`leave`.

        Raises :class:`RateLimitExceeded`, and :class:`AuthenticationFailed` for a token that was revoked since it was
        checked: revoking ends only those that have entered.
        """
        self.check_revoked(identity)
        if identity.is_somebody and not self._users.take((identity.project, identity.user_id)):
            raise RateLimitExceeded("too many sessions of this user")

    def leave(self, identity: Identity) -> None:
        """A counted session has ended."""
        if identity.is_somebody:
            self._users.give_back((identity.project, identity.user_id))


def _check_name(user_id: str | None) -> None:
    """Raise :class:`AuthenticationFailed` for the name under which the inspector writes."""
    if user_id == INSPECTOR:
        raise AuthenticationFailed(f"no user can be named {INSPECTOR}")


def _who(request: Request, admitted: Admitted) -> tuple[str | None, str | None, RoomKey]:
    """Key of a client, as specific as possible: many clients may share an address."""
    return request.client, admitted.identity.user_id, admitted.key


def own_path(scope: Scope) -> str:
    """Return the path below the mount point of the application.

    Raises :class:`InvalidName` if it contains percent escapes: document names need none, and ``%2F`` would decode to a
    slash (servers differ in how they handle it).
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        path = path[len(root) :]
    raw: Any = scope.get("raw_path")
    if not path.isascii() or (raw is not None and not raw.partition(b"?")[0].endswith(path.encode())):
        raise InvalidName("a document name must not contain percent escapes")
    return path
