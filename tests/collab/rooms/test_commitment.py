from __future__ import annotations

import asyncio

import pytest

from collab.errors import Unavailable
from collab.rooms import commitment
from collab.rooms.commitment import committed


async def test_the_result_of_a_commit_is_returned() -> None:
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    told.get_loop().call_soon(told.set_result, 7)
    assert await committed(told) == 7


async def test_a_writer_waits_for_the_disk_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment, "_PATIENCE", 0.01)
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with pytest.raises(Unavailable, match="may still be") as refused:
        await committed(told)
    assert refused.value.retryable
