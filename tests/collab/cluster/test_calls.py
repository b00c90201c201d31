"""What is done at the owner of a room is done once, or fails as something to repeat, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from unittest.mock import patch

import pycrdt
import pytest

from collab.cluster.answering import Answers, Asking, Service
from collab.cluster.calls import Calls
from collab.cluster.link import Lost
from collab.errors import CollabError, Elsewhere, IdempotencyKeyReused, Unavailable
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.records.handle import Collection
from tests.collab.cluster.entries import Http
from tests.collab.cluster.nodes_world import Node, World, cluster, until

TASK = RoomKey("default", "tasks", "t1")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with cluster(3, content_event_seconds=0.02) as found:
        await found.nodes[1].opens("tasks/t1")
        yield found


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.cluster.calls.FIND_SECONDS", 0.3)


def tasks(node: Node, user: str | None = "ann") -> Collection:
    return node.collab.collection("tasks", user=user)


def services(node: Node) -> dict[str, Service]:
    desk = node.collab.sockets.desk
    assert desk is not None
    return desk._services  # type: ignore[return-value]


def answers(node: Node, name: str) -> Answers:
    found = services(node)[name].answers
    assert found is not None
    return found


async def versions(world: World) -> list[int]:
    return [one.event.version for one in await world.nodes[0].storage.history(TASK, limit=1000)]


# the owner is lost


async def test_a_call_fails_when_its_owner_is_lost_and_may_be_repeated_by_its_name(world: World) -> None:
    edge, owner, _ = world.nodes
    await tasks(edge).create({"n": 0}, id="t1")
    begun, never = asyncio.Event(), asyncio.Event()

    async def begin(sender: Asking, value: bytes) -> bytes:
        begun.set()
        await never.wait()
        raise AssertionError

    services(owner)["update"] = Service(answers=begin)
    asking = asyncio.create_task(tasks(edge).update("t1", {"n": 1}, request="once"))
    await begun.wait()
    await world.kill(owner)
    with pytest.raises(Lost, match="was lost; retry") as met:
        await asking
    assert met.value.retryable
    assert (await tasks(edge).update("t1", {"n": 1}, request="once")).version == 2
    assert await versions(world) == [2, 1]


async def test_several_writes_are_made_at_the_owners_of_their_rooms(world: World) -> None:
    edge, owner, third = world.nodes
    await edge.opens("tasks/t2")
    await third.opens("tasks/t3")
    created = await tasks(edge).create_many([{"id": "t1"}, {"id": "t2"}, {"id": "t3"}, {"id": "t1"}])
    assert [getattr(one, "version", None) or one.code for one in created] == [1, 1, 1, "CONFLICT"]  # type: ignore[union-attr]
    assert [node.has_open(f"tasks/t{n}") for n, node in ((1, owner), (2, edge), (3, third))] == [True] * 3
    updated = await tasks(third).update_many([{"id": f"t{n}", "changes": {"n": n}} for n in (1, 2, 3)])
    assert [one.data["n"] for one in updated if not isinstance(one, CollabError)] == [1, 2, 3]


async def test_a_write_whose_answer_was_lost_has_effect_once(world: World) -> None:
    edge, owner, third = world.nodes
    await tasks(edge).create({"n": 0}, id="t1")
    heard: list[int] = []
    stop = await third.collab.hub.feed.follow("default")
    third.collab.hub.feed.subscribe(lambda project, event: heard.append(event.version))
    world.bus.cut()
    done, never = asyncio.Event(), asyncio.Event()
    update = answers(owner, "update")

    async def forget(sender: Asking, value: bytes) -> bytes:
        await update(sender, value)
        done.set()
        await never.wait()
        raise AssertionError

    services(owner)["update"] = Service(answers=forget, finishes=True)
    asking = asyncio.create_task(tasks(edge).update("t1", {"n": 1}, request="once"))
    await done.wait()
    await world.kill(owner)
    with pytest.raises(Lost):
        await asking
    for node in (third, edge):
        assert (await tasks(node).update("t1", {"n": 1}, request="once")).version == 2
        assert heard == [2], "who is answered has got the event"
        with pytest.raises(IdempotencyKeyReused):
            await tasks(node).update("t1", {"n": 2}, request="once")
    assert await versions(world) == [2, 1]
    never.set()
    stop()


async def test_reads_and_edits_are_repeated_at_the_next_owner_without_an_error(world: World) -> None:
    edge, owner, _ = world.nodes
    room = edge.collab.room("tasks/t1")
    async with room.edit("ann") as doc:
        doc["t"] = pycrdt.Text("words")
    begun: list[bytes] = []

    async def begin(sender: Asking, value: bytes) -> bytes:
        begun.append(value)
        await asyncio.Event().wait()
        raise AssertionError

    for name in ("room.text", "room.apply", "content"):
        services(owner)[name] = Service(answers=begin)

    async def edit() -> None:
        async with room.edit("ann") as doc:
            text = doc.get("t", type=pycrdt.Text)
            text += "!"

    reading = asyncio.create_task(room.text())
    editing = asyncio.create_task(edit())
    await until(lambda: len(begun) == 2)
    await world.kill(owner)
    assert await reading in ("words", "words!")
    await editing
    assert await room.text() == "words!"
    assert edge.has_open("tasks/t1")


async def test_nobody_notices_an_owner_that_was_lost_between_two_writes(world: World) -> None:
    edge, owner, third = world.nodes
    await tasks(edge).create({"n": 0}, id="t1")
    assert (await tasks(third).update("t1", {"n": 1})).version == 2
    await world.kill(owner)
    assert (await tasks(edge).update("t1", {"n": 2})).version == 3
    assert (await tasks(third).update("t1", {"n": 3})).version == 4
    assert sorted(node.has_open("tasks/t1") for node in (edge, third)) == [False, True]
    assert await versions(world) == [4, 3, 2, 1]


@pytest.mark.usefixtures("short_patience")
async def test_an_owner_that_cannot_be_reached_has_done_nothing(world: World) -> None:
    edge, owner, _ = world.nodes
    await tasks(edge).create({"n": 0}, id="t1")
    owner.road.cut()
    for attempt in (
        lambda: tasks(edge).update("t1", {"n": 1}),
        lambda: tasks(edge).find_by_id("t1", content=True),
        lambda: edge.collab.room("tasks/t1").text(),
        lambda: edge.collab.room("tasks/t1").apply(b"\x00\x00"),
        lambda: anext(edge.collab.room("tasks/t1").updates()),
    ):
        with pytest.raises(Unavailable) as met:
            await attempt()
        assert met.value.http_status == 503
    assert (await tasks(edge).find_by_id("t1")).version == 1, "reads of the record need no owner"
    owner.road.mend()
    assert (await tasks(edge).update("t1", {"n": 1})).version == 2


async def test_a_stream_of_updates_ends_with_an_error_when_the_owner_is_lost(world: World) -> None:
    edge, owner, _ = world.nodes
    updates = edge.collab.room("tasks/t1").updates()
    first = asyncio.ensure_future(anext(updates))
    while not first.done():
        async with edge.collab.room("tasks/t1").edit("ann") as doc:
            text = doc.get("t", type=pycrdt.Text)
            text += "x"
    assert (await first).user_id == "ann"
    await world.kill(owner)
    with pytest.raises(Unavailable):
        while True:
            await anext(updates)


async def test_an_owner_that_stops_in_good_order_answers_what_it_was_asked(world: World) -> None:
    edge, owner, _ = world.nodes
    await tasks(edge).create({"n": 0}, id="t1")
    written: list[int] = []

    async def write(number: int) -> None:
        while True:
            try:
                written.append((await tasks(edge).update("t1", {"n": number}, request=f"r{number}")).version)
                return
            except Unavailable:
                await asyncio.sleep(0.01)

    async def write_on() -> None:
        for number in range(1, 60):
            await write(number)

    writing = asyncio.create_task(write_on())
    await until(lambda: len(written) > 5)
    await owner.stop()
    await world.know()
    await writing
    assert written == list(range(2, 61))
    assert await versions(world) == list(range(60, 0, -1))


# who is asked


async def test_a_request_travels_once_at_most(world: World) -> None:
    edge, owner, third = world.nodes
    await tasks(owner).create({"n": 0}, id="t1")
    known = edge.cluster.ownership._known
    known[TASK] = third.storage.nid, float("inf")
    assert (await tasks(edge).update("t1", {"n": 1})).version == 2
    assert known[TASK][0] == owner.storage.nid
    assert len(third.cluster._links or ()) == 0


@pytest.mark.usefixtures("short_patience")
async def test_who_is_sent_to_and_fro_gives_up() -> None:
    calls = Calls()
    tried: list[int] = []

    async def here() -> None:
        raise Elsewhere(nid=7)

    async def there(nid: int) -> None:
        tried.append(nid)
        raise Elsewhere(nid=8)

    with pytest.raises(Unavailable, match="cannot be reached"):
        await calls.routed(here, there)
    assert 3 < len(tried) < 10
    assert {*tried} == {7}


async def test_a_node_that_has_not_started_calls_nobody() -> None:
    with pytest.raises(Unavailable, match="not a node yet"):
        await Calls().ask_raw(1, "update", None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("short_patience")
async def test_while_nodes_have_different_versions_an_unknown_call_is_to_be_repeated(world: World) -> None:
    edge, owner, _ = world.nodes
    update = services(owner).pop("update")
    await tasks(edge).create({"n": 0}, id="t1")
    with pytest.raises(Unavailable, match="does not know the call"):
        await tasks(edge).update("t1", {"n": 1})
    services(owner)["update"] = update
    assert (await tasks(edge).update("t1", {"n": 1})).version == 2


async def test_the_caller_pays_at_the_owner() -> None:
    async with cluster(2, jwt_secret="s" * 32, content_event_seconds=0) as world:
        edge, owner = world.nodes
        await owner.opens("tasks/t1")
        entry = Http(edge, "ann", {"*/*": "write"})
        await entry.call("create", body={"id": "t1", "text": "x" * 300_000})
        for number in range(20):
            await entry.call("update", id="t1", body={"changes": {"text": f"{number}" * 100_000}})
        await entry.close()
        assert owner.collab.ledger.used["default", "user"] > 0.001
        assert owner.collab.ledger.used.keys() == {("default", "user")}


# events


async def test_who_is_answered_has_got_the_event(world: World) -> None:
    edge = world.nodes[0]
    heard: list[EntityEvent] = []
    stop = await edge.collab.hub.feed.follow("default")
    edge.collab.hub.feed.subscribe(lambda project, event: heard.append(event))
    await tasks(edge).create({"n": 0}, id="t1")
    assert [event.version for event in heard] == [1]
    world.bus.cut()
    for number in range(2, 6):
        written = await tasks(edge).update("t1", {"n": number})
        assert [event.version for event in heard][-1] == written.version == number
    room = edge.collab.room("tasks/t1")
    async with room.edit("ann") as doc:
        doc.get("fields", type=pycrdt.Map)["n"] = 9
    assert heard[-1].data["n"] == 9
    await tasks(edge).delete("t1")
    assert heard[-1].type == "deleted"
    world.bus.heal()
    stop()


async def test_what_is_never_seen_here_is_said_to_be_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.cluster.calls._REACH_SECONDS", 0.05)
    edge, _, _ = world.nodes

    async def reached(project: str, position: int) -> None:
        await asyncio.sleep(60)

    edge.cluster._calls.reached = reached
    with pytest.raises(Unavailable, match="stored, but"):
        await tasks(edge).create({}, id="t1", request="once")
    edge.cluster._calls.reached = edge.collab.hub.feed.reached
    assert (await tasks(edge).create({}, id="t1", request="once")).version == 1


async def test_content_that_a_lost_owner_had_not_told_is_told_by_the_next_one(world: World) -> None:
    edge, owner, _ = world.nodes
    owner.collab._content._interval = 3600.0
    async with owner.collab.room("tasks/t1").edit("ann") as doc:
        doc["t"] = pycrdt.Text("words")
    assert await versions(world) == [1]
    await world.kill(owner)
    assert await edge.collab.room("tasks/t1").text() == "words"
    async with asyncio.timeout(20):
        while await versions(world) != [2, 1]:
            await asyncio.sleep(0.01)
    event = next(one.event for one in await edge.storage.history(TASK, limit=1000))
    assert event.user_id == "ann"
    assert {*event.changes} == {"t"}


# creation


async def test_two_attempts_at_one_creation_meet_though_they_reach_two_nodes(world: World) -> None:
    made: list[Awaitable[Any]] = []
    for number in range(30):
        made += [tasks(node).create({"n": number}, request=f"request {number}") for node in world.nodes]
    written = await asyncio.gather(*made)
    ids = [one.data["id"] for one in written]
    assert ids[0::3] == ids[1::3] == ids[2::3]
    assert len(set(ids)) == 30
    assert await tasks(world.nodes[0]).count() == 30
    assert {one.version for one in written} == {1}


async def test_ids_of_other_callers_names_and_projects_differ(world: World) -> None:
    node = world.nodes[0]
    made = [
        await tasks(node).create({}, request="a"),
        await tasks(node).create({}, request="b"),
        await tasks(node, "bob").create({}, request="a"),
        await tasks(node).create({}),
        await tasks(node).create({}),
    ]
    assert len({one.data["id"] for one in made}) == 5
    elsewhere = await node.collab.collection("tasks", "other", user="ann").create({}, request="a")
    assert elsewhere.data["id"] != made[0].data["id"]


async def test_a_name_that_was_forgotten_names_a_new_entity(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    edge, _, third = world.nodes
    first = await tasks(edge).create({"n": 1}, request="daily")

    async def forgotten(*_: object) -> None:
        return None

    for node in world.nodes:
        monkeypatch.setattr(node.storage, "request", forgotten)
    second = await tasks(edge).create({"n": 2}, request="daily")
    third_one = await tasks(third).create({"n": 3}, request="daily")
    assert len({first.data["id"], second.data["id"], third_one.data["id"]}) == 3
    monkeypatch.setattr("collab.cluster.records._ATTEMPTS", 2)
    assert (await tasks(edge).create({"n": 4}, request="daily")).version == 1


# edits


async def test_client_ids_of_edits_stay_until_one_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    edge, owner, _ = world.nodes
    room = edge.collab.room("tasks/t1")

    async def edit() -> None:
        async with room.edit("ann") as doc:
            text = doc.get("t", type=pycrdt.Text)
            text += "x"

    async def clients() -> int:
        return (await room.state_vector())[0]

    for _ in range(3):
        await edit()
    assert await clients() == 1
    apply = services(owner).pop("room.apply")
    with pytest.raises(CollabError):
        await edit()
    services(owner)["room.apply"] = apply
    await edit()
    await edit()
    assert await clients() == 2
    assert await room.text() == "xxxxx"


async def test_edits_of_several_nodes_take_nothing_from_each_other(world: World) -> None:
    async def edit(node: Node, times: int) -> None:
        for _ in range(times):
            async with node.collab.room("tasks/t1").edit() as doc:
                text = doc.get("t", type=pycrdt.Text)
                text += "x"

    await asyncio.gather(*(edit(node, 10) for node in world.nodes))
    texts = {await node.collab.room("tasks/t1").text() for node in world.nodes}
    assert texts == {"x" * 30}


async def test_a_write_that_the_last_owner_made_meanwhile_is_not_made_again(world: World) -> None:
    edge, owner, _ = world.nodes
    await tasks(edge).create({"n": 0}, id="t1")
    looked, go_on = asyncio.Event(), asyncio.Event()
    request = edge.storage.request

    async def slow(*args: str) -> Any:
        found = await request(*args)
        looked.set()
        await go_on.wait()
        return found

    with patch.object(edge.storage, "request", slow):
        again = asyncio.create_task(tasks(edge).update("t1", {"n": 1}, request="once"))
        await looked.wait()
        first = await tasks(owner).update("t1", {"n": 1}, request="once")
        await tasks(owner, "bob").update("t1", {"n": 2})
        await world.kill(owner)
        go_on.set()
        with pytest.raises(Unavailable, match="retry"):
            await again
    assert await tasks(edge).update("t1", {"n": 1}, request="once") == first
    assert (await tasks(edge).find_by_id("t1")).data["n"] == 2
