"""What the HTTP application tells the server that carries it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from collab import Collab, Settings
from collab.transport.unproven import trusting
from tests.collab.serving import serving

KEY = "an-api-key-of-sixteen-characters-at-least"


class Noting:
    """Passes requests on, and counts those whose sender the application trusts."""

    def __init__(self, app: Collab) -> None:
        self._app = app
        self.trusted = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "state": trusting(self._trust, scope.get("state", {}))}
        await self._app(scope, receive, send)

    def _trust(self) -> None:
        self.trusted += 1


@pytest.mark.parametrize("path", ["/rooms/documents/d?format=update", "/api/v1/collections/tasks"])
async def test_a_sender_is_trusted_once_a_credential_was_valid_and_not_before(path: str) -> None:
    app = Noting(Collab(Settings(api_key=KEY)))
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers={"X-API-Key": "wrong"})).status_code == 401
        assert app.trusted == 0
        assert (await client.get(path, headers={"X-API-Key": KEY})).status_code == 200
        assert app.trusted == 1
