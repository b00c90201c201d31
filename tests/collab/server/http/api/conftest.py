"""A complete server behind the API, in the test's event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from time import time
from typing import Any

import httpx
import jwt
import pytest

from collab import Collab, Settings
from collab.records.declaration import declaration
from tests.collab.serving import serving

SECRET = "s" * 32
KEY = "an-application-key"

TASK = {"properties": {"title": {"type": "string"}, "profile": {"type": "object"}}, "required": ["title"]}


def token(user: str = "ada", **claims: Any) -> str:
    said = {"iss": "collab", "aud": "collab", "sub": user, "exp": time() + 600, "access": {"*/*": "write"}} | claims
    return jwt.encode(said, SECRET, algorithm="HS256")


@pytest.fixture
async def collab(tmp_path: Path) -> Collab:
    return Collab(
        Settings(
            data=str(tmp_path),
            jwt_secret=SECRET,
            api_key=KEY,
            allowed_origins=["https://app.example.com"],
            collections={"todos": declaration(TASK)},
            heartbeat_seconds=0.2,
        )
    )


@pytest.fixture
async def address(collab: Collab) -> AsyncIterator[str]:
    async with serving(collab) as address:
        yield address


@pytest.fixture
async def api(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Ada, who may write everything."""
    async with client(address) as ada:
        yield ada


def client(address: str, bearer: str | None = None, **headers: str) -> httpx.AsyncClient:
    said = {"authorization": f"Bearer {bearer or token()}", **headers}
    return httpx.AsyncClient(base_url=f"http://{address}/api/v1", headers=said, timeout=40)
