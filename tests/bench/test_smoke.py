import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.report import COLUMNS

ROOT = Path(__file__).resolve().parents[2]


async def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """The result of one load on our server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "run", *arguments, "--quick", "--servers", "collab",
        "--out", str(folder), "--name", "smoke", cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    (result,) = json.loads((folder / "smoke.json").read_text())["results"]
    assert isinstance(result, dict)
    return result


async def test_a_quick_run_delivers_every_edit_and_writes_its_report(tmp_path: Path) -> None:
    result = await run(tmp_path, "rooms100", "--seconds", "0.5")
    assert result["numbers"]["edits_sent"] > 0
    assert result["numbers"]["undelivered_percent"] == 0
    assert result["numbers"]["p99_ms"] > 0
    report = (tmp_path / "smoke.md").read_text()
    assert "## rooms100" in report
    assert "| collab |" in report
    assert (tmp_path / "smoke-latency.svg").exists()


async def test_after_a_crash_everybody_is_back_and_nobody_in_the_calm_room_lost_an_edit(tmp_path: Path) -> None:
    result = await run(tmp_path, "storm", "--sessions", "24")
    numbers = result["numbers"]
    assert (numbers["sessions"], numbers["rooms"]) == (24, 6)
    assert numbers["synced_s"] > 0
    assert numbers["calm_edits"] > 0
    assert numbers["calm_missing"] == 0
    about_the_machine = ("saturated", "other processes")
    assert not [note for note in result["notes"] if not note.startswith(about_the_machine)]


@pytest.mark.parametrize("load", ["idle", "documents", "day"])
async def test_memory_is_measured(tmp_path: Path, load: str) -> None:
    result = await run(tmp_path, load)
    assert result["invalid"] is None
    assert set(COLUMNS[load]) <= set(result["numbers"])


async def test_every_edit_of_a_large_document_arrives(tmp_path: Path) -> None:
    numbers = (await run(tmp_path, "large4m"))["numbers"]
    assert numbers["edits"] > 0
    assert numbers["missing"] == 0
