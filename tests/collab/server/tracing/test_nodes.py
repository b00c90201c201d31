"""A trace goes on at the node that owns the document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import anyio
import pytest
from websockets.asyncio.client import connect

from collab.consumers.webhook import Webhook
from collab.wire import yjs
from tests.collab.cluster.nodes_world import Node, World, cluster
from tests.collab.consumers.receiver import Receiver
from tests.collab.server.tracing.spans import Traces
from tests.collab.server.tracing.test_tracing import SAMPLED, SECRET, SPAN, TRACE, created, update_of


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


async def test_a_webhook_that_another_node_sends_goes_on_with_the_trace_of_the_change() -> None:
    receiver, nodes = Receiver(), [Traces(), Traces()]
    await receiver.start()
    webhook = Webhook(name="crm", url=receiver.url, secret=SECRET)
    async with cluster(0, webhooks=[webhook]) as world:
        for traces in nodes:
            await world.add(tracer_provider=traces.provider)
        await world.know()
        with anyio.fail_after(40):
            while not (senders := [n for n, node in enumerate(world.nodes) if sends(node, "crm")]):
                await anyio.sleep(0.01)
        sender, maker = senders[0], 1 - senders[0]
        assert await world.nodes[maker].owns("tasks/t1")
        assert (await created(world.nodes[maker].address, "t1", traceparent=SAMPLED)).status_code == 201
        request = await nodes[maker].one("POST /api/v1/collections/{collection}")
        told = await nodes[sender].one("collab.webhook")
    await receiver.stop()
    assert f"{request.trace:032x}" == TRACE
    assert (told.trace, told.parent) == (request.trace, request.id)
    assert receiver.came[0].headers["traceparent"] == f"00-{TRACE}-{told.id:016x}-01"


def sends(node: Node, webhook: str) -> bool:
    """Whether a node has the job of a webhook."""
    return any(webhook in str(job) for job in node.cluster.jobs.held)


async def test_an_edit_through_a_tunnel_leads_back_to_the_client_of_the_edge(nodes: Traced) -> None:
    async with connect(f"ws://{nodes.address}/rooms/tasks/t1", additional_headers={"traceparent": SAMPLED}) as socket:
        await socket.send(yjs.update(update_of("a")))
        edit = await nodes.owner.one("collab.edit")
    at_edge, at_owner = await nodes.edge.one("collab.connect"), await nodes.owner.one("collab.connect")
    assert (f"{at_edge.trace:032x}", f"{at_edge.parent:016x}") == (TRACE, SPAN)
    assert (at_owner.trace, at_owner.parent) == (at_edge.trace, at_edge.id)
    assert edit.links == (at_owner.id,)
