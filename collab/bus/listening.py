"""Who hears what on one node."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from collab.bus.base import Ending

log = logging.getLogger(__name__)

TopicName = TypeVar("TopicName", str, bytes)
Told = TypeVar("Told")


class Listening(Generic[TopicName, Told]):
    """Listeners by channel. ``changed`` is called when a channel gets its first listener or loses its last one."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._by_channel: dict[TopicName, dict[object, Callable[[Told], None]]] = {}
        self._changed = changed

    def __contains__(self, channel: TopicName) -> bool:
        return channel in self._by_channel

    def __iter__(self) -> Iterator[TopicName]:
        """The channels that have listeners."""
        return iter(list(self._by_channel))

    def add(self, channel: TopicName, heard: Callable[[Told], None]) -> Ending:
        """Add a listener. Returns what removes it, which may be called more than once."""
        token = object()
        listeners = self._by_channel.setdefault(channel, {})
        listeners[token] = heard
        if len(listeners) == 1:
            self._changed()

        def end() -> None:
            if listeners.pop(token, None) is not None and not listeners:
                del self._by_channel[channel]
                self._changed()

        return end

    def tell(self, channel: TopicName, what: Told) -> None:
        """Call the listeners of a channel. One that fails does not affect the others."""
        for heard in list(self._by_channel.get(channel, {}).values()):
            try:
                heard(what)
            except Exception:
                log.exception("a listener of the bus failed")
