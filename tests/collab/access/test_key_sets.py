"""Which published keys may be used, and when they are fetched again, is decided from values alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from collab.access.configuration import KeySource
from collab.access.key_sets import (
    FRESH_SECONDS,
    KEPT_SECONDS,
    PAUSE_SECONDS,
    KeySet,
    Need,
    read_discovery,
    read_key_set,
)

LOGIN = "https://login.example.com"
SOURCE = KeySource(f"{LOGIN}/.well-known/openid-configuration", discovers=LOGIN)
RSA = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)
WEAK = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
EC_PRIVATE = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
EC = {name: value for name, value in EC_PRIVATE.items() if name != "d"}
ED = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)
SECRET = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}


def read(*keys: object) -> list[str | None]:
    return [key.kid for key in read_key_set(json.dumps({"keys": keys}).encode())]


def key_set(*keys: dict[str, Any], now: float = 0.0) -> KeySet:
    made = KeySet(SOURCE)
    made.fetched(read_key_set(json.dumps({"keys": keys}).encode()), now)
    return made


def test_only_public_keys_for_signatures_are_read() -> None:
    usable = [RSA | {"kid": "rsa"}, EC | {"kid": "ec"}, ED | {"kid": "ed"}, RSA | {"kid": "ops", "key_ops": ["verify"]}]
    useless: list[object] = [
        SECRET | {"kid": "secret", "alg": "HS256"},
        EC_PRIVATE | {"kid": "private"},
        RSA | {"kid": "encrypts", "use": "enc"},
        RSA | {"kid": "wraps", "key_ops": ["wrapKey"]},
        RSA | {"kid": 7},
        RSA | {"kid": "x", "alg": ["RS256"]},
        {"kty": "RSA", "kid": "broken", "n": "AA", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "unheard-of"},
        {},
        "key",
        None,
    ]
    assert read(*useless, *usable) == ["rsa", "ec", "ed", "ops"]
    with pytest.raises(ValueError, match="no public key"):
        read(*useless)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
    )
)
def test_any_json_is_a_key_set_or_a_clear_error(said: object) -> None:
    for data in (said, {"keys": said}, {"keys": [said, {"kty": "RSA", "n": said, "e": said}]}):
        with pytest.raises(ValueError, match="the key set"):
            read_key_set(json.dumps(data).encode())


def test_a_key_serves_its_own_algorithm_only() -> None:
    keys = key_set(RSA | {"kid": "r", "alg": "RS256"}, RSA | {"kid": "any"}, EC | {"kid": "e"}, WEAK | {"kid": "w"})

    def count(kid: str | None, algorithm: str) -> int:
        return len(keys.candidates(kid, algorithm, 0.0))

    assert (count("r", "RS256"), count("r", "PS256"), count("any", "PS256"), count(None, "RS256")) == (1, 0, 1, 2)
    assert (count("e", "ES256"), count("e", "RS256"), count("w", "RS256"), count("unknown", "RS256")) == (1, 0, 0, 0)
    assert [count(kid, "HS256") for kid in ("r", "any", "e", None)] == [0] * 4


def test_keys_are_fetched_when_they_are_unknown_old_or_too_old() -> None:
    keys = KeySet(SOURCE)
    assert (keys.need("a", 0.0), keys.expired(0.0), len(keys)) == (Need.NOW, True, 0)
    keys = key_set(RSA | {"kid": "a"}, now=100.0)
    assert [keys.need(kid, 100.0) for kid in ("a", None, "b", 7)] == [Need.NOTHING, Need.NOTHING, Need.NOW, Need.NOW]
    assert keys.need("a", 100.0 + FRESH_SECONDS) is Need.SOON
    assert keys.need("a", 100.0 + KEPT_SECONDS) is Need.SOON
    assert keys.candidates("a", "RS256", 100.0 + KEPT_SECONDS)
    assert keys.need("a", 100.1 + KEPT_SECONDS) is Need.NOW
    assert not keys.candidates("a", "RS256", 100.1 + KEPT_SECONDS)


def test_after_each_fetch_there_is_a_pause_whether_it_failed_or_not() -> None:
    keys = KeySet(SOURCE)
    assert keys.pause(0.0) == 0.0
    keys.failed(10.0)
    assert (keys.pause(10.0), keys.pause(10.0 + PAUSE_SECONDS), keys.down, keys.tries) == (PAUSE_SECONDS, 0.0, True, 1)
    keys.fetched((), 20.0)
    assert (keys.pause(20.0), keys.down, keys.tries) == (PAUSE_SECONDS, False, 2)


def test_a_discovery_must_be_of_the_issuer_and_name_an_https_url() -> None:
    good = {"issuer": LOGIN, "jwks_uri": "https://keys.example.net/jwks"}

    def discover(source: KeySource = SOURCE, **changes: object) -> str:
        return read_discovery(json.dumps(good | changes).encode(), source)

    assert discover() == "https://keys.example.net/jwks"
    for issuer in (f"{LOGIN}/", LOGIN.upper(), None, [LOGIN]):
        with pytest.raises(ValueError, match="it calls itself"):
            discover(issuer=issuer)
    for url in ("http://login.example.com/keys", "http://127.0.0.1/keys", "https://", "https://a@b/", "file:///x", 7):
        with pytest.raises(ValueError, match="jwks_uri is not an https URL"):
            discover(jwks_uri=url)
    local = KeySource("http://localhost:9000/.well-known/openid-configuration", discovers=LOGIN)
    assert discover(local, jwks_uri="http://127.0.0.1:9000/keys") == "http://127.0.0.1:9000/keys"
    with pytest.raises(ValueError, match="not a JSON object"):
        read_discovery(b"[]", SOURCE)
