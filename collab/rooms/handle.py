"""Access to a room from Python: read it, edit it as a named user, follow its changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic, thread_time
from typing import Any, get_args
from weakref import WeakValueDictionary

import msgspec
import pycrdt

from collab.access.identity import Identity
from collab.access.price import charge, is_busy, rest_after
from collab.errors import InvalidRequest
from collab.gate.structs import TooManyParts, decode_state_vector, encode_state_vector
from collab.names import RoomKey
from collab.richtext.names import ReadFormat, RichForm, RichSchema, WriteFormat
from collab.rooms.commitment import committed
from collab.rooms.large import made_ready, read_ahead, reading
from collab.rooms.live.merge import merge
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.rooms.row_edits import LargeEdit
from collab.sandbox.client import Sandbox
from collab.turns import TurnOwner

_READ_SECONDS = 10.0
_EMPTY_UPDATE = b"\x00\x00"
_EMPTY: Mapping[str, Any] = {"values": {}, "json": b"{}"}


@dataclass(frozen=True, slots=True)
class Update:
    """An accepted update of a document, in the Yjs encoding v1, and its author."""

    update: bytes
    user_id: str | None


class Locks:
    """One lock per document, as long as somebody holds it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[RoomKey, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: RoomKey) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


class RoomHandle:
    """One document of this server, whether its room is open or not. Cheap to create and to discard.

    Reads take turns with those of other callers and projects.
    """

    def __init__(
        self, key: RoomKey, registry: Registry, sandbox: Sandbox, locks: Locks, caller: Hashable = None
    ) -> None:
        self.key = key
        self._owner = TurnOwner(key.project, caller)
        self._registry = registry
        self._sandbox = sandbox
        self._locks = locks

    @asynccontextmanager
    async def edit(self, user: str | None = None) -> AsyncIterator[pycrdt.Doc[Any]]:
        """Edit the document as ``user``.

        The block gets a copy. When it ends, the changes are applied as one update; leaving the block returns once that
        is committed. An exception inside the block changes nothing. Edits of one document from Python take turns;
        clients keep editing meanwhile, and everything merges. Raises :class:`collab.errors.CollabError`.
        """
        async with self._locks.of(self.key), self._registry.hold(self.key) as room:
            room = await self._registry.readable(room)
            doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=room.server_client_id)
            doc.apply_update(room.diff())
            updates: list[bytes] = []
            subscription = doc.observe(lambda event: updates.append(event.update))
            yield doc
            doc.unobserve(subscription)
            if updates:
                await self._apply(room, merge(updates), user)

    async def apply(self, update: bytes, user: str | None = None, *, identity: Identity | None = None) -> None:
        """Apply a Yjs update (encoding v1) as ``user``; returns once it is committed.

        With ``identity`` the update must be allowed for each entity that it writes: for the row as it is, and as it
        would be.

        Raises :class:`collab.errors.InvalidRequest` if the update is malformed or depends on missing elements, and
        :class:`collab.errors.PermissionDenied`.
        """
        async with self._registry.hold(self.key) as room:
            if identity is not None:
                with suppress(TooManyParts):  # checked below, piece by piece
                    await self._registry.edits.allow(room, identity, update)
            await self._apply(room, update, user, identity)

    async def _apply(self, room: Room, update: bytes, user: str | None, identity: Identity | None = None) -> None:
        self._registry.admit(0, awaited=True)
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not told.done():
                told.set_result(None)

        try:
            room.edit(
                update, user, monotonic(), done, limit=room.portion.of(room.log.whole + len(update), busy=is_busy())
            )
        except TooManyParts:
            await self._apply_pieces(room, update, user, identity, done)
        await committed(told)

    async def _apply_pieces(
        self, room: Room, update: bytes, user: str | None, identity: Identity | None, done: Callable[[], None]
    ) -> None:
        """Apply a large update, serving others in between.

        If it ends early, the applied pieces stay: applying them again is harmless.
        """
        async with reading(update, charge) as (pieces, seconds):
            if pieces.refused:
                raise InvalidRequest(f"the update contains {pieces.refused[0].why}")
            await asyncio.sleep(rest_after(seconds, busy=is_busy()))
            large = (
                LargeEdit(self._registry.edits, room, identity, update, pieces.clients)
                if identity is not None
                else None
            )
            sizes = room.portion.sizes(room.log.whole + len(update), busy=is_busy())
            while pieces:
                piece = await read_ahead(pieces.take(next(sizes), room.gate.state), charge)
                piece = await made_ready(room, piece, large, charge)
                began = thread_time()
                room.edit(piece, user, monotonic(), done if not pieces else _ignore)
                if large is not None:
                    large.taken(room)
                seconds = thread_time() - began
                await asyncio.sleep(rest_after(seconds, busy=is_busy()))

    async def update(self, state_vector: bytes | None = None) -> bytes:
        """The update that a replica at ``state_vector`` lacks; without one, the whole state. Yjs encoding v1."""
        async with self._registry.hold(self.key) as room:
            room = await self._registry.readable(room)
            if state_vector is None:
                return room.shared.whole(monotonic())
            decode_state_vector(state_vector)
            return room.diff(state_vector)

    async def state_vector(self) -> bytes:
        """The document's state vector."""
        async with self._registry.hold(self.key) as room:
            room = await self._registry.readable(room)
            return encode_state_vector(room.gate.state)

    async def json(self) -> dict[str, Any]:
        """All roots as plain values: text and XML as strings, maps as dicts, arrays as lists."""
        value = await self._read("values")
        assert isinstance(value, dict)
        return value

    async def encoded_json(self) -> bytes:
        """All roots as JSON, encoded in the process that reads, so that a large document costs this one nothing."""
        value = await self._read("json")
        assert isinstance(value, bytes)
        return value

    async def text(self, root: str | None = None) -> str:
        """One root as plain text, one line for each block; without a name, the only root that has text.

        Raises :class:`collab.errors.InvalidRequest` if there are several, or if the root is a map or an array.
        """
        return await self._rich("text", root)

    async def markdown(self, root: str | None = None) -> str:
        """The rich text of one root as Markdown; without a name, of the only root that has text.

        Reads what Tiptap, ProseMirror, Milkdown, BlockNote, Lexical and Quill write. Raises
        :class:`collab.errors.InvalidRequest` for other roots, as do the following.
        """
        return await self.rich("markdown", root)

    async def html(self, root: str | None = None) -> str:
        """The same as HTML that is safe to show: everything is escaped, and addresses that run code are left out."""
        return await self.rich("html", root)

    async def prosemirror(self, root: str | None = None) -> dict[str, Any]:
        """The same as ProseMirror's JSON, a ``doc``: of an editor built on ProseMirror exactly its own, unfiltered."""
        value: dict[str, Any] = msgspec.json.decode(await self.rich("prosemirror", root))
        return value

    async def delta(self, root: str | None = None) -> list[dict[str, Any]]:
        """A text as Quill's delta, unfiltered: ``[{"insert": …, "attributes": {…}}, …]``."""
        value: list[dict[str, Any]] = msgspec.json.decode(await self.rich("delta", root))
        return value

    async def rich(self, form: RichForm, root: str | None = None) -> str:
        """The same in a form; ``prosemirror`` and ``delta`` are JSON."""
        _check("form", form, get_args(RichForm))
        return await self._rich(form, root)

    async def _rich(self, form: ReadFormat, root: str | None) -> str:
        _check_characters(root or "")
        async with self._registry.hold(self.key) as room, self._sandbox.turn(self._owner) as child:
            room = await self._registry.readable(room)
            update, roots = room.shared.whole(monotonic()), _kinds(room)
            return await child.read_rich(update, roots, root, form, _rich_seconds(len(update)))

    async def set_markdown(self, markdown: str, user: str | None = None, **options: Any) -> None:
        """Make one root say ``markdown``, as an edit of ``user``; ``options`` are those of :meth:`set_rich`."""
        await self.set_rich("markdown", markdown, user, **options)

    async def set_html(self, html: str, user: str | None = None, **options: Any) -> None:
        """Make one root say ``html``, as an edit of ``user``. Scripts, styles and unsafe addresses are left out."""
        await self.set_rich("html", html, user, **options)

    async def set_prosemirror(self, doc: Mapping[str, Any], user: str | None = None, **options: Any) -> None:
        """Make one root equal to ProseMirror's JSON, as an edit of ``user``."""
        try:
            content = msgspec.json.encode(doc).decode()
        except UnicodeEncodeError as error:
            raise _half(error) from None
        await self.set_rich("prosemirror", content, user, **options)

    async def set_text(self, text: str, user: str | None = None, **options: Any) -> None:
        """Make a ``Y.Text`` equal to ``text``, as an edit of ``user``."""
        await self.set_rich("text", text, user, **options)

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
        """Make one root say ``content``, as an edit of ``user``; returns once that is committed.

        Only the difference is written. Blocks that say the same stay untouched, also with what the form cannot say, and
        in others only the changed characters are replaced; so cursors and edits of others survive. Without ``root`` it
        is the only root that has text. An empty root gets the form of an editor, ``schema``, by default Tiptap's. With
        ``identity`` the edit must be allowed for each entity that it writes, as for :meth:`apply`.

        Raises :class:`collab.errors.InvalidRequest` for content that is malformed or does not fit the editor of this
        document, and :class:`collab.errors.PermissionDenied`.
        """
        _check("form", form, get_args(WriteFormat))
        if schema is not None:
            _check("schema", schema, get_args(RichSchema))
        _check_characters(content, root or "")
        async with self._locks.of(self.key), self._registry.hold(self.key) as room:
            async with self._sandbox.turn(self._owner) as child:
                room = await self._registry.readable(room)
                update, roots = room.shared.whole(monotonic()), _kinds(room)
                seconds = _rich_seconds(len(update) + len(content))
                edit = await child.rewrite(update, roots, root, form, content, schema, seconds)
            if edit is not None:
                await self.apply(edit, user, identity=identity)

    async def _read(self, form: str) -> Any:
        # in another process: reading can hang inside the CRDT library, and then only that process is killed
        async with self._registry.hold(self.key) as room, self._sandbox.turn(self._owner) as child:
            room = await self._registry.readable(room)
            update, roots = room.shared.whole(monotonic()), dict(room.gate.roots)
            if update == _EMPTY_UPDATE:
                return _EMPTY[form]
            return await child.read(update, roots, form, _READ_SECONDS)

    async def updates(self) -> AsyncIterator[Update]:
        """Every update from now on, as it is accepted (not yet committed). The room stays open meanwhile."""
        queue: asyncio.Queue[Update] = asyncio.Queue()

        def listen(update: bytes, user_id: str | None) -> None:
            queue.put_nowait(Update(update, user_id))

        async with self._registry.hold(self.key) as room:
            listeners = room.listeners
            listeners.add(listen)
            try:
                while True:
                    yield await queue.get()
            finally:
                listeners.discard(listen)


def _kinds(room: Room) -> Mapping[str, str]:
    """The kinds of the roots, also of those that hold entities and are still empty."""
    return {**room.gate.roots, **dict.fromkeys(room.bridge.roots, "map")}


def _rich_seconds(size: int) -> float:
    """How long reading or comparing so many bytes of rich text may take."""
    return _READ_SECONDS + size / (64 * 1024)


def _check(what: str, value: object, known: Collection[str]) -> None:
    if value not in known:
        raise InvalidRequest(f"{what} must be one of {', '.join(known)}")


def _check_characters(*texts: object) -> None:
    try:
        for text in texts:
            if not isinstance(text, str):
                raise InvalidRequest(f"a text and the name of a root are strings, not {type(text).__name__}")
            text.encode()
    except UnicodeEncodeError as error:
        raise _half(error) from None


def _half(error: UnicodeEncodeError) -> InvalidRequest:
    return InvalidRequest(f"a text has half a character at {error.start}: a surrogate that stands alone")


def _ignore() -> None: ...
