"""Who is connected, and the end of their sessions: by hand, or because their tokens were revoked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict
from math import floor
from time import time
from typing import Literal

import msgspec

from collab.access.identity import Identity
from collab.access.revocations import Revocation, Revocations
from collab.dates import iso
from collab.errors import AuthenticationFailed, CollabError, InvalidRequest, PermissionDenied
from collab.realtime.topics.announcements import Announcements
from collab.server.sockets.connection import Client
from collab.storage.base import AccessStorage
from collab.storage.nodes import Announcement
from collab.wire.realtime.values import ConnectedSession

MOST_LISTED = 10_000
LONGEST_REASON = 120  # characters; a close frame has room for 123 bytes
_DISCONNECTED, _REVOKED = "disconnected", "token_revoked"
"""Kinds of announcements."""


class Sessions:
    """The sessions of this server. ``sources`` yield those of sockets and of event streams.

    ``elsewhere`` returns those of a project's users (``None``: all) on other nodes, up to a limit.

    What ends sessions is announced to all nodes of a cluster. ``changed`` is called when identities that were admitted
    before must be checked again.
    """

    def __init__(
        self,
        storage: AccessStorage,
        sources: Callable[[], Iterable[Client]],
        revocations: Revocations,
        announcements: Announcements,
        changed: Callable[[], object],
        *,
        elsewhere: Callable[[str, str | None, int], Awaitable[list[ConnectedSession]]] | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self._elsewhere = elsewhere
        self._storage = storage
        self._sources = sources
        self._revocations = revocations
        self._announcements = announcements
        self._changed = changed
        self._clock = clock
        announcements.on(_DISCONNECTED, self._disconnected)
        announcements.on(_REVOKED, self._revoked)

    # connected

    async def listed(self, project: str, user_id: str | None = None, limit: int = 1000) -> list[ConnectedSession]:
        """Return sessions of a project on all nodes, or of one user of it; at most ``limit``, up to 10,000.

        Raises :class:`collab.errors.Unavailable` if a node does not answer.
        """
        found = self.connected(project, user_id, limit)
        left = min(max(limit, 0), MOST_LISTED) - len(found)
        if self._elsewhere is None or left <= 0:
            return found
        return found + await self._elsewhere(project, user_id, left)

    def connected(self, project: str, user_id: str | None, limit: int) -> list[ConnectedSession]:
        """Return those of this node."""
        found: list[ConnectedSession] = []
        for client in self._of(project, user_id):
            if len(found) >= min(max(limit, 0), MOST_LISTED):
                break
            found.append(
                ConnectedSession(
                    session=client.connection,
                    user_id=client.identity.user_id,
                    name=client.identity.name,
                    protocol=client.protocol,
                    document=client.document,
                    address=client.address,
                    since=iso(client.since),
                )
            )
        return found

    async def disconnect(
        self, project: str, *, user_id: str | None = None, session: str | None = None, reason: str
    ) -> int:
        """End the sessions of a user, or one session, on all nodes. Returns how many there were on this one.

        Raises :class:`StorageError` if other nodes may not hear it: repeat it.
        """
        if (user_id is None) == (session is None):
            raise InvalidRequest("disconnect needs a user or a session")
        if not 0 < len(reason) <= LONGEST_REASON:
            raise InvalidRequest(f"a reason has 1-{LONGEST_REASON} characters")
        count = len(self._concerned(project, user_id, session))
        body = {"userId": user_id, "session": session, "reason": reason}
        await self._announcements.announce(Announcement(project, _DISCONNECTED, body))
        return count

    async def _disconnected(self, announcement: Announcement) -> None:
        project, body = announcement.project, announcement.body
        if project is not None:
            concerned = self._concerned(project, body.get("userId"), body.get("session"))
            _end(concerned, PermissionDenied(str(body.get("reason"))))

    def _concerned(self, project: str, user_id: str | None, session: str | None) -> list[Client]:
        return [one for one in self._of(project, user_id) if session in (None, one.connection)]

    def _of(self, project: str, user_id: str | None) -> Iterator[Client]:
        for client in self._sources():
            identity = client.identity
            if identity.project == project and user_id in (None, identity.user_id):
                yield client

    # revoked

    async def revoke_token(self, identity: Identity) -> None:
        """Refuse the token of an identity until it expires, as :meth:`revoke`."""
        if identity.token_id is None or identity.expires_at is None:
            raise InvalidRequest("only a token that an issuer has signed can be revoked")
        seconds = max(1.0, identity.expires_at - self._clock())
        await self.revoke(identity.project, token_id=identity.token_id, seconds=seconds)

    async def revoke(
        self, project: str, *, token_id: str | None = None, user_id: str | None = None, seconds: float
    ) -> None:
        """Refuse a token, or all tokens of a user that were issued until now, for ``seconds``; end their sessions.

        Durable on return. Raises :class:`TooLarge` if too many are revoked.
        """
        if (token_id is None) == (user_id is None):
            raise InvalidRequest("revoke needs one of token, token_id and user_id")
        now, name = self._clock(), user_id if token_id is None else token_id
        assert name is not None
        if not 0 < len(name) <= 255 or "\0" in name:
            raise InvalidRequest("a token or user is named by 1-255 characters")
        if not 0 < seconds <= 10 * 366 * 86_400:
            raise InvalidRequest("a revocation is kept for some seconds, at most ten years")
        kind: Literal["token", "user"] = "user" if token_id is None else "token"
        # tokens say when they were issued in whole seconds: those of this second go, too
        revocation = Revocation(project, kind, name, floor(now) + 1.0 if kind == "user" else 0.0, now + seconds)
        self._revocations.check_room(project, now)
        await self._storage.revoke(revocation, now)
        await self._announcements.announce(Announcement(project, _REVOKED, asdict(revocation)))

    async def _revoked(self, announcement: Announcement) -> None:
        self._learn([msgspec.convert(announcement.body, Revocation)])

    async def start(self) -> None:
        """Read what was revoked before. Raises the storage's errors."""
        self._learn(await self._storage.revocations(self._clock()))

    def _learn(self, told: Iterable[Revocation]) -> None:
        new = self._revocations.learn(told, self._clock())
        if new:
            self._changed()  # who is between its admission and its room
            concerned = [one for one in self._sources() if any(each.refuses(one.identity) for each in new)]
            _end(concerned, AuthenticationFailed("the token was revoked"))


def _end(clients: Iterable[Client], error: CollabError) -> int:
    count = 0
    for client in clients:
        client.close(error)
        count += 1
    return count
