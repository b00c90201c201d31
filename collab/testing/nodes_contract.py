"""The contract of a record for several nodes: deaths, what the dead write, rooms, jobs, and the order of events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from collab.event import EntityEvent
from collab.names import RoomKey
from collab.storage.base import (
    Append,
    CommitId,
    Committed,
    DeadLetter,
    IdempotencyKey,
    SetAside,
    Snapshot,
    StorageError,
)
from collab.storage.nodes import Announced, Announcement, Fenced, NodeStorage, Opens, Pulse
from collab.testing.storage_case import KEY, OTHER, entry, fact, updates


class NodesContract:
    """Inherit, and implement :meth:`node`."""

    def node(self, where: Path, opens: Opens = "join") -> NodeStorage:
        """A storage that is not open yet; those with the same folder ``where`` are of one record."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self, where: Path, count: int = 2) -> AsyncIterator[Sequence[NodeStorage]]:
        """This many nodes of one record, open inside the block."""
        async with AsyncExitStack() as stack:
            nodes = []
            for _ in range(count):
                nodes.append(self.node(where))
                await nodes[-1].open()
                stack.push_async_callback(nodes[-1].close)
            yield nodes

    async def test_a_number_of_a_node_never_comes_back(self, tmp_path: Path) -> None:
        numbers = []
        for _ in range(3):
            async with self.opened(tmp_path) as nodes:
                numbers += [node.nid for node in nodes]
        assert sorted(set(numbers)) == numbers
        assert min(numbers) > 0

    async def test_who_takes_over_declares_all_others_dead(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as (first, second):
            third = self.node(tmp_path, "take over")
            await third.open()
            assert await living(third) == {third.nid}
            for node in (first, second):
                with pytest.raises(Fenced, match="taken over"):
                    await node.commit([entry(b"x")])
            await third.commit([entry(b"1")])
            await third.close()

    async def test_who_wants_the_record_for_itself_waits_for_the_last_node(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as (first, second):
            for node in (first, second):
                with pytest.raises(StorageError, match="a server uses this database"):
                    await self.node(tmp_path, "if free").open()
                await node.close()
            alone = self.node(tmp_path, "if free")
            await alone.open()
            await alone.commit([entry(b"1")])
            await alone.close()

    async def test_who_only_reads_is_no_node_and_disturbs_none(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 1) as (node,):
            await node.commit([entry(b"1")])
            reader = self.node(tmp_path, "to read")
            await reader.open()
            assert reader.nid == 0
            assert updates(await reader.load(KEY)) == [b"1"]
            assert [one.nid for one in await reader.nodes()] == [node.nid]
            with pytest.raises(Fenced):
                await reader.commit([entry(b"x")])
            await reader.close()
            await node.commit([entry(b"2")])

    async def test_nodes_are_listed_with_what_is_known_of_them(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as (first, second):
            for _ in range(3):
                await first.beat()
            await first.acquire(KEY)
            await first.acquire(OTHER)
            numbers = first.nid, second.nid
            await second.close()
            assert second.nid == 0
            listed = await first.nodes()
            assert [node.nid for node in listed] == [*numbers]
            assert [(node.beats, node.dead, node.rooms) for node in listed] == [(3, False, 2), (0, True, 0)]
            assert all(node.name and node.started > 0 for node in listed)

    async def test_a_node_is_declared_dead_only_if_it_has_not_beaten_since(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as (first, second):
            await second.beat()
            assert not await first.declare_dead(second.nid, 0)
            await second.commit([entry(b"1")])
            assert await first.declare_dead(second.nid, 1)
            assert not await first.declare_dead(second.nid, 1), "it is dead already"
            assert not await first.declare_dead(1_000_000, 0), "there is no such node"
            assert await living(first) == {first.nid}
            with pytest.raises(Fenced):
                await second.beat()

    async def test_the_dead_write_nothing_at_all(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as (first, second):
            await first.commit([entry(b"1")], [fact(1, row=0)])
            await assert_fenced(first, second)
            assert updates(await second.load(KEY)) == [b"1"]
            assert await second.load(OTHER) is None
            assert await second.list_set_aside() == []
            assert await second.span("acme") == (0, 1)
            assert await second.schemas("acme") == {}
            assert await second.webhook_position("hook", "acme") is None
            assert await second.acquire(KEY) == second.nid, "the dead did not get it"

    async def test_a_room_has_one_owner_until_that_gives_it_back_or_is_dead(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 3) as (first, second, third):
            assert await first.owner(KEY) is None
            assert [await node.acquire(KEY) for node in (first, second, first)] == [first.nid] * 3
            assert [await node.owner(KEY) for node in (first, second)] == [first.nid] * 2
            await second.release([KEY, OTHER])
            assert await third.acquire(KEY) == first.nid, "who does not own it cannot give it back"
            await first.release([KEY])
            assert [await node.acquire(KEY) for node in (second, first)] == [second.nid] * 2
            await third.declare_dead(second.nid, 0)
            assert await first.owner(KEY) is None
            assert [await node.acquire(KEY) for node in (third, first)] == [third.nid] * 2
            await third.close()
            assert await first.acquire(KEY) == first.nid

    async def test_of_nodes_that_want_a_room_at_once_one_gets_it(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 3) as nodes:
            for number in range(20):
                key = RoomKey("acme", "documents", f"d{number}")
                owners = await asyncio.gather(*(node.acquire(key) for node in nodes))
                assert len(set(owners)) == 1
                for node in nodes:
                    if node.nid == owners[0]:
                        await node.release([key])

    async def test_a_job_is_had_by_one_node_until_that_gives_it_back_or_is_dead(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 3) as (first, second, third):
            assert list(await first.claim_jobs(["a"])) == ["a"]
            assert list(await second.claim_jobs(["b", "a"])) == ["b"]
            assert sorted(await first.claim_jobs(["a", "b"])) == ["a"], "what it has, it keeps"
            await second.release_jobs(["a", "b", "c"])
            assert sorted(await third.claim_jobs(["a", "b"])) == ["b"], "who does not have it cannot give it back"
            await third.declare_dead(first.nid, 0)
            assert sorted(await second.claim_jobs(["a", "b"])) == ["a"]
            await second.close()
            assert sorted(await third.claim_jobs(["a", "b"])) == ["a", "b"]

    async def test_of_nodes_that_want_jobs_at_once_each_job_goes_to_one(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 3) as nodes:
            for number in range(20):
                names = [f"j{number}-{n}" for n in range(5)]
                orders = [names, names[::-1], names[2:] + names[:2]]
                owned = await asyncio.gather(
                    *(node.claim_jobs(order) for node, order in zip(nodes, orders, strict=True))
                )
                assert sorted(name for some in owned for name in some) == names

    async def test_what_a_node_announces_is_seen_by_all_in_order_and_without_gaps(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 4) as (reader, *writers):
            assert (await reader.announced(), list(await reader.announcements(0))) == (0, [])
            body = {"resourceId": "tasks/t1", "userId": None, "text": "é\x00🎉", "n": [1, 2.5, True]}
            number = await writers[0].announce(Announcement("acme", "permissions_changed", body))
            assert list(await reader.announcements(0)) == [
                Announced(number, Announcement("acme", "permissions_changed", body))
            ]
            assert await reader.announced() == number
            seen = number
            kinds: list[str] = []

            async def announce(node: NodeStorage) -> None:
                for count in range(20):
                    await node.announce(Announcement(None, f"{node.nid} {count:02}", {}))

            writing = [asyncio.create_task(announce(node)) for node in writers]
            while len(kinds) < 60:
                for one in await reader.announcements(seen, limit=7):
                    assert one.number > seen
                    assert one.announcement.project is None
                    seen = one.number
                    kinds.append(one.announcement.kind)
                await asyncio.sleep(0)
            await asyncio.gather(*writing)
            for node in writers:
                mine = [kind for kind in kinds if kind.startswith(f"{node.nid} ")]
                assert mine == [f"{node.nid} {count:02}" for count in range(20)]
            assert list(await reader.announcements(seen)) == []
            assert await reader.announced() == seen

    async def test_two_who_declare_each_other_dead_do_not_both_die(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 1) as (watching,):
            for _ in range(5):
                async with self.opened(tmp_path) as (one, two):
                    attempts = await asyncio.gather(
                        one.declare_dead(two.nid, 0), two.declare_dead(one.nid, 0), return_exceptions=True
                    )
                    assert sorted(map(repr, attempts))[1] == "True"
                    assert len(await living(watching)) == 2

    async def test_nothing_is_committed_behind_a_declaration(self, tmp_path: Path) -> None:
        """Whoever takes over sees every commit of the node that is dead, and goes on behind the last of them."""
        async with self.opened(tmp_path, 1) as (survivor,):
            chance = random.Random(1)  # noqa: S311
            for turn in range(20):
                await assert_takeover(survivor, self.node(tmp_path), f"d{turn}", chance.random() * 0.02)

    async def test_a_commit_that_is_repeated_until_it_is_answered_is_made_once(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as nodes:
            await asyncio.gather(*(assert_made_once(node, f"d{node.nid}", seed) for seed, node in enumerate(nodes)))

    async def test_events_of_one_project_are_seen_without_holes_whoever_commits_them(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 4) as (reader, *writers):
            await assert_no_holes(reader, writers, 25)

    async def test_nodes_that_trim_and_erase_beside_commits_assign_no_position_twice(self, tmp_path: Path) -> None:
        assigned: list[int] = []

        async def write(node: NodeStorage) -> None:
            for number in range(1, 31):
                kept = fact(number, key=RoomKey("acme", "tasks", f"kept{node.nid}"), at=float(number))
                gone = fact(1, key=RoomKey("acme", "tasks", f"gone{node.nid}"), at=float(number))
                assigned.extend((await node.commit([], [kept, gone])).positions)
                await node.erase([gone.entity.key])
                await node.trim(float(number - 3))
                await asyncio.sleep(0)

        async with self.opened(tmp_path, 3) as nodes:
            await asyncio.gather(*(write(node) for node in nodes))
            assert sorted(assigned) == list(range(1, 181))
            oldest, newest = await nodes[0].span("acme")
            assert newest == 180
            left = await nodes[0].events("acme", oldest, limit=1000)
            assert left
            assert {event.id for event in left} <= {f"kept{node.nid}" for node in nodes}

    async def test_a_write_of_one_name_has_effect_once_whoever_commits_it(self, tmp_path: Path) -> None:
        name = IdempotencyKey("ada", "order 7", b"digest")
        async with self.opened(tmp_path) as (first, second):
            keys = [RoomKey("acme", "tasks", f"t{number}") for number in range(2)]
            await asyncio.gather(
                *(
                    node.commit([], [fact(1, key=key, request=name)])
                    for node, key in zip((first, second), keys, strict=True)
                )
            )
            found = await first.request("acme", "ada", "order 7")
            assert found is not None
            assert found.key in keys
            assert found == await second.request("acme", "ada", "order 7")

    async def test_a_node_that_stands_still_is_found_dead_by_one_that_looks(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 3) as (looking, beating, still):
            pulse = Pulse(4)
            for _ in range(6):
                await beating.beat()
                beats = {node.nid: node.beats for node in await looking.nodes() if not node.dead}
                del beats[looking.nid]
                for nid in pulse.look(beats):
                    assert await looking.declare_dead(nid, beats[nid])
            assert await living(looking) == {looking.nid, beating.nid}
            with pytest.raises(Fenced):
                await still.commit([entry(b"x")])


async def living(node: NodeStorage) -> set[int]:
    """The numbers of the nodes that are not dead."""
    return {one.nid for one in await node.nodes() if not one.dead}


async def assert_fenced(dead: NodeStorage, other: NodeStorage) -> None:
    """Declare a node dead, and see that everything it tries to write is refused."""
    event = EntityEvent(1, "created", "tasks", "t1", 1, {"id": "t1"}, {}, "ada", "1970-01-01T00:00:00.000Z")
    assert await other.declare_dead(dead.nid, 0)
    attempts: Sequence[Callable[[], Coroutine[Any, Any, object]]] = (
        lambda: dead.commit([entry(b"x")]),
        lambda: dead.commit([], [fact(2)], commit_id=CommitId("w", 1)),
        lambda: dead.create(entry(b"x", OTHER)),
        lambda: dead.replace_snapshot(KEY, Snapshot(1, b"x", b"")),
        lambda: dead.set_aside(SetAside(KEY, 1, b"1", "hostile", 1.0)),
        lambda: dead.cover(KEY, 1),
        lambda: dead.save_schema("acme", "tasks", 1, b"{}"),
        lambda: dead.save_webhook("hook", "acme", 1, [DeadLetter("hook", event, "acme", "gone", 1.0)]),
        lambda: dead.trim(1e12),
        lambda: dead.erase([KEY]),
        lambda: dead.acquire(KEY),
        lambda: dead.release([KEY]),
        lambda: dead.claim_jobs(["webhook"]),
        lambda: dead.release_jobs(["webhook"]),
        lambda: dead.announce(Announcement("acme", "permissions_changed", {})),
        lambda: dead.declare_dead(other.nid, 0),
        lambda: dead.beat(),
    )
    for attempt in attempts:
        with pytest.raises(Fenced, match="taken over"):
            await attempt()


async def assert_takeover(survivor: NodeStorage, doomed: NodeStorage, name: str, delay: float) -> None:
    """A node dies in the middle of its commits, on several documents; another one goes on with them."""
    await doomed.open()
    keys = [RoomKey("acme", "documents", f"{name}-{number}") for number in range(3)]
    for key in keys:
        assert await doomed.acquire(key) == doomed.nid
    answered = dict.fromkeys(keys, 0)

    async def write(key: RoomKey) -> None:
        while True:
            number = answered[key] + 1
            await doomed.commit([entry(b"%d" % number, key)], [fact(number, key=key, row=0)])
            answered[key] = number
            await asyncio.sleep(0)

    writing = [asyncio.create_task(write(key)) for key in keys]
    await asyncio.sleep(delay)
    assert await survivor.declare_dead(doomed.nid, 0)
    seen = {}
    for key in keys:
        assert await survivor.acquire(key) == survivor.nid
        seen[key] = updates(await survivor.load(key))
        await survivor.commit([entry(b"new", key)], [fact(len(seen[key]) + 1, key=key, row=0)])
    ends = await asyncio.gather(*writing, return_exceptions=True)
    assert [type(end) for end in ends] == [Fenced] * len(keys)
    for key in keys:
        assert seen[key] == [b"%d" % number for number in range(1, len(seen[key]) + 1)]
        assert answered[key] <= len(seen[key]), "what was answered is there"
        assert updates(await survivor.load(key)) == [*seen[key], b"new"], "nothing came behind the declaration"
    await doomed.close()


async def assert_made_once(node: NodeStorage, name: str, seed: int) -> None:
    """Commits are given up under way, and repeated: each row is there once."""
    chance = random.Random(seed)  # noqa: S311
    key = RoomKey("acme", "documents", name)
    for number in range(1, 31):
        batch, facts = [entry(b"%d" % number, key)], [fact(number, key=key, row=0)]
        commit_id = CommitId(f"w{node.nid}", number)
        attempt = asyncio.create_task(node.commit(batch, facts, commit_id=commit_id))
        await asyncio.sleep(chance.random() * 0.003)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        first = await surely(node, batch, commit_id, facts)
        again = await surely(node, batch, commit_id, facts)
        assert list(first.seqs) == list(again.seqs) == [number]
        assert list(first.positions) == list(again.positions)
    assert updates(await node.load(key)) == [b"%d" % number for number in range(1, 31)]
    assert [
        event.version for event in await node.events("acme", 0, limit=1000, collection="documents", entity=name)
    ] == [*range(1, 31)]


async def surely(node: NodeStorage, batch: Sequence[Append], commit_id: CommitId, facts: Sequence[Any]) -> Committed:
    """As a recorder commits: again until there is an answer."""
    while True:
        try:
            return await node.commit(batch, facts, commit_id=commit_id)
        except Fenced:
            raise
        except StorageError:
            await asyncio.sleep(0.01)


async def assert_no_holes(reader: NodeStorage, writers: Sequence[NodeStorage], commits: int) -> None:
    """Nodes commit events of two projects at once, and no commit fails; a reader always sees all up to the newest."""
    done = False

    async def write(node: NodeStorage) -> None:
        for number in range(1, commits + 1):
            keys = [RoomKey(project, "tasks", f"n{node.nid}") for project in ("a", "b")]
            committed = await node.commit([], [fact(number, key=key) for key in keys])
            assert len(committed.positions) == 2
            await asyncio.sleep(0)

    async def read() -> None:
        seen = dict.fromkeys(("a", "b"), 0)
        while not done:
            for project in seen:
                for event in await reader.events(project, seen[project], limit=1000):
                    assert event.position == seen[project] + 1, "a hole"
                    seen[project] += 1
            await asyncio.sleep(0)

    reading = asyncio.create_task(read())
    try:
        await asyncio.gather(*(write(node) for node in writers))
    finally:
        done = True
        await reading
    for project in ("a", "b"):
        events = await reader.events(project, 0, limit=1000)
        assert [event.position for event in events] == list(range(1, commits * len(writers) + 1))
