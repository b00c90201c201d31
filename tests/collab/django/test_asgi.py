"""One ASGI application: paths below the mount are ours, all others are Django's."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.collab.django.world import project


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_the_server_is_below_its_path_and_django_elsewhere(tmp_path: Path) -> None:
    async with project(tmp_path, path="/live/") as site:
        assert (await site.http.get("/live/healthz")).text == "ok\n"
        assert (await site.http.get("/live/api/v1/openapi.json")).json()["servers"] == [{"url": "/live/api/v1"}]
        assert (await site.http.get("/collab/healthz")).status_code == 404
        assert (await site.http.get("/notes/n")).status_code == 200
        assert (await site.http.get("/notes/n/people", follow_redirects=False)).headers["location"] == (
            "/login?next=/notes/n/people"
        )


async def test_a_websocket_of_another_path_is_refused_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with project(tmp_path) as site:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://{site.address}/elsewhere"):
                pass
        assert refused.value.response.status_code == 403
    assert "Traceback" not in caplog.text
