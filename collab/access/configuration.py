"""Configured credentials of a server: API keys and JWT issuers. Pure values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from collab.access.handshake import is_loopback
from collab.access.rules import check_rules, parse_rules
from collab.access.verification import Algorithm, VerificationKey, check_public_key, check_secret
from collab.names import DEFAULT_PROJECT, is_part

Right = Literal["none", "read", "write"]

EVERYTHING: Mapping[str, Literal["write"]] = {"*/*": "write"}
LONGEST_CHANNEL = 255  # characters
MOST_CHANNELS = 256
SHORTEST_KEY = 16  # characters
DISCOVERY_PATH = "/.well-known/openid-configuration"

Channel = Annotated[str, Meta(min_length=1, max_length=LONGEST_CHANNEL)]
Text = Annotated[str, Meta(min_length=1, max_length=255)]
Texts = Text | Annotated[tuple[Text, ...], Meta(max_length=100)]
"""One text, or several."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_PROJECT_PATTERN = re.compile(r"[A-Za-z0-9_.:*-]{1,128}", re.ASCII)


class KeySource(NamedTuple):
    """Where an issuer publishes its keys: a JWK set, or, if it ``discovers`` that issuer, OpenID configuration."""

    url: str
    discovers: str | None = None


class RowRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule for the entities that match ``where``, in the form of :func:`collab.access.rules.parse_rules`."""

    access: Right
    where: dict[str, Any]


Rules = dict[str, Right | RowRule]


def plain(rules: Rules) -> dict[str, Any]:
    """Configured rules in the form of :func:`collab.access.rules.parse_rules`."""
    return {pattern: msgspec.to_builtins(rule) for pattern, rule in rules.items()}


class _Configured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration table, with the fields that all credentials share. Its ``repr`` shows no secrets."""

    project: str = DEFAULT_PROJECT

    def __post_init__(self) -> None:
        if not is_part(self.project):
            raise ValueError("project is 1-128 characters of [A-Za-z0-9_.:-]")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of project {self.project}>"


class ApiKey(_Configured, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that an application sends as its token.

    Set exactly one of ``key`` (at least 16 characters) and ``key_sha256`` (64 hex digits of the key's SHA-256).
    ``rules`` map globs over ``collection/id`` to ``none``, ``read`` or ``write``; the first match decides. Sessions
    with this key write as ``user_id`` and ``name`` and receive custom events of ``channels``. Raises
    :class:`ValueError`.
    """

    key: str | None = None
    key_sha256: str | None = None
    user_id: str | None = None
    name: str | None = None
    rules: Rules
    channels: Annotated[list[Channel], Meta(max_length=MOST_CHANNELS)] = []

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_rules(plain(self.rules), self.user_id)
        if (self.key is None) == (self.key_sha256 is None):
            raise ValueError("an API key needs either key or key_sha256")
        if self.key is not None and len(self.key) < SHORTEST_KEY:
            raise ValueError(f"key needs at least {SHORTEST_KEY} characters")
        if self.key_sha256 is not None and not _SHA256.fullmatch(self.key_sha256):
            raise ValueError("key_sha256 must be 64 hexadecimal digits")

    @property
    def digest(self) -> bytes:
        if self.key is not None:
            return sha256(self.key.encode()).digest()
        assert self.key_sha256 is not None
        return bytes.fromhex(self.key_sha256)


class Issuer(_Configured, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trusted issuer of JSON web tokens.

    ``issuer`` is the exact value of the claim ``iss``. A token needs one of ``audience`` in its claim ``aud`` and one
    of ``authorized_party`` in ``azp``, as far as these are set; at least one of them must be. Only ``algorithm`` (one
    or several) is accepted. Signatures are verified with ``secret`` (HS256, at least 32 bytes), ``public_key`` (PEM),
    or the keys that the issuer publishes at ``jwks_url``. Instead of ``issuer`` and ``jwks_url``, ``oidc_issuer`` alone
    is enough for an issuer with OpenID Connect discovery. To rotate a ``secret`` or ``public_key``, configure the same
    issuer twice.

    A token may name its project in the claim ``project_claim`` if a glob in ``projects`` matches it; without the claim
    it belongs to ``project``. ``name_claim`` is the name that others see. ``rules`` apply to tokens without the claim
    ``access``. Raises :class:`ValueError`.
    """

    issuer: str = ""
    oidc_issuer: str | None = None
    jwks_url: str | None = None
    audience: Texts = ()
    authorized_party: Texts = ()
    algorithm: Algorithm | Annotated[tuple[Algorithm, ...], Meta(min_length=1)]
    secret: str | None = None
    public_key: str | None = None
    projects: list[str] | None = None
    project_claim: Text = "project"
    name_claim: Text = "name"
    rules: Rules = {}
    leeway_seconds: Annotated[float, Meta(ge=0, le=300)] = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rules(plain(self.rules))
        for pattern in self.projects or ():
            if not _PROJECT_PATTERN.fullmatch(pattern):
                raise ValueError("projects must be names, in which * stands for any characters")
        if self.oidc_issuer is not None:
            if self.issuer not in ("", self.oidc_issuer):
                raise ValueError("issuer and oidc_issuer: set one of them")
            msgspec.structs.force_setattr(self, "issuer", self.oidc_issuer)
        if not self.issuer:
            raise ValueError("an issuer needs issuer, or oidc_issuer")
        if not self.audience and not self.authorized_party:
            raise ValueError("an issuer needs audience (or authorized_party): whom its tokens must be meant for")
        self.verification_key()

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The accepted algorithms."""
        return one_or_more(self.algorithm)

    @property
    def key_source(self) -> KeySource | None:
        """Where the issuer publishes its keys; ``None`` if its key is configured."""
        if self.oidc_issuer is not None:
            return KeySource(f"{self.oidc_issuer.rstrip('/')}{DISCOVERY_PATH}", discovers=self.oidc_issuer)
        return None if self.jwks_url is None else KeySource(self.jwks_url)

    def default_rules(self) -> dict[str, Any]:
        """Rights of a token without the claim ``access``, for :func:`collab.access.rules.parse_rules`."""
        return plain(self.rules)

    def verification_key(self) -> VerificationKey | None:
        """Key that verifies this issuer's signatures; ``None`` if it publishes its keys.

        Raises :class:`ValueError` if the key does not fit the algorithm.
        """
        given = {
            "secret": self.secret,
            "public_key": self.public_key,
            "jwks_url": self.jwks_url,
            "oidc_issuer": self.oidc_issuer,
        }
        found = [name for name, value in given.items() if value is not None]
        named = " or ".join(self.algorithms)
        if "HS256" in self.algorithms:
            if self.secret is None or len(found) > 1 or len(self.algorithms) > 1:
                raise ValueError(
                    "HS256 needs secret and no public_key, jwks_url or oidc_issuer, and no other algorithm"
                )
            return check_secret(self.secret)
        if len(found) != 1 or self.secret is not None:
            raise ValueError(f"{named} needs one of public_key, jwks_url and oidc_issuer, and no secret")
        if self.public_key is not None:
            return check_public_key(self.public_key, self.algorithms)
        assert self.key_source is not None
        if not may_fetch(self.key_source.url):
            raise ValueError(f"{found[0]} must be an https URL without user and password (http on this machine only)")
        return None


def may_fetch(url: str, *, insecure: bool = True) -> bool:
    """Whether keys may be fetched from a URL: by https, or, if ``insecure``, by http from this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.fragment or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (insecure and parts.scheme == "http" and is_loopback(host))


def one_or_more(said: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the values of a field that may be one value or a list."""
    return (said,) if isinstance(said, str) else said
