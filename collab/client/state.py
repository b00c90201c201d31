"""A client without its socket: messages in, messages out, time as an argument. Pure.

The ring around it (:mod:`collab.client.client`) opens links, carries frames and calls what the application gave.
Requests, writes and subscriptions outlive connections; what was asked and not answered is asked again, except where
that could have effect twice.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from collab.client.failures import rebuild
from collab.client.options import WebSocketOptions
from collab.client.overlay import apply
from collab.client.subscriptions import Subscriptions
from collab.client.told import Answered, Frame, Met, Opened, Told, Trouble
from collab.client.writes import WriteMessage, Writes, key_of, written_of
from collab.errors import (
    CollabError,
    ConnectionLost,
    InvalidRequest,
    NotFound,
    RateLimitExceeded,
    TooLarge,
    Unavailable,
)
from collab.wire import realtime
from collab.wire.realtime import Asked, Hello, Message, ServerMessage, Welcome

MOST_REQUESTS = 10_000
MOST_VERSIONS = 10_000
PAUSE_SECONDS = 1.0
"""When a write that cannot be taken in now is sent again, unless the server says when."""
MOST_PAUSE = 60.0


class ClientState:
    """What a client knows. ``send`` is what is to be sent, in order; ``take`` it while a link is up."""

    def __init__(self, options: WebSocketOptions) -> None:
        self.options = options
        self.subscriptions = Subscriptions()
        self.status: Literal["closed", "greeting", "open"] = "closed"
        self.session: Welcome | None = None
        self.reason: CollabError | None = None  # why the server ends the session, if it said so
        self.dead = False
        self._form: realtime.Format = "msgpack" if options.binary_protocol else "json"
        self._writes = Writes(options.max_queued_writes)
        self._tickets = 0
        self._waiting: OrderedDict[int, tuple[Asked, float]] = OrderedDict()  # until when
        self._unsent: deque[int] = deque()
        self._subscribing: dict[int, tuple[int, ...]] = {}
        self._joined: dict[str, dict[str, Any]] = {}
        self._speaking: dict[str, int] = {}  # rooms, and what was said in them that has no answer yet
        self._channels: dict[str, None] = {}
        self._versions: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._out: deque[Message] = deque()
        self._heard = 0.0
        self._asked_life = False
        self._greeted_by = 0.0
        self._paused_until: float | None = None
        self._again = False

    # the link

    def opened(self, hello: Hello, now: float) -> None:
        """A link is up: the greeting goes out."""
        self.status = "greeting"
        self.reason, self.dead, self._asked_life = None, False, False
        self._heard, self._greeted_by = now, now + self.options.connect_timeout / 1000
        self._out.clear()
        self._out.append(hello)

    def lost(self) -> list[Told]:
        """The link is gone."""
        self.status = "closed"
        self._out.clear()
        self._writes.link_lost()
        self._paused_until = None
        told: list[Told] = []
        unsent = set(self._unsent)
        for ticket, (message, _) in list(self._waiting.items()):
            if ticket not in unsent and isinstance(message, realtime.Emit | realtime.Authenticate):
                del self._waiting[ticket]
                told.append(Answered(ticket, None, ConnectionLost("the connection ended before the answer")))
        self._subscribing.clear()
        self._speaking.clear()
        self._unsent = deque(self._waiting)
        return told

    def stopped(self, error: CollabError) -> list[Told]:
        """Nobody will try again: what waits is given up."""
        collections = self._writes.collections()
        told: list[Told] = [Answered(ticket, None, error) for ticket in (*self._waiting, *self._writes.clear())]
        for collection in collections:
            told += self._shown(collection)
        self._waiting.clear()
        self._unsent.clear()
        self._again = False
        return told

    def received(self, frame: str | bytes, now: float) -> list[Told]:
        """Take a frame in. What makes no sense is reported and skipped."""
        self._heard, self._asked_life = now, False
        if isinstance(frame, bytes) and not frame.startswith(realtime.MESSAGE_PACK):
            return [Frame(frame)]
        try:
            return list(self._hear(realtime.decode_server(frame), now))
        except InvalidRequest as error:
            return [Trouble(error)]
        except (KeyError, TypeError, ValueError) as error:  # msgspec.ValidationError among them
            return [Trouble(InvalidRequest(f"not understood: {error!r}"))]

    def take(self) -> tuple[list[str | bytes], list[Told]]:
        """What is to be sent now, encoded; and what was refused, because the server takes no message so large."""
        if self.status == "open":
            self._collect()
        limit = self.session.limits.max_message_bytes if self.session is not None else 0
        frames: list[str | bytes] = []
        told: list[Told] = []
        while self._out:
            message = self._out.popleft()
            frame = realtime.encode(message, self._form)
            size = len(frame) if isinstance(frame, bytes) else len(frame.encode())
            if limit and size > limit and isinstance(message, Asked):
                # sent, it would end the connection, each time anew
                error = TooLarge(f"a message of {size} bytes; the server takes {limit}", limit=limit)
                told += self._refused(message.id, error, 0.0)
            else:
                frames.append(frame)
        return frames, told

    def tick(self, now: float) -> list[Told]:
        """Do what time has brought. Sets ``dead`` if the peer gives no sign of life any more."""
        told: list[Told] = []
        while self._waiting and next(iter(self._waiting.values()))[1] <= now:  # all have the same patience
            ticket, _ = self._waiting.popitem(last=False)
            told.append(Answered(ticket, None, ConnectionLost("no answer came in time")))
        for collection in self._writes.settle(now):
            told += self._shown(collection)
        self.subscriptions.retry(now)
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
        """When :meth:`tick` has something to do."""
        times = [at for at in (self._writes.settles_at(), self.subscriptions.retries_at(), self._paused_until) if at]
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

    # what the application wants

    @property
    def pending(self) -> int:
        """How many writes are not known to be committed."""
        return len(self._writes)

    def ticket(self) -> int:
        """A number for a request or a subscription."""
        self._tickets += 1
        return self._tickets

    def ask(self, message: Asked, now: float) -> list[Told]:
        """Ask something; an :class:`Answered` with the message's ``id`` follows. Raises :class:`RateLimitExceeded`."""
        if len(self._waiting) >= MOST_REQUESTS:
            raise RateLimitExceeded(f"{MOST_REQUESTS} requests wait for an answer", limit=MOST_REQUESTS)
        self._remember(message)
        if self.status != "open" and isinstance(message, realtime.FindById):
            known = self._own(message)
            if known is not None:
                return [known]
        self._waiting[message.id] = message, now + self.options.request_timeout / 1000
        self._unsent.append(message.id)
        return []

    def write(self, message: WriteMessage, at: str) -> list[Told]:
        """Write something at ``at`` (RFC 3339); as :meth:`ask`. Raises :class:`RateLimitExceeded`."""
        if isinstance(message, realtime.Update) and message.version is None:
            message = msgspec.structs.replace(message, version=self._versions.get(key_of(message)))
        self._writes.add(message, at)
        return self._shown(message.collection)

    def forget(self, ticket: int) -> None:
        """Nobody waits for this answer any more. Writes are made all the same."""
        self._waiting.pop(ticket, None)

    # in detail

    def _remember(self, message: Asked) -> None:
        """What a new connection has to begin with."""
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
            self._out.append(realtime.Unsubscribe(id=self.ticket(), subs=gone))
        for asked in self.subscriptions.asks():
            ticket = self.ticket()
            self._subscribing[ticket] = tuple(each.sub for each in asked)
            self._out.append(realtime.Subscribe(id=ticket, subscriptions=asked))
        later: deque[int] = deque()
        for ticket in self._unsent:
            message, _ = self._waiting.get(ticket, (None, 0.0))
            room = _presence_room(message)
            if room in self._speaking:
                later.append(ticket)  # a room is told one thing after the other
            elif message is not None:
                self._out.append(message)
                if room is not None:
                    self._speaking[room] = ticket
        self._unsent = later
        if self._paused_until is None:
            self._out.extend(self._writes.ready())

    def _hear(self, message: ServerMessage, now: float) -> Iterator[Told]:
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
                yield from self._welcomed(message)
            case realtime.Failure():
                yield from self._failed(message, now)
            case realtime.Pong():
                pass

    def _welcomed(self, message: Welcome) -> Iterator[Told]:
        self.status, self.session = "open", message
        self.subscriptions.opened()
        for channel in self._channels:
            self._out.append(realtime.JoinChannel(id=self.ticket(), channel=channel))
        for room, state in self._joined.items():
            ticket = self._speaking[room] = self.ticket()
            self._out.append(realtime.JoinPresence(id=ticket, room=room, state=dict(state)))
        yield Opened(self._again)
        self._again = True

    def _failed(self, message: realtime.Failure, now: float) -> Iterator[Told]:
        error = rebuild(message.error)
        if message.id is not None:
            yield from self._refused(message.id, error, now)
        elif message.sub is not None:
            yield from self.subscriptions.failed(message.sub, error, now)
        else:
            self.reason = error

    def _refused(self, ticket: int, error: CollabError, now: float) -> Iterator[Told]:
        self._spoken(ticket)
        if ticket in self._writes:
            if isinstance(error, Unavailable | RateLimitExceeded):
                if isinstance(error, RateLimitExceeded) and self._paused_until is None:
                    yield Trouble(error)  # once a pause
                self._writes.again(ticket)
                pause = error.details.get("retryAfter")
                seconds = pause if isinstance(pause, int | float) and 0 < pause < MOST_PAUSE else PAUSE_SECONDS
                self._paused_until = max(self._paused_until or 0.0, now + seconds)
                return
            sent = self._writes.answered(ticket, None, now)
            yield Answered(ticket, None, error)
            yield from self._shown(sent.key[0])
        elif ticket in self._subscribing:
            for sub in self._subscribing.pop(ticket):
                yield from self.subscriptions.failed(sub, error, now)
        elif self._waiting.pop(ticket, None) is not None:
            yield Answered(ticket, None, error)
        else:
            yield Trouble(error)

    def _replied(self, ticket: int, result: Any, now: float) -> Iterator[Told]:
        self._spoken(ticket)
        if ticket in self._writes:
            written = written_of(result)
            sent = self._writes.answered(ticket, written, now)
            self._saw(*sent.key, written.version)
            yield Answered(ticket, result)
            if written.conflicts:
                yield Met(*sent.key, written.data, written.version, written.conflicts)
            yield from self._shown(sent.key[0])
        elif ticket in self._subscribing:
            yield from self.subscriptions.answered(self._subscribing.pop(ticket), result, now)
        else:
            message, _ = self._waiting.pop(ticket, (None, 0.0))
            if message is not None:
                yield Answered(ticket, self._read(message, result))

    def _read(self, message: Asked, result: Any) -> Any:
        if isinstance(message, realtime.FindById):
            found = msgspec.convert(result, realtime.Found)
            if message.version is None and message.at is None:
                self._saw(message.collection, message.entity, found.version)
                data: dict[str, Any] | None = found.data
                for op in self._writes.ops(message.collection):
                    if op.entity == message.entity and op.shows(found.version):
                        data = apply(op, data)
                return msgspec.structs.replace(found, data=found.data if data is None else data, deleted=data is None)
            return found
        if isinstance(message, realtime.FindMany):
            many = msgspec.convert(result, realtime.FoundMany)
            for row, version in zip(many.rows, many.versions, strict=False):
                self._saw(message.collection, row["id"], version)
            return many
        return result

    def _own(self, message: realtime.FindById) -> Answered | None:
        """What is known without the server: an entity that was created, or deleted, while there was no connection."""
        if message.version is not None or message.at is not None or message.content:
            return None
        data: dict[str, Any] | None = None
        known = False
        for op in self._writes.ops(message.collection):
            if op.entity == message.entity:
                known = known or op.kind != "update"
                data = apply(op, data)
        if not known:
            return None
        if data is None:
            return Answered(message.id, None, NotFound(f"{message.collection}/{message.entity} was deleted"))
        return Answered(message.id, realtime.Found(data=data, version=0))

    def _rows(self, message: realtime.RowsAre | realtime.RowsChanged) -> Iterator[Told]:
        found = self.subscriptions.rows(message.sub)
        if found is None:
            return
        collection, view = found
        try:
            seen = view.reset(message) if isinstance(message, realtime.RowsAre) else view.change(message)
        except InvalidRequest as error:
            yield Trouble(error)
            self.subscriptions.again(message.sub)
            return
        for entity, version in seen.items():
            self._saw(collection, entity, version)
        rows = view.shown(self._writes.ops(collection))
        if rows is not None:
            yield from self.subscriptions.value((message.sub,), rows)

    def _shown(self, collection: str) -> list[Told]:
        return list(self.subscriptions.shown(collection, self._writes.ops(collection)))

    def _spoken(self, ticket: int) -> None:
        for room, said in list(self._speaking.items()):
            if said == ticket:
                del self._speaking[room]

    def _saw_event(self, event: Any) -> None:
        if isinstance(event, dict):
            collection, entity, version = (event.get(name) for name in ("collection", "id", "version"))
            if isinstance(collection, str) and isinstance(entity, str) and isinstance(version, int):
                self._saw(collection, entity, version)

    def _saw(self, collection: str, entity: str, version: int) -> None:
        key = collection, entity
        if self._versions.get(key, 0) < version:
            self._versions[key] = version
            self._versions.move_to_end(key)
            if len(self._versions) > MOST_VERSIONS:
                self._versions.popitem(last=False)


def _presence_room(message: Asked | None) -> str | None:
    if isinstance(message, realtime.JoinPresence | realtime.UpdatePresence | realtime.LeavePresence):
        return message.room
    return None
