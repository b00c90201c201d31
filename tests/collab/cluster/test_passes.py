import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from hypothesis import given

from collab.access.identity import Identity
from collab.access.rules import parse_rules
from collab.cluster.passes import LIFETIME, LONGEST_PASS, Pass, Passes
from collab.errors import PermissionDenied, TooLarge
from tests.collab.cluster.test_identities import IDENTITIES

KEY = b"k" * 32
NOW = 1_800_000_000.0
ADA = Identity("acme", "ada", "Ada", parse_rules({"tasks/*": {"access": "write", "where": {"owner": "ada"}}}))


def passes(nid: int, key: bytes = KEY, now: float = NOW) -> Passes:
    return Passes(key, nid, lambda: now)


def forged(claims: dict[str, Any] | None = None, key: bytes | None = KEY, **header: Any) -> str:
    found = {"aud": "collab-node", "exp": int(NOW) + 30, "from": 1, "nid": 2} | (claims or {})
    algorithm = "HS256" if key is not None else "none"
    return jwt.encode(found, key or "", algorithm=algorithm, headers=header)


def test_a_pass_says_who_asks_and_for_whom() -> None:
    assert passes(2).check(passes(1).issue(2)) == Pass(1)
    shown = passes(1).issue(2, address="192.0.2.7", identity=ADA)
    assert passes(2).check(shown) == Pass(1, "192.0.2.7", ADA)


@given(IDENTITIES)
def test_an_identity_survives_in_a_pass(identity: Identity) -> None:
    assert repr(passes(2).check(passes(1).issue(2, identity=identity)).identity) == repr(identity)


def test_a_pass_that_nobody_forged_is_accepted() -> None:
    assert passes(2).check(forged()) == Pass(1)


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (lambda: passes(1).issue(3), "another node"),
        (lambda: passes(1, now=NOW - LIFETIME).issue(2), "expired"),
        (lambda: passes(1, key=b"x" * 32).issue(2), "not a request"),
        (lambda: passes(1).issue(2)[:-2], "not a request"),
        (lambda: forged(key=None), "not a request"),
        (lambda: forged({"aud": "collab"}), "not a request"),
        (lambda: forged({"nid": True, "from": 1}), "not a request"),
        (lambda: forged({"nid": "2"}), "not a request"),
        (lambda: forged({"exp": "9999999999"}), "not a request"),
        (lambda: forged({"exp": 1e400}), "not a request"),
        (lambda: forged({"address": 7}), "not a request"),
        (lambda: forged({"identity": 7}), "cannot read"),
        (lambda: forged({"identity": "!"}), "cannot read"),
        (lambda: forged({"identity": "anVuaw=="}), "cannot read"),
        (lambda: forged({"scope": "read"}), "does not know"),
        (lambda: forged(kid="other"), "does not know"),
        (lambda: forged(crit=["exp"]), "not"),
        (lambda: "", "not a request"),
        (lambda: "é.ü.ö", "not a request"),
        (lambda: "a" * (LONGEST_PASS + 1), "not a request"),
    ],
)
def test_any_other_pass_is_refused(shown: Any, why: str) -> None:
    with pytest.raises(PermissionDenied, match=why):
        passes(2).check(shown())


def test_a_tampered_pass_is_refused() -> None:
    header, _, signature = passes(1).issue(2).split(".")
    claims = {"aud": "collab-node", "exp": int(NOW) + 9999, "from": 1, "nid": 2}
    payload = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    with pytest.raises(PermissionDenied):
        passes(2).check(f"{header}.{payload}.{signature}")


@pytest.mark.parametrize("missing", ["aud", "exp", "from", "nid"])
def test_every_claim_is_required(missing: str) -> None:
    claims = {"aud": "collab-node", "exp": int(NOW) + 30, "from": 1, "nid": 2}
    del claims[missing]
    with pytest.raises(PermissionDenied):
        passes(2).check(jwt.encode(claims, KEY, algorithm="HS256"))


def test_a_pass_for_an_identity_that_fits_into_no_header_is_not_issued() -> None:
    names = {f"tasks/{hash((number, 'x')) % 2**60:x}": "read" for number in range(2000)}
    with pytest.raises(TooLarge):
        passes(1).issue(2, identity=Identity("acme", "ada", rules=parse_rules(names)))


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Passes(b"short", 1)
