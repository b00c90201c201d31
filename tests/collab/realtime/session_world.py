"""A server without sockets and rooms: the real record, feed, queries and events, with sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import anyio
import msgspec

from collab.access.identity import Identity
from collab.access.rules import Access, parse_rules
from collab.dates import iso
from collab.entities.feed import Feed
from collab.entities.recorder import Recorder
from collab.errors import AuthenticationFailed, CollabError, NotFound, PermissionDenied
from collab.event import EntityEvent, EventType, FieldConflict
from collab.hooks import Hooks
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.query.parse import parse_query
from collab.query.query import Condition
from collab.realtime.hub import Hub
from collab.realtime.session.session import RealtimeSession, SessionLimits
from collab.realtime.topics.analytics import AnalyticsMetrics
from collab.realtime.topics.custom_events import CustomEvents
from collab.realtime.topics.kept_in_memory import KeptInMemory
from collab.realtime.topics.presence import PresenceRooms
from collab.realtime.topics.system import ProjectHealth, SystemEvents
from collab.records.reads import Caller
from collab.records.records import Collections
from collab.records.schema import Schemas
from collab.rooms.authorization import Authorization
from collab.rooms.blackbox import NoBlackBox
from collab.rooms.live.ring import RoomOptions
from collab.rooms.registry import Registry
from collab.sandbox.client import Sandbox
from collab.storage.base import EntityRow, Fact
from collab.storage.memory import MemoryStorage
from collab.wire.realtime import messages as realtime
from collab.wire.realtime.encoding import Format, decode_server
from collab.wire.realtime.messages import ClientMessage, Failure, Hello, People, Reply, ServerMessage, Welcome
from collab.wire.realtime.values import AnyTarget, Found, FoundMany, Person, Subscribed, Written
from tests.collab.realtime.virtual_time import VirtualTime

Kind = TypeVar("Kind")

EVERYTHING = {"*/*": "write"}
UNLIMITED = SessionLimits(
    subscriptions=0, events_per_second=0, writes_per_second=0, messages_per_second=0, bytes_per_second=0
)


def identity(user_id: str | None = "ada", rules: Mapping[str, Any] = EVERYTHING, **more: Any) -> Identity:
    return Identity("default", user_id, rules=parse_rules(rules, user_id), **more)


class World:
    """A hub that writes records without rooms, and its clients."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.storage = MemoryStorage()
        self.feed = Feed()
        self.declared = {"tasks": 1}
        self.records = Records(self)
        self.presence = Presence()
        self.hub = WorldHub(self)
        self.entities = self.hub.entities
        self.queries = self.hub.live_queries
        self.events = self.hub.events = CustomEvents(KeptInMemory(epoch="custom"))
        self.system = self.hub.system = SystemEvents(lambda project: ProjectHealth(1, 0, 0), later=self.time.later)
        self.analytics = self.hub.analytics = AnalyticsMetrics(later=self.time.later)
        self.gatekeeper = Gatekeeper()
        self.clients: list[Client] = []

    async def __aenter__(self) -> World:
        self.feed.begin(await self.storage.positions())
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self.clients:
            client.session.left()
        await self.queries.close()

    async def write(
        self,
        entity: str,
        changes: Mapping[str, Any] | None = None,
        *,
        unset: Collection[str] = (),
        kind: EventType | None = None,
        collection: str = "tasks",
        project: str = "default",
        user: str | None = "ada",
        conflicts: tuple[FieldConflict, ...] = (),
    ) -> EntityEvent:
        """Commit and publish one event, as the recorder does."""
        key = RoomKey(project, collection, entity)
        row = await self.storage.entity(key)
        now = iso(self.time.now)
        data = dict(row.data) if row is not None else {"id": entity, "createdAt": now}
        said: dict[str, dict[str, Any]] = {}
        for name, value in (changes or {}).items():
            said[name] = {"from": data[name], "to": value} if name in data else {"to": value}
            data[name] = value
        for name in unset:
            said[name] = {"from": data.pop(name)}
        data["updatedAt"] = now
        type_: EventType = kind or ("created" if row is None else "updated")
        event = EntityEvent(
            position=0,
            type=type_,
            collection=collection,
            id=entity,
            version=row.version + 1 if row is not None else 1,
            data=data,
            changes=said,
            user_id=user,
            at=now,
            conflicts=conflicts,
        )
        after = EntityRow(key, event.version, data, type_ == "deleted", b"", 0)
        committed = await self.storage.commit([], [Fact(after, event, self.time.now)])
        event = msgspec.structs.replace(event, position=committed.positions[0])
        self.feed.publish(project, event)
        return event

    def client(
        self, who: Identity | None = None, *, form: Format = "json", limits: SessionLimits = UNLIMITED, **hello: Any
    ) -> Client:
        """A client that has connected and sent nothing yet."""
        client = Client(self, who or identity(), form, limits, hello)
        self.clients.append(client)
        return client

    async def joined(self, who: Identity | None = None, **options: Any) -> Client:
        """A client that was welcomed."""
        client = self.client(who, **options)
        await client.join()
        return client


class WorldHub(Hub):
    """The hub of a server, with the records and the presence of a :class:`World`."""

    def __init__(self, world: World) -> None:
        hooks, sandbox = Hooks(), Sandbox()
        rights = Authorization(hooks, lambda collection: {}, world.storage.children)
        recorder = Recorder(world.storage, max_pending_bytes=1024 * 1024)
        registry = Registry(
            world.storage,
            recorder,
            sandbox,
            hooks,
            rights,
            options=RoomOptions(),
            metrics=Metrics(),
            blackbox=NoBlackBox(),
            pending_bytes=1024 * 1024,
        )
        super().__init__(
            world.storage,
            registry,
            sandbox,
            rights,
            world.feed,
            Schemas(),
            flush=recorder.flush,
            probe=lambda project: ProjectHealth(1, 0, 0),
            max_entity_bytes=1024 * 1024,
            history_days=30,
            failed=lambda error: None,
        )
        self.records = world.records
        self.presence = world.presence
        self._world = world

    def schema(self, project: str) -> Mapping[str, Any]:
        return {name: {"version": version} for name, version in self._world.declared.items()}


class Gatekeeper:
    """Identifies clients by their tokens."""

    def __init__(self) -> None:
        self.known: dict[str, Identity] = {}
        self.entered: list[Identity] = []
        self.left: list[Identity] = []

    async def admit(self, hello: Hello) -> Identity:
        await asyncio.sleep(0)
        found = self.known.get(hello.token or "")
        if found is None:
            raise AuthenticationFailed("the token is not valid")
        return found

    def enter(self, identity: Identity) -> None:
        self.entered.append(identity)

    def leave(self, identity: Identity) -> None:
        self.left.append(identity)


class Client:
    """Decodes its session's messages when it reads; ``closed`` is why the session ended."""

    def __init__(
        self, world: World, who: Identity, form: Format, limits: SessionLimits, hello: Mapping[str, Any]
    ) -> None:
        self.world = world
        self.heard: list[ServerMessage] = []
        self.closed: CollabError | None = None
        self.frames = 0
        self._hello = hello
        self._next = 0
        self.token = f"token {len(world.clients)}"
        world.gatekeeper.known[self.token] = who
        self.session = RealtimeSession(
            f"session {len(world.clients)}",
            world.hub,
            world.gatekeeper,
            form=form,
            limits=limits,
            ready=lambda: None,
            close=self._close,
            clock=world.time.clock,
            later=world.time.later,
        )

    def _close(self, error: CollabError) -> None:
        self.closed = self.closed or error

    def say(self, message: ClientMessage) -> None:
        try:
            self.session.receive(message, self.world.time.now)
        except CollabError as error:
            self._close(error)

    def read(self) -> None:
        """Drain the session's messages."""
        for frame in self.session.drain():
            self.frames += 1
            self.heard.append(decode_server(frame))

    async def until(self, wanted: Callable[[], Kind | None], *, read: bool = True) -> Kind:
        """Run until ``wanted`` returns a value."""
        with anyio.fail_after(40):
            while True:
                if read:
                    self.read()
                found = wanted()
                if found:
                    return found
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Run until all work has finished, then read."""
        with anyio.fail_after(40):
            await asyncio.sleep(0)
            while len(self.session._jobs):
                await asyncio.sleep(0)
                self.read()
        self.read()

    async def join(self) -> Welcome:
        self.say(Hello(token=self.token, **self._hello))
        return await self.until(lambda: next((m for m in self.heard if isinstance(m, Welcome)), None))

    def ask(self, kind: Callable[..., ClientMessage], **what: Any) -> int:
        self._next += 1
        self.say(kind(id=self._next, **what))
        return self._next

    async def answer(self, number: int) -> Reply | Failure:
        return await self.until(
            lambda: next((m for m in self.heard if isinstance(m, Reply | Failure) and m.id == number), None)
        )

    async def result(self, kind: Callable[..., ClientMessage], **what: Any) -> Any:
        answer = await self.answer(self.ask(kind, **what))
        assert isinstance(answer, Reply), answer
        return answer.result

    async def error(self, kind: Callable[..., ClientMessage], **what: Any) -> str:
        answer = await self.answer(self.ask(kind, **what))
        assert isinstance(answer, Failure), answer
        return answer.error.code

    async def subscribe(self, *targets: AnyTarget, first: int = 1) -> list[Subscribed]:
        """Subscriptions with the numbers 1, 2, …"""
        wanted = tuple(realtime.Subscription(sub=n, target=target) for n, target in enumerate(targets, first))
        return msgspec.convert(await self.result(realtime.Subscribe, subscriptions=wanted), list[Subscribed])

    def messages(self, kind: type[Kind]) -> list[Kind]:
        return [message for message in self.heard if isinstance(message, kind)]

    def events(self, sub: int = 1) -> list[EntityEvent]:
        """Entity events that a subscription received."""
        return [
            msgspec.convert(message.event, EntityEvent)
            for message in self.messages(realtime.Event)
            if sub in message.subs
        ]

    def forget(self) -> None:
        self.heard.clear()


class Records(Collections):
    """Operations on entities, directly on the record. ``hold`` delays those of one entity."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.held: dict[str, asyncio.Event] = {}
        self.begun: list[tuple[str, Any]] = []
        self.done: list[tuple[str, Any]] = []
        self.forbidden: set[str] = set()
        self.checked: dict[str, asyncio.Event] = {}
        """What the answer about a collection waits for."""
        self.asked: list[str] = []  # about these collections

    def hold(self, entity: str) -> asyncio.Event:
        return self.held.setdefault(entity, asyncio.Event())

    async def _turn(self, entity: str, what: Any) -> None:
        self.begun.append((entity, what))
        if entity in self.held:
            await self.held[entity].wait()
        await asyncio.sleep(0)
        self.done.append((entity, what))

    async def create(self, caller: Caller, message: realtime.Create) -> Written:
        name = message.entity or "made"
        await self._turn(name, message.data)
        collection, user = message.collection, caller.identity.user_id
        event = await self._world.write(name, message.data, collection=collection, user=user)
        return Written(data=event.data, version=event.version)

    async def update(self, caller: Caller, message: realtime.Update) -> Written:
        await self._turn(message.entity, message.changes)
        event = await self._world.write(
            message.entity, message.changes, unset=message.unset, collection=message.collection
        )
        return Written(data=event.data, version=event.version)

    async def delete(self, caller: Caller, message: realtime.Delete) -> Written:
        await self._turn(message.entity, "delete")
        event = await self._world.write(message.entity, kind="deleted", collection=message.collection)
        return Written(data=event.data, version=event.version)

    async def restore(self, caller: Caller, message: realtime.Restore) -> Written:
        await self._turn(message.entity, "restore")
        event = await self._world.write(message.entity, kind="restored", collection=message.collection)
        return Written(data=event.data, version=event.version)

    async def find_by_id(self, caller: Caller, message: realtime.FindById, form: Format | None = None) -> Found:
        await self._turn(message.entity, "find")
        row = await self._world.storage.entity(RoomKey(caller.identity.project, message.collection, message.entity))
        if row is None:
            raise NotFound("there is no such entity")
        return Found(data=row.data, version=row.version)

    async def find_many(self, caller: Caller, message: realtime.FindMany) -> FoundMany:
        await self._turn("*", message.query)
        query = parse_query(message.query)
        found = await self._world.storage.find(caller.identity.project, message.collection, query)
        return FoundMany(rows=[row.data for row in found.rows], versions=[row.version for row in found.rows])

    async def count(self, caller: Caller, message: realtime.Count) -> int:
        query = parse_query(message.query)
        return await self._world.storage.count(caller.identity.project, message.collection, query)

    async def history(self, caller: Caller, message: realtime.History) -> list[EntityEvent]:
        key = RoomKey(caller.identity.project, message.collection, message.entity)
        versions = await self._world.storage.history(key, before=message.before, limit=message.limit)
        return [version.event for version in versions]

    async def visible(self, caller: Caller, collection: str) -> Condition:
        await asyncio.sleep(0)
        self.asked.append(collection)
        if collection in self.checked:
            await self.checked[collection].wait()
        where = caller.identity.filter_of(collection)
        if where is None or collection in self.forbidden:
            raise PermissionDenied(f"this identity may not list {collection}")
        return where

    async def access(self, caller: Caller, collection: str, entity: str) -> Access:
        if f"{collection}/{entity}" in self.forbidden:
            return Access.NONE
        key = RoomKey(caller.identity.project, collection, entity)
        row = await self._world.storage.entity(key)
        return caller.identity.access_to_row(key, row.data if row is not None else {"id": entity})


class Presence(PresenceRooms):
    """One simulated room."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], dict[str, Any]] = {}
        self.listeners: dict[object, Callable[[People], None]] = {}
        self.enders: dict[object, Callable[[CollabError], None]] = {}
        self.forbidden = False

    async def subscribe(
        self,
        caller: Caller,
        room: str,
        listener: Callable[[People], None],
        ended: Callable[[CollabError], None] = lambda error: None,
    ) -> Callable[[], None]:
        if self.forbidden:
            raise PermissionDenied("this identity may not read the room")
        token = object()
        self.listeners[token] = listener
        self.enders[token] = ended
        people = [Person(key=key, state=state) for (key, of), state in self.states.items() if of == room]
        listener(People(subs=(), count=len(people), people=people, complete=True))
        return lambda: self.listeners.pop(token, None) and None

    def deny(self) -> None:
        for token in list(self.listeners):
            del self.listeners[token]
            self.enders[token](PermissionDenied("this identity may not read the room"))

    def tell(self, people: People) -> None:
        for listener in list(self.listeners.values()):
            listener(people)

    async def join(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        self.states[caller.writer, room] = dict(state)

    async def update(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        self.states[caller.writer, room].update(state)

    def leave(self, caller: Caller, room: str) -> None:
        self.states.pop((caller.writer, room), None)

    def leave_all(self, caller: Caller) -> None:
        for key in [key for key in self.states if key[0] == caller.writer]:
            del self.states[key]

    async def recheck(self, caller: Caller) -> None:
        if self.forbidden:
            self.leave_all(caller)
