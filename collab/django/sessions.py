"""Identities from Django's sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from time import time
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import auth
from django.db import close_old_connections
from django.http import HttpRequest

from collab.access.identity import Identity
from collab.access.rules import Rule, parse_rules
from collab.hooks import Hooks, Request
from collab.names import DEFAULT_PROJECT

SINCE = "_collab_since"
"""Member of a Django session: when its user logged in, in seconds since the epoch."""


class _LoggedIn(NamedTuple):
    user: Any
    since: float
    expires_at: float


class SessionHooks(Hooks):
    """Identifies users by Django's session cookie. ``rules`` are what each of them may do; by default nothing.

    A request with a token of its own is left to the configured keys and issuers.
    """

    def __init__(self, rules: Mapping[str, Any] | None = None) -> None:
        self.rules = dict(rules or {})

    async def authenticate(self, request: Request) -> Identity | None:
        """Return the identity of who is logged in, until the Django session expires."""
        key = _cookie(request.headers.get("cookie", ""), settings.SESSION_COOKIE_NAME)
        if request.token is not None or request.headers.get("x-api-key") or not key:
            return None
        found: _LoggedIn | None = await sync_to_async(_logged_in, thread_sensitive=False)(key)
        if found is None:
            return None
        identity = await self.identify(found.user)
        if identity is None:
            return None
        return replace(identity, expires_at=found.expires_at, token_id=name_of_session(key), issued_at=found.since)

    async def identify(self, user: Any) -> Identity | None:
        """Return the identity of a Django user who is logged in; ``None`` refuses. Override it for rights of your own.

        Queries need Django's async methods, or ``sync_to_async``, as in any async view.
        """
        full = user.get_full_name() if hasattr(user, "get_full_name") else ""
        name = str(full or user.get_username())[:255]
        return Identity(DEFAULT_PROJECT, str(user.pk), name or None, self.rules_of(user))

    def rules_of(self, user: Any) -> tuple[Rule, ...]:
        """Return :attr:`rules`, in which ``$userId`` stands for this user."""
        return parse_rules(self.rules, str(user.pk))


def name_of_session(key: str) -> str:
    """Return the ``token_id`` of a Django session: its key is a credential, which nothing else needs to know."""
    return f"django:{sha256(key.encode()).hexdigest()[:32]}"


def _logged_in(key: str) -> _LoggedIn | None:
    """Read a session from wherever Django keeps it. Outside a request of Django, old connections are ours to close."""
    close_old_connections()
    try:
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
        user = auth.get_user(request)  # compares the hash of the password, too
        if not user.is_authenticated:
            return None
        expires_at = request.session.get_expiry_date().timestamp()
        since = request.session.get(SINCE)
        return _LoggedIn(user, since if isinstance(since, float) else 0.0, max(expires_at, time() + 1.0))
    finally:
        close_old_connections()


def _cookie(header: str, name: str) -> str | None:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return None
    return None if found is None else found.value
