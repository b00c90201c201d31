"""A server without sockets and rooms: the real record, feed, queries and events, and sessions to talk to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeVar

import anyio
import msgspec

from collab.access.identity import Access, Identity, parse_rules
from collab.dates import iso
from collab.entities.feed import Feed
from collab.errors import AuthenticationFailed, CollabError, NotFound, PermissionDenied
from collab.event import Conflict, EntityEvent, EventType
from collab.names import RoomKey
from collab.query.parse import parse_query
from collab.query.query import Condition
from collab.realtime.analytics import Analytics
from collab.realtime.entity_subscriptions import EntitySubscriptions
from collab.realtime.events import CustomEvents
from collab.realtime.live_queries import LiveQueries
from collab.realtime.reads import Caller
from collab.realtime.services import Services
from collab.realtime.session import RealtimeSession, SessionLimits
from collab.realtime.system import Health, System
from collab.storage.base import EntityRow, Fact
from collab.storage.memory import MemoryStorage
from collab.wire import realtime
from collab.wire.realtime import (
    AnyTarget,
    ClientMessage,
    Failure,
    Format,
    Found,
    FoundMany,
    Hello,
    People,
    Person,
    Reply,
    ServerMessage,
    Subscribed,
    Welcome,
    Written,
    decode_server,
)
from tests.collab.realtime.virtual_time import VirtualTime

Kind = TypeVar("Kind")

EVERYTHING = {"*/*": "write"}
UNLIMITED = SessionLimits(
    subscriptions=0, events_per_second=0, writes_per_second=0, messages_per_second=0, bytes_per_second=0
)


def identity(user_id: str | None = "ada", rules: Mapping[str, Any] = EVERYTHING, **more: Any) -> Identity:
    return Identity("default", user_id, rules=parse_rules(rules, user_id), **more)


class World:
    """``gate`` holds what writes and reads wait for; ``begun`` counts what has begun."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.storage = MemoryStorage()
        self.feed = Feed()
        self.entities = EntitySubscriptions(self.feed)
        self.queries = LiveQueries(self.storage.find, self.feed)
        self.events = CustomEvents(epoch="custom")
        self.system = System(lambda project: Health(1, 0, 0), later=self.time.later)
        self.analytics = Analytics(later=self.time.later)
        self.records = Records(self)
        self.presence = Presence()
        self.gatekeeper = Gatekeeper()
        self.declared = {"tasks": 1}
        self.clients: list[Client] = []

    async def __aenter__(self) -> World:
        positions = await self.storage.positions()
        self.feed.begin(positions.epoch, positions.newest)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self.clients:
            client.session.left()
        await self.queries.close()

    @property
    def services(self) -> Services:
        return Services(
            self.records,
            self.entities,
            self.queries,
            self.events,
            self.system,
            self.analytics,
            self.presence,
            self.storage,
            lambda project: {name: {"version": version} for name, version in self.declared.items()},
        )

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
        conflicts: tuple[Conflict, ...] = (),
    ) -> EntityEvent:
        """Commit one event and tell it, as the recorder does."""
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
        event = msgspec.structs.replace(event, position=committed.position)
        self.feed.publish(project, event)
        return event

    def client(
        self, who: Identity | None = None, *, form: Format = "json", limits: SessionLimits = UNLIMITED, **hello: Any
    ) -> Client:
        """Somebody who has connected and said nothing yet."""
        client = Client(self, who or identity(), form, limits, hello)
        self.clients.append(client)
        return client

    async def joined(self, who: Identity | None = None, **options: Any) -> Client:
        """Somebody who was welcomed."""
        client = self.client(who, **options)
        await client.join()
        return client


class Gatekeeper:
    """Knows clients by their tokens."""

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
    """Decodes what its session sends, when it reads; ``closed`` is why the session ended."""

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
            world.services,
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
        """Take what the session has to send now."""
        for frame in self.session.drain():
            self.frames += 1
            self.heard.append(decode_server(frame))

    async def until(self, wanted: Callable[[], Kind | None], *, read: bool = True) -> Kind:
        """Live on until ``wanted`` gives something."""
        with anyio.fail_after(40):
            while True:
                if read:
                    self.read()
                found = wanted()
                if found:
                    return found
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Live on until nothing is under way, and read."""
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
        """Entity events that were heard for a subscription."""
        return [
            msgspec.convert(message.event, EntityEvent)
            for message in self.messages(realtime.Event)
            if sub in message.subs
        ]

    def forget(self) -> None:
        self.heard.clear()


class Records:
    """Operations on entities, straight on the record. ``hold`` makes those of one entity wait."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.held: dict[str, asyncio.Event] = {}
        self.begun: list[tuple[str, Any]] = []
        self.done: list[tuple[str, Any]] = []
        self.forbidden: set[str] = set()

    def hold(self, entity: str) -> asyncio.Event:
        return self.held.setdefault(entity, asyncio.Event())

    async def _turn(self, entity: str, what: Any) -> None:
        self.begun.append((entity, what))
        if entity in self.held:
            await self.held[entity].wait()
        await asyncio.sleep(0)
        self.done.append((entity, what))

    async def create(
        self,
        caller: Caller,
        collection: str,
        data: Mapping[str, Any],
        *,
        entity: str | None = None,
        request: str | None = None,
    ) -> Written:
        name = entity or "made"
        await self._turn(name, data)
        event = await self._world.write(name, data, collection=collection, user=caller.identity.user_id)
        return Written(data=event.data, version=event.version)

    async def update(
        self,
        caller: Caller,
        collection: str,
        entity: str,
        changes: Mapping[str, Any],
        *,
        unset: Collection[str] = (),
        version: int | None = None,
        on_conflict: Literal["merge", "reject"] = "merge",
        request: str | None = None,
    ) -> Written:
        await self._turn(entity, changes)
        event = await self._world.write(entity, changes, unset=unset, collection=collection)
        return Written(data=event.data, version=event.version)

    async def delete(self, caller: Caller, collection: str, entity: str, *, request: str | None = None) -> Written:
        await self._turn(entity, "delete")
        event = await self._world.write(entity, kind="deleted", collection=collection)
        return Written(data=event.data, version=event.version)

    async def restore(
        self, caller: Caller, collection: str, entity: str, *, version: int | None = None, request: str | None = None
    ) -> Written:
        await self._turn(entity, "restore")
        event = await self._world.write(entity, kind="restored", collection=collection)
        return Written(data=event.data, version=event.version)

    async def find_by_id(
        self,
        caller: Caller,
        collection: str,
        entity: str,
        *,
        content: bool = False,
        version: int | None = None,
        at: str | None = None,
        include_permissions: bool = False,
    ) -> Found:
        await self._turn(entity, "find")
        row = await self._world.storage.entity(RoomKey(caller.identity.project, collection, entity))
        if row is None:
            raise NotFound("there is no such entity")
        return Found(data=row.data, version=row.version)

    async def find_many(
        self,
        caller: Caller,
        collection: str,
        query: Mapping[str, Any],
        *,
        fields: Sequence[str] | None = None,
        include_permissions: bool = False,
    ) -> FoundMany:
        await self._turn("*", query)
        found = await self._world.storage.find(caller.identity.project, collection, parse_query(query))
        return FoundMany(rows=[row.data for row in found.rows], versions=[row.version for row in found.rows])

    async def count(self, caller: Caller, collection: str, query: Mapping[str, Any]) -> int:
        return await self._world.storage.count(caller.identity.project, collection, parse_query(query))

    async def history(
        self, caller: Caller, collection: str, entity: str, *, limit: int = 50, before: int | None = None
    ) -> list[EntityEvent]:
        key = RoomKey(caller.identity.project, collection, entity)
        return [version.event for version in await self._world.storage.history(key, before=before, limit=limit)]

    async def visible(self, caller: Caller, collection: str) -> Condition:
        await asyncio.sleep(0)
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


class Presence:
    """One room as it is said to be."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], dict[str, Any]] = {}
        self.listeners: dict[object, Callable[[People], None]] = {}
        self.forbidden = False

    async def subscribe(self, caller: Caller, room: str, listener: Callable[[People], None]) -> Callable[[], None]:
        if self.forbidden:
            raise PermissionDenied("this identity may not see the room")
        token = object()
        self.listeners[token] = listener
        people = [Person(key=key, state=state) for (key, of), state in self.states.items() if of == room]
        listener(People(subs=(), count=len(people), people=people, complete=True))
        return lambda: self.listeners.pop(token, None) and None

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
