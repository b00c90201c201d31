"""A cluster loses nothing and doubles nothing, whatever ends, freezes or is cut off; a longer run is a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.faults import Faults, Tally
from tests.cluster.lab import laboratory

SEED = 13


def test_what_happened_to_several_clusters_is_counted_together() -> None:
    total = Tally()
    for seconds in (1.0, 2.0):
        one = Tally(acknowledged=3, read=1, commits=2, writes=4, heard=5, missed=1, complaints=["lost"])
        one.faults["kill_worker"] += 1
        one.seconds["converged after healing"].append(seconds)
        total.add(one)
    assert total.complaints == ["lost", "lost"]
    assert (total.faults.total(), total.acknowledged, total.missed) == (2, 6, 2)
    assert "median 1.5 s, most 2.0 s of 2" in str(total)


@pytest.mark.chaos
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
