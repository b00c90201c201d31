"""Channels: to whom a custom event goes. Pure values of one session."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from collab.access.identity import Access, Identity
from collab.errors import InvalidRequest, PermissionDenied, RateLimitExceeded
from collab.names import RoomKey, is_part

COLLECTION = "channels"
"""Rights on ``channels/<name>`` are rights on the channel."""
MOST_JOINED = 1000
LONGEST = 300
"""Characters of a channel's name."""

_USER = "user_"


def user_channel(user_id: str) -> str:
    """The channel of one user: ``user_<id>``, or the id itself if it begins so."""
    return user_id if user_id.startswith(_USER) else _USER + user_id


def entity_channels(key: RoomKey) -> tuple[str, ...]:
    """The channels that an entity's name stands for: ``collection/id`` and ``id``.

    An id that looks like the channel of a user is not one of them: who may read the entity ``users/user_1`` is not
    that user.
    """
    return (key.name,) if key.id.startswith(_USER) else (key.name, key.id)


class Channels(Collection[str]):
    """The channels whose events one session is sent.

    They are that of its user, those that the credential grants, those it joined, and those of the entities that it
    follows.
    """

    __slots__ = ("_followed", "_identity", "_joined", "_own")

    def __init__(self, identity: Identity) -> None:
        self._joined: set[str] = set()
        self._followed: dict[str, int] = {}
        self._own: frozenset[str] = frozenset()
        self.identify(identity)

    def identify(self, identity: Identity) -> None:
        """The session has shown another credential: what that does not allow is left."""
        self._identity = identity
        own = set(identity.channels)
        if identity.user_id is not None:
            own.add(user_channel(identity.user_id))
        self._own = frozenset(own)
        self._joined = {name for name in self._joined if self._may_join(name)}

    def join(self, name: str) -> None:
        """Listen to a channel.

        Raises :class:`InvalidRequest`, :class:`PermissionDenied` without the right to read ``channels/<name>``, and
        :class:`RateLimitExceeded` for more than ``MOST_JOINED`` channels.
        """
        if name in self._own or name in self._joined:
            return
        if not is_part(name):
            raise InvalidRequest("a channel that can be joined is 1-128 characters of [A-Za-z0-9_.:-]")
        if not self._may_join(name):
            raise PermissionDenied("this channel may not be joined", channel=name)
        if len(self._joined) >= MOST_JOINED:
            raise RateLimitExceeded(f"a session joins {MOST_JOINED} channels at most")
        self._joined.add(name)

    def leave(self, name: str) -> None:
        """Undo :meth:`join`. Channels that the session has for other reasons stay."""
        self._joined.discard(name)

    def follow(self, key: RoomKey) -> None:
        """The session has a subscription or a document open on this entity; once more, it has two."""
        for name in entity_channels(key):
            self._followed[name] = self._followed.get(name, 0) + 1

    def unfollow(self, key: RoomKey) -> None:
        """Undo one :meth:`follow`."""
        for name in entity_channels(key):
            left = self._followed.get(name, 0) - 1
            if left > 0:
                self._followed[name] = left
            else:
                self._followed.pop(name, None)

    def _may_join(self, name: str) -> bool:
        # a rule that allows all channels does not mean to show everybody what is said to one user
        if name.startswith(_USER):
            return False
        return self._identity.access_to(RoomKey(self._identity.project, COLLECTION, name)) >= Access.READ

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._joined or name in self._followed

    def __iter__(self) -> Iterator[str]:
        return iter(self._own | self._joined | self._followed.keys())

    def __len__(self) -> int:
        return len(self._own | self._joined | self._followed.keys())
