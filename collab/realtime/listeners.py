"""Who wants to be told of something, and how often: what the parts of the application protocol share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, ParamSpec, Protocol

log = logging.getLogger(__name__)

Told = ParamSpec("Told")


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Let it not come."""


Later = Callable[[float, Callable[[], None]], Timer]
"""Calls something in so many seconds."""


def call_later(delay: float, call: Callable[[], None]) -> Timer:
    """The :data:`Later` of the running event loop."""
    return asyncio.get_running_loop().call_later(delay, call)


class Listeners(Generic[Told]):
    """Functions that are told the same. They must not wait; what one raises is logged and harms no other."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[Told, None]] = {}

    def add(self, listener: Callable[Told, None]) -> Callable[[], None]:
        """Tell ``listener`` too, from now on. Returns what ends that; it may be called more than once."""
        token = object()
        self._listeners[token] = listener

        def close() -> None:
            self._listeners.pop(token, None)

        return close

    def tell(self, *args: Told.args, **kwargs: Told.kwargs) -> None:
        """Tell all, in the order in which they came. Who is removed meanwhile is not told."""
        for token, listener in list(self._listeners.items()):
            if token not in self._listeners:
                continue
            try:
                listener(*args, **kwargs)
            except Exception:
                log.exception("a listener failed")

    def __len__(self) -> int:
        return len(self._listeners)


class Gathered:
    """Calls ``tell`` once for all that happened within ``seconds`` of the first of it."""

    __slots__ = ("_later", "_seconds", "_tell", "_timer")

    def __init__(self, seconds: float, tell: Callable[[], None], later: Later) -> None:
        self._seconds = seconds
        self._tell = tell
        self._later = later
        self._timer: Timer | None = None

    @property
    def waiting(self) -> bool:
        """Whether something has happened that was not told yet."""
        return self._timer is not None

    def happened(self) -> None:
        """There is something to tell."""
        if self._timer is None:
            self._timer = self._later(self._seconds, self._due)

    def cancel(self) -> None:
        """Tell nothing of what has happened so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._tell()
