"""Public keys that an issuer publishes (RFC 7517), and when to fetch them again. Pure; ``now`` is a monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import jwt
import msgspec

from collab.access.configuration import KeySource, may_fetch
from collab.access.verification import PublicKey, fits

FRESH_SECONDS = 600.0
"""Keys that are older are fetched again when a token needs them; until the answer they stay valid."""
KEPT_SECONDS = 86_400.0
"""For so long an issuer may be down: older keys verify nothing."""
PAUSE_SECONDS = 3.0
"""Minimum time between two fetches from one source, whatever tokens claim."""
MOST_KEYS = 100
_MOST_TRIED = 8  # keys for a token that names none


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A key of a set. ``algorithm``: the only one it may be used with, if the issuer says so."""

    kid: str | None
    key: PublicKey
    algorithm: str | None


class Need(Enum):
    """Whether a token needs its issuer's keys to be fetched."""

    NOTHING = "nothing"
    SOON = "soon"  # its key is known, but may have been withdrawn
    NOW = "now"  # without it, nothing can be said about the token


class KeySet:
    """The keys of one source. Report each fetch to :meth:`fetched` or :meth:`failed`."""

    def __init__(self, source: KeySource) -> None:
        self.source = source
        self._keys: tuple[PublishedKey, ...] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self.tries = 0
        """Number of fetches."""
        self.down = False
        """Whether the last fetch failed."""

    def __len__(self) -> int:
        return len(self._keys)

    def need(self, kid: object, now: float) -> Need:
        """Return whether a token that names the key ``kid`` (``None``: no key) needs a fetch."""
        if self.expired(now) or (kid is not None and not any(key.kid == kid for key in self._keys)):
            return Need.NOW
        assert self._fetched_at is not None
        return Need.NOTHING if now - self._fetched_at < FRESH_SECONDS else Need.SOON

    def pause(self, now: float) -> float:
        """Return the seconds until the next fetch is allowed."""
        return 0.0 if self._tried_at is None else max(0.0, self._tried_at + PAUSE_SECONDS - now)

    def expired(self, now: float) -> bool:
        """Whether there are no keys that may be used."""
        return self._fetched_at is None or now - self._fetched_at > KEPT_SECONDS

    def candidates(self, kid: object, algorithm: str, now: float) -> list[PublicKey]:
        """Return the keys with which a token may have been signed."""
        if self.expired(now):
            return []
        found = [
            known.key
            for known in self._keys
            if (kid is None or known.kid == kid) and known.algorithm in (None, algorithm) and fits(known.key, algorithm)
        ]
        return found[:_MOST_TRIED]

    def fetched(self, keys: tuple[PublishedKey, ...], now: float) -> None:
        """The issuer has answered with these keys; others are no longer valid."""
        self._keys = keys
        self._fetched_at = self._tried_at = now
        self.tries += 1
        self.down = False

    def failed(self, now: float) -> None:
        """The issuer has not answered, or with nothing of use."""
        self._tried_at = now
        self.tries += 1
        self.down = True


def read_key_set(data: bytes) -> tuple[PublishedKey, ...]:
    """Read a JWK set. Secrets, and keys that sign nothing, are left out. Raises :class:`ValueError` if none is left."""
    listed = _read_object(data, "the key set").get("keys")
    if not isinstance(listed, list):
        raise ValueError("the key set has no list of keys")
    if len(listed) > MOST_KEYS:
        raise ValueError(f"the key set has more than {MOST_KEYS} keys")
    keys = tuple(key for said in listed if (key := _read_key(said)) is not None)
    if not keys:
        raise ValueError("the key set has no public key for signatures")
    return keys


def read_discovery(data: bytes, source: KeySource) -> str:
    """Return the URL of the key set in an OpenID configuration. Raises :class:`ValueError`."""
    said = _read_object(data, "the OpenID configuration")
    if said.get("issuer") != source.discovers:
        raise ValueError(f"it calls itself {ascii(said.get('issuer'))[:200]}, not {source.discovers!a}")
    url = said.get("jwks_uri")
    if not isinstance(url, str) or not may_fetch(url, insecure=is_local(source.url)):
        raise ValueError(f"its jwks_uri is not an https URL: {ascii(url)[:200]}")
    return url


def is_local(url: str) -> bool:
    """Whether an ``http`` URL, which was checked before, is on this machine."""
    return url.startswith("http:") and may_fetch(url)


def _read_object(data: bytes, what: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise ValueError(f"{what} is not a JSON object") from None


def _read_key(said: object) -> PublishedKey | None:
    if not isinstance(said, dict) or said.get("kty") == "oct" or "d" in said or said.get("use", "sig") != "sig":
        return None
    kid, algorithm = said.get("kid"), said.get("alg")
    operations = said.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
        return None
    try:
        key = jwt.PyJWK.from_dict(said).key
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):  # another kind of key, or none at all
        return None
    return PublishedKey(kid, key, algorithm) if isinstance(key, PublicKey) else None
