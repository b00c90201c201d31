"""On a cluster the inspector of one node shows all of them."""

from __future__ import annotations

import asyncio
import json
from time import time
from typing import Any

import httpx
from websockets.asyncio.client import connect

from collab.client import LumenizeClient
from collab.cluster.arguments import InspectionAsked
from tests.collab.cluster.nodes_world import Node, cluster
from tests.collab.server.inspector.world import KEY, SECRET, USERS, cookie, operator

OPTIONS: dict[str, Any] = {
    "inspect": True,
    "inspect_secret": SECRET,
    "jwt_secret": USERS,
    "allowed_hosts": ["127.0.0.1"],
}


async def get(node: Node, path: str, **parameters: Any) -> Any:
    async with httpx.AsyncClient(timeout=40) as http:
        answer = await http.get(f"http://{node.address}/inspect/api/{path}", params=parameters, headers=operator())
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(node: Node, path: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=40) as http:
        return await http.post(
            f"http://{node.address}/inspect/api/{path}", json=body, headers=operator() if headers is None else headers
        )


async def test_one_node_shows_what_the_others_have_and_sends_their_sessions_away() -> None:
    async with cluster(2, **OPTIONS) as world:
        one, two = world.nodes
        assert await two.owns("notes/first")
        token = two.collab.mint("ada", access={"*/*": "write"})
        async with (
            connect(f"ws://{two.address}/rooms/notes/first?token={token}") as socket,
            LumenizeClient(url=f"http://{two.address}", token=token) as client,
            httpx.AsyncClient(timeout=40) as http,
        ):
            rows = client.tasks.subscribe({}, lambda rows: None)
            await rows.ready()
            await http.get(f"http://{two.address}/api/v1/schema", headers={"authorization": "Bearer nonsense"})

            rooms = {each["node"]: each["found"]["rooms"] for each in (await get(one, "rooms"))["nodes"]}
            assert [each["id"] for each in rooms[two.storage.nid]] == ["first"]
            assert rooms[one.storage.nid] == []
            queries = {each["node"]: each["found"]["queries"] for each in (await get(one, "queries"))["nodes"]}
            assert [each["collection"] for each in queries[two.storage.nid]] == ["tasks"]
            refused = {each["node"]: each["found"]["clients"] for each in (await get(one, "refused"))["nodes"]}
            assert len(refused[two.storage.nid]) == 1
            assert refused[one.storage.nid] == []
            assert len((await get(one, "overview"))["nodes"]) == 2

            found = (await get(one, "sessions", project="default"))["sessions"]
            session = next(each["session"] for each in found if each["protocol"] == "yjs")
            await post(one, "send-away", project="default", session=session)
            await socket.wait_closed()
            assert socket.close_code == 4403


async def test_a_link_that_was_used_at_one_node_is_used_at_the_others() -> None:
    async with cluster(2, **OPTIONS) as world:
        one, two = world.nodes
        link = KEY.issue_link("a link", time())
        signed = await post(one, "sign-in", headers={}, link=link)
        assert signed.status_code == 200
        assert (await post(two, "sign-in", headers={}, link=link)).status_code == 401
        session = signed.headers["set-cookie"].partition(";")[0].partition("=")[2]
        async with httpx.AsyncClient(timeout=40) as http:
            answer = await http.get(f"http://{two.address}/inspect/api/rooms", headers=cookie(session))
        assert answer.status_code == 200


async def test_a_ticket_opens_entities_of_other_nodes() -> None:
    async with cluster(2, **OPTIONS) as world:
        one, two = world.nodes
        await two.collab.collection("tasks").create({"title": "there"}, id="t1")
        await two.opens("tasks/t1")
        token = (await post(one, "ticket", project="default")).json()["token"]
        async with LumenizeClient(url=f"http://{one.address}", token=token) as client:
            await client.tasks.update("t1", {"title": "by the operator"})
        event, *_ = await two.collab.collection("tasks").history("t1")
        assert event.user_id == "collab:inspector"


async def test_a_node_that_does_not_answer_hides_nothing_of_the_others() -> None:
    async with cluster(2, **OPTIONS) as world:
        one, two = world.nodes
        two.road.cut()
        here, there = sorted((await get(one, "rooms"))["nodes"], key=lambda each: each["node"] != one.storage.nid)
        assert (here["node"], here["failure"]) == (one.storage.nid, None)
        assert (there["node"], there["found"]) == (two.storage.nid, None)
        assert there["failure"]
        two.road.mend()


async def test_a_node_without_an_inspector_answers_nodes_and_nobody_else() -> None:
    async with cluster(1, **OPTIONS) as world:
        other = await world.add(inspect=False, inspect_secret=None)
        await world.know()
        (one, _) = world.nodes
        shown = {each["node"]: each["failure"] for each in (await get(one, "rooms"))["nodes"]}
        assert shown[other.storage.nid] is None
        assert (await post(other, "sign-in", headers={}, secret=SECRET)).status_code == 404
        refused = await one.cluster.inspection._ask(other.storage.nid, InspectionAsked("secrets", 10))
        assert refused.failure == "this node does not know this view"
        found = await one.cluster.inspection._ask(other.storage.nid, InspectionAsked("rooms", 10**9))
        assert found.found is not None
        assert json.loads(found.found) == {"rooms": [], "count": 0}


async def test_a_link_that_is_used_at_two_nodes_at_once_works_at_one_of_them() -> None:
    async with cluster(2, **OPTIONS) as world:
        for attempt in range(5):
            link = KEY.issue_link(f"link {attempt}", time())
            answers = await asyncio.gather(*(post(node, "sign-in", {}, link=link) for node in world.nodes))
            assert sorted(answer.status_code for answer in answers) == [200, 401]
