"""Documents for Python code, whichever node owns their rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pycrdt

from collab.access.identity import Identity
from collab.cluster.arguments import (
    Applied,
    Followed,
    RichAsked,
    RichSet,
    RoomAsked,
    StateAsked,
    TextAsked,
    decode_value,
    name_waiting,
)
from collab.cluster.calls import Calls, Patience
from collab.cluster.identities import encode_identity
from collab.cluster.link import Unreached
from collab.errors import Elsewhere, Restarting
from collab.richtext.names import RichForm, RichSchema, WriteFormat
from collab.rooms.handle import RoomHandle, Update
from collab.rooms.live.merge import merge


class RoutedRoom(RoomHandle):
    """One document of the cluster. The whole operation runs at the owner of its room."""

    def __init__(self, calls: Calls, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._calls = calls
        self._waiting = name_waiting(self._owner.caller)

    @asynccontextmanager
    async def edit(self, user: str | None = None) -> AsyncIterator[pycrdt.Doc[Any]]:
        async with AsyncExitStack() as stack:
            try:
                doc = await stack.enter_async_context(super().edit(user))
            except Elsewhere:
                doc = await stack.enter_async_context(self._edit_copy(user))
            yield doc

    @asynccontextmanager
    async def _edit_copy(self, user: str | None) -> AsyncIterator[pycrdt.Doc[Any]]:
        """As :meth:`edit`, on a copy of the owner's state, which gets the changes."""
        async with self._locks.of(self.key):
            doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=self._calls.client_id(self.key))
            doc.apply_update(await self.update())
            updates: list[bytes] = []
            subscription = doc.observe(lambda event: updates.append(event.update))
            yield doc
            doc.unobserve(subscription)
            if updates:
                try:
                    await self.apply(merge(updates), user)
                except BaseException:
                    self._calls.edit_failed()
                    raise

    async def apply(self, update: bytes, user: str | None = None, *, identity: Identity | None = None) -> None:
        asked = Applied(self.key, self._waiting, update, user, _encoded(identity))
        here = partial(super().apply, update, user, identity=identity)
        # the same update twice is one
        await self._calls.routed(here, partial(self._write_there, "room.apply", asked), repeats=True)

    async def update(self, state_vector: bytes | None = None) -> bytes:
        asked = StateAsked(self.key, self._waiting, state_vector)
        return await self._read_routed("room.update", partial(super().update, state_vector), asked)

    async def state_vector(self) -> bytes:
        return await self._read_routed("room.state_vector", super().state_vector, RoomAsked(self.key, self._waiting))

    async def json(self) -> dict[str, Any]:
        value: dict[str, Any] = msgspec.json.decode(await self.encoded_json())
        return value

    async def encoded_json(self) -> bytes:
        return await self._read_routed("room.json", super().encoded_json, RoomAsked(self.key, self._waiting))

    async def text(self, root: str | None = None) -> str:
        asked = TextAsked(self.key, self._waiting, root)
        return await self._read_routed_text("room.text", partial(super().text, root), asked)

    async def rich(self, form: RichForm, root: str | None = None) -> str:
        asked = RichAsked(self.key, self._waiting, form, root)
        return await self._read_routed_text("room.rich", partial(super().rich, form, root), asked)

    async def set_rich(
        self,
        form: WriteFormat,
        content: str,
        user: str | None = None,
        *,
        root: str | None = None,
        schema: RichSchema | None = None,
        identity: Identity | None = None,
    ) -> None:
        asked = RichSet(self.key, self._waiting, form, content, user, root, schema, _encoded(identity))
        here = partial(super().set_rich, form, content, user, root=root, schema=schema, identity=identity)
        # not repeated: to set it again would take back what others wrote in between
        await self._calls.routed(here, partial(self._write_there, "room.set_rich", asked))

    async def _write_there(self, name: str, asked: RoomAsked, nid: int) -> None:
        position = await self._calls.ask(nid, name, asked, int)
        await self._calls.reach(self.key.project, position)

    async def _read_routed_text(self, name: str, here: Callable[[], Awaitable[str]], asked: RoomAsked) -> str:
        async def encoded() -> bytes:
            return (await here()).encode()

        return (await self._read_routed(name, encoded, asked)).decode()

    async def _read_routed(self, name: str, here: Any, asked: RoomAsked) -> bytes:
        return await self._calls.routed(here, lambda nid: self._calls.ask_raw(nid, name, asked), repeats=True)

    async def updates(self) -> AsyncIterator[Update]:
        started = False
        patience = Patience()
        while True:
            try:
                async with aclosing(super().updates()) as updates:  # type: ignore[type-var]
                    async for update in updates:
                        yield update
            except Elsewhere as elsewhere:
                nid = elsewhere.nid
            try:
                async with self._calls.stream(nid, "room.updates", RoomAsked(self.key, self._waiting)) as items:
                    async for item in items:
                        started = True
                        told = decode_value(item, Followed)
                        yield Update(told.update, told.user_id)
                return
            except (Elsewhere, Restarting, Unreached):
                if started or patience.over:
                    raise
                self._calls.forget(nid)
            await patience.pause()


def _encoded(identity: Identity | None) -> bytes | None:
    return None if identity is None else encode_identity(identity)
