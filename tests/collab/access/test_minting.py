"""Tokens of our own: signed with the configured secret, and refused before the server would refuse them."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from collab.access.configuration import Issuer
from collab.access.credentials import Authenticator
from collab.access.minting import mint, signer_of
from collab.access.rules import Access
from collab.errors import InvalidRequest
from collab.names import RoomKey

NOW = 1_800_000_000.5
SIGNER = Issuer(
    issuer="own",
    audience=("a", "b"),
    authorized_party="page",
    algorithm="HS256",
    secret="s" * 32,
    projects=["team-*"],
    project_claim="org",
)


def minted(**changes: Any) -> str:
    said: dict[str, Any] = {"access": {"notes/*": "write"}, "seconds": 60, "now": NOW, "token_id": "t1"} | changes
    return mint(SIGNER, said.pop("user", "ada"), **said)


def test_a_token_says_who_may_what_and_how_long() -> None:
    rule = {"access": "read", "where": {"team": "$claims.team"}}
    token = minted(
        name="Ada", project="team-1", access={"tasks/*": rule}, channels=["c"], claims={"team": "red", "extra": [1]}
    )
    identity = Authenticator(issuers=[SIGNER]).authenticate(token, NOW)
    assert (identity.project, identity.user_id, identity.name) == ("team-1", "ada", "Ada")
    assert (identity.token_id, identity.issued_at, identity.channels) == ("t1", 1_800_000_000.0, ("c",))
    assert identity.expires_at == 1_800_000_065.0
    task = RoomKey("team-1", "tasks", "t")
    assert identity.access_to_row(task, {"id": "t", "team": "red"}) is Access.READ
    assert identity.access_to_row(task, {"id": "t", "team": "blue"}) is Access.NONE
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["aud"], claims["azp"], claims["extra"]) == ("a", "page", [1])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"user": ""}, "sub is empty"),
        ({"user": "a" * 256}, "claim sub"),
        ({"access": {"notes": "write"}}, "claim access"),
        ({"access": {"notes/*": {"access": "read", "where": {"team": "$claims.team"}}}}, "claim that this credential"),
        ({"project": "other"}, "may not speak for that project"),
        ({"name": "a" * 256}, "claim name"),
        ({"seconds": -60}, "has expired"),
        ({"channels": [""]}, "claim channels"),
        ({"claims": {"sub": "eve", "x": 1}}, "claims may not have sub"),
        ({"claims": {"org": "team-2"}}, "claims may not have org"),
        ({"claims": {"x": object()}}, "not a token"),
        ({"claims": {"x": "y" * 20_000}}, "would refuse this token"),
    ],
)
def test_a_token_that_would_be_refused_is_not_made(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        minted(**changes)


def test_the_signer_is_the_issuer_with_a_secret() -> None:
    public = Issuer(oidc_issuer="https://login.example.com", audience="a", algorithm="RS256")
    other = Issuer(issuer="other", audience="a", algorithm="HS256", secret="o" * 32)
    older = Issuer(issuer="own", audience="a", algorithm="HS256", secret="x" * 32)
    assert signer_of([public, SIGNER]) is SIGNER
    assert signer_of([SIGNER, older]) is SIGNER, "while the secret is replaced, the first signs"
    assert signer_of([SIGNER, other], "other") is other
    for issuers, name, complaint in (
        ([public], None, "COLLAB_JWT_SECRET"),
        ([SIGNER, other], None, "choose the issuer that signs: own, other"),
        ([SIGNER], "https://login.example.com", "by that name"),
    ):
        with pytest.raises(InvalidRequest, match=complaint):
            signer_of(issuers, name)


def test_a_token_without_an_id_is_known_by_what_was_signed() -> None:
    claims = {"iss": "own", "aud": "a", "azp": "page", "sub": "ada", "exp": NOW + 60}
    token = jwt.encode(claims, "s" * 32)
    known = Authenticator(issuers=[SIGNER])
    found = known.authenticate(token, NOW).token_id
    assert found is not None
    assert found.startswith("sha256:")
    # the last character holds bits that nobody reads: the same signature in other letters
    last = {token[:-1] + letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"}
    same = []
    for each in last:
        try:
            same.append(known.authenticate(each, NOW).token_id)
        except Exception:
            continue
    assert set(same) == {found}
    assert known.authenticate(jwt.encode({**claims, "iat": "x"}, "s" * 32), NOW).issued_at is None
