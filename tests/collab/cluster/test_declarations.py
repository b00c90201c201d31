"""Nodes that declare collections differently say so, and go on."""

from __future__ import annotations

import httpx
import pytest

from collab import declaration
from tests.collab.cluster.nodes_world import Node, cluster, until

SAID = "another node has declared these collections otherwise, and later: tasks"


async def readiness(node: Node) -> tuple[int, str]:
    async with httpx.AsyncClient(timeout=40) as http:
        answer = await http.get(f"http://{node.address}/readyz")
    return answer.status_code, answer.text


async def test_a_node_whose_declaration_another_one_has_replaced_says_so_and_stays_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = {"tasks": declaration({"properties": {"title": {}}})}
    new = {"tasks": declaration({"properties": {"title": {}, "done": {}}})}
    async with cluster(1, collections=old) as world:
        (first,) = world.nodes
        assert await readiness(first) == (200, "ready\n")
        second = await world.add(collections=new)
        await until(lambda: first.collab.hub.remark() is not None)
        assert await readiness(first) == (200, f"ready, but {SAID}\n")
        assert await readiness(second) == (200, "ready\n")
        late = await world.add(collections=old)  # a deployment is under way
        assert await readiness(late) == (200, f"ready, but {SAID}\n")
        assert [record.message for record in caplog.records].count(SAID) == 2, "each once"
        assert await readiness(second) == (200, "ready\n")
        assert second.collab.schemas.version("tasks") == 2
