"""An issuer of tokens on loopback: OpenID configuration and keys over HTTP, which a test may rotate or break."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tests.collab.serving import serving

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
MADE: dict[str, Callable[[], PrivateKey]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def public_jwk(key: PrivateKey, algorithm: str, **members: Any) -> dict[str, Any]:
    """The public half of a key, as JWK."""
    named = jwt.get_algorithm_by_name(algorithm)
    said: dict[str, Any] = json.loads(named.to_jwk(key.public_key()))
    said.pop("key_ops", None)
    return said | {"use": "sig", "alg": algorithm} | members


class Login:
    """The issuer's state. ``asked`` are the paths that were requested, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.private: dict[str, tuple[PrivateKey, str]] = {}
        self.published: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.status = 200
        self.body: bytes | None = None
        self.redirect: str | None = None
        self.answers = asyncio.Event()  # while it is clear, requests wait
        self.answers.set()
        self.configuration: dict[str, Any] = {}

    def rotate(self, kid: str, algorithm: str = "RS256", *, keep: bool = False) -> None:
        """Publish a new key; ``keep`` the old ones."""
        key = MADE[algorithm]()
        self.private[kid] = (key, algorithm)
        self.published = [*(self.published if keep else []), public_jwk(key, algorithm, kid=kid)]

    def token(self, kid: str = "one", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token for Ada, signed with one of the keys; a claim of ``...`` is left out."""
        key, algorithm = self.private[kid]
        said = {"iss": self.url, "aud": "collab", "sub": "ada", "exp": time.time() + 600} | claims
        left = {name: value for name, value in said.items() if value is not ...}
        named = {"kid": kid} | (headers or {})
        return jwt.encode(left, key, algorithm, {name: value for name, value in named.items() if value is not ...})

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        await self.answers.wait()
        if self.redirect is not None:
            return RedirectResponse(self.redirect)
        said: Any = {"keys": self.published}
        if request.url.path.endswith("openid-configuration"):
            said = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.configuration
        return Response(json.dumps(said) if self.body is None else self.body, self.status)


@asynccontextmanager
async def issuing(algorithm: str = "RS256") -> AsyncIterator[Login]:
    """An issuer that has published its first key, ``one``."""
    login = Login()
    login.rotate("one", algorithm)
    app = Starlette(routes=[Route("/{path:path}", login.answer)])
    async with serving(app, "uvicorn") as address:
        login.url = f"http://{address}"
        yield login
        login.answers.set()
