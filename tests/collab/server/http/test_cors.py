"""Pages of allowed origins may read answers; others get none that a browser would let them read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from collab import Collab, Settings
from tests.collab.serving import serving

APP = "https://app.example.com"
EVIL = "https://evil.example.com"
PATHS = ["/api/v1/collections/tasks", "/rooms/documents/d"]


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    collab = Collab(Settings(data=str(tmp_path), allowed_origins=[APP]))
    async with serving(collab) as address, httpx.AsyncClient(timeout=40, base_url=f"http://{address}") as web:
        yield web


@pytest.mark.parametrize("path", PATHS)
async def test_an_allowed_page_may_read_what_it_asks_for(web: httpx.AsyncClient, path: str) -> None:
    response = await web.get(path, headers={"origin": APP})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == APP
    assert "origin" in response.headers["vary"].lower()
    assert "ETag" in response.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_of_another_origin_is_refused(web: httpx.AsyncClient, path: str) -> None:
    response = await web.get(path, headers={"origin": EVIL})
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_browser_may_ask_before_the_page_does(web: httpx.AsyncClient, path: str) -> None:
    asks = {"access-control-request-method": "PATCH", "access-control-request-headers": "authorization"}
    allowed = await web.options(path, headers={"origin": APP, **asks})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == APP
    assert "PATCH" in allowed.headers["access-control-allow-methods"]
    assert "Authorization" in allowed.headers["access-control-allow-headers"]
    refused = await web.options(path, headers={"origin": EVIL, **asks})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


async def test_a_refusal_can_be_read_too(web: httpx.AsyncClient) -> None:
    response = await web.get("/api/v1/collections/tasks/none", headers={"origin": APP})
    assert response.status_code == 404
    assert response.headers["access-control-allow-origin"] == APP


async def test_answers_to_programs_and_other_paths_say_nothing_of_origins(web: httpx.AsyncClient) -> None:
    assert "access-control-allow-origin" not in (await web.get(PATHS[0])).headers
    assert "access-control-allow-origin" not in (await web.get("/readyz", headers={"origin": APP})).headers


async def test_every_page_may_read_that_a_server_is_there(web: httpx.AsyncClient) -> None:
    response = await web.get("/healthz", headers={"origin": EVIL})
    assert (response.text, response.headers["access-control-allow-origin"]) == ("ok\n", "*")
