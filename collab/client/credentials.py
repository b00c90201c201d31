"""Credentials of a client, and when to renew them."""

from __future__ import annotations

import asyncio
import base64
import inspect
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import anyio
import msgspec

from collab.client.background import Background
from collab.client.core.copies import own
from collab.client.core.options import WebSocketOptions
from collab.errors import CollabError, ConnectionLost
from collab.wire.realtime.messages import Hello

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A JSON web token, or a function that returns the current one."""

_EARLY_SECONDS = 30.0


@dataclass(slots=True)
class Credentials:
    """Application and user."""

    project_id: str | None = None
    api_key: str | None = None
    user_id: str | None = None
    token: Token | None = None

    @property
    def renewable(self) -> bool:
        """Whether ``token`` is a function."""
        return callable(self.token)

    async def present(self, background: Background, within: float) -> str | None:
        """Return the current token.

        Raises the function's :class:`CollabError`, or :class:`ConnectionLost` if it fails otherwise or takes longer
        than ``within`` seconds.
        """
        if not callable(self.token):
            return self.token
        asking = _Asking(self.token)
        background.spawn(asking.run)
        try:
            with anyio.move_on_after(within):
                await asking.done.wait()
        finally:
            asking.scope.cancel()
        if asking.error is not None:
            raise own(asking.error)
        if not asking.done.is_set():
            raise ConnectionLost(f"no token: the function did not return within {within:g} s")
        return asking.token

    def hello(self, token: str | None, options: WebSocketOptions) -> Hello:
        """Build the hello message."""
        limits = options.subscription_rate_limit
        return Hello(
            project_id=self.project_id,
            api_key=self.api_key,
            user_id=self.user_id,
            token=token,
            max_subscriptions=limits.max_subscriptions,
            max_events_per_second=limits.max_events_per_second,
        )


class _Asking:
    """A call of a token function, in a task of its own: the function may disconnect the client, and wait for that."""

    def __init__(self, function: Callable[[], str | Awaitable[str]]) -> None:
        self.done = anyio.Event()
        self.scope = anyio.CancelScope()
        self.token: str | None = None
        self.error: CollabError | None = None
        self._function = function

    async def run(self) -> None:
        try:
            with self.scope:
                got = self._function()
                self.token = await got if inspect.isawaitable(got) else got
        except CollabError as error:
            self.error = error
        except (Exception, asyncio.CancelledError) as error:  # of a task that the function waited for
            self.error = ConnectionLost(f"no token: {error!r}")
            self.error.__cause__ = error
        finally:
            self.done.set()


class _Claims(msgspec.Struct):
    exp: float | None = None


def renew_in(token: str | None, wall: float) -> float | None:
    """Seconds until the token should be renewed; ``wall`` is the time since the epoch. ``None``: never."""
    parts = (token or "").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        expires = msgspec.json.decode(claims, type=_Claims).exp
    except (Base64Error, ValueError, msgspec.MsgspecError):
        return None
    if expires is None:
        return None
    left = max(expires - wall, 0.0)
    return max(left - _EARLY_SECONDS, left / 2)
