"""Keys are fetched from a real issuer over HTTP, when tokens need them and not more often."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from hmac import digest
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collab import AuthenticationFailed, Collab, CollabError, Settings, Unavailable
from collab.access.configuration import Issuer
from collab.access.credentials import Authenticator
from collab.access.key_sets import FRESH_SECONDS, KEPT_SECONDS, PAUSE_SECONDS
from collab.server.key_fetcher import MOST_BYTES, KeyFetcher
from tests.collab.client.world import until
from tests.collab.server.login import Login, issuing
from tests.collab.serving import serving


class Server:
    """The part of a server that knows tokens, with a clock of its own."""

    def __init__(self, *issuers: Issuer, seconds: float = 5.0) -> None:
        self.now = 1000.0
        self.authenticator = Authenticator(issuers=issuers)
        self.fetcher = KeyFetcher(self.authenticator, self._failed, seconds=seconds, clock=lambda: self.now)

    async def user(self, token: str) -> str | None:
        await self.fetcher.prepare(token)
        return self.authenticator.authenticate(token, time.time(), clock=self.now).user_id

    async def refusal(self, token: str) -> CollabError:
        with pytest.raises(CollabError) as error:
            await self.user(token)
        return error.value

    async def reason(self, token: str) -> str:
        error = await self.refusal(token)
        assert isinstance(error, AuthenticationFailed)
        assert error.message in ("the token is not valid", "the token has expired")
        return error.reason

    def _failed(self, error: BaseException) -> None:
        raise AssertionError from error


Make = Callable[..., Server]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes servers that are stopped after the test."""
    made: list[Server] = []

    def one(*issuers: Issuer, seconds: float = 5.0) -> Server:
        made.append(Server(*issuers, seconds=seconds))
        return made[-1]

    yield one
    for server in made:
        await server.fetcher.stop()


def issuer(login: Login, **changes: Any) -> Issuer:
    known = {"oidc_issuer": login.url, "audience": "collab", "algorithm": "RS256"}
    return Issuer(**known | changes)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_is_verified_with_the_keys_that_its_issuer_publishes(make: Make, algorithm: str) -> None:
    async with issuing(algorithm) as login:
        server = make(issuer(login, algorithm=("RS256", "ES256", "EdDSA")))
        assert [await server.user(login.token()) for _ in range(3)] == ["ada"] * 3
        assert login.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_a_key_set_may_be_named_directly(make: Make) -> None:
    async with issuing() as login:
        server = make(issuer(login, oidc_issuer=None, issuer=login.url, jwks_url=f"{login.url}/jwks.json"))
        assert await server.user(login.token()) == "ada"
        assert login.asked == ["/jwks.json"]


async def test_tokens_that_come_together_cause_one_fetch(make: Make) -> None:
    async with issuing() as login:
        server = make(issuer(login), issuer(login, audience="another"))
        users = await asyncio.gather(*(server.user(login.token(sub=f"u{each}")) for each in range(50)))
        assert len(set(users)) == 50
        assert login.asked.count("/keys") == 1


async def test_a_new_key_is_fetched_when_a_token_names_it_and_an_old_one_is_no_longer_accepted(make: Make) -> None:
    async with issuing() as login:
        server = make(issuer(login))
        old = login.token()
        assert await server.user(old) == "ada"
        login.rotate("two")
        server.now += PAUSE_SECONDS
        assert await server.user(login.token("two")) == "ada"
        server.now += PAUSE_SECONDS
        assert "publishes no key 'one'" in await server.reason(old)


async def test_unknown_keys_are_not_fetched_more_often_than_every_few_seconds(make: Make) -> None:
    async with issuing() as login:
        server = make(issuer(login))
        assert await server.user(login.token()) == "ada"
        forged = [login.token(headers={"kid": f"forged-{each}"}) for each in range(100)]
        server.now += PAUSE_SECONDS - 0.05  # the rest passes while they wait
        told = asyncio.gather(*(server.reason(token) for token in forged))
        await asyncio.sleep(0)
        server.now += 1
        assert all("publishes no key 'forged-" in reason for reason in await told)
        assert login.asked.count("/keys") == 2
        assert await server.user(login.token()) == "ada"
        assert login.asked.count("/keys") == 2


async def test_a_withdrawn_key_is_noticed_though_every_token_names_it(make: Make) -> None:
    async with issuing() as login:
        server = make(issuer(login))
        token = login.token()
        assert await server.user(token) == "ada"
        login.rotate("two")
        server.now += FRESH_SECONDS
        assert await server.user(token) == "ada", "the keys are asked for again, and nobody waits"
        await until(lambda: login.asked.count("/keys") == 2 and not server.fetcher._fetching)
        server.now += PAUSE_SECONDS
        assert "publishes no key 'one'" in await server.reason(token)


async def test_while_the_issuer_is_down_known_keys_go_on_for_a_day(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with issuing() as login:
        server = make(issuer(login))
        assert await server.user(login.token()) == "ada"
        login.status = 503
        for _ in range(3):
            server.now += FRESH_SECONDS
            assert await server.user(login.token()) == "ada"
            await until(lambda: not server.fetcher._fetching)
        unknown = await server.refusal(login.token(headers={"kid": "new"}))
        assert isinstance(unknown, Unavailable), "a client may come back: the token may be good"
        assert unknown.retryable
        server.now += KEPT_SECONDS
        assert isinstance(await server.refusal(login.token()), Unavailable)
        complaints = [message for message in caplog.messages if "could not fetch" in message]
        assert len(complaints) == 1, "an outage is logged once"
        assert "status 503; its 1 keys stay in use (for at most 24 hours" in complaints[0]
        login.status = 200
        server.now += PAUSE_SECONDS
        assert await server.user(login.token()) == "ada"
        assert caplog.messages[-1] == f"fetched 1 keys of {login.url}"


async def test_an_issuer_that_is_down_from_the_start_is_asked_again(make: Make) -> None:
    async with issuing() as login:
        server = make(issuer(login))
        login.status = 500
        assert isinstance(await server.refusal(login.token()), Unavailable)
        login.status = 200
        assert isinstance(await server.refusal(login.token()), Unavailable), "not at once"
        server.now += PAUSE_SECONDS
        assert await server.user(login.token()) == "ada"


async def test_an_issuer_that_does_not_answer_keeps_nobody_waiting(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async with issuing() as login:
        login.answers.clear()
        server = make(issuer(login), seconds=0.2)
        with anyio.fail_after(20):
            assert isinstance(await server.refusal(login.token()), Unavailable)
        assert "no answer within 0.2 seconds" in caplog.text


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"x" * (MOST_BYTES + 1), f"more than {MOST_BYTES} bytes"),
        (b"<html>", "not a JSON object"),
        (b'{"keys": {}}', "no list of keys"),
        (b'{"keys": []}', "no public key"),
        (json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}]}).encode(), "no public key"),
        (json.dumps({"keys": [{}] * 101}).encode(), "more than 100 keys"),
        (b"[" * 100_000, "not a JSON object"),
    ],
)
async def test_an_answer_of_no_use_is_refused_and_told(
    make: Make, body: bytes, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with issuing() as login:
        login.body = body
        server = make(issuer(login, oidc_issuer=None, issuer=login.url, jwks_url=f"{login.url}/keys"))
        assert isinstance(await server.refusal(login.token()), Unavailable)
        assert complaint in caplog.text


async def test_a_redirect_is_not_followed(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async with issuing() as login:
        login.redirect = f"{login.url}/elsewhere"
        server = make(issuer(login))
        assert isinstance(await server.refusal(login.token()), Unavailable)
        assert "status 307" in caplog.text
        assert "/elsewhere" not in login.asked


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"issuer": "https://evil.example"}, "it calls itself 'https://evil.example'"),
        ({"jwks_uri": "http://169.254.169.254/keys"}, "its jwks_uri is not an https URL"),
        ({"jwks_uri": "file:///etc/passwd"}, "its jwks_uri is not an https URL"),
        ({"jwks_uri": None}, "its jwks_uri is not an https URL"),
    ],
)
async def test_a_discovery_that_speaks_for_another_or_leads_astray_is_refused(
    make: Make, said: dict[str, Any], complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with issuing() as login:
        login.configuration = said
        assert isinstance(await make(issuer(login)).refusal(login.token()), Unavailable)
        assert complaint in caplog.text
        assert login.asked == ["/.well-known/openid-configuration"]


async def test_each_refusal_has_its_reason(make: Make) -> None:
    async with issuing() as login:
        login.rotate("ec", "ES256", keep=True)
        server = make(issuer(login, audience=("collab", "api")))
        assert await server.user(login.token(aud=["x", "api"])) == "ada"
        reasons = {
            "its audience 'x' is not collab or api": login.token(aud="x"),
            'missing the "aud" claim': login.token(aud=...),
            "the token has expired": login.token(exp=time.time() - 60),
            "is not configured for the algorithm 'ES256'": login.token("ec"),
            "its issuer 'https://evil.example' is not configured": login.token(iss="https://evil.example"),
            "Signature verification failed": login.token().rsplit(".", 1)[0] + "." + login.token(a=1).rsplit(".", 1)[1],
        }
        for reason, token in reasons.items():
            assert reason in await server.reason(token)


async def test_a_public_key_is_no_secret_and_no_signature_is_none(make: Make) -> None:
    async with issuing() as login:
        server = make(issuer(login))
        key, _ = login.private["one"]
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        claims = {"iss": login.url, "aud": "collab", "sub": "ada", "exp": time.time() + 60}
        unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "one"})
        assert "the algorithm 'none'" in await server.reason(unsigned)
        head, body, _ = jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": "one"}).split(".")
        for secret in (pem, pem.strip(), json.dumps(login.published[0]).encode()):
            mac = urlsafe_b64encode(digest(secret, f"{head}.{body}".encode(), "sha256")).rstrip(b"=").decode()
            assert "the algorithm 'HS256'" in await server.reason(f"{head}.{body}.{mac}")


async def test_a_token_that_names_no_key_is_held_against_all_that_fit(make: Make) -> None:
    async with issuing() as login:
        login.rotate("two", keep=True)
        server = make(issuer(login))
        assert await server.user(login.token("two", headers={"kid": ...})) == "ada"


async def test_a_configured_key_of_the_same_issuer_goes_on_beside_a_key_set(make: Make) -> None:
    async with issuing() as login:
        login.rotate("old")
        key, _ = login.private["old"]
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        login.rotate("one")
        server = make(issuer(login), issuer(login, oidc_issuer=None, issuer=login.url, public_key=pem))
        assert await server.user(login.token()) == "ada"
        assert await server.user(login.token("old")) == "ada"


async def test_a_party_may_be_required_instead_of_an_audience(make: Make) -> None:
    async with issuing() as login:
        server = make(issuer(login, audience=(), authorized_party="https://app.example.com"))
        assert await server.user(login.token(aud=..., azp="https://app.example.com")) == "ada"
        assert await server.user(login.token(azp="https://app.example.com")) == "ada"
        assert "its claim azp, 'x', is not https://app.example.com" in await server.reason(login.token(azp="x"))
        assert "its claim azp" in await server.reason(login.token())


async def test_a_server_lets_in_whoever_the_issuer_vouches_for_and_logs_whom_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with issuing() as login:
        table: Any = {
            "oidc_issuer": login.url,
            "audience": "collab",
            "algorithm": "RS256",
            "rules": {"tasks/*": "write"},
        }
        settings = Settings(data=str(tmp_path), issuers=[table])
        async with serving(Collab(settings)) as address, httpx.AsyncClient(base_url=f"http://{address}") as http:
            await until(lambda: "/keys" in login.asked)

            async def create(token: str) -> httpx.Response:
                headers = {"authorization": f"Bearer {token}"}
                return await http.post("/api/v1/collections/tasks", json={"title": "a"}, headers=headers)

            assert (await create(login.token())).status_code == 201
            stray = login.token(aud="another", exp=time.time() + 60)
            assert {(await create(stray)).status_code for _ in range(5)} == {401}
            told = [message for message in caplog.messages if "refused a credential" in message]
            assert told == [f"refused a credential: of the issuer '{login.url}': its audience 'another' is not collab"]
            assert stray not in caplog.text
            login.status = 500
            refused = await create(login.token(headers={"kid": "new"}))
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "UNAVAILABLE")
            assert "retry-after" in refused.headers
