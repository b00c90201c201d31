"""Callbacks of the application for the whole client."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from collab.client.background import Background
from collab.client.core.copies import own
from collab.errors import CollabError

log = logging.getLogger(__name__)

Occasion = Literal["connect", "disconnect", "reconnect", "error", "conflict"]


class Callbacks:
    """The callbacks for each occasion, in the order of their registration."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._registered: dict[Occasion, dict[object, Callable[..., object]]] = {}

    def add(self, occasion: Occasion, callback: Callable[..., object]) -> Callable[[], None]:
        """Register a callback; returns a function that unregisters it."""
        key = object()
        self._registered.setdefault(occasion, {})[key] = callback

        def remove() -> None:
            self._registered[occasion].pop(key, None)

        return remove

    def tell(self, occasion: Occasion, *values: Any) -> None:
        """Call those who are registered now, and still are at their turn, each with copies of its own."""
        registered = self._registered.get(occasion, {})
        self._background.tell(*(partial(self._call, registered, key, values) for key in registered))

    def trouble(self, error: CollabError) -> None:
        """Report an error that no caller awaits."""
        if not self._registered.get("error"):
            log.warning("%s: %s", error.code, error.message)
        self.tell("error", error)

    def _call(self, registered: dict[object, Callable[..., object]], key: object, values: tuple[Any, ...]) -> None:
        callback = registered.get(key)
        if callback is not None:
            self._background.call(lambda: callback(*own(values)))
