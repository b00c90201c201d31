"""Kill the server again and again while applications and editors write the same entities; then read its record.

    python -m tests.chaos.record --rounds 100 --database postgres

Before any writer, who could bring lost writes back, may connect again: every acknowledged write is there; none was
made twice, though applications say those again that they had no answer to; versions of every entity have no holes, and
each event tells what changed since the one before; what a Yjs client reads is what the record says; changes of a text,
one after the other, give the text. A subscriber who lives through it all is told each event once, and a webhook each
at least once, those of one entity in order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import httpx
import pycrdt

from collab.client import Event, LumenizeClient
from tests.chaos.applications import MADE, OWN, SHARED, Application, FieldEditor
from tests.chaos.databases import add_option, chosen, count, database_of
from tests.chaos.deliveries import Deliveries, deliveries
from tests.chaos.durability import PATIENCE, kill_worker, start, until
from tests.e2e.server import Server

ENTITIES = 3
RECORD = ("id", "createdAt", "updatedAt")


@dataclass
class Tally:
    """Results of all rounds."""

    rounds: int = 0
    acknowledged: int = 0
    said_again: int = 0
    edits: int = 0
    events: int = 0
    snapshots: int = 0
    delivered: int = 0
    complaints: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.rounds} kills, {self.acknowledged} writes and {self.edits} edits acknowledged, {self.said_again} "
            f"writes said again, {self.events} events, {self.delivered} sent to a webhook, "
            f"{len(self.complaints)} complaints"
        )


@dataclass(frozen=True)
class Known:
    """One entity from the database; ``events`` are ordered by position."""

    collection: str
    id: str
    version: int
    deleted: bool
    data: dict[str, Any]
    events: list[tuple[int, int, str, dict[str, Any], dict[str, Any]]]  # position, version, type, data, changes
    authors: dict[int, str | None]  # by version


class Crowd:
    """All writers."""

    def __init__(self) -> None:
        self.applications = [Application(f"a{number}", f"t{number % ENTITIES}") for number in range(8)]
        self.editors = [FieldEditor(f"e{number}", f"{SHARED}/t{number % ENTITIES}") for number in range(5)]
        self.writers: list[Application | FieldEditor] = [*self.applications, *self.editors]

    @property
    def saved(self) -> int:
        """Number of acknowledged writes."""
        return sum(writer.saved for writer in self.writers)

    @property
    def settled(self) -> bool:
        """Whether everything was acknowledged."""
        return all(one.settled for one in self.applications) and all(one.saved == one.made for one in self.editors)

    def rest(self) -> None:
        """Stop making new writes."""
        for writer in self.writers:
            writer.writing = False

    @asynccontextmanager
    async def at_work(self, server: Server) -> AsyncIterator[None]:
        """Run all writers inside the block; afterwards their connections have ended."""
        realtime = f"ws://{server.host}:{server.port}/realtime"
        tasks = [asyncio.create_task(one.live(realtime)) for one in self.applications]
        tasks += [asyncio.create_task(one.live(server.hocuspocus)) for one in self.editors]
        try:
            yield
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def chaotic(folder: Path, hook: Deliveries, database: str | None = None) -> Server:
    """A server that evicts, compacts and emits content events as soon as possible, and sends events to ``hook``."""
    settings = {} if database is None else {"database": database}
    return Server(folder, room_idle_seconds=0.1, content_event_seconds=0.1, webhooks=hook.setting, **settings)


def known(server: Server) -> list[Known]:
    """All entities, read directly from the database."""
    entities, rows = database_of(server).rows(
        "SELECT eid, collection, id, version, deleted, data FROM entities",
        "SELECT eid, position, version, type, data, changes, user_id FROM events ORDER BY position",
    )
    events: dict[int, list[Any]] = {}
    authors: dict[int, dict[int, str | None]] = {}
    for eid, position, version, kind, data, changes, user in rows:
        events.setdefault(eid, []).append((position, version, kind, json.loads(data), json.loads(changes)))
        authors.setdefault(eid, {})[version] = user
    return [
        Known(collection, name, version, bool(deleted), json.loads(data), events.get(eid, []), authors.get(eid, {}))
        for eid, collection, name, version, deleted, data in entities
    ]


async def documents(server: Server) -> dict[str, pycrdt.Doc[Any]]:
    """Read the shared entities as a new Yjs client. Waits for a restarting server."""
    found: dict[str, pycrdt.Doc[Any]] = {}
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        for number in range(ENTITIES):
            name = f"t{number}"
            doc = found[name] = pycrdt.Doc()
            doc.apply_update(await read(http, f"{server.http}/rooms/{SHARED}/{name}?format=update"))
    return found


async def read(http: httpx.AsyncClient, url: str) -> bytes:
    """GET a resource. Waits for a restarting server."""
    deadline = monotonic() + PATIENCE
    while True:
        try:
            answer = await http.get(url)
            if answer.status_code == 200:
                return answer.content
            problem = f"{answer.status_code} {answer.text}"
        except httpx.TransportError as error:
            problem = repr(error)
        if monotonic() > deadline:
            raise TimeoutError(f"{url}: {problem}")
        await asyncio.sleep(0.02)


def compose(changes: list[dict[str, Any]]) -> str:
    """Apply deltas to an empty text; positions are UTF-16 units. Raises :class:`ValueError` if one is of another text.

    A change that is missing can stay unnoticed otherwise: what it inserted may have been deleted since.
    """
    text = b""
    for change in changes:
        if "delta" not in change:
            raise ValueError(f"{change} says nothing of what was changed")
        made, at = b"", 0
        for part in change["delta"]:
            if "insert" in part:
                made += part["insert"].encode("utf-16-le")
                continue
            size = 2 * (part["retain"] if "retain" in part else part["delete"])
            if "retain" in part:
                made += text[at : at + size]
            at += size
        if at > len(text):
            raise ValueError(f"{change} is of a longer text than {text.decode('utf-16-le', 'replace')!r}")
        text = made + text[at:]
    return text.decode("utf-16-le")


def content_of(entity: Known) -> str:
    """The text according to an entity's events, or what is wrong with them."""
    try:
        return compose([changes["content"] for *_, changes in entity.events if "content" in changes])
    except ValueError as error:
        return str(error)


async def content_told(server: Server, seconds: float = PATIENCE) -> dict[str, pycrdt.Doc[Any]]:
    """Wait until events cover all changes of texts, or for so many seconds. Returns the documents."""
    docs = await documents(server)
    deadline = monotonic() + seconds
    while True:
        texts = {one.id: content_of(one) for one in known(server) if one.collection == SHARED}
        if all(texts[name] == str(doc.get("content", type=pycrdt.Text)) for name, doc in docs.items()):
            return docs
        if monotonic() > deadline:
            return docs  # the audit will report it
        await asyncio.sleep(0.05)


def audit(crowd: Crowd, entities: list[Known], docs: dict[str, pycrdt.Doc[Any]]) -> list[str]:
    """Return complaints about the record."""
    complaints = [text for one in crowd.applications for text in one.complaints]
    positions = sorted(event[0] for entity in entities for event in entity.events)
    if positions != list(range(1, len(positions) + 1)):
        complaints.append("positions of events have holes or doubles")
    for entity in entities:
        complaints += [f"{entity.collection}/{entity.id}: {text}" for text in _story(entity)]
    by_name = {(entity.collection, entity.id): entity for entity in entities}
    for name, doc in docs.items():
        entity = by_name[SHARED, name]
        fields = {key: value for key, value in entity.data.items() if key not in RECORD}
        held = doc.get("fields", type=pycrdt.Map).to_py()
        if fields != held:
            complaints.append(f"{name}: the record has {fields}, a Yjs client {held}")
        text = str(doc.get("content", type=pycrdt.Text))
        if content_of(entity) != text:
            complaints.append(f"{name}: events of its content give {content_of(entity)!r}, it is {text!r}")
    for application in crowd.applications:
        complaints += _updates(application, by_name[SHARED, application.entity])
        complaints += _life(application, by_name.get((OWN, application.name)))
    complaints += _made(crowd, entities)
    for editor in crowd.editors:
        told = _told(by_name[SHARED, editor.room.partition("/")[2]], editor.name)
        if told != sorted(set(told)) or not editor.saved - 1 <= max(told, default=-1) < editor.made:
            complaints.append(f"{editor.name}: edits {told[-5:]} were told, {editor.saved} of {editor.made} were saved")
    return complaints


def _story(entity: Known) -> list[str]:
    """Check that each event continues the one before it, and that the last equals the entity."""
    complaints = []
    versions = [version for _, version, *_ in entity.events]
    if versions != list(range(1, entity.version + 1)):
        complaints.append(f"its versions are {versions}, it has version {entity.version}")
    state: dict[str, Any] = {}
    alive = None
    for _, version, kind, data, changes in entity.events:
        if (kind == "created") != (alive is None) or (kind == "restored") != (alive is False):
            complaints.append(f"version {version} is {kind} of what was {alive}")
        alive = kind != "deleted"
        for name, change in changes.items():
            if name == "content":
                continue
            if state.get(name) != change.get("from"):
                complaints.append(f"version {version} changes {name} from {change.get('from')}: was {state.get(name)}")
            # Who comes back may say that it replaced a value, and with what only in terms of what others have yet
            # to bring again: until then the field is absent.
            if "to" in change:
                state[name] = change["to"]
            else:
                state.pop(name, None)
        if {key: value for key, value in data.items() if key not in RECORD} != state:
            complaints.append(f"version {version} has {data}, changes make it {state}")
    if entity.events and (entity.data != entity.events[-1][3] or entity.deleted == alive):
        complaints.append("it is not what its last event says")
    return complaints


def _told(entity: Known, name: str) -> list[int]:
    """The values of a writer's field, each once.

    Others see an application's write before it is committed. After a kill they may bring an older one back beside a
    newer one, and Yjs decides which wins: that is a change of theirs, and no second write of the application.
    """
    told: list[int] = []
    for _, version, _, _, changes in entity.events:
        value = changes.get(name, {}).get("to")
        if value is not None and (value not in told or entity.authors[version] == name):
            told.append(value)
    return told


def _updates(application: Application, entity: Known) -> list[str]:
    told = _told(entity, application.name)
    made, acknowledged = application.made["update"], application.acknowledged["update"]
    complaints = []
    if told != list(range(len(told))):
        complaints.append(f"{application.name}: its writes were made {told[-10:]}")
    if not acknowledged <= len(told) <= made:
        complaints.append(f"{application.name}: {acknowledged} of {made} acknowledged, {len(told)} made")
    changes = {version: changes for _, version, _, _, changes in entity.events}
    for number, version in application.versions.items():
        if changes.get(version, {}).get(application.name, {}).get("to") != number:
            complaints.append(f"{application.name}: write {number} was acknowledged as version {version}, and is not")
    return complaints


def _life(application: Application, entity: Known | None) -> list[str]:
    kinds = [kind for _, _, kind, *_ in entity.events] if entity is not None else []
    made, acknowledged = application.made["life"], application.acknowledged["life"]
    wanted = ["created", *(("deleted", "restored") * made)][: len(kinds)]
    if kinds == wanted and acknowledged <= len(kinds) <= made:
        return []
    return [f"{application.name}: its own was {kinds[-5:]}, {len(kinds)}, acknowledged {acknowledged} of {made}"]


def _made(crowd: Crowd, entities: list[Known]) -> list[str]:
    found: dict[str, list[int]] = {}
    for entity in entities:
        if entity.collection == MADE:
            found.setdefault(entity.data["by"], []).append(entity.data["number"])
    complaints = []
    for one in crowd.applications:
        numbers = found.get(one.name, [])
        made, acknowledged = one.made["create"], one.acknowledged["create"]
        if len(numbers) != len(set(numbers)) or not acknowledged <= len(numbers) <= made:
            complaints.append(f"{one.name}: {acknowledged} of {made} creations acknowledged, {sorted(numbers)} made")
    return complaints


async def kill_rounds(
    server: Server, hook: Deliveries, rounds: int, seed: int, report: Callable[[Tally], None] = lambda tally: None
) -> Tally:
    """Kill a started server ``rounds`` times, and check at the end that nothing is missing."""
    random = Random(seed)
    crowd, tally = Crowd(), Tally()
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        for number in range(ENTITIES):
            answer = await http.post(f"{server.http}/api/v1/collections/{SHARED}", json={"id": f"t{number}"})
            assert answer.status_code == 201, answer.text
    told: list[Event] = []
    lost: list[str] = []
    async with AsyncExitStack() as stack:
        witness = LumenizeClient(url=server.http, websocket={"initial_delay": 20, "max_delay": 100})
        await stack.enter_async_context(witness)
        await (
            witness.collection(SHARED)
            .subscribe("*", told.append, on_resync=lambda: lost.append("the subscriber was told to read anew"))
            .ready()
        )
        first = {one.id: one.version for one in known(server) if one.collection == SHARED}
        for number in range(rounds):
            wanted = crowd.saved + int(random.expovariate(1 / 120))
            async with crowd.at_work(server):
                await until(lambda wanted=wanted: crowd.saved >= wanted, "an acknowledgement")  # type: ignore[misc]
                await asyncio.sleep(random.uniform(0, 0.02))
                if random.random() < 0.3:
                    kill_worker(server)
                else:
                    server.kill()
                    await start(server)
            docs = await content_told(server)
            entities = known(server)
            tally.complaints += [f"round {number}: {text}" for text in audit(crowd, entities, docs)] + lost
            tally.rounds += 1
            _count(tally, crowd, entities)
            report(tally)
            if tally.complaints:
                return tally
            if random.random() < 0.25:
                # the rooms are empty, so they are evicted and compacted; kill the server during that
                await asyncio.sleep(random.uniform(0.2, 2.0))
                server.kill()
                await start(server)
        crowd.rest()
        async with crowd.at_work(server):
            await until(lambda: crowd.settled, "saving the rest")
            docs = await content_told(server)
            entities = known(server)
            last = {one.id: one.version for one in entities if one.collection == SHARED}
            missing = sum(last[name] - first[name] for name in last)
            await until(lambda: len(told) >= missing or bool(lost), "telling the subscriber")
            tally.complaints += [f"at the end: {text}" for text in audit(crowd, entities, docs)] + lost
            tally.complaints += _heard(told, entities, first)
            happened = [(one.collection, one.id, event[1]) for one in entities for event in one.events]
            await until(lambda: hook.has(happened), "telling the webhook")
            tally.complaints += hook.audit(happened)
            tally.delivered = len(hook.taken)
            _count(tally, crowd, entities)
            await witness.disconnect()
            server.stop()
    tally.snapshots = count(server, "count(*) FROM snapshots")
    return tally


def _heard(told: list[Event], entities: list[Known], first: dict[str, int]) -> list[str]:
    """Check that a permanent subscriber received each event once, in order."""
    wanted = sorted(
        (event[0], entity.id, event[1])
        for entity in entities
        if entity.collection == SHARED
        for event in entity.events
        if event[1] > first[entity.id]
    )
    heard = [(event.position, event.id, event.version) for event in told]
    if heard == wanted:
        return []
    return [
        f"the subscriber was told {len(heard)} events, {len(set(wanted) - set(heard))} of {len(wanted)} are missing"
    ]


def _count(tally: Tally, crowd: Crowd, entities: list[Known]) -> None:
    tally.acknowledged = sum(one.saved for one in crowd.applications)
    tally.edits = sum(one.saved for one in crowd.editors)
    tally.said_again = sum(one.said_again for one in crowd.applications)
    tally.events = sum(len(one.events) for one in entities)


def main() -> int:
    """Run rounds from the command line. Returns 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    add_option(parser)
    options = parser.parse_args()

    def report(tally: Tally) -> None:
        if tally.rounds % 10 == 0:
            print(tally, flush=True)

    async def scenario() -> Tally:
        with tempfile.TemporaryDirectory() as folder, chosen(options.database) as database:
            async with deliveries() as hook:
                server = chaotic(Path(folder), hook, database)
                await start(server)
                try:
                    return await kill_rounds(server, hook, options.rounds, options.seed, report)
                finally:
                    server.stop()

    tally = asyncio.run(scenario())
    print(tally)
    for complaint in tally.complaints:
        print(complaint)
    return 1 if tally.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
