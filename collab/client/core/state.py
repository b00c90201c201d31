"""The state of a client, without its socket: messages in, messages out, time as an argument. Pure.

The engine (:mod:`collab.client.engine`) opens links, carries frames and calls the application's callbacks. Requests,
writes and subscriptions outlive connections: unanswered requests are sent again, except where that could have an
effect twice.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from collab.client.core.effects import Answered, Delivery, DocumentFrame, Effect, Met, Opened, Trouble
from collab.client.core.failures import Unreadable, rebuild
from collab.client.core.options import WebSocketOptions
from collab.client.core.overlay import Op, lay_over
from collab.client.core.subscription_table import SubscriptionTable
from collab.client.core.versions import Versions
from collab.client.core.writes import (
    Sent,
    WriteMessage,
    Writes,
    collections_of,
    results_of,
    with_versions,
    written_of,
)
from collab.errors import (
    CollabError,
    ConnectionLost,
    InvalidRequest,
    NotFound,
    RateLimitExceeded,
    TooLarge,
    Unavailable,
)
from collab.wire.realtime import encoding
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.messages import Asked, Hello, Message, ServerMessage, Welcome

MOST_REQUESTS = 10_000
PAUSE_SECONDS = 1.0
"""Delay before a write that the server could not accept is sent again, unless the server says when."""
MOST_PAUSE = 60.0


class ClientState:
    """All state of a client. Call :meth:`take` for the messages to send while a link is open."""

    def __init__(self, options: WebSocketOptions) -> None:
        self.options = options
        self.subscriptions = SubscriptionTable()
        self.versions = Versions()
        self.status: Literal["closed", "greeting", "open"] = "closed"
        self.session: Welcome | None = None
        self.reason: CollabError | None = None  # why the server ends the session, if it said so
        self.dead = False
        self._form: encoding.Format = "msgpack" if options.binary_protocol else "json"
        self._writes = Writes(options.max_queued_writes)
        self._tickets = 0
        self._waiting: OrderedDict[int, tuple[Asked, float]] = OrderedDict()  # with their deadlines
        self._unsent: deque[int] = deque()
        self._subscribing: dict[int, tuple[int, ...]] = {}
        self._unsubscribing: dict[int, tuple[int, ...]] = {}
        self._joined: dict[str, dict[str, Any]] = {}
        self._speaking: dict[str, int] = {}  # room -> its unanswered request
        self._rejoining: dict[str, float] = {}  # rooms to be joined once more, and when
        self._channels: dict[str, None] = {}
        self._out: deque[Message] = deque()
        self._heard = 0.0
        self._ahead: float | None = None  # of our clock is the server's; not known of older servers
        self._asked_life = False
        self._greeted_by = 0.0
        self._paused_until: float | None = None
        self._again = False

    # the link

    def opened(self, hello: Hello, now: float) -> None:
        """A link has opened; send hello."""
        self.status = "greeting"
        self.reason, self.dead, self._asked_life = None, False, False
        self._heard, self._greeted_by = now, now + self.options.connect_timeout / 1000
        self._out.clear()
        self._out.append(hello)

    def lost(self) -> list[Effect]:
        """The link is gone."""
        self.status = "closed"
        self._out.clear()
        self._writes.link_lost()
        self._paused_until = None
        told: list[Effect] = []
        unsent = set(self._unsent)
        for ticket, (message, _) in list(self._waiting.items()):
            if ticket not in unsent and isinstance(message, realtime.Authenticate):
                del self._waiting[ticket]
                told.append(Answered(ticket, None, ConnectionLost("the connection ended before the answer")))
        self._subscribing.clear()
        self._unsubscribing.clear()
        self._speaking.clear()
        self._unsent = deque(self._waiting)
        return told

    def stopped(self, error: CollabError) -> list[Effect]:
        """The client stops connecting; fail all waiting requests."""
        collections = self._writes.collections()
        told: list[Effect] = [Answered(ticket, None, error) for ticket in (*self._waiting, *self._writes.clear())]
        for collection in collections:
            told += self._shown(collection)
        self._waiting.clear()
        self._unsent.clear()
        self._again = False
        return told

    def received(self, frame: str | bytes, now: float) -> list[Effect]:
        """Process a frame. Raises :class:`Unreadable` if it cannot be read, because no message may be skipped."""
        self._heard, self._asked_life = now, False
        if isinstance(frame, bytes) and not frame.startswith(encoding.MESSAGE_PACK):
            return [DocumentFrame(frame)]
        try:
            return list(self._hear(encoding.decode_server(frame), now))
        except InvalidRequest as error:
            if encoding.is_of_a_later_server(frame):
                return []
            raise Unreadable(f"unreadable message from the server: {error.message}") from error
        except (KeyError, TypeError, ValueError) as error:  # msgspec.ValidationError among them
            raise Unreadable(f"unreadable message from the server: {error!r}") from error

    @property
    def limit(self) -> int:
        """Maximum message size of the server in bytes, 0 if unknown."""
        return self.session.limits.max_message_bytes if self.session is not None else 0

    def take(self) -> tuple[list[str | bytes], list[Effect]]:
        """Return the encoded messages to send now, and the failures of those that exceed the server's limit."""
        if self.status == "open":
            self._collect()
        limit = self.limit
        frames: list[str | bytes] = []
        told: list[Effect] = []
        while self._out:
            message = self._out.popleft()
            frame = encoding.encode(message, self._form)
            size = len(frame) if isinstance(frame, bytes) else len(frame.encode())
            if limit and size > limit and isinstance(message, Asked):
                # the server would close the connection, on every attempt
                error = TooLarge(f"message of {size} bytes exceeds the server's limit {limit}", limit=limit)
                told += self._refused(message.id, error, 0.0)
            else:
                frames.append(frame)
        return frames, told

    def tick(self, now: float) -> list[Effect]:
        """Run due timers. Sets ``dead`` if the peer no longer responds."""
        told: list[Effect] = []
        while self._waiting and next(iter(self._waiting.values()))[1] <= now:  # all have the same timeout
            ticket, (message, _) = self._waiting.popitem(last=False)
            self._remember(message)
            told.append(Answered(ticket, None, ConnectionLost("no answer came in time")))
        for collection in self._writes.late(now):
            told += self._shown(collection)
        self.subscriptions.retry(now)
        for room in [room for room, at in self._rejoining.items() if at <= now]:
            del self._rejoining[room]
            if self.status == "open":
                self._join_again(room)
        if self._paused_until is not None and self._paused_until <= now:
            self._paused_until = None
        if self.status == "greeting" and self._greeted_by <= now:
            self.dead = True
        if self.status == "open" and self._life_due() <= now:
            if self._asked_life:
                self.dead = True
            else:
                self._asked_life = True
                self._out.append(realtime.Ping())
        return told

    def next_tick(self) -> float | None:
        """When :meth:`tick` is due."""
        times = [at for at in (self._writes.late_at(), self.subscriptions.retries_at(), self._paused_until) if at]
        times += self._rejoining.values()
        if self._waiting:
            times.append(next(iter(self._waiting.values()))[1])
        if self.status == "open":
            times.append(self._life_due())
        elif self.status == "greeting":
            times.append(self._greeted_by)
        return min(times, default=None)

    def _life_due(self) -> float:
        patience = self.options.heartbeat_interval
        if self._asked_life:
            patience += self.options.heartbeat_timeout
        return self._heard + patience / 1000

    # requests of the application

    @property
    def pending(self) -> int:
        """Number of writes that are not committed yet."""
        return len(self._writes)

    def ticket(self) -> int:
        """Return a new id for a request or a subscription."""
        self._tickets += 1
        return self._tickets

    def ask(self, message: Asked, now: float) -> list[Effect]:
        """Queue a read; :class:`Answered` with the message's ``id`` follows. Raises :class:`RateLimitExceeded`."""
        if len(self._waiting) >= MOST_REQUESTS:
            raise RateLimitExceeded(f"{MOST_REQUESTS} requests wait for an answer", limit=MOST_REQUESTS)
        if isinstance(message, realtime.LeavePresence | realtime.LeaveChannel):
            self._remember(message)  # now, because a new connection may come before the answer
        if self.status != "open" and isinstance(message, realtime.FindById):
            known = self._known(message)
            if known is not None:
                return [known]
        self._waiting[message.id] = message, now + self.options.request_timeout / 1000
        self._unsent.append(message.id)
        return []

    def write(self, message: WriteMessage, at: str) -> list[Effect]:
        """Queue a write made at ``at`` (RFC 3339); as :meth:`ask`. Raises :class:`RateLimitExceeded`."""
        message = with_versions(message, lambda key, seen: self.versions.get(*key) if seen is None else seen)
        self._writes.add(message, at)
        return [told for collection in collections_of(message) for told in self._shown(collection)]

    def forget(self, ticket: int) -> None:
        """Drop a request that nobody awaits. Writes are made all the same."""
        self._waiting.pop(ticket, None)

    # details

    def _remember(self, message: Asked) -> None:
        """Record what must be restored on a new connection: what the server has not refused."""
        match message:
            case realtime.JoinPresence():
                self._joined[message.room] = dict(message.state)
            case realtime.UpdatePresence() if message.room in self._joined:
                self._joined[message.room] |= message.state
            case realtime.LeavePresence():
                self._joined.pop(message.room, None)
            case realtime.JoinChannel():
                self._channels[message.channel] = None
            case realtime.LeaveChannel():
                self._channels.pop(message.channel, None)
            case _:
                pass

    def _collect(self) -> None:
        if gone := self.subscriptions.cancels():
            ticket = self.ticket()
            self._unsubscribing[ticket] = gone
            self._out.append(realtime.Unsubscribe(id=ticket, subs=gone))
        for asked in self.subscriptions.asks(self._writes.commits):
            ticket = self.ticket()
            self._subscribing[ticket] = tuple(each.sub for each in asked)
            self._out.append(realtime.Subscribe(id=ticket, subscriptions=asked))
        later: deque[int] = deque()
        for ticket in self._unsent:
            message, _ = self._waiting.get(ticket, (None, 0.0))
            room = _presence_room(message)
            if room in self._speaking:
                later.append(ticket)  # one request per room at a time
            elif message is not None:
                self._out.append(message)
                if room is not None:
                    self._speaking[room] = ticket
        self._unsent = later
        if self._paused_until is None:
            self._out.extend(self._writes.ready(None if self._ahead is None else self._heard + self._ahead))

    def _hear(self, message: ServerMessage, now: float) -> Iterator[Effect]:
        match message:
            case realtime.Reply():
                yield from self._replied(message.id, message.result, now)
            case realtime.Event():
                self._saw_event(message.event)
                yield from self.subscriptions.event(message)
            case realtime.RowsChanged() | realtime.RowsAre():
                yield from self._rows(message)
            case realtime.CustomEvent():
                yield from self.subscriptions.custom(message)
            case realtime.SystemEvent():
                yield from self.subscriptions.system(message)
            case realtime.Metric():
                yield from self.subscriptions.value(message.subs, message.value)
            case realtime.People():
                yield from self.subscriptions.people(message)
            case realtime.Welcome():
                yield from self._welcomed(message, now)
            case realtime.Failure():
                yield from self._failed(message, now)
            case realtime.Pong():
                pass

    def _welcomed(self, message: Welcome, now: float) -> Iterator[Effect]:
        self.status, self.session = "open", message
        self._ahead = None
        if message.at is not None:
            at = datetime.fromisoformat(message.at).timestamp()
            self._ahead = at - now
            lost = ConnectionLost(
                "it was sent more than a day ago, and its answer was lost: it may have been made, and is not sent again"
            )
            for ticket in self._writes.forgotten(at):
                yield from self._refused(ticket, lost, now)
        self.subscriptions.opened()
        for channel in self._channels:
            self._out.append(realtime.JoinChannel(id=self.ticket(), channel=channel))
        self._rejoining.clear()
        for room in self._joined:
            self._join_again(room)
        yield Opened(self._again)
        self._again = True

    def _join_again(self, room: str) -> None:
        state = self._joined.get(room)
        if state is not None and room not in self._speaking:
            ticket = self._speaking[room] = self.ticket()
            self._out.append(realtime.JoinPresence(id=ticket, room=room, state=dict(state)))

    def _failed(self, message: realtime.Failure, now: float) -> Iterator[Effect]:
        error = rebuild(message.error)
        if message.id is not None:
            yield from self._refused(message.id, error, now)
        elif message.sub is not None:
            yield from self.subscriptions.failed(message.sub, error, now)
        else:
            self.reason = error

    def _refused(self, ticket: int, error: CollabError, now: float) -> Iterator[Effect]:
        room = self._spoken(ticket)
        if ticket in self._writes:
            if isinstance(error, Unavailable | RateLimitExceeded):
                yield from self._pause(ticket, error, now)
                return
            sent = self._writes.refused(ticket, now)
            yield Answered(ticket, None, error)
            yield from self._wrote(sent)
        elif ticket in self._subscribing:
            for sub in self._subscribing.pop(ticket):
                yield from self.subscriptions.failed(sub, error, now)
        elif self._waiting.pop(ticket, None) is not None:
            yield Answered(ticket, None, error)
        else:
            if room is not None:  # it was joined again after a reconnect
                if error.retryable:
                    self._rejoining[room] = now + PAUSE_SECONDS
                else:
                    self._joined.pop(room, None)
            yield Trouble(error)

    def _replied(self, ticket: int, result: Any, now: float) -> Iterator[Effect]:
        self._spoken(ticket)
        if ticket in self._writes:
            results = results_of(self._writes.message(ticket), result)
            for error in (rebuild(one.error) for one in results if one.error is not None):
                if isinstance(error, Unavailable | RateLimitExceeded):
                    yield from self._pause(ticket, error, now)  # what was written is answered again by its name
                    return
            sent = self._writes.answered(ticket, list(map(written_of, results)), now)
            yield Answered(ticket, result)
            yield from self._wrote(sent)
        elif ticket in self._unsubscribing:
            self.subscriptions.cancelled(self._unsubscribing.pop(ticket))
        elif ticket in self._subscribing:
            yield from self.subscriptions.answered(self._subscribing.pop(ticket), result, now)
        else:
            message, _ = self._waiting.get(ticket, (None, 0.0))
            if message is not None:
                answer = self._read(message, result)  # it waits until its answer has been read
                del self._waiting[ticket]
                self._remember(message)
                yield Answered(ticket, answer)
                if isinstance(message, realtime.FindById):
                    self._told(message.collection)

    def _pause(self, ticket: int, error: CollabError, now: float) -> Iterator[Effect]:
        """The server cannot make a write now: send it again later."""
        if isinstance(error, RateLimitExceeded) and self._paused_until is None:
            yield Trouble(error)  # once per pause
        self._writes.again(ticket)
        pause = error.details.get("retryAfter")
        seconds = pause if isinstance(pause, int | float) and 0 < pause < MOST_PAUSE else PAUSE_SECONDS
        self._paused_until = max(self._paused_until or 0.0, now + seconds)

    def _wrote(self, sent: Sent) -> Iterator[Effect]:
        """A request that writes was answered."""
        written = [(key, one) for key, one in sent.outcomes if one is not None]
        for key, one in written:
            self.versions.see(*key, one.version)
        for key, one in written:
            if one.conflicts:
                yield Met(*key, one.data, one.version, one.conflicts)
        for collection in sent.collections:
            yield from self._shown(collection)
        for collection in sent.collections:
            self._told(collection)

    def _read(self, message: Asked, result: Any) -> Any:
        if isinstance(message, realtime.FindById):
            found = msgspec.convert(result, wire.Found)
            if message.version is None and message.at is None:
                self.versions.see(message.collection, message.entity, found.version)
                news = [op for op in self._own(message) if op.is_news(found.version)]
                data = lay_over(news, found.data)
                return msgspec.structs.replace(found, data=found.data if data is None else data, deleted=data is None)
            return found
        if isinstance(message, realtime.FindMany):
            many = msgspec.convert(result, wire.FoundMany)
            for row, version in zip(many.rows, many.versions, strict=False):
                self.versions.see(message.collection, row["id"], version)
            for each in (many.included or {}).values():
                for key, related in each.rows.items():
                    for row, version in zip(related, each.versions.get(key, ()), strict=False):
                        self.versions.see(each.collection, row["id"], version)
            return many
        return result

    def _own(self, message: realtime.FindById) -> list[Op]:
        return [op for op in self._writes.ops(message.collection) if op.entity == message.entity]

    def _known(self, message: realtime.FindById) -> Answered | None:
        """Answer without the server, for an entity that this client created or deleted while offline."""
        if message.version is not None or message.at is not None or message.content:
            return None
        own = self._own(message)
        if all(op.kind == "update" for op in own):
            return None
        data = lay_over(own, None)
        if data is None:
            return Answered(message.id, None, NotFound(f"{message.collection}/{message.entity} was deleted"))
        return Answered(message.id, wire.Found(data=data, version=0))

    def _rows(self, message: realtime.RowsAre | realtime.RowsChanged) -> Iterator[Effect]:
        found = self.subscriptions.rows(message.sub)
        if found is None:
            yield from self._groups(message)
            return
        collection, view = found
        own = {op.entity for op in self._writes.ops_in(view.collections)}
        try:
            seen = view.reset(message, own) if isinstance(message, realtime.RowsAre) else view.change(message, own)
        except InvalidRequest as error:
            yield Trouble(error)
            self.subscriptions.again(message.sub)
            return
        for entity, version in seen.items():
            self.versions.see(collection, entity, version)
        for saw in view.seen:
            self.versions.see(*saw)
        yield from self.subscriptions.show(message.sub, view, self._writes.ops_in(view.collections))
        for each in view.collections:
            self._told(each)

    def _groups(self, message: realtime.RowsAre | realtime.RowsChanged) -> Iterator[Effect]:
        groups = self.subscriptions.groups(message.sub)
        if groups is None:
            return
        try:
            yield Delivery(message.sub, groups.change(message))
        except InvalidRequest as error:
            yield Trouble(error)
            self.subscriptions.again(message.sub)

    def _told(self, collection: str) -> None:
        """Drop committed writes that every view of the collection has received."""
        lists = [view for _, view in self.subscriptions.live(collection)]
        reads = {message.entity for message, _ in self._waiting.values() if isinstance(message, realtime.FindById)}
        self._writes.told(collection, lambda op: op.entity not in reads and all(view.is_told(op) for view in lists))

    def _shown(self, collection: str) -> list[Effect]:
        return list(self.subscriptions.shown(collection, self._writes.ops_in))

    def _spoken(self, ticket: int) -> str | None:
        """A request about presence was answered: the next one about this room may be sent. Returns the room."""
        for room, said in self._speaking.items():
            if said == ticket:
                del self._speaking[room]
                return room
        return None

    def _saw_event(self, event: Any) -> None:
        if isinstance(event, dict):
            collection, entity, version = (event.get(name) for name in ("collection", "id", "version"))
            if isinstance(collection, str) and isinstance(entity, str) and isinstance(version, int):
                self.versions.see(collection, entity, version)


def _presence_room(message: Asked | None) -> str | None:
    if isinstance(message, realtime.JoinPresence | realtime.UpdatePresence | realtime.LeavePresence):
        return message.room
    return None
