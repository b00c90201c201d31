"""Listeners, and rate-limited notification: shared by the parts of the application protocol."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Generic, ParamSpec, Protocol

log = logging.getLogger(__name__)

ListenerArgs = ParamSpec("ListenerArgs")


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""


Later = Callable[[float, Callable[[], None]], Timer]
"""Calls a function after a delay in seconds."""


def ignore(*told: object) -> None:
    """Do nothing: the default of a callback, and what replaces it when its owner has gone.

    A callback refers to its owner, so both would wait for the garbage collector.
    """


def call_later(delay: float, call: Callable[[], None]) -> Timer:
    """The :data:`Later` of the running event loop."""
    return asyncio.get_running_loop().call_later(delay, call)


class Listeners(Generic[ListenerArgs]):
    """A set of listeners. They must not block; an exception is logged and does not affect the others.

    ``emptied`` is called when the last one is removed.
    """

    __slots__ = ("_emptied", "_listeners")

    def __init__(self, emptied: Callable[[], object] = ignore) -> None:
        self._emptied = emptied
        self._listeners: dict[object, Callable[ListenerArgs, None]] = {}

    def add(self, listener: Callable[ListenerArgs, None]) -> Callable[[], None]:
        """Add ``listener``. Returns a function that removes it and may be called more than once."""
        token = object()
        self._listeners[token] = listener

        def close() -> None:
            if self._listeners.pop(token, None) is not None and not self._listeners:
                self._emptied()

        return close

    def tell(self, *args: ListenerArgs.args, **kwargs: ListenerArgs.kwargs) -> None:
        """Call all listeners, in the order in which they were added. One that is removed meanwhile is skipped."""
        for token, listener in list(self._listeners.items()):
            if token not in self._listeners:
                continue
            try:
                listener(*args, **kwargs)
            except Exception:
                log.exception("a listener failed")

    def __len__(self) -> int:
        return len(self._listeners)


class KeyedListeners(Generic[ListenerArgs]):
    """Listeners by key, such as a project and a type of event. A key without listeners takes no memory."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], Listeners[ListenerArgs]] = {}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """The keys with listeners."""
        return iter(list(self._by_key))

    def add(self, key: tuple[str, str], listener: Callable[ListenerArgs, None]) -> Callable[[], None]:
        """Add ``listener``. Returns a function that removes it and may be called more than once."""
        listeners = self._by_key.get(key)
        if listeners is None:
            listeners = self._by_key[key] = Listeners(lambda: self._by_key.pop(key))
        return listeners.add(listener)

    def tell(self, key: tuple[str, str], *args: ListenerArgs.args, **kwargs: ListenerArgs.kwargs) -> None:
        """Call the listeners of a key."""
        listeners = self._by_key.get(key)
        if listeners is not None:
            listeners.tell(*args, **kwargs)


class Gathered:
    """Debounces: calls ``tell`` once for everything that happened within ``seconds`` of the first event."""

    __slots__ = ("_later", "_seconds", "_tell", "_timer")

    def __init__(self, seconds: float, tell: Callable[[], None], later: Later) -> None:
        self._seconds = seconds
        self._tell = tell
        self._later = later
        self._timer: Timer | None = None

    @property
    def waiting(self) -> bool:
        """Whether a call is pending."""
        return self._timer is not None

    def happened(self) -> None:
        """Something happened; schedule the call."""
        if self._timer is None:
            self._timer = self._later(self._seconds, self._due)

    def cancel(self) -> None:
        """Cancel the pending call."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._tell()
