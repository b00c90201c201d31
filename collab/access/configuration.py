"""Configured credentials of a server: API keys and JWT issuers. Pure values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Meta

from collab.access.rules import check_rules, parse_rules
from collab.names import DEFAULT_PROJECT, is_part

Algorithm = Literal["HS256", "RS256", "ES256"]
Right = Literal["none", "read", "write"]
VerificationKey = bytes | RSAPublicKey | EllipticCurvePublicKey

EVERYTHING: Mapping[str, Literal["write"]] = {"*/*": "write"}
LONGEST_CHANNEL = 255  # characters
MOST_CHANNELS = 256
SHORTEST_KEY = 16  # characters
SHORTEST_SECRET = 32  # bytes, RFC 7518 section 3.2
SMALLEST_RSA = 2048  # bits, RFC 7518 section 3.3

Channel = Annotated[str, Meta(min_length=1, max_length=LONGEST_CHANNEL)]

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_PROJECT_PATTERN = re.compile(r"[A-Za-z0-9_.:*-]{1,128}", re.ASCII)


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

    ``issuer`` and ``audience`` are the exact values of the claims ``iss`` and ``aud`` (one of them, if the token has
    several). ``algorithm`` is the only one accepted; ``secret`` (HS256, at least 32 bytes) or ``public_key`` (RS256,
    ES256; PEM) verifies. To rotate keys, configure the same issuer twice.

    A token may name its project in the claim ``project`` if a glob in ``projects`` matches it; without the claim it
    belongs to ``project``. ``rules`` apply to tokens without the claim ``access``. Raises :class:`ValueError`.
    """

    issuer: Annotated[str, Meta(min_length=1)]
    audience: Annotated[str, Meta(min_length=1)]
    algorithm: Algorithm
    secret: str | None = None
    public_key: str | None = None
    projects: list[str] | None = None
    rules: Rules = {}
    leeway_seconds: Annotated[float, Meta(ge=0, le=300)] = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rules(plain(self.rules))
        for pattern in self.projects or ():
            if not _PROJECT_PATTERN.fullmatch(pattern):
                raise ValueError("projects must be names, in which * stands for any characters")
        self.verification_key()

    def default_rules(self) -> dict[str, Any]:
        """Rights of a token without the claim ``access``, for :func:`collab.access.rules.parse_rules`."""
        return plain(self.rules)

    def verification_key(self) -> VerificationKey:
        """Key that verifies this issuer's signatures. Raises :class:`ValueError` if it does not fit the algorithm."""
        if self.algorithm == "HS256":
            if self.secret is None or self.public_key is not None:
                raise ValueError("HS256 needs secret and no public_key")
            secret = self.secret.encode()
            if len(secret) < SHORTEST_SECRET:
                raise ValueError(f"secret needs at least {SHORTEST_SECRET} bytes")
            if secret.lstrip().startswith((b"-----BEGIN", b"ssh-")):
                raise ValueError("secret contains a public or private key; HS256 needs a random secret")
            return secret
        if self.public_key is None or self.secret is not None:
            raise ValueError(f"{self.algorithm} needs public_key and no secret")
        key = _read_pem(self.public_key)
        if self.algorithm == "RS256":
            if isinstance(key, RSAPublicKey) and key.key_size >= SMALLEST_RSA:
                return key
            raise ValueError(f"RS256 needs an RSA public_key of at least {SMALLEST_RSA} bits")
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            return key
        raise ValueError("ES256 needs a public_key on the curve P-256")


def _read_pem(text: str) -> Any:
    try:
        return load_pem_public_key(text.encode())
    except Exception:  # cryptography raises several types, and some quote the key
        raise ValueError("public_key is not a PEM public key") from None
