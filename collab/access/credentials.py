"""From a token to an identity: API keys and JSON web tokens. Time is an argument, nothing waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Protocol

import jwt

from collab.access.configuration import EVERYTHING, LONGEST_CHANNEL, MOST_CHANNELS, ApiKey, Issuer, plain
from collab.access.identity import Identity
from collab.access.rules import Rule, glob_matches, parse_rules
from collab.errors import AuthenticationFailed
from collab.names import DEFAULT_PROJECT, is_part

LONGEST_TOKEN = 16 * 1024  # characters
LONGEST_CLAIM = 255  # characters of sub and name
MOST_RULES = 256  # in the claim access


class CredentialSettings(Protocol):
    """Settings that say which credentials are accepted."""

    @property
    def all_keys(self) -> Sequence[ApiKey]:
        """The API keys."""

    @property
    def all_issuers(self) -> Sequence[Issuer]:
        """The issuers of JSON web tokens."""


class Authenticator:
    """Knows the configured credentials. Without any it is *open*: whoever comes may write everything.

    Raises :class:`ValueError` if an issuer's key does not fit its algorithm.
    """

    def __init__(self, keys: Sequence[ApiKey] = (), issuers: Sequence[Issuer] = ()) -> None:
        self._keys = [(key.digest, _identity(key)) for key in keys]
        self._issuers = [(issuer, issuer.verification_key()) for issuer in issuers]

    @classmethod
    def from_settings(cls, settings: CredentialSettings) -> Authenticator:
        """The one for these settings."""
        return cls(settings.all_keys, settings.all_issuers)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a credential."""
        return not self._keys and not self._issuers

    def authenticate(self, token: str | None, now: float, api_key: str | None = None) -> Identity:
        """Who holds ``token``, at ``now`` (seconds since the epoch).

        With ``api_key`` beside it, the key says which application this is and must be of the same project; what is
        allowed is the user's to say. Alone it is the token.

        Raises :class:`AuthenticationFailed`. No message or log holds any part of a token.
        """
        if self.is_open:
            return Identity(DEFAULT_PROJECT, rules=parse_rules(EVERYTHING), verified=False)
        if not token and not api_key:
            raise AuthenticationFailed("a token is required")
        if max(len(token or ""), len(api_key or "")) > LONGEST_TOKEN:
            raise AuthenticationFailed("the token is not valid")
        application = self._by_key(api_key) if api_key else None
        if api_key and application is None:
            raise AuthenticationFailed("the API key is not valid")
        if not token:
            assert application is not None
            return application
        found = self._by_key(token)
        if found is None:
            found = self._by_jwt(token, now)
        if application is not None and application.project != found.project:
            raise AuthenticationFailed("the token and the API key are of different projects")
        return found

    def _by_key(self, token: str) -> Identity | None:
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = None
        for known, identity in self._keys:  # all of them: the time taken tells nothing
            if compare_digest(known, digest):
                found = identity
        return found

    def _by_jwt(self, token: str, now: float) -> Identity:
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise AuthenticationFailed("the token is not valid") from None
        header, claimed = unverified["header"], unverified["payload"].get("iss")
        if "crit" in header or "b64" in header:  # extensions that would change what is signed; none is known here
            raise AuthenticationFailed("the token is not valid")
        for issuer, key in self._issuers:
            if issuer.issuer == claimed and issuer.algorithm == header.get("alg"):
                try:
                    claims = jwt.decode(
                        token,
                        key,
                        algorithms=[issuer.algorithm],
                        audience=issuer.audience,
                        issuer=issuer.issuer,
                        options={
                            "require": ["exp", "iss", "aud", "sub"],
                            "verify_exp": False,  # below, by the caller's clock
                            "verify_nbf": False,
                            "verify_iat": False,
                        },
                    )
                except (jwt.PyJWTError, ValueError):
                    continue
                return _read_claims(claims, issuer, now)
        raise AuthenticationFailed("the token is not valid")


def _identity(key: ApiKey) -> Identity:
    rules = parse_rules(plain(key.rules), key.user_id)
    return Identity(key.project, key.user_id, key.name, rules, channels=tuple(key.channels))


def _read_claims(claims: Mapping[str, Any], issuer: Issuer, now: float) -> Identity:
    """The identity that verified claims describe."""
    expires_at = _time(claims, "exp")
    assert expires_at is not None
    expires_at += issuer.leeway_seconds  # the session may live as long as the token is accepted
    not_before = _time(claims, "nbf")
    if expires_at <= now:
        raise AuthenticationFailed("the token has expired")
    if not_before is not None and not_before - issuer.leeway_seconds > now:
        raise AuthenticationFailed("the token is not valid yet")
    user_id, name = _text(claims, "sub"), _text(claims, "name")
    if not user_id:
        raise AuthenticationFailed("the token's claim sub is empty")
    return Identity(
        _project(claims, issuer),
        user_id,
        name or None,
        _rules(claims, issuer, user_id),
        expires_at,
        channels=_channels(claims),
    )


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None and claim not in claims:
        return None
    # a bool is an int to Python; NaN and infinity, which JSON of Python reads, fail both comparisons
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e12:
        raise AuthenticationFailed(f"the token's claim {claim} is not a time")
    return float(value)


def _text(claims: Mapping[str, Any], claim: str) -> str | None:
    value = claims.get(claim)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_CLAIM or not _encodable(value):
        raise AuthenticationFailed(f"the token's claim {claim} is not a text of {LONGEST_CLAIM} characters at most")
    return value


def _encodable(text: str) -> bool:
    """Whether ``text`` is free of lone surrogates, which JSON can spell and UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _project(claims: Mapping[str, Any], issuer: Issuer) -> str:
    if "project" not in claims:
        return issuer.project
    project = claims["project"]
    if not isinstance(project, str) or not is_part(project):
        raise AuthenticationFailed("the token's claim project is not a project's name")
    allowed = (issuer.project,) if issuer.projects is None else issuer.projects
    if not any(glob_matches(pattern, project) for pattern in allowed):
        raise AuthenticationFailed("the token's issuer may not speak for that project")
    return project


def _rules(claims: Mapping[str, Any], issuer: Issuer, user_id: str) -> tuple[Rule, ...]:
    access = claims.get("access", {}) if "access" in claims else issuer.default_rules()
    if not isinstance(access, dict) or len(access) > MOST_RULES:
        raise AuthenticationFailed(f"the token's claim access is not an object of {MOST_RULES} rules at most")
    try:
        return parse_rules(access, user_id, claims)
    except ValueError as error:
        raise AuthenticationFailed(f"the token's claim access: {error}") from None


def _channels(claims: Mapping[str, Any]) -> tuple[str, ...]:
    channels = claims.get("channels", [])
    if (
        not isinstance(channels, list)
        or len(channels) > MOST_CHANNELS
        or not all(isinstance(name, str) and 0 < len(name) <= LONGEST_CHANNEL and _encodable(name) for name in channels)
    ):
        raise AuthenticationFailed(
            f"the token's claim channels is not a list of {MOST_CHANNELS} texts at most, "
            f"each of {LONGEST_CHANNEL} characters at most"
        )
    return tuple(dict.fromkeys(channels))
