"""Custom events, system events, metrics and presence."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from collab.client.calls import Call
from collab.client.core.values import plain_object
from collab.client.core.views import Crowd
from collab.client.requests import ErrorCallback, Requests
from collab.client.subscription import Subscription
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire

_Condition = Callable[[], object] | None


class _Topic:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def _ask(self, message: realtime.Asked, on_error: ErrorCallback | None = None) -> Call[Any]:
        return self._requests.ask(message, lambda result: result, on_error)

    def _subscribe(
        self,
        target: wire.AnyTarget,
        callback: Callable[[Any], object] | None,
        condition: _Condition,
        on_error: ErrorCallback | None,
        *,
        newest: bool,
        on_resync: Callable[[], object] | None = None,
    ) -> Subscription:
        start: Callable[[], Subscription] = self._requests.subscription(
            target, callback, newest=newest, condition=condition, on_error=on_error, on_resync=on_resync
        )
        return start()


class Events(_Topic):
    """Custom events."""

    def emit(self, event: Mapping[str, Any], *, on_error: ErrorCallback | None = None) -> Call[Any]:
        """Emit an event: an object with ``type``, optional ``channels``, and any other members.

        Without ``channels`` it reaches the whole project, with an empty list nobody.

        If the connection breaks before the answer, the event is sent again after the reconnect and delivered once. If
        no answer arrives in time, this raises :class:`collab.errors.ConnectionLost`.
        """
        emit = realtime.Emit(id=self._requests.ticket(), event=plain_object(event), request=uuid.uuid4().hex)
        return self._ask(emit, on_error)

    def subscribe(
        self,
        event: str,
        callback: Callable[[dict[str, Any]], object] | None = None,
        *,
        condition: _Condition = None,
        on_error: ErrorCallback | None = None,
        on_resync: Callable[[], object] | None = None,
    ) -> Subscription:
        """Subscribe to events of one type."""
        target = wire.Custom(event=event)
        return self._subscribe(target, callback, condition, on_error, newest=False, on_resync=on_resync)

    def join(self, channel: str) -> Call[Any]:
        """Receive the events of a channel, also after a reconnect."""
        return self._ask(realtime.JoinChannel(id=self._requests.ticket(), channel=channel))

    def leave(self, channel: str) -> Call[Any]:
        """Stop receiving the events of a channel."""
        return self._ask(realtime.LeaveChannel(id=self._requests.ticket(), channel=channel))


class System(_Topic):
    """System events."""

    def subscribe(
        self,
        event: str,
        callback: Callable[[dict[str, Any]], object] | None = None,
        *,
        condition: _Condition = None,
        on_error: ErrorCallback | None = None,
    ) -> Subscription:
        """Subscribe to ``schema_updated``, ``permissions_changed`` or ``health``."""
        return self._subscribe(wire.System(event=event), callback, condition, on_error, newest=False)


class Analytics(_Topic):
    """Metrics."""

    def subscribe(
        self,
        metric: str,
        callback: Callable[[float], object] | None = None,
        *,
        condition: _Condition = None,
        on_error: ErrorCallback | None = None,
    ) -> Subscription:
        """Subscribe to ``active_users``: its current value and every change."""
        return self._subscribe(wire.Analytics(metric=metric), callback, condition, on_error, newest=True)


class Presence(_Topic):
    """Presence in a room: ``collection/id``, or the ``id`` of one of the ``documents``."""

    def subscribe(
        self,
        room: str,
        callback: Callable[[Crowd], object] | None = None,
        *,
        condition: _Condition = None,
        on_error: ErrorCallback | None = None,
    ) -> Subscription:
        """Subscribe to everybody in the room, now and after each change."""
        return self._subscribe(wire.Presence(room=room), callback, condition, on_error, newest=True)

    def join(self, room: str, state: Mapping[str, Any] | None = None) -> Call[Any]:
        """Join with this state (for example a cursor), also after a reconnect. A second call replaces the state."""
        message = realtime.JoinPresence(id=self._requests.ticket(), room=room, state=plain_object(state or {}))
        return self._ask(message)

    def update(self, room: str, state: Mapping[str, Any]) -> Call[Any]:
        """Change some members of the own state."""
        return self._ask(realtime.UpdatePresence(id=self._requests.ticket(), room=room, state=plain_object(state)))

    def leave(self, room: str) -> Call[Any]:
        """Leave the room."""
        return self._ask(realtime.LeavePresence(id=self._requests.ticket(), room=room))
