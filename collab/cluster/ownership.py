"""Which rooms this node owns, in the record that all nodes share."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic

from collab.errors import Elsewhere
from collab.names import RoomKey
from collab.storage.base import StorageError
from collab.storage.nodes import Nodes

log = logging.getLogger(__name__)

_KNOWN_SECONDS = 2.0
_MOST_KNOWN = 10_000


class NodeOwnership:
    """A :class:`collab.rooms.ownership.Ownership` for one of several nodes.

    The owners of other rooms are remembered for a moment: whoever meets a wrong one says so with :meth:`forget`.
    """

    def __init__(self, nodes: Nodes, *, clock: Callable[[], float] = monotonic) -> None:
        self._nodes = nodes
        self._clock = clock
        self._returning: dict[RoomKey, asyncio.Event] = {}
        self._known: OrderedDict[RoomKey, tuple[int, float]] = OrderedDict()  # owners elsewhere, and until when

    async def acquire(self, key: RoomKey) -> None:
        """Own a room. Raises :class:`Elsewhere`, and the storage's errors."""
        while (returned := self._returning.get(key)) is not None:
            await returned.wait()  # else our return would take away what we acquire now
        owner, until = self._known.get(key, (0, 0.0))
        if until <= self._clock():
            owner = await self._nodes.acquire(key)
            self._known.pop(key, None)
        if owner == self._nodes.nid:
            return
        if key not in self._known:
            self._known[key] = owner, self._clock() + _KNOWN_SECONDS
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        raise Elsewhere(nid=owner)

    def give_back(self, keys: Sequence[RoomKey]) -> Coroutine[object, object, None]:
        """Own these rooms no longer.

        If the storage fails, the rooms may stay ours. That does no harm: others pass on to us what concerns them.
        """
        returned = asyncio.Event()
        mine = [key for key in keys if key not in self._returning]
        self._returning.update(dict.fromkeys(mine, returned))
        return self._give_back(mine, returned)

    async def _give_back(self, mine: Sequence[RoomKey], returned: asyncio.Event) -> None:
        try:
            await self._nodes.release(mine)
        except StorageError as error:
            log.info("%d rooms that nobody needs here stay with this node: %s", len(mine), error)
        finally:
            for key in mine:
                del self._returning[key]
            returned.set()

    def forget(self, key: RoomKey) -> None:
        """The owner that was named last does not answer, or says that it is another one."""
        self._known.pop(key, None)

    def forget_node(self, nid: int) -> None:
        """As :meth:`forget`, for all rooms of a node."""
        for key in [key for key, (owner, _) in self._known.items() if owner == nid]:
            del self._known[key]
