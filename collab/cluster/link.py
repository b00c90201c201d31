"""A link to another node: a WebSocket to its ordinary port, for calls and streams. Opened when it is needed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from collab.cluster.messages import (
    MOST_MESSAGE,
    SPOKEN,
    Cancelled,
    Greeting,
    Incompatible,
    Item,
    NodeAnswer,
    NodeCall,
    NodeFailure,
    NodeMessage,
    PayerNamed,
    Spoken,
    ValueParts,
    check_greeting,
    decode_node,
    encode_node,
    error_of,
    in_pieces,
)
from collab.cluster.passes import HEADER, Passes
from collab.errors import CollabError, Unavailable
from collab.tasks import BackgroundTasks

log = logging.getLogger(__name__)

_OPEN_SECONDS = 3.0
_PING_SECONDS, _PONG_SECONDS = 3.0, 6.0  # a node that is frozen is declared dead about as soon
_CALLS = 5000  # at once: many of them wait for their turn at the owner, which is fair to all
_LARGE = 64 * 1024  # bytes of a value; of such calls
_LARGE_CALLS = 8  # are sent at once
_ITEMS, _ITEM_BYTES = 1000, 64 * 1024 * 1024  # of a stream, that nobody has taken yet


class Lost(Unavailable):
    """The node was lost, or became unreachable, before it had answered. It may have done what it was asked."""

    def __init__(self, message: str = "the server that has this document was lost; retry") -> None:
        super().__init__(message)


class Unreached(Lost):
    """The node could not be reached: it has not been asked."""


class Unspoken(Unreached):
    """The node is of a version with which this one cannot speak. The message says which one is older."""


class Addresses(Protocol):
    """Knows where nodes are."""

    async def url_of(self, nid: int) -> str:
        """Return the URL of a node, ``http://host:port``. Raises :class:`Unavailable` if it is not known."""


class Links:
    """The links of the node ``nid`` to others."""

    def __init__(self, nid: int, addresses: Addresses, passes: Passes, spoken: Spoken = SPOKEN) -> None:
        self.nid = nid
        self._spoken = spoken
        self._addresses = addresses
        self._passes = passes
        self._links: dict[int, asyncio.Task[NodeLink]] = {}
        self._tasks = BackgroundTasks(lambda error: log.error("a link failed", exc_info=error))
        self._failing: set[int] = set()  # nodes whose last attempt failed: logged once
        self._closed = False

    async def call(
        self, nid: int, name: str, value: bytes, payer: PayerNamed | None = None, traceparent: str | None = None
    ) -> bytes:
        """Have a node do something, and return its answer.

        Raises the error that it answers, :class:`Unreached` and :class:`Lost`. If this is cancelled, the node learns.
        """
        link = await self._link(nid)
        return await link.call(name, value, payer, traceparent)

    @asynccontextmanager
    async def stream(
        self, nid: int, name: str, value: bytes, payer: PayerNamed | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read a stream of another node, inside the block. Raises as :meth:`call`; also while it is read."""
        link = await self._link(nid)
        items = link.stream(name, value, payer)
        try:
            await items.begin()
            yield items
        finally:
            items.end()

    def forget(self, nid: int) -> None:
        """A node is dead: what it was asked fails at once."""
        link = self._open_link(nid)
        if link is not None:
            link.abort()
        task = self._links.pop(nid, None)
        if task is not None:
            task.cancel()
        self._failing.discard(nid)

    async def close(self) -> None:
        """Close all links, and open no more."""
        self._closed = True
        for nid in list(self._links):
            self.forget(nid)
        self._tasks.cancel()
        await self._tasks.wait()

    def __len__(self) -> int:
        """The number of open links."""
        return sum(self._open_link(nid) is not None for nid in self._links)

    def _open_link(self, nid: int) -> NodeLink | None:
        task = self._links.get(nid)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    async def _link(self, nid: int) -> NodeLink:
        if self._closed:
            raise Unreached
        task = self._links.get(nid)
        if task is None:
            task = self._links[nid] = asyncio.create_task(self._open(nid))
            task.add_done_callback(lambda task: self._opened(nid, task))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # the node was forgotten meanwhile, and we were not cancelled
                raise Unreached from None
            raise

    def _opened(self, nid: int, task: asyncio.Task[NodeLink]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._links.get(nid) is task:
            del self._links[nid]

    async def _open(self, nid: int) -> NodeLink:
        url = await self._url_of(nid)
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                socket = await _Direct(
                    f"ws{url.removeprefix('http')}/node",
                    additional_headers={HEADER: self._passes.issue(nid)},
                    compression=None,
                    proxy=None,
                    open_timeout=None,
                    close_timeout=1.0,
                    ping_interval=_PING_SECONDS,
                    ping_timeout=_PONG_SECONDS,
                    max_size=MOST_MESSAGE,
                )
                try:
                    await socket.send(encode_node(Greeting(*self._spoken, self.nid, MOST_MESSAGE)))
                    peer = check_greeting(decode_node(await _receive(socket)), self.nid, self._spoken)
                except BaseException:
                    socket.transport.abort()
                    raise
        except InvalidStatus as error:
            said = error.response.body.decode("utf-8", "replace")[:200] if error.response.body else ""
            raise self._unreached(nid, f"{url} refused this one ({error.response.status_code}): {said}") from error
        except Incompatible as error:
            self._unreached(nid, f"{url} does not understand this one: {error.message}")
            raise Unspoken(error.message) from error
        except CollabError as error:
            raise self._unreached(nid, f"{url} does not understand this one: {error.message}") from error
        except (OSError, TimeoutError, WebSocketException) as error:
            raise self._unreached(nid, f"{url} cannot be reached: {error!r}") from error
        if nid in self._failing:
            self._failing.discard(nid)
            log.warning("node %d can be reached again", nid)
        link = NodeLink(socket, peer)
        self._tasks.spawn(self._run(nid, link))
        return link

    async def _url_of(self, nid: int) -> str:
        try:
            return await self._addresses.url_of(nid)
        except Unavailable as error:
            raise Unreached from error

    def _unreached(self, nid: int, why: str) -> Unreached:
        if nid not in self._failing:
            self._failing.add(nid)
            log.error("node %d at %s", nid, why)
        return Unreached()

    async def _run(self, nid: int, link: NodeLink) -> None:
        try:
            await link.run()
        finally:
            if self._open_link(nid) is link:
                del self._links[nid]


class NodeLink:
    """One open link: calls and streams, told apart by their numbers."""

    def __init__(self, socket: ClientConnection, peer: Greeting) -> None:
        self._socket = socket
        self._most = min(peer.most, MOST_MESSAGE)
        self._pieces = ValueParts()
        self._next = 0
        self._waiting: dict[int, _Waiting | Items] = {}
        self._slots = asyncio.Semaphore(_CALLS)
        self._large = asyncio.Semaphore(_LARGE_CALLS)
        self._tasks = BackgroundTasks(lambda error: log.error("a link failed", exc_info=error))
        self._ended = False

    async def run(self) -> None:
        """Read until the end of the link; then everything that is still open fails."""
        try:
            while True:
                message = self._pieces.take(decode_node(await _receive(self._socket)))
                if message is not None:
                    self._heard(message)
        except ConnectionClosed:
            pass
        except CollabError as error:
            log.error("a node sent what this one does not understand: %s", error.message)
        finally:
            self.abort()
            for waiting in list(self._waiting.values()):
                waiting.failed(Lost())
            self._waiting.clear()
            self._tasks.cancel()

    def abort(self) -> None:
        """End the link at once."""
        self._ended = True
        self._socket.transport.abort()

    async def call(self, name: str, value: bytes, payer: PayerNamed | None, traceparent: str | None) -> bytes:
        """See :meth:`Links.call`."""
        async with self._slots:
            number = self._number()
            return await self._call(NodeCall(number, value, name, payer, traceparent))

    async def _call(self, call: NodeCall) -> bytes:
        number = call.id
        waiting = self._waiting[number] = _Waiting()
        try:
            if len(call.value) <= _LARGE:
                await self.send(call)
            else:
                async with self._large:
                    await self.send(call)
            del call  # it may wait for long, and need not keep the value
            return await waiting.answer
        except asyncio.CancelledError:
            self.cancel(number)
            raise
        finally:
            self._waiting.pop(number, None)

    def stream(self, name: str, value: bytes, payer: PayerNamed | None) -> Items:
        """See :meth:`Links.stream`."""
        number = self._number()
        items = self._waiting[number] = Items(self, NodeCall(number, value, name, payer), self._forget)
        return items

    async def send(self, message: NodeCall) -> None:
        """Send a call, in pieces if it is long. Raises :class:`Lost`."""
        try:
            for frame in in_pieces(message, self._most):
                await self._socket.send(frame)
        except (ConnectionClosed, OSError):
            raise Lost from None

    def cancel(self, number: int) -> None:
        """Tell the node that nobody waits for its answer any more."""
        self._waiting.pop(number, None)
        self._pieces.drop(number)
        if not self._ended:
            self._tasks.spawn(self._say(Cancelled(number)))

    async def _say(self, message: NodeMessage) -> None:
        with suppress(ConnectionClosed, OSError):
            await self._socket.send(encode_node(message))

    def _number(self) -> int:
        if self._ended:
            raise Unreached
        self._next += 1
        return self._next

    def _forget(self, items: Items) -> None:
        if self._waiting.get(items.number) is items:
            self.cancel(items.number)

    def _heard(self, message: NodeMessage) -> None:
        match message:
            case NodeAnswer(id, value):
                waiting = self._waiting.pop(id, None)
                if waiting is not None:
                    waiting.done(value)
            case NodeFailure(id):
                waiting = self._waiting.pop(id, None)
                if waiting is not None:
                    waiting.failed(error_of(message))
            case Item(id, value):
                items = self._waiting.get(id)
                if isinstance(items, Items):
                    items.item(value)
            case _:
                raise Unavailable("a node that answers sent something else")


class _Waiting:
    """A call that has not been answered."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def done(self, value: bytes) -> None:
        if not self.answer.done():
            self.answer.set_result(value)

    def failed(self, error: CollabError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Items(AsyncIterator[bytes]):
    """The items of a stream. A stream whose items nobody takes ends with an error."""

    def __init__(self, link: NodeLink, call: NodeCall, forget: Callable[[Items], None]) -> None:
        self.number = call.id
        self._link = link
        self._call = call
        self._forget = forget
        self._items: deque[bytes] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._error: CollabError | None = None
        self._done = False

    async def begin(self) -> None:
        """Ask for the stream. Raises :class:`Lost`."""
        await self._link.send(self._call)

    def end(self) -> None:
        """Ask for no more items."""
        self._forget(self)

    async def __anext__(self) -> bytes:
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._done:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        value = self._items.popleft()
        self._bytes -= len(value)
        return value

    def item(self, value: bytes) -> None:
        self._items.append(value)
        self._bytes += len(value)
        if len(self._items) > _ITEMS or (self._bytes > _ITEM_BYTES and len(self._items) > 1):
            self._items.clear()
            self.failed(Unavailable("the items of a stream were taken too slowly; begin again"))
            self.end()
        self._changed.set()

    def done(self, value: bytes) -> None:
        self._done = True
        self._changed.set()

    def failed(self, error: CollabError) -> None:
        self._error = error
        self._changed.set()


class _Direct(connect):
    """Follows no redirect: a pass is for one node."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def _receive(socket: ClientConnection) -> bytes:
    return await socket.recv(decode=False)
