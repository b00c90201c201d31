"""The command that attacks a server runs, and a server under attack goes on serving. Nothing is timed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.__main__ import report, suffer
from tests.attack.attacks import ATTACKS, Row
from tests.attack.target import Target


@pytest.mark.parametrize("row", [row for row in ATTACKS if row.name in {"deletions-fast", "questions"}])
async def test_somebody_who_behaves_is_served_during_an_attack(row: Row, tmp_path: Path) -> None:
    target = Target(tmp_path)
    target.start()
    try:
        outcome = await suffer(target, row, seconds=4.0, window=2.0)
    finally:
        target.stop()
    assert outcome.deaths == 0
    assert outcome.meanwhile.failures == []
    assert all(outcome.meanwhile.seconds.values())
    assert "worker deaths 0" in report(row, outcome)
