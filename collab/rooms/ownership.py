"""Who may open which room. A server that is alone owns all of them."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Protocol

from collab.names import RoomKey


class Ownership(Protocol):
    """A room is opened by its owner, and by nobody else until the owner has given it back or is dead."""

    async def acquire(self, key: RoomKey) -> None:
        """Own a room. Raises :class:`collab.errors.Elsewhere` if another node does, and the storage's errors."""

    def give_back(self, keys: Sequence[RoomKey]) -> Coroutine[object, object, None]:
        """Own these rooms no longer. Their last writes have been answered.

        Who acquires one from this call on waits until that is done.
        """


class Alone:
    """The ownership of a server without other nodes."""

    async def acquire(self, key: RoomKey) -> None: ...

    async def give_back(self, keys: Sequence[RoomKey]) -> None: ...
