"""PostgreSQL fails under a running server: what was acknowledged is there, once, and nobody has to reload."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random

import pytest

from tests.chaos.database import told_once, world

pytestmark = pytest.mark.chaos


async def test_s1_h6_a_database_that_fails_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        async with one.busy():
            await one.progress()
            await one.kill(signal.SIGKILL, 0.0)
            await one.cut(6, Random(6))
            await one.limit("read-only", 0.0)
            await one.limit("no connections", 0.0)
            await one.freeze(1.0)
        assert one.tally.complaints == []
        assert one.tally.acknowledged > 10
        assert one.tally.edits > 100
        assert one.tally.unready > 0
        assert one.tally.refused > 0, "applications were told to try again"
        assert one.proxy.made.total() == 6


def test_a_log_that_tells_a_loss_twice_or_shows_a_traceback_is_complained_of() -> None:
    away, back = "ERROR storage is away, 3 updates are pending: cut", "WARNING storage answers again"
    assert told_once(f"{away}\n{back}\n{away}\n{back}") == []
    assert len(told_once(f"{away}\n{away}\n{back}")) == 1
    assert len(told_once("Traceback (most recent call last):")) == 1
