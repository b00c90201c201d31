"""Tokens become identities only if everything about them is right; no error says more than it must."""

from __future__ import annotations

import base64
import json
import logging
from hashlib import sha256
from hmac import digest
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from collab.access.configuration import ApiKey, Issuer
from collab.access.credentials import LONGEST_TOKEN, Authenticator
from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import AuthenticationFailed
from collab.names import RoomKey

NOW = 1_800_000_000.0
SECRET = "0123456789abcdef" * 4
LOGIN = "https://login.example.com"
CANARY = "canary-7f3a9c-do-not-log-me"

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def issuer(**changes: Any) -> Issuer:
    return Issuer(**{"issuer": LOGIN, "audience": "collab", "algorithm": "HS256", "secret": SECRET} | changes)


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token at ``NOW``; a change to ``...`` leaves the claim out."""
    good = {"iss": LOGIN, "aud": "collab", "sub": "ada", "exp": NOW + 60} | changes
    return {claim: value for claim, value in good.items() if value is not ...}


def mint(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], payload: bytes | dict[str, Any], secret: str = SECRET) -> str:
    """A token signed with HMAC-SHA256, whatever header and payload say."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{b64(json.dumps(header).encode())}.{b64(body)}"
    return f"{signed}.{b64(digest(secret.encode(), signed.encode(), 'sha256'))}"


def refused(authenticator: Authenticator, token: str | None, now: float = NOW) -> str:
    with pytest.raises(AuthenticationFailed) as error:
        authenticator.authenticate(token, now)
    return error.value.message


HS = Authenticator(issuers=[issuer()])


# without credentials


def test_without_configured_credentials_everybody_may_write() -> None:
    identity = Authenticator().authenticate(None, NOW)
    assert identity.user_id is None
    assert identity.access_to(RoomKey("default", "documents", "a")) is Access.WRITE
    assert Authenticator().is_open


def test_with_configured_credentials_a_token_is_required() -> None:
    for authenticator in (HS, Authenticator(keys=[ApiKey(key="k" * 16, rules={})])):
        assert not authenticator.is_open
        assert refused(authenticator, None) == refused(authenticator, "") == "a token is required"


# API keys


def test_an_api_key_speaks_for_its_project_with_its_rules() -> None:
    key = ApiKey(key="service-key-0001", project="acme", user_id="robot", name="Robot", rules={"tasks/*": "read"})
    identity = Authenticator(keys=[key]).authenticate("service-key-0001", NOW)
    assert identity == Identity("acme", "robot", "Robot", identity.rules, credential=identity.credential)
    assert identity.expires_at is None
    assert identity.access_to(RoomKey("acme", "tasks", "1")) is Access.READ
    assert identity.access_to(RoomKey("acme", "documents", "1")) is Access.NONE
    assert identity.access_to(RoomKey("other", "tasks", "1")) is Access.NONE


def test_a_key_may_be_configured_by_its_hash() -> None:
    hashed = ApiKey(key_sha256=sha256(b"service-key-0001").hexdigest().upper(), rules={"*/*": "write"})
    authenticator = Authenticator(keys=[ApiKey(key="another-key-0002", project="b", rules={}), hashed])
    assert authenticator.authenticate("service-key-0001", NOW).project == "default"
    assert authenticator.authenticate("another-key-0002", NOW).project == "b"
    refused(authenticator, hashed.key_sha256)


@pytest.mark.parametrize(
    "token", ["service-key-000", "service-key-00011", "SERVICE-KEY-0001", "\ud800", "é" * 16, "\0"]
)
def test_almost_a_key_is_none(token: str) -> None:
    assert refused(Authenticator(keys=[ApiKey(key="service-key-0001", rules={})]), token) == "the token is not valid"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"rules": {}}, "either key or key_sha256"),
        ({"key": "k" * 16, "key_sha256": "0" * 64, "rules": {}}, "either key or key_sha256"),
        ({"key": "short", "rules": {}}, "at least 16"),
        ({"key_sha256": "xyz", "rules": {}}, "hexadecimal"),
        ({"key": "k" * 16, "rules": {"everything": "write"}}, "pattern"),
        ({"key": "k" * 16, "rules": {}, "project": "a/b"}, "project"),
    ],
)
def test_a_key_that_makes_no_sense_is_an_error(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ApiKey(**fields)


# JSON web tokens: the signature


@pytest.mark.parametrize(
    ("private", "algorithm", "fields"),
    [
        (SECRET, "HS256", {"secret": SECRET}),
        (RSA_KEY, "RS256", {"secret": None, "public_key": pem(RSA_KEY)}),
        (EC_KEY, "ES256", {"secret": None, "public_key": pem(EC_KEY)}),
    ],
    ids=["HS256", "RS256", "ES256"],
)
def test_the_three_algorithms_verify(private: Any, algorithm: str, fields: dict[str, Any]) -> None:
    authenticator = Authenticator(issuers=[issuer(algorithm=algorithm, **fields)])
    identity = authenticator.authenticate(mint(private, algorithm, name="Ada", access={"documents/*": "write"}), NOW)
    assert (identity.project, identity.user_id, identity.name) == ("default", "ada", "Ada")
    assert identity.access_to(RoomKey("default", "documents", "a")) is Access.WRITE
    body = mint(private, algorithm).rsplit(".", 1)[0]
    for signature in ("", "AAAA", b64(bytes(64)), b64(bytes(256))):
        assert refused(authenticator, f"{body}.{signature}") == "the token is not valid"


def test_a_token_signed_with_another_key_is_refused() -> None:
    refused(HS, mint("f" * 64))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    refused(
        Authenticator(issuers=[issuer(algorithm="RS256", secret=None, public_key=pem(RSA_KEY))]), mint(other, "RS256")
    )


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, ["HS256"]])
def test_the_algorithm_none_is_impossible(algorithm: object) -> None:
    header = {"typ": "JWT", "alg": algorithm}
    unsigned = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims()).encode())}."
    assert refused(HS, unsigned) == "the token is not valid"
    assert refused(HS, by_hand(header, claims())) == "the token is not valid"
    assert refused(HS, by_hand(header, claims(), "")) == "the token is not valid"


def test_a_public_key_is_no_secret() -> None:
    for key, algorithm in ((RSA_KEY, "RS256"), (EC_KEY, "ES256")):
        authenticator = Authenticator(issuers=[issuer(algorithm=algorithm, secret=None, public_key=pem(key))])
        for known in (pem(key), pem(key).strip()):
            refused(authenticator, by_hand({"alg": "HS256", "typ": "JWT"}, claims(), known))
            refused(authenticator, by_hand({"alg": algorithm, "typ": "JWT"}, claims(), known))


def test_each_issuer_has_one_algorithm() -> None:
    strong = "0123456789abcdef" * 8
    refused(Authenticator(issuers=[issuer(secret=strong)]), mint(strong, "HS512"))
    # the same issuer with two algorithms: each token is held against the key of its own
    both = [issuer(), issuer(algorithm="ES256", secret=None, public_key=pem(EC_KEY))]
    assert Authenticator(issuers=both).authenticate(mint(), NOW).user_id == "ada"
    assert Authenticator(issuers=both).authenticate(mint(EC_KEY, "ES256"), NOW).user_id == "ada"


def test_keys_rotate_by_configuring_the_issuer_twice() -> None:
    both = Authenticator(issuers=[issuer(secret="n" * 64), issuer()])
    assert both.authenticate(mint(), NOW) == both.authenticate(mint("n" * 64), NOW)


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"b64": False}, {"crit": []}])
def test_extensions_that_change_what_is_signed_are_refused(header: dict[str, Any]) -> None:
    refused(HS, by_hand({"alg": "HS256", "typ": "JWT"} | header, claims()))


@pytest.mark.parametrize("header", [{"jwk": {"kty": "oct", "k": b64(b"x" * 64)}}, {"jku": "https://evil.com/keys"}])
def test_a_token_cannot_bring_its_own_key(header: dict[str, Any]) -> None:
    refused(HS, by_hand({"alg": "HS256", "typ": "JWT"} | header, claims(), "x" * 64))


# JSON web tokens: the claims


@pytest.mark.parametrize("wanted", ["iss", "aud", "exp", "sub"])
def test_issuer_audience_expiry_and_subject_are_required(wanted: str) -> None:
    assert refused(HS, jwt.encode(claims(**{wanted: ...}), SECRET, algorithm="HS256")) == "the token is not valid"


@pytest.mark.parametrize(
    "value", ["https://evil.com", LOGIN + "/", LOGIN.upper(), "", [LOGIN], {"iss": LOGIN}, 1, None]
)
def test_the_issuer_is_exact(value: object) -> None:
    refused(HS, by_hand({"alg": "HS256", "typ": "JWT"}, claims(iss=value)))


@pytest.mark.parametrize("value", ["other", "collab2", "COLLAB", "", [], ["other"], {"collab": 1}, 1, None])
def test_the_audience_is_ours(value: object) -> None:
    refused(HS, by_hand({"alg": "HS256", "typ": "JWT"}, claims(aud=value)))


def test_one_of_several_audiences_may_be_ours() -> None:
    assert HS.authenticate(mint(aud=["other", "collab"]), NOW).user_id == "ada"


def test_several_audiences_may_be_ours() -> None:
    several = Authenticator(issuers=[issuer(audience=("collab", "api"))])
    assert several.authenticate(mint(aud="api"), NOW).user_id == "ada"
    assert several.authenticate(mint(aud=["x", "collab"]), NOW).user_id == "ada"
    refused(several, mint(aud="x"))
    refused(several, mint(aud=["collab api"]))
    refused(several, mint(aud=...))


def test_name_and_project_may_have_claims_of_their_own() -> None:
    named = issuer(name_claim="user_metadata.full_name", project_claim="https://app/org", projects=["acme"])
    authenticator = Authenticator(issuers=[named])
    org = "https://app/org"

    def of(**said: Any) -> str:
        return jwt.encode(claims() | {org: "acme"} | said.pop("more", {}) | said, SECRET)

    token = of(user_metadata={"full_name": "Ada"}, name="x", project="evil")
    identity = authenticator.authenticate(token, NOW)
    assert (identity.name, identity.project) == ("Ada", "acme")
    assert authenticator.authenticate(of(user_metadata="Ada"), NOW).name is None
    refused(authenticator, of(more={org: "other"}))
    refused(authenticator, of(more={org: None}))


def test_a_claim_of_any_depth_is_told_in_short() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    with pytest.raises(AuthenticationFailed) as error:
        HS.authenticate(mint(aud=deep), NOW)
    assert error.value.reason.endswith("its audience (a list) is not collab")


def test_a_token_of_one_issuer_does_not_pass_for_another() -> None:
    other = issuer(issuer="https://other.example.com", secret="o" * 64, project="other")
    authenticator = Authenticator(issuers=[issuer(), other])
    assert authenticator.authenticate(mint("o" * 64, iss=other.issuer), NOW).project == "other"
    refused(authenticator, mint("o" * 64))
    refused(authenticator, mint(iss=other.issuer))


def test_a_token_is_good_until_its_expiry_and_a_little_skew() -> None:
    token = mint(exp=NOW + 60)
    assert HS.authenticate(token, NOW + 64.9).expires_at == NOW + 65
    assert refused(HS, token, NOW + 65) == "the token has expired"
    strict = Authenticator(issuers=[issuer(leeway_seconds=0)])
    assert strict.authenticate(token, NOW + 59.9).expires_at == NOW + 60
    assert refused(strict, token, NOW + 60) == "the token has expired"


def test_a_token_is_not_good_before_its_time() -> None:
    token = mint(nbf=NOW + 10)
    assert refused(HS, token, NOW + 4.9) == "the token is not valid yet"
    assert HS.authenticate(token, NOW + 5).user_id == "ada"


def test_a_clock_of_the_issuer_that_is_ahead_does_no_harm() -> None:
    assert HS.authenticate(mint(iat=NOW + 3600), NOW).user_id == "ada"


@pytest.mark.parametrize(
    "payload", [b"true", b'"9"', b"null", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1", b"[]", b"{}"]
)
@pytest.mark.parametrize("claim", ["exp", "nbf"])
def test_a_time_that_is_none_is_refused(claim: str, payload: bytes) -> None:
    body = json.dumps(claims(**{claim: "@"})).encode().replace(b'"@"', payload)
    refused(HS, by_hand({"alg": "HS256", "typ": "JWT"}, body))


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'"text"', b"1", b"null", b"{", b"\xff\xfe", b"[" * 5000, b'{"iss":' * 2000]
)
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    assert refused(HS, by_hand({"alg": "HS256", "typ": "JWT"}, payload)) == "the token is not valid"


@pytest.mark.parametrize("value", ["", "a" * 256, 7, None, ["ada"], "\ud800"])
def test_the_subject_is_a_text_of_bounded_length(value: object) -> None:
    refused(HS, by_hand({"alg": "HS256", "typ": "JWT"}, claims(sub=value)))


@pytest.mark.parametrize("value", ["a" * 256, 7, ["Ada"], {"en": "Ada"}, "\udfff"])
def test_a_name_is_a_text_of_bounded_length(value: object) -> None:
    refused(HS, by_hand({"alg": "HS256", "typ": "JWT"}, claims(name=value)))


def test_an_identity_has_the_claims_of_its_token() -> None:
    ada = Authenticator(issuers=[issuer()]).authenticate(mint(role="agent", teams=["red"]), NOW)
    assert ada.claims == claims(role="agent", teams=["red"])
    promoted = Authenticator(issuers=[issuer()]).authenticate(mint(role="manager", teams=["red"]), NOW)
    assert promoted != ada, "a hook may give it other rights"
    assert "agent" not in repr(ada), "an identity may be logged"


def test_a_name_may_be_missing() -> None:
    assert HS.authenticate(mint(), NOW).name is None
    assert HS.authenticate(mint(name=None), NOW).name is None
    assert HS.authenticate(mint(name=""), NOW).name is None


# JSON web tokens: projects and rights


def test_n3_an_issuer_speaks_only_for_its_projects() -> None:
    single = Authenticator(issuers=[issuer(project="acme")])
    assert single.authenticate(mint(), NOW).project == "acme"
    assert single.authenticate(mint(project="acme"), NOW).project == "acme"
    for project in ("default", "ACME", "acme2", "*", "acme/x", "", 7, None, ["acme"]):
        refused(single, mint(project=project))
    several = Authenticator(issuers=[issuer(project="acme", projects=["team-*", "lab"])])
    assert several.authenticate(mint(project="team-7"), NOW).project == "team-7"
    assert several.authenticate(mint(project="lab"), NOW).project == "lab"
    assert several.authenticate(mint(), NOW).project == "acme"
    for project in ("labs", "team", "xteam-7", "acme", "team-a/b"):
        refused(several, mint(project=project))


def test_without_the_claim_access_the_issuers_rules_hold_and_they_default_to_nothing() -> None:
    room = RoomKey("default", "documents", "a")
    assert HS.authenticate(mint(), NOW).access_to(room) is Access.NONE
    generous = Authenticator(issuers=[issuer(rules={"documents/*": "read"})])
    assert generous.authenticate(mint(), NOW).access_to(room) is Access.READ
    assert generous.authenticate(mint(access={}), NOW).access_to(room) is Access.NONE
    assert generous.authenticate(mint(access={"documents/*": "write"}), NOW).access_to(room) is Access.WRITE


def test_the_claim_access_is_read_in_order() -> None:
    access = {"documents/private-*": "none", "documents/*": "write", "*/*": "read"}
    identity = HS.authenticate(mint(access=access), NOW)
    assert identity.access_to(RoomKey("default", "documents", "private-1")) is Access.NONE
    assert identity.access_to(RoomKey("default", "documents", "a")) is Access.WRITE
    assert identity.access_to(RoomKey("default", "tasks", "a")) is Access.READ


@pytest.mark.parametrize(
    "access",
    [
        "write",
        ["documents/*"],
        None,
        {"documents/*": "admin"},
        {"documents/*": "WRITE"},
        {"documents/*": 2},
        {"documents/*": True},
        {"documents/*": None},
        {"*": "write"},
        {"": "write"},
        {"documents/../*": "write"},
        {f"documents/{number}": "read" for number in range(257)},
    ],
)
def test_rights_that_make_no_sense_are_refused_as_a_whole(access: object) -> None:
    assert "access" in refused(HS, mint(access=access))


def test_the_claim_access_may_hold_conditions_on_rows() -> None:
    access = {"tasks/*": {"access": "write", "where": {"owner": "$userId", "team": {"in": "$claims.teams"}}}}
    identity = HS.authenticate(mint(access=access, teams=["red"]), NOW)
    task = RoomKey("default", "tasks", "t")
    assert identity.access_to_row(task, {"id": "t", "owner": "ada", "team": "red"}) is Access.WRITE
    assert identity.access_to_row(task, {"id": "t", "owner": "bob", "team": "red"}) is Access.NONE
    assert identity.access_to_row(task, {"id": "t", "owner": "ada", "team": "blue"}) is Access.NONE
    assert "claim" in refused(HS, mint(access=access))
    assert "where" in refused(HS, mint(access={"tasks/*": {"access": "read", "where": {"owner": {"lt": True}}}}))


def test_an_issuers_rules_may_name_the_user_of_each_token() -> None:
    rules = {"tasks/*": {"access": "read", "where": {"owner": "$userId", "level": "$claims.level"}}}
    trusting = Authenticator(issuers=[msgspec.convert(msgspec.to_builtins(issuer()) | {"rules": rules}, Issuer)])
    task = RoomKey("default", "tasks", "t")
    row = {"id": "t", "owner": "bob", "level": 3}
    assert trusting.authenticate(mint(sub="bob", level=3), NOW).access_to_row(task, row) is Access.READ
    assert trusting.authenticate(mint(level=3), NOW).access_to_row(task, row) is Access.NONE


def test_an_api_keys_rules_may_name_its_user() -> None:
    table = {"key": "service-key-0001", "rules": {"tasks/*": {"access": "read", "where": {"owner": "$userId"}}}}
    robot = Authenticator(keys=[msgspec.convert(table | {"user_id": "robot"}, ApiKey)])
    task = RoomKey("default", "tasks", "t")
    identity = robot.authenticate("service-key-0001", NOW)
    assert identity.access_to_row(task, {"id": "t", "owner": "robot"}) is Access.READ
    with pytest.raises(msgspec.ValidationError, match="no user"):
        msgspec.convert(table, ApiKey)


# channels


def test_a_credential_may_grant_channels() -> None:
    assert HS.authenticate(mint(channels=["team_1", "team_2", "team_1"]), NOW).channels == ("team_1", "team_2")
    assert HS.authenticate(mint(), NOW).channels == ()
    key = ApiKey(key="service-key-0001", rules={}, channels=["team_1"])
    assert Authenticator(keys=[key]).authenticate("service-key-0001", NOW).channels == ("team_1",)


@pytest.mark.parametrize(
    "channels", ["team_1", None, [1], [""], ["x" * 256], ["\ud800"], {"team_1": True}, [f"c{n}" for n in range(257)]]
)
def test_channels_that_make_no_sense_are_refused(channels: object) -> None:
    assert "channels" in refused(HS, mint(channels=channels))


# an API key beside a user's token


BOTH = Authenticator(
    [ApiKey(key="service-key-0001", rules={"*/*": "write"}), ApiKey(key="service-key-0002", project="acme", rules={})],
    [issuer()],
)


def test_beside_an_api_key_the_token_says_who_and_what() -> None:
    identity = BOTH.authenticate(mint(access={"tasks/*": "read"}), NOW, "service-key-0001")
    assert identity.user_id == "ada"
    assert identity.access_to(RoomKey("default", "tasks", "1")) is Access.READ


def test_an_api_key_alone_is_the_token() -> None:
    assert BOTH.authenticate(None, NOW, "service-key-0002").project == "acme"


def test_both_credentials_must_be_good_and_of_one_project() -> None:
    for token, key in ((mint(), "service-key-0003"), (None, "service-key-0003"), (mint(exp=1), "service-key-0001")):
        with pytest.raises(AuthenticationFailed):
            BOTH.authenticate(token, NOW, key)
    with pytest.raises(AuthenticationFailed, match="different projects"):
        BOTH.authenticate(mint(), NOW, "service-key-0002")
    with pytest.raises(AuthenticationFailed):
        BOTH.authenticate(None, NOW, "k" * (LONGEST_TOKEN + 1))


# what nobody should see or suffer


@pytest.mark.parametrize(
    "token",
    [
        "a.b.c",
        "..",
        "a.b",
        "a.b.c.d.e",
        "eyJ.eyJ.x",
        "\0.\0.\0",
        "é.é.é",
        "\ud800.a.b",
        ".",
        "=.=.=",
        "a" * (LONGEST_TOKEN + 1),
    ],
)
def test_nonsense_is_refused(token: str) -> None:
    assert refused(HS, token) == "the token is not valid"


@given(st.text(max_size=200))
def test_no_text_is_more_than_refused(token: str) -> None:
    with pytest.raises(AuthenticationFailed):
        HS.authenticate(token, NOW)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=40))
def test_no_bytes_in_the_form_of_a_token_are_more_than_refused(head: bytes, body: bytes, tail: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        HS.authenticate(f"{b64(head)}.{b64(body)}.{b64(tail)}", NOW)


def test_a_token_for_someone_unknown_reads_like_a_forged_one() -> None:
    assert refused(HS, mint(iss="https://nobody.example")) == refused(HS, mint("f" * 64)) == refused(HS, "nonsense")


def test_neither_errors_nor_logs_nor_representations_hold_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = ApiKey(key=CANARY, user_id="robot", rules={})
    trusted = issuer(secret=CANARY + SECRET)
    authenticator = Authenticator(keys=[key], issuers=[trusted])
    told = [repr(key), repr(trusted), repr(authenticator), str([key, trusted])]
    tokens = [
        CANARY + "x",
        mint(CANARY * 2),
        mint(CANARY + SECRET, exp=NOW - 60, sub=CANARY),
        mint(CANARY + SECRET, access=CANARY),
        mint(CANARY + SECRET, project=CANARY + "/"),
        mint(CANARY + SECRET, sub="a", name=[CANARY]),
        mint(CANARY + SECRET, access={CANARY: "write"}),
        mint(CANARY + SECRET, access={"documents/*": CANARY}),
    ]
    for token in tokens:
        with pytest.raises(AuthenticationFailed) as error:
            authenticator.authenticate(token, NOW)
        told += [str(error.value), repr(error.value), repr(error.value.details)]
        assert token not in " ".join(told)
    told += caplog.messages
    assert CANARY not in " ".join(told)


# issuers that make no sense


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"secret": "short"}, "32 bytes"),
        ({"secret": None}, "HS256 needs secret"),
        ({"public_key": pem(RSA_KEY)}, "no public_key"),
        ({"secret": pem(RSA_KEY)}, "random secret"),
        ({"algorithm": "RS256"}, "RS256 needs one of public_key"),
        ({"algorithm": "RS256", "public_key": pem(RSA_KEY)}, "no secret"),
        ({"algorithm": ("RS256", "ES256"), "secret": None, "public_key": pem(RSA_KEY)}, "P-256"),
        ({"jwks_url": f"{LOGIN}/keys"}, "no public_key, jwks_url"),
        ({"secret": None, "jwks_url": f"{LOGIN}/keys"}, "HS256 needs secret"),
        ({"algorithm": ("RS256", "HS256")}, "no other algorithm"),
        ({"algorithm": "RS256", "secret": None, "jwks_url": "http://login.example.com/keys"}, "https"),
        ({"algorithm": "RS256", "secret": None, "jwks_url": "https://a:b@login.example.com/keys"}, "https"),
        ({"algorithm": "RS256", "secret": None, "jwks_url": "ftp://login.example.com/keys"}, "https"),
        ({"algorithm": "RS256", "secret": None, "oidc_issuer": "https://other.example.com"}, "set one of them"),
        ({"issuer": ""}, "needs issuer, or oidc_issuer"),
        ({"audience": ()}, "needs audience"),
        ({"algorithm": "RS256", "secret": None, "public_key": pem(EC_KEY)}, "RS256 needs an RSA"),
        ({"algorithm": "ES256", "secret": None, "public_key": pem(RSA_KEY)}, "P-256"),
        (
            {"algorithm": "ES256", "secret": None, "public_key": pem(ec.generate_private_key(ec.SECP384R1()))},
            "P-256",
        ),
        ({"algorithm": "RS256", "secret": None, "public_key": "not a key"}, "PEM"),
        ({"projects": ["a/b"]}, "projects"),
        ({"project": ".."}, "project"),
        ({"rules": {"*": "write"}}, "pattern"),
    ],
)
def test_an_issuer_whose_parts_do_not_fit_is_an_error(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        issuer(**fields)


def test_a_weak_rsa_key_is_an_error() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(ValueError, match="2048"):
        issuer(algorithm="RS256", secret=None, public_key=pem(weak))
