"""Nodes on the command line."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.collab.server.command_line import run, serving


def test_nodes_are_listed_with_those_that_live(tmp_path: Path, database: str) -> None:
    def listed() -> list[dict[str, Any]]:
        return [json.loads(line) for line in run("nodes", "--json", "--database", database).output.splitlines()]

    with serving(tmp_path, "serve", COLLAB_DATABASE=database) as (process, _):
        (first,) = listed()
        assert not first["dead"]
        deadline = time.monotonic() + 60
        while listed()[0]["beats"] <= first["beats"]:
            assert time.monotonic() < deadline, "the node does not beat"
            time.sleep(0.05)
        process.kill()
    assert not listed()[0]["dead"], "nobody has said so"
    with serving(tmp_path, "serve", COLLAB_DATABASE=database):
        dead, living = listed()
        assert (dead["nid"], dead["dead"], living["dead"]) == (first["nid"], True, False)
        assert living["nid"] > dead["nid"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", living["started"])
    names, *rows = [line.split() for line in run("nodes", "--database", database).output.splitlines()]
    assert names == ["NODE", "NAME", "VERSION", "STARTED", "BEATS", "STATE", "ROOMS", "URL"]
    assert [(row[0], *row[5:]) for row in rows] == [(str(node["nid"]), "dead", "0", "-") for node in (dead, living)]


def test_a_folder_has_no_nodes(tmp_path: Path) -> None:
    refused = run("nodes", "--data", str(tmp_path))
    assert refused.exit_code == 1
    assert "only a PostgreSQL database has nodes" in refused.stderr
