"""A trace goes on at the node that owns the document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from websockets.asyncio.client import connect

from collab.wire import yjs
from tests.collab.cluster.nodes_world import World, cluster
from tests.collab.server.tracing.spans import Traces
from tests.collab.server.tracing.test_tracing import SAMPLED, SPAN, TRACE, created, update_of


class Traced(NamedTuple):
    """Two nodes, and what each of them has traced. The second owns ``tasks/t1``."""

    world: World
    edge: Traces
    owner: Traces

    @property
    def address(self) -> str:
        return self.world.nodes[0].address


@pytest.fixture
async def nodes() -> AsyncIterator[Traced]:
    edge, owner = Traces(), Traces()
    async with cluster(0) as world:
        for traces in (edge, owner):
            await world.add(tracer_provider=traces.provider)
        await world.know()
        await world.nodes[1].opens("tasks/t1")
        yield Traced(world, edge, owner)


async def test_a_call_to_the_owner_is_in_the_trace_of_the_request(nodes: Traced) -> None:
    assert (await created(nodes.address, "t1", traceparent=SAMPLED)).status_code == 201
    request = await nodes.edge.one("POST /api/v1/collections/{collection}")
    call = await nodes.edge.one("call create")
    answer = await nodes.owner.one("answer create")
    commit, event = await nodes.owner.one("collab.commit"), await nodes.owner.one("collab.event")
    assert f"{request.trace:032x}" == TRACE
    assert {span.trace for span in (call, answer, commit, event)} == {request.trace}
    assert (call.parent, answer.parent, commit.parent, event.parent) == (request.id, call.id, answer.id, answer.id)


async def test_an_edit_through_a_tunnel_leads_back_to_the_client_of_the_edge(nodes: Traced) -> None:
    async with connect(f"ws://{nodes.address}/rooms/tasks/t1", additional_headers={"traceparent": SAMPLED}) as socket:
        await socket.send(yjs.update(update_of("a")))
        edit = await nodes.owner.one("collab.edit")
    at_edge, at_owner = await nodes.edge.one("collab.connect"), await nodes.owner.one("collab.connect")
    assert (f"{at_edge.trace:032x}", f"{at_edge.parent:016x}") == (TRACE, SPAN)
    assert (at_owner.trace, at_owner.parent) == (at_edge.trace, at_edge.id)
    assert edit.links == (at_owner.id,)
