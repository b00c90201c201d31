"""Search in what documents say, on a server that is killed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx

from tests.e2e.server import Server


async def test_what_was_saved_before_a_server_was_killed_is_found_after_its_restart(tmp_path: Path) -> None:
    """Also if its content event had not been told."""
    pages = json.dumps({"pages": {"search_content": True}})
    server = Server(tmp_path, collections=pages, content_event_seconds=1000)
    server.start()
    try:
        async with httpx.AsyncClient(timeout=40) as http:
            document = f"{server.http}/rooms/pages/a?format=markdown&root=default"
            assert (await http.put(document, content="The blue whale")).status_code == 204
            server.kill()
            server.settings["content_event_seconds"] = 0.1
            server.start()
            rows: list[dict[str, object]] = []
            async with asyncio.timeout(30):
                while not rows:
                    asked = {"search": "whale"}
                    rows = (await http.get(f"{server.http}/api/v1/collections/pages", params=asked)).json()["rows"]
            assert [row["id"] for row in rows] == ["a"]
    finally:
        server.kill()
