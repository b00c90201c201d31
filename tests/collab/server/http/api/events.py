"""A plain reader of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import httpx
import msgspec


class Told(NamedTuple):
    kind: str
    id: str | None
    data: Any


class Stream:
    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> Told:
        """Read the next event; skip comments and other blocks."""
        fields: dict[str, str] = {}
        with anyio.fail_after(40):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    return Told(fields["event"], fields.get("id"), msgspec.json.decode(fields["data"]))
                else:
                    fields = {}
        raise EOFError

    async def until(self, kind: str) -> Told:
        while (told := await self.next()).kind != kind:
            pass
        return told


@asynccontextmanager
async def stream(api: httpx.AsyncClient, path: str, **options: Any) -> AsyncIterator[Stream]:
    """An active subscription."""
    async with api.stream("GET", path, **options) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)
