"""Turn a token into an identity: API keys and JSON web tokens. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import jwt

from collab.access.configuration import (
    EVERYTHING,
    LONGEST_CHANNEL,
    MOST_CHANNELS,
    ApiKey,
    Issuer,
    KeySource,
    one_or_more,
    plain,
)
from collab.access.identity import Identity
from collab.access.key_sets import KeySet
from collab.access.rules import Rule, glob_matches, parse_rules
from collab.access.verification import VerificationKey
from collab.errors import AuthenticationFailed
from collab.json_values import is_unicode
from collab.names import DEFAULT_PROJECT, is_part

LONGEST_TOKEN = 16 * 1024  # characters
LONGEST_CLAIM = 255  # characters of sub and name
MOST_RULES = 256  # in the claim access

_ABSENT = object()


class Authenticator:
    """Verifies tokens against the configured credentials. Without any it is *open*: everyone may write everything.

    Tokens of an issuer that publishes its keys are refused until :attr:`key_sets` has them. Raises
    :class:`ValueError` if an issuer's key does not fit its algorithm.
    """

    def __init__(self, keys: Sequence[ApiKey] = (), issuers: Sequence[Issuer] = ()) -> None:
        self._keys = [(key.digest, _identity(key)) for key in keys]
        self._issuers = [(issuer, issuer.verification_key()) for issuer in issuers]
        self.key_sets: dict[KeySource, KeySet] = {
            source: KeySet(source) for issuer in issuers if (source := issuer.key_source) is not None
        }
        """The keys that issuers publish. The server fetches them."""

    @property
    def is_open(self) -> bool:
        """Whether no credential is required."""
        return not self._keys and not self._issuers

    def key_sets_of(self, token: str | None) -> tuple[list[KeySet], object]:
        """Return the sets that may hold the key of ``token``, and the name of the key; nothing here is verified."""
        if not self.key_sets or not token or len(token) > LONGEST_TOKEN:
            return [], None
        try:
            header, claimed = _unverified(token)
        except AuthenticationFailed:
            return [], None
        asked = [one for one, _ in self._issuers if one.issuer == claimed and header.get("alg") in one.algorithms]
        sources = dict.fromkeys(source for issuer in asked if (source := issuer.key_source) is not None)
        # a configured key of the same issuer may be the one: then it is not worth a fetch that a set lacks it
        kid = None if any(issuer.key_source is None for issuer in asked) else header.get("kid")
        return [self.key_sets[source] for source in sources], kid

    def authenticate(
        self, token: str | None, now: float, api_key: str | None = None, *, clock: float | None = None
    ) -> Identity:
        """Identify the holder of ``token`` at ``now`` (seconds since the epoch).

        With ``api_key`` as well, the key identifies the application and must belong to the same project; the token
        alone decides the rights. ``api_key`` without ``token`` is used as the token.

        ``clock`` is the monotonic clock of :attr:`key_sets`. Raises :class:`AuthenticationFailed`. No message or log
        contains any part of a token.
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
            found = self._by_jwt(token, now, now if clock is None else clock)
        if application is not None and application.project != found.project:
            raise AuthenticationFailed("the token and the API key belong to different projects")
        return found

    def _by_key(self, token: str) -> Identity | None:
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = None
        for known, identity in self._keys:  # compare with all keys: constant time
            if compare_digest(known, digest):
                found = identity
        return found

    def _by_jwt(self, token: str, now: float, clock: float) -> Identity:
        header, claimed = _unverified(token)
        algorithm = header.get("alg")
        reason = f"its issuer {_quoted(claimed)} is not configured for the algorithm {_quoted(algorithm)}"
        for issuer, configured in self._issuers:
            if issuer.issuer != claimed or algorithm not in issuer.algorithms:
                continue
            keys: Sequence[VerificationKey] = () if configured is None else (configured,)
            if issuer.key_source is not None:
                keys = self.key_sets[issuer.key_source].candidates(header.get("kid"), str(algorithm), clock)
                if not keys:
                    reason = f"its issuer {_quoted(claimed)} publishes no key {_quoted(header.get('kid'))} for it"
            for key in keys:
                try:
                    claims = _verified(token, key, issuer)
                except (jwt.PyJWTError, ValueError) as error:
                    reason = f"of the issuer {_quoted(claimed)}: {str(error)[:200]}"
                    continue
                try:
                    return _read_claims(token, claims, issuer, now)
                except AuthenticationFailed as error:
                    error.reason = f"of the issuer {_quoted(claimed)}: {error.message}"
                    raise
        raise _not_valid(reason)


def _unverified(token: str) -> tuple[dict[str, Any], object]:
    """Return what a token claims: its header, and its issuer. Raises :class:`AuthenticationFailed`."""
    try:
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _not_valid("it is neither a configured API key nor a JSON web token") from None
    header: dict[str, Any] = unverified["header"]
    if "crit" in header or "b64" in header:  # extensions that change what is signed; we support none
        raise _not_valid("its header uses an extension (crit or b64)")
    return header, unverified["payload"].get("iss")


def _verified(token: str, key: VerificationKey, issuer: Issuer) -> dict[str, Any]:
    """Return the claims of a token that ``key`` has signed for us. Raises :class:`jwt.PyJWTError`, ``ValueError``."""
    audiences, parties = one_or_more(issuer.audience), one_or_more(issuer.authorized_party)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=list(issuer.algorithms),
        issuer=issuer.issuer,
        options={
            "require": ["exp", "iss", "sub", *(["aud"] if audiences else [])],
            "verify_aud": False,  # checked below, to say which it is
            "verify_exp": False,  # checked later, against `now`
            "verify_nbf": False,
            "verify_iat": False,
        },
    )
    named = claims.get("aud")
    if audiences and not any(each in audiences for each in (named if isinstance(named, list) else [named])):
        raise jwt.InvalidAudienceError(f"its audience {_quoted(named)} is not {' or '.join(audiences)}")
    if parties and claims.get("azp") not in parties:
        raise jwt.InvalidTokenError(f"its claim azp, {_quoted(claims.get('azp'))}, is not {' or '.join(parties)}")
    return claims


def _not_valid(reason: str) -> AuthenticationFailed:
    """The client learns nothing about the configuration; the log gets ``reason``."""
    error = AuthenticationFailed("the token is not valid")
    error.reason = reason
    return error


def _quoted(claim: object) -> str:
    if isinstance(claim, list) and claim and len(claim) <= 10 and all(isinstance(each, str) for each in claim):
        return " and ".join(map(_quoted, claim))
    return ascii(claim[:100]) if isinstance(claim, str) else f"(a {type(claim).__name__})"


def _identity(key: ApiKey) -> Identity:
    rules = parse_rules(plain(key.rules), key.user_id)
    return Identity(
        key.project, key.user_id, key.name, rules, channels=tuple(key.channels), credential=key.digest.hex()[:32]
    )


def _read_claims(token: str, claims: Mapping[str, Any], issuer: Issuer, now: float) -> Identity:
    """Build the identity from verified claims."""
    expires_at = _time(claims, "exp")
    assert expires_at is not None
    expires_at += issuer.leeway_seconds  # the session lives as long as the token is accepted
    not_before = _time(claims, "nbf")
    if expires_at <= now:
        raise AuthenticationFailed("the token has expired")
    if not_before is not None and not_before - issuer.leeway_seconds > now:
        raise AuthenticationFailed("the token is not valid yet")
    user_id, name = _text(claims, "sub"), _text(claims, issuer.name_claim)
    if not user_id:
        raise AuthenticationFailed("the token's claim sub is empty")
    return Identity(
        _project(claims, issuer),
        user_id,
        name or None,
        _rules(claims, issuer, user_id),
        expires_at,
        channels=_channels(claims),
        token_id=_token_id(token, claims),
        issued_at=_issued_at(claims),
        claims=claims,
    )


def _token_id(token: str, claims: Mapping[str, Any]) -> str:
    named = claims.get("jti")
    if isinstance(named, str) and 0 < len(named) <= LONGEST_CLAIM and is_unicode(named):
        return named
    # not of the signature: the same one can be written in several ways
    return f"sha256:{sha256(token.rpartition('.')[0].encode()).hexdigest()[:32]}"


def _issued_at(claims: Mapping[str, Any]) -> float | None:
    try:
        return _time(claims, "iat")
    except AuthenticationFailed:
        return None


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None and claim not in claims:
        return None
    # bool is an int in Python; NaN and infinity, which Python's JSON accepts, fail both comparisons
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e12:
        raise AuthenticationFailed(f"the token's claim {claim} is not a time")
    return float(value)


def _claim(claims: Mapping[str, Any], name: str, absent: object = None) -> object:
    """Return a claim: the one of that name, else the member at a path with dots (``user_metadata.name``)."""
    found: object = claims
    for part in (name,) if name in claims else name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return absent
        found = found[part]
    return found


def _text(claims: Mapping[str, Any], claim: str) -> str | None:
    value = _claim(claims, claim)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_CLAIM or not is_unicode(value):
        raise AuthenticationFailed(f"the token's claim {claim} must be a string of at most {LONGEST_CLAIM} characters")
    return value


def _project(claims: Mapping[str, Any], issuer: Issuer) -> str:
    project = _claim(claims, issuer.project_claim, absent=_ABSENT)
    if project is _ABSENT:
        return issuer.project
    if not isinstance(project, str) or not is_part(project):
        raise AuthenticationFailed(f"the token's claim {issuer.project_claim} is not a project name")
    allowed = (issuer.project,) if issuer.projects is None else issuer.projects
    if not any(glob_matches(pattern, project) for pattern in allowed):
        raise AuthenticationFailed("the token's issuer may not speak for that project")
    return project


def _rules(claims: Mapping[str, Any], issuer: Issuer, user_id: str) -> tuple[Rule, ...]:
    access = claims.get("access", {}) if "access" in claims else issuer.default_rules()
    if not isinstance(access, dict) or len(access) > MOST_RULES:
        raise AuthenticationFailed(f"the token's claim access must be an object of at most {MOST_RULES} rules")
    try:
        return parse_rules(access, user_id, claims)
    except ValueError as error:
        raise AuthenticationFailed(f"the token's claim access: {error}") from None


def _channels(claims: Mapping[str, Any]) -> tuple[str, ...]:
    channels = claims.get("channels", [])
    if (
        not isinstance(channels, list)
        or len(channels) > MOST_CHANNELS
        or not all(isinstance(name, str) and 0 < len(name) <= LONGEST_CHANNEL and is_unicode(name) for name in channels)
    ):
        raise AuthenticationFailed(
            f"the token's claim channels must be a list of at most {MOST_CHANNELS} strings, "
            f"each of at most {LONGEST_CHANNEL} characters"
        )
    return tuple(dict.fromkeys(channels))
