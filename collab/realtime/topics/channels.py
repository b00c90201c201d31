"""Channels: the recipients of a custom event. Pure values of one session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import InvalidRequest, PermissionDenied, RateLimitExceeded
from collab.names import RoomKey, is_part

COLLECTION = "channels"
"""Rights on ``channels/<name>`` are rights on the channel."""
MOST_JOINED = 1000
LONGEST = 300
"""Maximum length of a channel's name, in characters."""

_USER = "user_"
_OF_A_USER = (_USER, "user:")


def user_channel(user_id: str) -> str:
    """The private channel of one user: ``user:<id>``, or the id itself if it begins with ``user_``."""
    return user_id if user_id.startswith(_USER) else f"user:{user_id}"


class Channels(Collection[str]):
    """The channels whose events one session receives.

    These are its user's channel, those that the credential grants, those it joined, and those of entities it follows:
    ``collection/id``, and also ``id`` if the session could join that channel. The right to read or create an entity
    does not by itself give access to the channel named by its id.
    """

    __slots__ = ("_followed", "_identity", "_ids", "_joined", "_own")

    def __init__(self, identity: Identity) -> None:
        self._joined: set[str] = set()
        self._followed: Counter[str] = Counter()
        self._ids: Counter[str] = Counter()  # of followed entities
        self._own: frozenset[str] = frozenset()
        self.identify(identity)

    def identify(self, identity: Identity) -> None:
        """The session has a new credential: leave the channels that it does not allow."""
        self._identity = identity
        own = set(identity.channels)
        if identity.user_id is not None:
            own.add(user_channel(identity.user_id))
        self._own = frozenset(own)
        self._joined = {name for name in self._joined if self._may_join(name)}

    def join(self, name: str) -> None:
        """Join a channel.

        Raises :class:`InvalidRequest`, :class:`PermissionDenied` without the right to read ``channels/<name>``, and
        :class:`RateLimitExceeded` for more than ``MOST_JOINED`` channels.
        """
        if name in self._own or name in self._joined:
            return
        if not is_part(name):
            raise InvalidRequest("the name of a channel to join must be 1-128 characters of [A-Za-z0-9_.:-]")
        if not self._may_join(name):
            raise PermissionDenied("this identity may not join this channel", channel=name)
        if len(self._joined) >= MOST_JOINED:
            raise RateLimitExceeded(f"a session may join at most {MOST_JOINED} channels")
        self._joined.add(name)

    def leave(self, name: str) -> None:
        """Undo :meth:`join`. Channels that the session has for other reasons remain."""
        self._joined.discard(name)

    def follow(self, key: RoomKey) -> None:
        """The session opened a subscription or document of this entity. Calls are counted."""
        self._followed[key.name] += 1
        self._ids[key.id] += 1

    def unfollow(self, key: RoomKey) -> None:
        """Undo one :meth:`follow`."""
        if key.name in self._followed:
            _take_one(self._followed, key.name)
            _take_one(self._ids, key.id)

    def _may_join(self, name: str) -> bool:
        # a rule that allows all channels is not meant to expose the private channels of users
        if name.startswith(_OF_A_USER):
            return False
        return self._identity.access_to(RoomKey(self._identity.project, COLLECTION, name)) >= Access.READ

    def _all(self) -> set[str]:
        return {*self._own, *self._joined, *self._followed, *filter(self._may_join, self._ids)}

    def __contains__(self, name: object) -> bool:
        if name in self._own or name in self._joined or name in self._followed:
            return True
        return isinstance(name, str) and name in self._ids and self._may_join(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _take_one(counted: Counter[str], name: str) -> None:
    counted[name] -= 1
    if not counted[name]:
        del counted[name]
