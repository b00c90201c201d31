"""Applications and editors of the same entities at all nodes, and witnesses who are told of everything they do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx

from collab.client import Event, LumenizeClient, Rows
from collab.errors import CollabError
from tests.chaos import record
from tests.chaos.applications import MADE, OWN, SHARED, Application, FieldEditor
from tests.chaos.deliveries import Deliveries
from tests.cluster import checker
from tests.cluster.checker import Heard, Told
from tests.cluster.cluster import Cluster, until
from tests.cluster.crowd import PING_SECONDS
from tests.e2e.server import Server

ROOM = f"{SHARED}/t0"
"""Where all witnesses are present."""
_QUERIES: Mapping[str, dict[str, Any]] = {
    SHARED: {"order_by": {"id": "asc"}},
    MADE: {"order_by": {"updatedAt": "desc"}, "limit": 20},
}
_QUICK = {
    "initial_delay": 20,
    "max_delay": 200,
    "heartbeat_interval": 1000 * PING_SECONDS,
    "heartbeat_timeout": 1000 * PING_SECONDS,
    "connect_timeout": 1000 * PING_SECONDS,
}
_PATIENCE = 60.0


class Witness:
    """A subscriber at one node or another, who is told each event once, sees live queries, and is seen.

    ``told`` are events by collection, each that stands for several with their number; ``None`` among them means that it
    was told that some may be missing.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.client = LumenizeClient(url=url, user_id=name, websocket=_QUICK)
        self.told: dict[str, list[Heard]] = {SHARED: [], MADE: [], OWN: []}
        self.rows: dict[str, Rows] = {}
        self.people: list[str] = []
        self.problems: list[str] = []
        self.troubles: deque[str] = deque(maxlen=5)
        """What its client complained of last: it says how a complaint came about."""
        self.client.on_error(lambda error: self.troubles.append(repr(error)))

    async def watch(self) -> None:
        """Subscribe to everything, and be present. The client is connected."""
        for collection in self.told:
            await self._watch(collection)
        await self.client.presence.subscribe(ROOM, self._meet, on_error=self._failed).ready()
        await self.client.presence.join(ROOM, {"name": self.name})

    async def _watch(self, collection: str) -> None:
        told = self.told[collection]

        def hear(event: Event) -> None:
            one = (event.position, event.id, event.version)
            told.append(one if event.conflated == 1 else (one, event.conflated))

        def show(rows: Rows) -> None:
            self.rows[collection] = rows

        of = self.client.collection(collection)
        await of.subscribe("*", hear, on_error=self._failed, on_resync=lambda: told.append(None)).ready()
        if collection in _QUERIES:
            await of.subscribe(_QUERIES[collection], show, on_error=self._failed).ready()

    def misheard(self, collection: str, happened: Sequence[Told]) -> list[str]:
        """What is wrong with what it was told of a collection."""
        wrong = checker.told(happened, checker.apart(happened, self.told[collection]))
        return [f"{self.name}: {collection}: {text}" for text in wrong]

    def _meet(self, people: Any) -> None:
        self.people = sorted(person.state["name"] for person in people)

    def _failed(self, error: CollabError) -> None:
        if not error.retryable:
            self.problems.append(f"{self.name}: a subscription failed: {error!r}")

    async def compare(self) -> list[str]:
        """Whether its live queries are what it finds now. Waits for a while until they are."""
        complaints = []
        for collection, query in _QUERIES.items():
            found = await self.client.collection(collection).find_many(query)
            with suppress(TimeoutError):
                await until(lambda: self.rows.get(collection) == found, "a live query", 15)  # noqa: B023
            if self.rows.get(collection) != found:
                complaints.append(f"{self.name}: the live query of {collection} is not what a query finds")
        return complaints


class Team(record.Crowd):
    """Two applications, a field editor and a witness at each node, and a witness that the balancer takes anywhere."""

    def __init__(self, cluster: Cluster, random: Random, folder: Path) -> None:
        self._cluster = cluster
        self._random = random
        self._folder = folder
        self._hosts: dict[str, str] = {}
        self.applications = []
        self.editors = []
        self.witnesses = [Witness("x-any", f"http://{cluster.host}")]
        for number, node in enumerate(cluster.nodes):
            entity = f"t{number % record.ENTITIES}"
            other = f"t{(number + 1) % record.ENTITIES}"
            self.applications += [
                Application(f"a-{node.name}", entity, pause=0.1, at_once=1, ping_seconds=PING_SECONDS),
                Application(f"b-{node.name}", other, pause=0.1, at_once=1, ping_seconds=PING_SECONDS),
            ]
            self.editors.append(
                FieldEditor(f"e-{node.name}", f"{SHARED}/{other}", pause=0.2, ping_seconds=PING_SECONDS)
            )
            self.witnesses.append(Witness(f"x-{node.name}", node.url))
            self._hosts |= dict.fromkeys((f"a-{node.name}", f"b-{node.name}", f"e-{node.name}"), node.url[7:])
        self.writers = [*self.applications, *self.editors]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Everybody connects, again and again, inside the block."""
        async with AsyncExitStack() as stack:
            for witness in self.witnesses:
                await stack.enter_async_context(witness.client)
                await witness.watch()
            async with httpx.AsyncClient(timeout=_PATIENCE) as http:
                for number in range(record.ENTITIES):
                    url = f"{self._cluster.nodes[0].url}/api/v1/collections/{SHARED}"
                    answer = await http.post(url, json={"id": f"t{number}"})
                    assert answer.status_code == 201, answer.text
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            living = [tasks.create_task(self._live(one)) for one in self.writers]
            yield
            for task in living:
                task.cancel()

    async def _live(self, one: Application | FieldEditor) -> None:
        path = "realtime" if isinstance(one, Application) else "hocuspocus"
        while True:
            await one.live(f"ws://{self._hosts[one.name]}/{path}")
            await asyncio.sleep(self._random.uniform(0, 0.1))

    def resume(self) -> None:
        """Write again."""
        for writer in self.writers:
            writer.writing = True

    async def check(self, hook: Deliveries) -> list[str]:
        """Let everybody rest, and compare the record with what was acknowledged, told and shown."""
        self.rest()
        try:
            await until(lambda: self.settled, "saving the rest of the applications", _PATIENCE)
        except TimeoutError:
            late = [f"{one.name}: {one.acknowledged} of {one.made}" for one in self.applications if not one.settled]
            late += [f"{one.name}: {one.saved} of {one.made}" for one in self.editors if one.saved != one.made]
            return [f"not saved within {_PATIENCE:.0f} s: {late}"]
        server = Server(self._folder, database=self._cluster.postgres.url)
        server.port = self._cluster.nodes[0].port
        docs = await record.content_told(server)
        entities = record.known(server)
        complaints = record.audit(self, entities, docs)
        events = {
            collection: sorted(
                (event[0], entity.id, event[1])
                for entity in entities
                if entity.collection == collection
                for event in entity.events
            )
            for collection in (SHARED, MADE, OWN)
        }
        for witness in self.witnesses:
            complaints += witness.problems
            for collection, happened in events.items():
                with suppress(TimeoutError):
                    await until(lambda: not witness.misheard(collection, happened), "an event", 15)  # noqa: B023
                complaints += witness.misheard(collection, happened)
            complaints += await witness.compare()
        complaints += await self._people()
        happened_all = [(entity.collection, entity.id, event[1]) for entity in entities for event in entity.events]
        with suppress(TimeoutError):
            await until(lambda: hook.has(happened_all), "telling the webhook", 30)
        complaints += hook.audit(happened_all)
        self.resume()
        return complaints

    async def _people(self) -> list[str]:
        here = sorted(witness.name for witness in self.witnesses)
        with suppress(TimeoutError):
            await until(lambda: all(witness.people == here for witness in self.witnesses), "seeing each other", 15)
        return [
            f"{witness.name} sees {witness.people} in {ROOM}, there are {here}; it was told {list(witness.troubles)}"
            for witness in self.witnesses
            if witness.people != here
        ]

    @property
    def missed(self) -> int:
        """How often witnesses were told that events may be missing."""
        return sum(told.count(None) for witness in self.witnesses for told in witness.told.values())

    @property
    def heard(self) -> int:
        """How many events witnesses were told."""
        return sum(len(told) for witness in self.witnesses for told in witness.told.values())
