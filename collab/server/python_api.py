"""The server for Python code in the same process: documents, entities, identities, tokens and sessions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from secrets import token_urlsafe
from time import time
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from collab.access.identity import Identity
from collab.access.minting import mint, signer_of
from collab.access.rules import Access
from collab.entities.feed import Feed
from collab.errors import InvalidRequest
from collab.names import DEFAULT_PROJECT, RoomKey, parse_name
from collab.realtime.hub import Hub
from collab.realtime.topics.custom_events import CustomEvents
from collab.records.handle import Collection
from collab.records.reads import Caller
from collab.records.transaction_handle import Transaction
from collab.rooms.handle import Locks, RoomHandle
from collab.rooms.registry import Registry
from collab.sandbox.client import Sandbox
from collab.server.admission import Admission
from collab.server.config.settings import Settings
from collab.server.rights import Rights
from collab.server.sessions import Sessions
from collab.transport.unproven import trust
from collab.wire.realtime.values import ConnectedSession, Present

if TYPE_CHECKING:
    from collab.cluster.node import ClusterNode


class PythonApi:
    """The methods of :class:`collab.server.app.Collab` for applications."""

    settings: Settings
    hub: Hub
    admission: Admission
    rights: Rights
    _registry: Registry
    _sandbox: Sandbox
    _locks: Locks
    _node: ClusterNode | None
    _sessions: Sessions

    def room(self, name: str, project: str = DEFAULT_PROJECT) -> RoomHandle:
        """Return a document by name, ``collection/id``. Raises :class:`collab.errors.InvalidName`."""
        return self.handle(parse_name(project, name))

    def handle(self, key: RoomKey, caller: Hashable = None) -> RoomHandle:
        """Return a document by key; its reads wait in the queue of ``caller``."""
        return self._handle(RoomHandle if self._node is None else self._node.room, key, caller)

    def _handle(self, kind: Callable[..., RoomHandle], key: RoomKey, caller: Hashable) -> RoomHandle:
        return kind(key, self._registry, self._sandbox, self._locks, caller)

    async def permissions_changed(
        self, project: str = DEFAULT_PROJECT, *, user_id: str | None = None, resource: str | None = None
    ) -> None:
        """Apply changed rights immediately, for one user or for all, and notify clients.

        The :class:`Hooks` are asked again; rights in a token are valid until the token expires.
        """
        await self.rights.permissions_changed(project, resource, user_id)

    def collection(
        self, name: str, project: str = DEFAULT_PROJECT, *, user: str | None = None, identity: Identity | None = None
    ) -> Collection:
        """Return a collection by name. Everything is allowed; with ``user``, as that user, if hooks allow it.

        With ``identity``, it is that of its project, with its rights: for routes that act for their caller.
        """
        return self.hub.collection(name, project, user=user, identity=identity)

    def transaction(
        self, project: str = DEFAULT_PROJECT, *, user: str | None = None, identity: Identity | None = None
    ) -> Transaction:
        """Return an empty transaction: writes of a project's entities, all of which are made, or none.

        ``user`` and ``identity`` are as for :meth:`collection`.
        """
        return self.hub.transaction(project, user=user, identity=identity)

    async def identity(self, connection: HTTPConnection) -> Identity:
        """Identify the caller of a route of yours, with the credentials that this server accepts.

        In FastAPI, ``Annotated[Identity, Depends(collab.identity)]``. Raises :class:`CollabError`, also for a page of a
        foreign origin.
        """
        found = await self.admission.identify(self.admission.read(connection.scope))
        trust(connection.scope)
        return found

    async def access(self, identity: Identity, name: str) -> Access:
        """Return the rights of an identity on an entity (``collection/id``) as it is now."""
        key = parse_name(identity.project, name)
        return await self.hub.records.access(Caller(identity, ""), key.collection, key.id)

    def mint(
        self,
        user: str,
        *,
        access: Mapping[str, Any],
        seconds: float = 3600.0,
        name: str | None = None,
        project: str | None = None,
        channels: Sequence[str] = (),
        claims: Mapping[str, Any] | None = None,
        issuer: str | None = None,
    ) -> str:
        """Return a token for ``user``, signed with the configured secret (``jwt_secret``, or that of ``issuer``).

        ``access`` are its rights, like ``{"notes/*": "write"}``; ``claims`` are further ones for rules to refer to.
        Raises :class:`InvalidRequest` if no secret is configured, and for a token that the server would refuse.
        """
        return mint(
            signer_of(self.settings.all_issuers, issuer),
            user,
            access=access,
            seconds=seconds,
            now=time(),
            token_id=token_urlsafe(12),
            name=name,
            project=project,
            channels=channels,
            claims=claims,
        )

    async def present(self, name: str, project: str = DEFAULT_PROJECT) -> Present:
        """Return who is in a document (``collection/id``) now: each user once, with the states of their clients."""
        return await self.hub.presence.present(parse_name(project, name))

    async def sessions(
        self, project: str = DEFAULT_PROJECT, *, user_id: str | None = None, limit: int = 1000
    ) -> list[ConnectedSession]:
        """Return the sessions that are connected, of a user or of all; in a cluster, to any node."""
        return await self._sessions.listed(project, user_id, limit)

    async def disconnect(
        self,
        project: str = DEFAULT_PROJECT,
        *,
        user_id: str | None = None,
        session: str | None = None,
        reason: str = "disconnected by the application",
    ) -> int:
        """End the sessions of a user, or one session, with ``PERMISSION_DENIED`` (4403).

        On all servers of a cluster; returns how many there were on this one.

        They may connect again unless they lose the right to, or their token is revoked.
        """
        return await self._sessions.disconnect(project, user_id=user_id, session=session, reason=reason)

    async def revoke(
        self,
        token: str | None = None,
        *,
        token_id: str | None = None,
        user_id: str | None = None,
        project: str = DEFAULT_PROJECT,
        seconds: float = 30 * 86_400.0,
    ) -> None:
        """Refuse a token from now on, or the one with this id (``jti``), or all that a user has; end their sessions.

        Without ``token``, this is remembered for ``seconds``: as long as such a token may be valid. Raises
        :class:`InvalidRequest`, :class:`AuthenticationFailed` for a ``token`` that is not valid anyway, and
        :class:`TooLarge`.
        """
        if token is None:
            await self._sessions.revoke(project, token_id=token_id, user_id=user_id, seconds=seconds)
        elif token_id is not None or user_id is not None:
            raise InvalidRequest("revoke needs one of token, token_id and user_id")
        else:
            await self._sessions.revoke_token(await self.admission.recognise(token))

    async def erase(self, key: RoomKey) -> None:
        """Delete an entity and its document permanently: log, snapshots, history, events, and dead letters.

        Raises :class:`NotFound`, and :class:`InvalidRequest` for an entity that lives inside another document.
        """
        await self.collection(key.collection, key.project).erase(key.id)

    @property
    def events(self) -> CustomEvents:
        """Custom events: ``collab.events.emit(project, {"type": …, …})``."""
        return self.hub.events

    @property
    def feed(self) -> Feed:
        """Every entity event that this process commits, as it is committed."""
        return self.hub.feed.own
