"""Awareness of a document, whose observers are independent of each other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import pycrdt

from collab.client.core.copies import own
from collab.client.core.notices import NoticeQueue
from collab.client.core.values import plain_object

log = logging.getLogger(__name__)

AwarenessChange: TypeAlias = tuple[dict[str, Any], Any]
AwarenessObserver: TypeAlias = Callable[[str, AwarenessChange], None]


class DocumentAwareness(pycrdt.Awareness):
    """A :class:`pycrdt.Awareness` that hands out copies of states.

    Observers may raise, change states, and observe or unobserve; each is told all changes in the same order. What they
    raise is logged.
    """

    def __init__(self, doc: pycrdt.Doc[Any]) -> None:
        super().__init__(doc)
        self._observers: dict[str, AwarenessObserver] = {}
        self._notices = NoticeQueue()
        self._numbers = count()
        super().observe(self._changed)

    @property
    def states(self) -> dict[int, dict[str, Any]]:
        """A copy of everybody's states."""
        return own(super().states)

    @property
    def meta(self) -> dict[int, dict[str, Any]]:
        """A copy of everybody's clocks."""
        return own(super().meta)

    def forget(self, clients: list[int]) -> None:
        """Remove the states of these clients, and accept any clock when they come back."""
        for client in clients:
            super().meta.pop(client, None)
        self.remove_awareness_states(clients, "lost")

    def get_local_state(self) -> dict[str, Any] | None:
        """Return a copy of the own state."""
        return own(super().get_local_state())

    def set_local_state(self, state: dict[str, Any] | None) -> None:
        """Set the own state, an object; ``None`` to be absent. Raises :class:`InvalidRequest` if it is not JSON."""
        super().set_local_state(None if state is None else plain_object(state))

    def observe(self, callback: AwarenessObserver) -> str:
        """Register an observer. Returns its id for :meth:`unobserve`."""
        key = str(next(self._numbers))
        self._observers[key] = callback
        return key

    def unobserve(self, id: str) -> None:  # noqa: A002  # the name in pycrdt
        """Unregister an observer."""
        self._observers.pop(id, None)

    def _changed(self, topic: str, change: AwarenessChange) -> None:
        self._notices.tell(*(partial(self._call, key, topic, change) for key in self._observers))

    def _call(self, key: str, topic: str, change: AwarenessChange) -> None:
        observer = self._observers.get(key)
        if observer is None:
            return
        try:
            observer(topic, own(change))
        except Exception:
            log.exception("an observer of the awareness failed")
