"""Users log in elsewhere: a login service with OpenID Connect discovery, and a server that trusts its tokens.

    python -m examples.login_service

In production the service is Auth0, Clerk, Keycloak, Supabase, … See docs/login.md.
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import time
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from collab import Collab, Issuer, Settings
from collab.transport.launcher import serve


class LoginService:
    """Signs tokens, and publishes its keys. ``issuer`` is its URL."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.new_key()
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/keys", self._published),
            ]
        )

    def new_key(self) -> None:
        """Sign with a new key from now on; the earlier ones stay valid."""
        self._kid = f"key-{len(self._keys) + 1}"
        self._keys[self._kid] = ec.generate_private_key(ec.SECP256R1())

    def token(self, user: str, audience: str = "collab") -> str:
        """A token for a user who has logged in."""
        claims = {"iss": self.issuer, "aud": audience, "sub": user, "name": user.title(), "exp": int(time()) + 600}
        return jwt.encode(claims, self._keys[self._kid], algorithm="ES256", headers={"kid": self._kid})

    async def _configuration(self, request: Request) -> JSONResponse:
        return JSONResponse({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"})

    async def _published(self, request: Request) -> JSONResponse:
        return JSONResponse({"keys": [_public(kid, key) for kid, key in self._keys.items()]})


def _public(kid: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    return said | {"kid": kid, "use": "sig", "alg": "ES256"}


@asynccontextmanager
async def serving(build: Callable[[str], Any]) -> AsyncIterator[str]:
    """Serve the application that ``build`` returns for its own URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = "http://{}:{}".format(*listener.getsockname())
    ready, stop = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(build(url), sockets=[listener], shutdown=stop.wait, ready=ready.set))
    await ready.wait()
    try:
        yield url
    finally:
        stop.set()
        await task


async def main(say: Callable[[str], object] = print) -> None:
    services: list[LoginService] = []

    def login(url: str) -> Any:
        services.append(LoginService(url))
        return services[0].app

    with tempfile.TemporaryDirectory() as folder:
        async with serving(login) as issuer:
            users = Issuer(oidc_issuer=issuer, audience="collab", algorithm="ES256", rules={"tasks/*": "write"})
            settings = Settings(data=folder, issuers=[users])
            async with serving(lambda url: Collab(settings)) as url, httpx.AsyncClient(base_url=url) as http:

                async def create(token: str) -> int:
                    headers = {"authorization": f"Bearer {token}"}
                    answer = await http.post("/api/v1/collections/tasks", json={"title": "Log in"}, headers=headers)
                    return answer.status_code

                (service,) = services
                say(f"ada creates a task: {await create(service.token('ada'))}")
                say(f"a token for another audience: {await create(service.token('ada', 'another'))}")
                service.new_key()
                say(f"after the key was changed: {await create(service.token('ada'))}")


if __name__ == "__main__":
    asyncio.run(main())
