"""A server with an inspector, in the test's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from collab import Collab, Settings
from collab.access.inspection import InspectionKey
from collab.server.inspector.door import HEADER
from tests.collab.serving import serving

SECRET = "the secret of the inspector, of more than 32 bytes"
KEY = InspectionKey(SECRET)
USERS = "the secret of the users' tokens, of more than 32 bytes"


@dataclass(frozen=True)
class Inspected:
    """The server, its address, and a client without any credential."""

    collab: Collab
    address: str
    http: httpx.AsyncClient

    async def get(self, path: str, **parameters: Any) -> Any:
        """What an operator gets."""
        answer = await self.http.get(f"/inspect/api/{path}", params=parameters, headers=operator())
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, **body: Any) -> Any:
        """The same, for what changes something."""
        answer = await self.http.post(f"/inspect/api/{path}", json=body, headers=operator())
        assert answer.status_code == 200, answer.text
        return answer.json()


def operator() -> dict[str, str]:
    """Headers with the secret."""
    return {"authorization": f"Bearer {SECRET}"}


def cookie(value: str, *, header: bool = True) -> dict[str, str]:
    """Headers as the page sends them."""
    return {"cookie": f"{KEY.cookie}={value}", **({HEADER: "1"} if header else {})}


@asynccontextmanager
async def inspected(folder: Path, **more: Any) -> AsyncIterator[Inspected]:
    """Serve with an inspector, and with credentials of users unless ``more`` says otherwise."""
    settings = Settings(
        **{"data": str(folder / "data"), "inspect": True, "inspect_secret": SECRET, "jwt_secret": USERS, **more}
    )
    collab = Collab(settings)
    async with (
        serving(collab) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http,
    ):
        yield Inspected(collab, address, http)
