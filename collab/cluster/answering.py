"""The other end of a link: does what another node asks, and sends it the answers."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from collab.access.price import Ledger, Meter, Payer
from collab.cluster.messages import (
    MOST_MESSAGE,
    SPOKEN,
    Cancelled,
    Greeting,
    Incompatible,
    Item,
    NodeAnswer,
    NodeCall,
    Spoken,
    UnknownCall,
    Valued,
    ValueParts,
    check_greeting,
    decode_node,
    encode_node,
    failure_of,
    fault,
    in_pieces,
)
from collab.cluster.passes import HEADER, Pass, Passes
from collab.errors import CollabError, InvalidRequest, PermissionDenied, RateLimitExceeded, Unavailable
from collab.sandbox.metered import metered
from collab.tracing import Tracer

log = logging.getLogger(__name__)

_AT_ONCE = 10_000  # calls of one link; each waits for its turn among those of all callers
_PAYERS = 10_000  # whose short calls are added up
_STREAMS = 50_000  # of one link
_QUEUED = 64 * 1024 * 1024  # bytes that wait to be sent; then nothing more is begun
_PORTION = 1024 * 1024
_FINISH_SECONDS = 1.0


class Answers(Protocol):
    """Does what was asked, and returns the encoded answer."""

    def __call__(self, sender: Asking, value: bytes) -> Awaitable[bytes]: ...


class Streams(Protocol):
    """Yields the encoded items of a stream."""

    def __call__(self, sender: Asking, value: bytes) -> AsyncGenerator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Service:
    """What a node does for others. A call that ``finishes`` is not cancelled when nobody waits any more: it writes.

    ``refuses_debtors``: callers who have used too much CPU are refused.
    """

    answers: Answers | None = None
    streams: Streams | None = None
    finishes: bool = False
    refuses_debtors: bool = False


class Asking:
    """The node at the other end, for services that keep something for it. ``ended``: what to do when it is lost."""

    def __init__(self, nid: int) -> None:
        self.nid = nid
        self.ended: dict[Callable[[], None], None] = {}


class Desk:
    """Serves all other nodes, once it has begun."""

    def __init__(
        self,
        services: Mapping[str, Service],
        ledger: Ledger,
        spoken: Spoken = SPOKEN,
        tracer: Tracer | None = None,
    ) -> None:
        self._services = services
        self._tracer = tracer
        self._spoken = spoken
        self._meters = Meters(ledger)
        self._nid = 0
        self._passes: Passes | None = None
        self._open: dict[Answering, Callable[[CollabError], None]] = {}

    def begin(self, nid: int, passes: Passes) -> None:
        """This server is the node ``nid``."""
        self._nid = nid
        self._passes = passes

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> Pass:
        """Read the pass of a request. Raises :class:`PermissionDenied`."""
        shown = [value for name, value in headers if name.lower() == HEADER.encode()]
        if self._passes is None or len(shown) != 1:
            raise PermissionDenied("this endpoint is for the nodes of a cluster")
        return self._passes.check(shown[0].decode("latin-1"))

    def serve(
        self, shown: Pass, most: int, ready: Callable[[], None], close: Callable[[CollabError], None]
    ) -> Answering:
        """Answer on a new link until :meth:`left`; ``close`` ends the link, the others are as in :class:`Answering`."""
        answering = Answering(
            self._services,
            self._meters,
            nid=self._nid,
            sender=shown.sender,
            most=most,
            ready=ready,
            spoken=self._spoken,
            tracer=self._tracer,
        )
        self._open[answering] = close
        return answering

    def left(self, answering: Answering) -> None:
        """A link has ended."""
        self._open.pop(answering, None)
        answering.left()

    async def finish(self) -> None:
        """Wait a moment until what was asked is answered: the server is about to end its links."""
        calls = [task for answering in self._open for task in answering.calls()]
        if calls:
            await asyncio.wait(calls, timeout=_FINISH_SECONDS)

    def forget(self, nid: int) -> None:
        """A node is dead: end its links at once."""
        for answering, close in list(self._open.items()):
            if answering.sender == nid:
                self.left(answering)
                close(Unavailable("this node was declared dead"))


class Meters:
    """A meter for each payer: most calls cost less than what is worth charging by itself."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._meters: OrderedDict[Payer, Meter] = OrderedDict()

    def of(self, payer: Payer) -> Meter:
        """Return the meter of a payer."""
        meter = self._meters.get(payer)
        if meter is None:
            meter = self._meters[payer] = Meter(self._ledger, payer)
            if len(self._meters) > _PAYERS:
                self._meters.popitem(last=False)
        self._meters.move_to_end(payer)
        return meter


class Answering:
    """Serves one link of the node ``sender``, which ``nid`` answers.

    ``ready`` is called when :meth:`drain` has something to send; ``most`` is how many bytes of a message this side
    takes.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        meters: Meters,
        *,
        nid: int,
        sender: int,
        most: int,
        ready: Callable[[], None],
        spoken: Spoken,
        tracer: Tracer | None = None,
    ) -> None:
        self._spoken = spoken
        self._tracer = tracer
        self._services = services
        self._meters = meters
        self._nid = nid
        self._sender = Asking(sender)
        self._most = min(most, MOST_MESSAGE)
        self._peer: Greeting | None = None
        self._ready = ready
        self._pieces = ValueParts()
        self._out: deque[bytes] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._finishing: set[asyncio.Task[None]] = set()
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._left = False

    def receive(self, data: bytes) -> None:
        """Process one message. Raises :class:`CollabError`, which ends the link."""
        message = self._pieces.take(decode_node(data))
        if self._peer is None:
            if message is not None:
                self._peer = check_greeting(message, self._nid, self._spoken)
                self._send(self._greeting())
            return
        match message:
            case None:
                pass
            case NodeCall():
                self._begin(message)
            case Cancelled(id):
                self._pieces.drop(id)
                for running in (self._calls, self._streams):
                    task = running.get(id)
                    if task is not None and task not in self._finishing:
                        task.cancel()
            case _:
                raise InvalidRequest("a node that asks sent something else")

    def farewell(self, error: CollabError) -> bytes | None:
        """Return the last message: a node that this one does not understand learns from a greeting which is older."""
        return self._greeting() if isinstance(error, Incompatible) else None

    def _greeting(self) -> bytes:
        return encode_node(Greeting(*self._spoken, self._nid, self._most))

    def drain(self) -> list[bytes]:
        """Return messages to send, at most about a megabyte; calls ``ready`` if there are more."""
        portion: list[bytes] = []
        size = 0
        while self._out and size < _PORTION:
            portion.append(self._out.popleft())
            size += len(portion[-1])
        self._bytes -= size
        if self._bytes <= _QUEUED:
            self._room.set()
        if self._out:
            self._ready()
        return portion

    def left(self) -> None:
        """The link has ended: cancel everything but writes, which finish."""
        if self._left:
            return
        self._left = True
        self._out.clear()
        self._room.set()
        for ended in list(self._sender.ended):
            ended()
        for running in (self._calls, self._streams):
            for task in list(running.values()):
                if task not in self._finishing:
                    task.cancel()

    @property
    def sender(self) -> int:
        """The number of the node at the other end."""
        return self._sender.nid

    def calls(self) -> Sequence[asyncio.Task[None]]:
        """The calls that have not been answered."""
        return list(self._calls.values())

    def __len__(self) -> int:
        """The number of calls and streams that are served."""
        return len(self._calls) + len(self._streams)

    def _begin(self, call: NodeCall) -> None:
        service = self._services.get(call.name)
        if service is None:
            self._refuse(call.id, UnknownCall(f"{self._said_of_versions()} does not know the call {call.name[:100]!r}"))
            return
        running, most = (self._streams, _STREAMS) if service.streams is not None else (self._calls, _AT_ONCE)
        if call.id in self._calls or call.id in self._streams:
            raise InvalidRequest("two calls of a link have one number")
        if len(running) >= most:
            self._refuse(call.id, RateLimitExceeded("this server answers too many calls of another one", retryAfter=1))
            return
        if call.payer is None:
            task = asyncio.ensure_future(self._serve(service, call))
        else:
            meter = self._meters.of(Payer(call.payer.project, call.payer.kind, call.payer.name))
            wait = meter.wait() if service.refuses_debtors else 0.0
            if wait:
                self._refuse(call.id, RateLimitExceeded("this caller has used too much CPU", retryAfter=round(wait, 3)))
                return
            task = asyncio.ensure_future(metered(partial(self._serve, service, call), meter))
        running[call.id] = task
        if service.finishes:
            self._finishing.add(task)

        def done(task: asyncio.Future[None]) -> None:
            running.pop(call.id, None)
            self._finishing.discard(task)

        task.add_done_callback(done)

    def _said_of_versions(self) -> str:
        assert self._peer is not None
        if self._peer.version > self._spoken.version:
            return f"node {self._nid} is older than node {self._peer.nid}, and"
        return f"node {self._nid} is of another version than node {self._peer.nid}, and"

    async def _serve(self, service: Service, call: NodeCall) -> None:
        try:
            await self._room.wait()
            if service.answers is not None:
                self._send_valued(NodeAnswer(call.id, await self._answer(service.answers, call)))
                return
            assert service.streams is not None
            async with aclosing(service.streams(self._sender, call.value)) as items:
                async for item in items:
                    self._send_valued(Item(call.id, item))
                    await self._room.wait()
            self._send_valued(NodeAnswer(call.id))
        except Exception as error:
            if not isinstance(error, CollabError):
                log.exception("could not do %s for node %d", call.name, self._sender.nid)
            self._refuse(call.id, fault(error))

    async def _answer(self, answers: Answers, call: NodeCall) -> bytes:
        if self._tracer is None or call.traceparent is None:
            return await answers(self._sender, call.value)
        asked = self._tracer.told(call.traceparent)
        with self._tracer.work(f"answer {call.name}", {"collab.node": self._sender.nid}, kind="server", parent=asked):
            return await answers(self._sender, call.value)

    def _refuse(self, number: int, error: CollabError) -> None:
        self._send_valued(failure_of(number, error))

    def _send_valued(self, message: Valued) -> None:
        assert self._peer is not None
        for frame in in_pieces(message, self._peer.most):
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        if self._left:
            return
        self._out.append(frame)
        self._bytes += len(frame)
        if self._bytes > _QUEUED:
            self._room.clear()
        self._ready()
