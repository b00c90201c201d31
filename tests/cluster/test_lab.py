"""A cluster loses nothing and doubles nothing, whatever ends, freezes or is cut off; a longer run is a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.faults import Faults
from tests.cluster.lab import laboratory

pytestmark = pytest.mark.chaos

SEED = 13


async def test_s1_editors_of_three_nodes_and_applications_lose_nothing_whatever_happens(tmp_path: Path) -> None:
    async with laboratory(tmp_path, 3, SEED, print) as lab, lab.applications(tmp_path), lab.round() as faults:
        for fault in (
            Faults.kill_worker,
            Faults.cut_nodes,
            Faults.kill_node,
            Faults.kill_redis,
            Faults.reset_everything,
            Faults.kill_database,
            Faults.terminate_node,
        ):
            await lab.suffer(faults, fault)
    print(f"seed {SEED}: {lab.tally}")
    assert lab.tally.complaints == []
    assert lab.tally.faults.total() == 7
    assert lab.tally.acknowledged > 200
    assert lab.tally.commits > 100, "it was seen who commits"
    assert lab.tally.writes > 100
    assert lab.tally.heard > 500
