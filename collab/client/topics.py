"""What is not about entities: custom events, system events, metrics, presence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from collab.client.calls import Call
from collab.client.collection import Client, ErrorCallback
from collab.client.subscription import Subscription
from collab.client.values import plain_object
from collab.client.views import Crowd
from collab.wire import realtime

_Condition = Callable[[], object] | None


class _Topic:
    def __init__(self, client: Client) -> None:
        self._client = client

    def _ask(self, message: realtime.Asked, on_error: ErrorCallback | None = None) -> Call[Any]:
        return self._client.ask(message, lambda result: result, on_error)

    def _subscribe(
        self,
        target: realtime.AnyTarget,
        callback: Callable[[Any], object] | None,
        condition: _Condition,
        on_error: ErrorCallback | None,
        *,
        newest: bool,
        on_resync: Callable[[], object] | None = None,
    ) -> Subscription:
        return self._client.subscribe(
            target, callback, newest=newest, condition=condition, on_error=on_error, on_resync=on_resync
        )


class Events(_Topic):
    """Custom events."""

    def emit(self, event: Mapping[str, Any], *, on_error: ErrorCallback | None = None) -> Call[Any]:
        """Tell an event: an object with ``type``, perhaps ``channels``, and whatever else it holds.

        It is sent once: when the connection breaks before the answer, that is :class:`collab.errors.ConnectionLost`.
        """
        return self._ask(realtime.Emit(id=self._client.ticket(), event=plain_object(event)), on_error)

    def subscribe(
        self,
        event: str,
        callback: Callable[[dict[str, Any]], object] | None = None,
        *,
        condition: _Condition = None,
        on_error: ErrorCallback | None = None,
        on_resync: Callable[[], object] | None = None,
    ) -> Subscription:
        """Events of one type."""
        target = realtime.Custom(event=event)
        return self._subscribe(target, callback, condition, on_error, newest=False, on_resync=on_resync)

    def join(self, channel: str) -> Call[Any]:
        """Be told the events of a channel, also after a reconnect."""
        return self._ask(realtime.JoinChannel(id=self._client.ticket(), channel=channel))

    def leave(self, channel: str) -> Call[Any]:
        """Be told them no more."""
        return self._ask(realtime.LeaveChannel(id=self._client.ticket(), channel=channel))


class System(_Topic):
    """What the server has to say."""

    def subscribe(
        self,
        event: str,
        callback: Callable[[dict[str, Any]], object] | None = None,
        *,
        condition: _Condition = None,
        on_error: ErrorCallback | None = None,
    ) -> Subscription:
        """``schema_updated``, ``permissions_changed`` or ``health``."""
        return self._subscribe(realtime.System(event=event), callback, condition, on_error, newest=False)


class Analytics(_Topic):
    """Numbers."""

    def subscribe(
        self,
        metric: str,
        callback: Callable[[float], object] | None = None,
        *,
        condition: _Condition = None,
        on_error: ErrorCallback | None = None,
    ) -> Subscription:
        """``active_users``, as it is now and whenever it changes."""
        return self._subscribe(realtime.Analytics(metric=metric), callback, condition, on_error, newest=True)


class Presence(_Topic):
    """Who is in a room: ``collection/id``, or the ``id`` of one of the ``documents``."""

    def subscribe(
        self,
        room: str,
        callback: Callable[[Crowd], object] | None = None,
        *,
        condition: _Condition = None,
        on_error: ErrorCallback | None = None,
    ) -> Subscription:
        """Everybody in the room, now and whenever that changes."""
        return self._subscribe(realtime.Presence(room=room), callback, condition, on_error, newest=True)

    def join(self, room: str, state: Mapping[str, Any] | None = None) -> Call[Any]:
        """Be seen, with this state (a cursor, for instance), also after a reconnect. Once more: it is replaced."""
        message = realtime.JoinPresence(id=self._client.ticket(), room=room, state=plain_object(state or {}))
        return self._ask(message)

    def update(self, room: str, state: Mapping[str, Any]) -> Call[Any]:
        """Change some members of the own state."""
        return self._ask(realtime.UpdatePresence(id=self._client.ticket(), room=room, state=plain_object(state)))

    def leave(self, room: str) -> Call[Any]:
        """Be seen no more."""
        return self._ask(realtime.LeavePresence(id=self._client.ticket(), room=room))
