"""Calls of the ``changed`` hook: one at a time for each document, with all changes since the last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine

from collab.hooks import Changed, Hooks
from collab.names import RoomKey

log = logging.getLogger(__name__)


class ChangesTold:
    """Calls :meth:`Hooks.changed` after commits; ``spawn`` runs a coroutine in the background."""

    def __init__(self, hooks: Hooks, spawn: Callable[[Coroutine[object, object, None]], None]) -> None:
        self._hooks = hooks
        self._spawn = spawn
        self._changed: dict[RoomKey, tuple[int, set[str | None]]] = {}
        self._telling: set[RoomKey] = set()
        self._is_asked = type(hooks).changed is not Hooks.changed

    def note(self, key: RoomKey, seq: int, user_id: str | None) -> None:
        """A document changed: ``user_id`` wrote its newest log row ``seq``."""
        if not self._is_asked:
            return
        pending = self._changed.get(key)
        self._changed[key] = (seq, {user_id} if pending is None else pending[1] | {user_id})
        if key not in self._telling:
            self._telling.add(key)
            self._spawn(self._tell(key))

    async def _tell(self, key: RoomKey) -> None:
        try:
            while (pending := self._changed.pop(key, None)) is not None:
                try:
                    await self._hooks.changed(Changed(key, pending[0], frozenset(pending[1])))
                except Exception:
                    log.exception("the changed hook failed for %s", key)
        finally:
            self._telling.discard(key)
