"""Algorithms of signatures, and the keys that fit them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
Algorithm = Literal["HS256"] | PublicAlgorithm
"""HS256 has a secret; all others have a private key and a public one."""
PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
VerificationKey = bytes | PublicKey

SHORTEST_SECRET = 32  # bytes, RFC 7518 section 3.2
SMALLEST_RSA = 2048  # bits, RFC 7518 section 3.3

_CURVES: dict[str, tuple[type[EllipticCurve], str]] = {
    "ES256": (SECP256R1, "P-256"),
    "ES384": (SECP384R1, "P-384"),
    "ES512": (SECP521R1, "P-521"),
}


def check_secret(secret: str) -> bytes:
    """Return the key of HS256. Raises :class:`ValueError` if it is short, or was not meant as a secret."""
    key = secret.encode()
    if len(key) < SHORTEST_SECRET:
        raise ValueError(f"secret needs at least {SHORTEST_SECRET} bytes")
    if key.lstrip().startswith((b"-----BEGIN", b"ssh-")):
        raise ValueError("secret contains a public or private key; HS256 needs a random secret")
    return key


def check_public_key(pem: str, algorithms: Sequence[str]) -> PublicKey:
    """Return the key in a PEM. Raises :class:`ValueError` if it does not fit each of the algorithms."""
    try:
        key = load_pem_public_key(pem.encode())
    except Exception:  # cryptography raises several types, and some quote the key
        raise ValueError("public_key is not a PEM public key") from None
    for algorithm in algorithms:
        if not fits(key, algorithm):
            raise ValueError(f"{algorithm} needs {_needed(algorithm)}")
    assert isinstance(key, PublicKey)
    return key


def fits(key: object, algorithm: str) -> bool:
    """Whether a key verifies signatures of this algorithm, and is long enough."""
    if algorithm in _CURVES:
        return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, _CURVES[algorithm][0])
    if algorithm == "EdDSA":
        return isinstance(key, Ed25519PublicKey)
    return algorithm[:2] in ("RS", "PS") and isinstance(key, RSAPublicKey) and key.key_size >= SMALLEST_RSA


def _needed(algorithm: str) -> str:
    if algorithm in _CURVES:
        return f"a public_key on the curve {_CURVES[algorithm][1]}"
    if algorithm == "EdDSA":
        return "an Ed25519 public_key"
    return f"an RSA public_key of at least {SMALLEST_RSA} bits"
