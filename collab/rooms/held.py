"""A room that stays open for a while, for a reader or writer that is no session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from collab.rooms.live.room import Room


class Held(AbstractAsyncContextManager[Room]):
    """Holds the room that ``opening`` returns inside the block, and passes it to ``leave`` after it.

    Every write enters one, and a generator costs several times as much.
    """

    __slots__ = ("_leave", "_opening", "_room")

    def __init__(self, opening: Awaitable[Room], leave: Callable[[Room], None]) -> None:
        self._opening = opening
        self._leave = leave

    async def __aenter__(self) -> Room:
        self._room = room = await self._opening
        room.hold()
        return room

    async def __aexit__(self, *_: object) -> None:
        self._leave(self._room)
