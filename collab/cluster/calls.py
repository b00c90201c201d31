"""Does each thing where it can be done: here, or at the node that owns the room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from hashlib import blake2b
from secrets import token_bytes
from typing import TypeVar

from collab.access.price import METER
from collab.cluster.arguments import Arguments, decode_value, encode_value
from collab.cluster.link import Links, Lost, Unreached, Unspoken
from collab.cluster.messages import PayerNamed
from collab.errors import Elsewhere, Restarting, Unavailable
from collab.names import RoomKey
from collab.tracing import Tracer

T = TypeVar("T")

FIND_SECONDS = 3.0
"""How long an owner is looked for, before somebody who waits is told to retry."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_REACH_SECONDS = 10.0

Reached = Callable[[str, int], Awaitable[object]]
"""Returns once this node's feed of a project has delivered everything up to a position."""


class Patience:
    """The pauses between attempts to reach the owner of a room, each twice as long as the one before."""

    def __init__(self) -> None:
        self._ends = asyncio.get_running_loop().time() + FIND_SECONDS
        self._pause = _FIRST_PAUSE

    @property
    def over(self) -> bool:
        """Whether it has lasted long enough for somebody who waits."""
        return asyncio.get_running_loop().time() >= self._ends

    async def pause(self) -> None:
        """Wait until the next attempt."""
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class Calls:
    """Calls to the owners of rooms. Nothing is called before :meth:`begin`, which gets the node's links."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self.reached: Reached = _at_once
        """That of this node's feed."""
        self._links: Links | None = None
        self._forget: Callable[[int], None] = lambda nid: None
        self._editing = token_bytes(8)

    def begin(self, links: Links, forget: Callable[[int], None] = lambda nid: None) -> None:
        """The node has its number, and can reach others.

        ``forget`` is called with the number of a node that does not answer, or says that it does not own a room: what
        is known about its rooms must be looked up again.
        """
        self._links = links
        self._forget = forget

    @property
    def links(self) -> Links:
        """The links of this node."""
        if self._links is None:
            raise Unavailable("this server is not a node yet; retry")
        return self._links

    async def routed(
        self, here: Callable[[], Awaitable[T]], there: Callable[[int], Awaitable[T]], *, repeats: bool = False
    ) -> T:
        """Do something here; if another node owns the room, have that do it with ``there``.

        An owner that is lost is asked again, or the next one is, as long as it had not begun; with ``repeats`` also if
        it had. After about 3 s this raises :class:`Unavailable`, with the reason if it is
        :class:`Unspoken`.
        """
        patience = Patience()
        while True:
            try:
                return await here()
            except Elsewhere as elsewhere:
                nid = elsewhere.nid
            try:
                return await there(nid)
            except Unspoken:
                self.forget(nid)
                if patience.over:
                    raise
            except (Elsewhere, Restarting, Unreached):
                self.forget(nid)  # it has done nothing
            except Lost:
                self.forget(nid)
                if not repeats:
                    raise
            if patience.over:
                raise Unavailable("the server that has this document cannot be reached; retry", retryAfter=1.0)
            await patience.pause()

    def forget(self, nid: int) -> None:
        """A node does not answer, or does not own what it was asked for."""
        self._forget(nid)

    async def ask(self, nid: int, name: str, arguments: Arguments, answer: type[T]) -> T:
        """Have another node do something, at the cost of the running task's caller."""
        return decode_value(await self.ask_raw(nid, name, arguments), answer)

    async def ask_raw(self, nid: int, name: str, arguments: Arguments) -> bytes:
        """As :meth:`ask`; the answer as it came."""
        if self._tracer is None or self._tracer.here() is None:
            return await self.links.call(nid, name, encode_value(arguments), _payer())
        with self._tracer.work(f"call {name}", {"collab.node": nid}, kind="client"):
            return await self.links.call(nid, name, encode_value(arguments), _payer(), self._tracer.carried())

    def stream(self, nid: int, name: str, arguments: Arguments) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Read a stream of another node."""
        return self.links.stream(nid, name, encode_value(arguments), _payer())

    async def reach(self, project: str, position: int) -> None:
        """Wait until this node has seen what another one has written.

        Raises :class:`Unavailable` after ten seconds, as for a commit that takes too long.
        """
        try:
            async with asyncio.timeout(_REACH_SECONDS):
                await self.reached(project, position)
        except TimeoutError:
            raise Unavailable("stored, but this server does not know it yet", retryAfter=5.0) from None

    def client_id(self, key: RoomKey) -> int:
        """Return the Yjs client id of edits that are made here and applied by the owner.

        As in :class:`collab.rooms.registry.Registry`, it stays the same for a document, so that the document does not
        gather a client for each edit.
        """
        return int.from_bytes(blake2b(str(key).encode(), key=self._editing, digest_size=4).digest(), "big") or 1

    def edit_failed(self) -> None:
        """An edit may have reached other clients without being stored: never use its client ids again."""
        self._editing = token_bytes(8)


async def _at_once(project: str, position: int) -> None: ...


def _payer() -> PayerNamed | None:
    meter = METER.get()
    if meter is None:
        return None
    payer = meter.payer
    return PayerNamed(payer.project, payer.kind, payer.name)
