"""A job is done by one node at a time, and by another one when that is dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from collab.cluster.jobs import ClusterJobs
from collab.consumers.webhook import Webhook
from collab.consumers.webhook_sender import Webhooks
from collab.entities.feed import Feed
from collab.names import RoomKey
from collab.storage.base import StorageError
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import Fenced
from collab.testing.storage_case import fact
from tests.collab.cluster.feeds import until
from tests.collab.consumers.receiver import OK, Receiver

SECRET = "whsec_" + "c2VjcmV0" * 4


class Storage(MemoryStorage):
    """Fails while it is told to."""

    def __init__(self, record: MemoryRecord) -> None:
        super().__init__(opens="join", record=record)
        self.fails = False

    async def claim_jobs(self, names: Sequence[str]) -> Sequence[str]:
        if self.fails:
            raise StorageError("away")
        return await super().claim_jobs(names)


class Worker:
    """A node that wants jobs."""

    def __init__(self, record: MemoryRecord) -> None:
        self.storage = Storage(record)
        self.living: Sequence[int] = ()
        self.jobs = ClusterJobs(self.storage, seconds=0.005, living=lambda: self.living)
        self.tasks: list[asyncio.Task[None]] = []
        self.doing: list[str] = []

    def want(self, name: str) -> asyncio.Task[None]:
        async def work() -> None:
            self.doing.append(name)
            await asyncio.sleep(1000)

        self.tasks.append(asyncio.create_task(self.jobs.run(name, work)))
        return self.tasks[-1]


@asynccontextmanager
async def workers(count: int) -> AsyncIterator[Sequence[Worker]]:
    record = MemoryRecord()
    all_ = [Worker(record) for _ in range(count)]
    for worker in all_:
        await worker.storage.open()
    claiming = [asyncio.create_task(worker.jobs.claim()) for worker in all_]
    try:
        async with asyncio.timeout(20):
            yield all_
    finally:
        tasks = [*claiming, *(task for worker in all_ for task in worker.tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_node_has_a_job_and_gives_it_back_when_it_stops() -> None:
    async with workers(2) as (one, two):
        first = one.want("a")
        await until(lambda: one.doing == ["a"])
        two.want("a")
        two.want("b")
        await until(lambda: two.doing == ["b"])
        await asyncio.sleep(0.05)
        assert (two.doing, one.jobs.held, two.jobs.held) == (["b"], {"a"}, {"b"})
        first.cancel()
        await until(lambda: two.doing == ["b", "a"])
        assert not one.jobs.held


async def test_jobs_are_dealt_out_to_the_nodes_that_live() -> None:
    async with workers(3) as all_:
        one, two, three = all_
        for name in "abcdef":
            one.want(name)
        one.living = [one.storage.nid]
        await until(lambda: len(one.jobs.held) == 6)
        for name in "abcdef":
            two.want(name)
            three.want(name)
        for worker in all_:
            worker.living = [node.storage.nid for node in all_]
        await until(lambda: [len(worker.jobs.held) for worker in all_] == [2, 2, 2])
        assert one.jobs.held | two.jobs.held | three.jobs.held == set("abcdef")
        await one.storage.declare_dead(three.storage.nid, 0)
        for worker in all_:
            worker.living = [one.storage.nid, two.storage.nid]
        await until(lambda: len(one.jobs.held) == 3 and len(two.jobs.held) == 3)
        assert one.jobs.held | two.jobs.held == set("abcdef")


async def test_a_job_that_its_node_does_not_know_is_done_by_one_that_does() -> None:
    async with workers(2) as (one, two):
        one.living = two.living = [one.storage.nid, two.storage.nid]
        for name in "ab":  # as a node with a newer configuration
            two.want(name)
        await until(lambda: two.jobs.held == {"a", "b"})


async def test_the_jobs_of_a_dead_node_are_taken_over() -> None:
    async with workers(2) as (one, two):
        one.want("a")
        await until(lambda: one.doing == ["a"])
        two.want("a")
        await asyncio.sleep(0.02)
        assert two.doing == []
        await two.storage.declare_dead(one.storage.nid, 0)
        await until(lambda: two.doing == ["a"])
        with pytest.raises(Fenced):
            await one.storage.save_webhook("a", "acme", 1)


async def test_a_job_waits_for_a_storage_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    async with workers(1) as (one,):
        one.storage.fails = True
        one.want("a")
        await asyncio.sleep(0.05)
        assert one.doing == []
        one.storage.fails = False
        await until(lambda: one.doing == ["a"])
    assert [record.message for record in caplog.records] == ["jobs wait for the storage: away"]


async def test_work_that_ends_or_fails_gives_its_job_back() -> None:
    async def end() -> None:
        pass

    async def fail() -> None:
        raise RuntimeError("no")

    async with workers(2) as (one, two):
        await one.jobs.run("a", end)
        with pytest.raises(RuntimeError):
            await two.jobs.run("a", fail)
        await one.jobs.run("a", end)


async def test_who_gives_up_waiting_gets_no_job() -> None:
    async with workers(2) as (one, two):
        one.want("a")
        await until(lambda: one.doing == ["a"])
        waiting = two.want("a")
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait([waiting])
        one.tasks[0].cancel()
        await asyncio.sleep(0.05)
        assert two.doing == []
        assert await one.storage.claim_jobs(["a"]) == ["a"]


async def test_a_node_that_leaves_ends_its_work_first_and_takes_no_more() -> None:
    async with workers(2) as (one, two):
        ends: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0.01)
                assert await two.storage.claim_jobs(["a"]) == []
                ends.append("a")

        one.tasks.append(asyncio.create_task(one.jobs.run("a", work)))
        await until(lambda: one.jobs.held == {"a"})
        await two.storage.claim_jobs(["b"])
        waiting = one.want("b")
        await one.jobs.stop()
        assert ends == ["a"]
        assert await two.storage.claim_jobs(["a"]) == ["a"]
        await asyncio.wait([waiting, one.tasks[0]])
        assert not any(task.cancelled() for task in (waiting, one.tasks[0]))
        await one.jobs.run("c", work)
        assert ends == ["a"]


async def test_a_webhook_is_sent_by_one_node_and_goes_on_from_there_when_it_is_dead() -> None:
    """At least once, and of the events that the dead node had not saved, none is left out."""
    receiver = Receiver(lambda delivery: OK)
    await receiver.start()
    webhook = Webhook(name="crm", url=receiver.url, secret=SECRET)
    async with workers(2) as nodes:
        feeds = []
        for node in nodes:
            feed = Feed()
            feed.begin(await node.storage.positions())
            feeds.append(feed)
            node.tasks.append(asyncio.create_task(Webhooks(node.storage, feed, [webhook], jobs=node.jobs).run()))
        one, two = nodes
        await until(lambda: bool(one.jobs.held or two.jobs.held))
        holder, other = (one, two) if one.jobs.held else (two, one)
        while await other.storage.webhook_position("crm", "default") is None:
            await asyncio.sleep(0.001)

        async def happens(version: int, *heard: Feed) -> None:
            key = RoomKey("default", "tasks", "t")
            await other.storage.commit([], [fact(version, key=key)])
            (event,) = await other.storage.events("default", version - 1, limit=1)
            for feed in heard:
                feed.publish("default", event)

        for version in range(1, 4):
            await happens(version, *feeds)
        await receiver.until("t/1", "t/2", "t/3")
        await asyncio.sleep(0.05)
        assert len(receiver.came) == 3, "one of them sends"
        await other.storage.declare_dead(holder.storage.nid, 0)
        for version in range(4, 7):
            await happens(version, feeds[nodes.index(other)])
        await receiver.until(*(f"t/{version}" for version in range(1, 7)))
    await receiver.stop()
