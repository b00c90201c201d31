"""The credential of the inspector, and what it signs: links, sessions and tickets. Pure: time is an argument.

Each is a JSON web token, signed with HS256 and a key that is derived from the secret, for an audience of its own: none
is accepted in place of another, and no token of a user in place of any.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any, NamedTuple

import jwt

from collab.access.identity import Identity
from collab.access.rules import Access, Rule
from collab.errors import AuthenticationFailed
from collab.names import is_part

SHORTEST_SECRET = 32
"""Bytes."""
LINK_SECONDS = 3600.0
SESSION_SECONDS = 12 * 3600.0
TICKET_SECONDS = 600.0
TICKET_PREFIX = "inspect_"
CREDENTIAL = "inspector"
"""The ``credential`` of the identity that the inspector acts as, for hooks that decide about it."""
USER_ID = "collab:inspector"
"""The author of what is written in the inspector."""

_ALGORITHM = "HS256"
_LONGEST = 2048  # characters
_LINK, _SESSION, _TICKET = "collab-inspector-link", "collab-inspector-session", "collab-inspector-ticket"
_EVERYTHING = (Rule("*/*", Access.WRITE),)


class SignInLink(NamedTuple):
    """A link that signs in once. ``name`` is its own; ``issued`` and ``expires`` are in seconds since the epoch."""

    name: str
    issued: float
    expires: float


class InspectionKey:
    """Signs and checks with a secret of at least 32 bytes. Raises :class:`ValueError` for a shorter one."""

    def __init__(self, secret: str) -> None:
        check_secret(secret)
        self._secret = sha256(secret.encode()).digest()
        self._key = hmac.digest(secret.encode(), b"collab inspector", "sha256")
        self.cookie = f"collab_inspector_{hmac.digest(self._key, b'cookie', 'sha256').hex()[:8]}"
        """Name of the cookie: browsers keep those of all ports of a host together."""

    def matches(self, secret: str) -> bool:
        """Whether this is the secret. Takes the same time for all of them."""
        return hmac.compare_digest(sha256(secret.encode("utf-8", "surrogatepass")).digest(), self._secret)

    def issue_link(self, name: str, now: float) -> str:
        """Return what a link contains to sign in, within an hour."""
        return self._sign(_LINK, now, LINK_SECONDS, {"jti": name, "at": now})

    def read_link(self, text: str, now: float) -> SignInLink:
        """Check a link. Raises :class:`AuthenticationFailed`; whether it was used is for the caller to know."""
        claims = self._read(_LINK, text, now)
        name, issued = claims.get("jti"), claims.get("at")
        if not isinstance(name, str) or not isinstance(issued, int | float):
            raise _refused()
        return SignInLink(name, float(issued), float(claims["exp"]))

    def issue_session(self, now: float) -> str:
        """Return the value of the cookie of somebody who has signed in."""
        return self._sign(_SESSION, now, SESSION_SECONDS, {})

    def check_session(self, text: str, now: float) -> None:
        """Raise :class:`AuthenticationFailed` unless this is a session that has not expired."""
        self._read(_SESSION, text, now)

    def issue_ticket(self, project: str, now: float) -> str:
        """Return a token for the application protocol: everything in one project, for ten minutes."""
        return TICKET_PREFIX + self._sign(_TICKET, now, TICKET_SECONDS, {"project": project})

    def identity_of(self, token: str | None, now: float) -> Identity | None:
        """Return whom a ticket identifies, or ``None`` if it is something else. Raises :class:`AuthenticationFailed`.

        A token that is not ours is left to the other credentials of the server.
        """
        if token is None or not token.startswith(TICKET_PREFIX):
            return None
        claims = self._read(_TICKET, token.removeprefix(TICKET_PREFIX), now)
        project = claims.get("project")
        if not isinstance(project, str) or not is_part(project):
            raise _refused()
        return Identity(
            project,
            USER_ID,
            name="Inspector",
            rules=_EVERYTHING,
            expires_at=float(claims["exp"]),
            credential=CREDENTIAL,
        )

    def _sign(self, audience: str, now: float, seconds: float, claims: dict[str, Any]) -> str:
        return jwt.encode({**claims, "aud": audience, "exp": int(now + seconds)}, self._key, algorithm=_ALGORITHM)

    def _read(self, audience: str, text: str, now: float) -> dict[str, Any]:
        try:
            if len(text) > _LONGEST:
                raise _refused()
            claims: dict[str, Any] = jwt.decode(
                text,
                self._key,
                algorithms=[_ALGORITHM],
                audience=audience,
                options={
                    "require": ["aud", "exp"],
                    "verify_exp": False,  # checked below, against the given time
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _refused() from None
        if type(claims["exp"]) is not int or claims["exp"] <= now:
            raise AuthenticationFailed("the inspector's session has expired: sign in again")
        return claims


def check_secret(secret: str, name: str = "inspect_secret") -> None:
    """Raise :class:`ValueError` if a secret is too short to withstand guessing."""
    if len(secret.encode("utf-8", "surrogatepass")) < SHORTEST_SECRET:
        raise ValueError(f"{name} needs at least {SHORTEST_SECRET} bytes")


def _refused() -> AuthenticationFailed:
    return AuthenticationFailed("this is no credential of the inspector")
