"""Very many subscriptions, and one reader that does not read: over sockets, on a server of its own process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from tests.e2e.application import until
from tests.e2e.guarded import metric
from tests.e2e.server import Server
from tests.e2e.subscriber import Subscriber, pipelined, subscriber, where_nobody_reads

pytestmark = pytest.mark.chaos

MIB = 1024 * 1024

CONNECTIONS, EACH = 100, 100
WRITES = 300

ENTITIES, ROUNDS = 100, 120
TEXT = "x" * 1000
# An event of these writes is more than 3 kB as JSON, and there are 12,000: 36 MB and more, if somebody kept them.
MEMORY = 30 * MIB


@contextmanager
def running(folder: Path, **settings: float) -> Iterator[Server]:
    server = Server(folder, secret=None, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def memory(server: Server) -> int:
    """Bytes that the worker has resident."""
    assert server.process is not None
    (worker,) = psutil.Process(server.process.pid).children()
    return int(worker.memory_info().rss)


async def until_gone(server: Server, *names: str) -> None:
    """Wait until gauges are zero."""
    for _ in range(600):
        found = {name: await metric(server, name) for name in names}
        if not any(found.values()):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(str(found))


def target(number: int) -> dict[str, Any]:
    """Of ten thousand subscriptions no two are about the same: half are live queries, half events of one entity."""
    if number % 2:
        return {"kind": "entities", "collection": "tasks", "entity": f"e{number}"}
    return {"kind": "rows", "collection": "tasks", "query": {"where": {"slot": number}}}


async def test_l10_a11_ten_thousand_subscriptions_are_each_told_what_concerns_them_and_nothing_else(
    tmp_path: Path,
) -> None:
    with running(tmp_path, writes_per_second=0) as server:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(subscriber(server, "msgpack" if n % 2 else "json"))
                for n in range(CONNECTIONS)
            ]
            batches = [{place: target(n * EACH + place) for place in range(EACH)} for n in range(CONNECTIONS)]
            for answers in await asyncio.gather(
                *(client.subscribe(batch) for client, batch in zip(clients, batches, strict=True))
            ):
                assert len(answers) == EACH
                assert all("error" not in answer for answer in answers)
            assert await metric(server, "collab_subscriptions") == CONNECTIONS * EACH / 2
            assert await metric(server, "collab_live_queries") == CONNECTIONS * EACH / 2

            concerned = Random(1).sample(range(CONNECTIONS * EACH), WRITES)
            writes = [
                {"kind": "create", "collection": "tasks", "entity": f"e{n}", "data": {"slot": -1 if n % 2 else n}}
                for n in concerned
            ]
            async with subscriber(server) as writer:
                await pipelined(writer, writes)
            wanted = sorted(concerned)
            await until(lambda: told(clients) >= WRITES, lambda: told(clients), 60)
            for client in clients:  # what was on its way before this answer has come
                await client.ask("count", collection="tasks", query={"where": {"slot": 0}})
            heard = [
                n * EACH + sub
                for n, client in enumerate(clients)
                for sub in [*(sub for subs, _ in client.events for sub in subs), *client.diffs]
            ]
            assert sorted(heard) == wanted
            for n, client in enumerate(clients):
                assert all(event["id"] == f"e{n * EACH + subs[0]}" for subs, event in client.events)
                held = {n * EACH + sub: [row["id"] for row in rows] for sub, rows in client.rows.items()}
                assert held == {number: [f"e{number}"] if number in wanted else [] for number in held}
                assert client.ended == {}
        await until_gone(server, "collab_connections", "collab_subscriptions", "collab_live_queries", "collab_sessions")
        assert "Traceback" not in server.log()


def told(clients: list[Subscriber]) -> int:
    return sum(len(client.events) + len(client.diffs) for client in clients)


async def test_a14_subscriptions_over_the_limit_are_refused_one_by_one_and_the_others_stand(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with subscriber(server) as client:
            answers = await client.subscribe({number: target(number) for number in range(1005)})
            refused = [answer["error"] for answer in answers if "error" in answer]
            assert len(refused) == 5
            assert {(error["code"], error["details"]["limit"]) for error in refused} == {("RATE_LIMIT_EXCEEDED", 1000)}
            assert all("error" in answer for answer in answers[1000:])
            await client.ask("create", collection="tasks", entity="e999", data={"slot": 998})
            await until(lambda: client.events and client.diffs)
            await client.ask("unsubscribe", subs=[0, 1])
            (again, over, more) = await client.subscribe({n: target(n) for n in (2000, 2001, 2002)})
            assert "error" not in again
            assert "error" not in over
            assert more["error"]["code"] == "RATE_LIMIT_EXCEEDED"


async def test_a22_l1_who_does_not_read_costs_the_server_little_delays_nobody_and_ends_up_equal(tmp_path: Path) -> None:
    settings = {"writes_per_second": 0, "max_events_per_second": 0, "bytes_per_second": 0, "stall_seconds": 600}
    targets: dict[int, dict[str, Any]] = {
        1: {"kind": "entities", "collection": "tasks"},
        2: {"kind": "rows", "collection": "tasks", "query": {"orderBy": {"n": "desc"}, "limit": 20}},
        3: {"kind": "rows", "collection": "tasks", "query": {"where": {"odd": True}}},
    }
    with running(tmp_path, **settings) as server:
        async with (
            subscriber(server) as writer,
            subscriber(server) as fast,
            subscriber(server, listening=False, sock=where_nobody_reads(server)) as slow,
        ):
            # a first round of writes, so that what is compared later is not what the server needs anyway
            names = [f"t{n}" for n in range(ENTITIES)]
            await pipelined(writer, [create(name, n) for n, name in enumerate(names)])
            await fast.subscribe(targets)
            await slow.begin("subscribe", subscriptions=[{"sub": n, "target": one} for n, one in targets.items()])
            await until_subscribed(server, 2)
            await pipelined(writer, updates(names, range(1, 11)))
            before = memory(server)
            alive = asyncio.create_task(beat(slow))
            highest = 0
            for first in range(11, ROUNDS + 1, 10):
                await pipelined(writer, updates(names, range(first, first + 10)))
                highest = max(highest, memory(server))
            alive.cancel()
            assert highest - before < MEMORY, f"{(highest - before) / MIB:.1f} MiB more"

            # whoever reads has been told everything, while the other one has not read a byte
            written = ENTITIES * len(range(1, ROUNDS + 1))
            await until(lambda: stood_for(fast) >= written, lambda: stood_for(fast), 60)
            rows = await found(writer, targets)
            await until(lambda: holds(fast, rows), seconds=60)
            assert slow.welcome is None

            reading = asyncio.create_task(slow.run())
            try:
                await until(lambda: stood_for(slow) >= written, lambda: stood_for(slow), 60)
                await until(lambda: holds(slow, rows), lambda: slow.ended, 60)
                assert stood_for(slow) == stood_for(fast) == written, "no event is left out, none is counted twice"
                assert len(slow.events) < written / 4, "they came conflated"
                newest = {event["id"]: event for _, event in slow.events}
                everything = await writer.ask("findMany", collection="tasks", query={})
                assert {name: (event["data"], event["version"]) for name, event in newest.items()} == {
                    row["id"]: (row, version)
                    for row, version in zip(everything["rows"], everything["versions"], strict=True)
                }
                assert slow.ended == fast.ended == {}
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


def create(name: str, n: int) -> dict[str, Any]:
    return {"kind": "create", "collection": "tasks", "entity": name, "data": {"n": n, "odd": bool(n % 2), "text": TEXT}}


def updates(names: list[str], rounds: range) -> list[dict[str, Any]]:
    return [
        {
            "kind": "update",
            "collection": "tasks",
            "entity": name,
            "changes": {"n": (n * 37 + number * 101) % 1000, "odd": bool((n + number) % 2), "text": f"{number} {TEXT}"},
        }
        for number in rounds
        for n, name in enumerate(names)
    ]


async def beat(client: Subscriber) -> None:
    """Not reading is no reason to be dropped as dead."""
    while True:
        await client.socket.pong()
        await asyncio.sleep(5)


async def until_subscribed(server: Server, count: int) -> None:
    for _ in range(600):
        if await metric(server, "collab_subscriptions") == count:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("it has not subscribed")


def stood_for(client: Subscriber) -> int:
    """How many events those stand for that came."""
    return sum(event.get("conflated", 1) for _, event in client.events)


async def found(client: Subscriber, targets: dict[int, dict[str, Any]]) -> dict[int, Any]:
    """Fresh answers to live queries."""
    return {
        number: await client.ask("findMany", collection="tasks", query=one["query"])
        for number, one in targets.items()
        if one["kind"] == "rows"
    }


def holds(client: Subscriber, answers: dict[int, Any]) -> bool:
    """Whether what a client has made of steps is what a fresh query gives."""
    return all(
        client.rows.get(number) == answer["rows"]
        and [client.versions[number][row["id"]] for row in answer["rows"]] == answer["versions"]
        for number, answer in answers.items()
    )
