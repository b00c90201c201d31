"""A key verifies only the algorithms that it was made for."""

from __future__ import annotations

from typing import get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collab.access.verification import PublicAlgorithm, PublicKey, check_public_key, check_secret, fits

KEYS: dict[str, PublicKey] = {
    "RSA": rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key(),
    "weak RSA": rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key(),
    "P-256": ec.generate_private_key(ec.SECP256R1()).public_key(),
    "P-384": ec.generate_private_key(ec.SECP384R1()).public_key(),
    "P-521": ec.generate_private_key(ec.SECP521R1()).public_key(),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()).public_key(),
    "Ed25519": ed25519.Ed25519PrivateKey.generate().public_key(),
}
FIT = {
    "RSA": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
    "P-256": {"ES256"},
    "P-384": {"ES384"},
    "P-521": {"ES512"},
    "Ed25519": {"EdDSA"},
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_fits_its_algorithms_and_no_others(kind: str) -> None:
    offered = [*get_args(PublicAlgorithm), "HS256", "none", "", "ES256K"]
    assert {name for name in offered if fits(KEYS[kind], name)} == FIT.get(kind, set())


@pytest.mark.parametrize("key", [b"secret", "secret", None, rsa.generate_private_key(65537, 2048)])
def test_what_is_no_public_key_fits_nothing(key: object) -> None:
    assert not any(fits(key, name) for name in get_args(PublicAlgorithm))


def test_a_pem_must_fit_all_algorithms_that_it_is_for() -> None:
    pem = KEYS["RSA"].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert check_public_key(pem, ("RS256", "PS256")) == KEYS["RSA"]
    with pytest.raises(ValueError, match="ES256 needs a public_key on the curve P-256"):
        check_public_key(pem, ("RS256", "ES256"))
    with pytest.raises(ValueError, match="EdDSA needs an Ed25519 public_key"):
        check_public_key(pem, ("EdDSA",))
    with pytest.raises(ValueError, match="is not a PEM public key"):
        check_public_key("-----BEGIN PUBLIC KEY-----", ("RS256",))


def test_a_secret_is_long_and_no_key_of_another_kind() -> None:
    assert check_secret("é" * 16) == "é".encode() * 16
    with pytest.raises(ValueError, match="32 bytes"):
        check_secret("x" * 31)
    with pytest.raises(ValueError, match="random secret"):
        check_secret(" -----BEGIN PUBLIC KEY----- and so on and so on")
