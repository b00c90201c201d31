import asyncio
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


async def test_a_quick_run_delivers_every_edit_and_writes_its_report(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "run", "rooms100", "--quick", "--seconds", "0.5", "--servers", "collab",
        "--out", str(tmp_path), "--name", "smoke", cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    (result,) = json.loads((tmp_path / "smoke.json").read_text())["results"]
    assert result["numbers"]["edits_sent"] > 0
    assert result["numbers"]["undelivered_percent"] == 0
    assert result["numbers"]["p99_ms"] > 0
    report = (tmp_path / "smoke.md").read_text()
    assert "## rooms100" in report
    assert "| collab |" in report
    assert (tmp_path / "smoke-latency.svg").exists()
