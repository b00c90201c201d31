"""Checks the edits of users whose rights depend on rows, before the room applies them.

An edit must be allowed for each entity that it writes: for the row as it is, and as it would be. The new rows are
computed from a copy of the document in the sandbox, and the application's answer may take time, so the session's later
messages wait meanwhile, in order. Everybody else continues. If the rows changed when the answer arrives, the check is
repeated. Edits that touch no field of an entity do not wait, and a session whose rights are the same for every row has
no :class:`Guard`. Refused: undo the edit afterwards, when others have already received it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import RateLimitExceeded, Unavailable
from collab.gate.checked import Checked
from collab.gate.struct_content import Malformed
from collab.gate.structs import TooManyParts
from collab.hooks import ProposedWrite
from collab.rooms.authorization import Authorization
from collab.rooms.live.faults import closing
from collab.rooms.live.merge import merge
from collab.sandbox.client import Sandbox, SandboxError
from collab.turns import TurnOwner
from collab.wire import yjs

if TYPE_CHECKING:
    from collab.rooms.live.room import Room
    from collab.rooms.live.session import Session

MOST_WAITING = 1000
MOST_WAITING_BYTES = 16 * 1024 * 1024
_ATTEMPTS = 10
_CLIENTS = 100  # of one edit whose clocks are watched; with more of them, any write to the document counts
_SECONDS = 10.0


class RowEdits:
    """Checks edits for all sessions of one server, and asks the hook ``before_write`` about them.

    ``release`` undoes one :meth:`Room.hold`.
    """

    def __init__(
        self,
        rights: Authorization,
        sandbox: Sandbox,
        release: Callable[[Room], None],
        spawn: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self._rights = rights
        self._sandbox = sandbox
        self._release = release
        self._spawn = spawn

    def watch(self, session: Session, room: Room) -> None:
        """A session is about to join, or sent another credential: start or stop checking its edits."""
        if self._rights.asks_about_edits(session.identity, room.key):
            session.guard = session.guard or Guard(self, session, room)
        elif isinstance(session.guard, Guard) and not session.guard.busy:
            session.guard = None

    def asks(self, room: Room, identity: Identity) -> bool:
        """Whether this identity's edits of a document must be checked."""
        return self._rights.asks_about_edits(identity, room.key)

    async def allow(self, room: Room, identity: Identity, update: bytes) -> None:
        """Return when ``identity`` may make this edit; apply it before the next ``await``.

        Edits that the room would refuse anyway pass. Raises :class:`collab.errors.PermissionDenied`,
        :class:`Unavailable` if the rows change faster than they can be checked, and
        :class:`collab.gate.gate.TooManyParts` for a large edit (:class:`LargeEdit`).
        """
        if not self.asks(room, identity):
            return
        for _ in range(_ATTEMPTS):
            checked = _writes_fields(room, update)
            if checked is None:
                return
            edition = room.bridge.edition
            await self.require(room, identity, merge([room.diff(), checked.update]), None)
            # missing elements may have arrived, so that more of the edit applies
            if room.bridge.edition == edition and room.gate.check(update).update == checked.update:
                return
        raise _too_fast()

    async def require(self, room: Room, identity: Identity, document: bytes, edit: bytes | None) -> None:
        """Raise :class:`CollabError` unless each row may be written as it is, and as ``document`` has it.

        With ``edit``: as ``document`` would have it after that edit. The sandbox computes it.
        """
        roots = dict.fromkeys(room.bridge.roots, "map")
        size = len(document) + len(edit or b"")
        try:
            async with self._sandbox.turn(TurnOwner(room.key.project, identity.counted_as(None))) as child:
                value = await child.read(document, roots, "values", _SECONDS + size / (256 * 1024), edit=edit)
        except SandboxError as error:
            raise Unavailable("the effect of this edit could not be computed; retry") from error
        assert isinstance(value, dict)
        for change in room.bridge.rows_after(value):
            await self._rights.require(identity, change.key, Access.WRITE, *change.rows)
            if self._rights.asks_before_writes and not change.is_none:
                await self._rights.before_write(
                    ProposedWrite(
                        "create" if change.before is None else "delete" if change.after is None else "update",
                        identity,
                        change.key,
                        change.before,
                        change.after,
                        by_editor=True,
                    )
                )

    def begin(self, work: Coroutine[object, object, None]) -> None:
        self._spawn(work)

    def end(self, room: Room) -> None:
        """A guard has finished its work in a room that it held."""
        self._release(room)


class LargeEdit:
    """An edit that is applied piece by piece: checked as a whole, and again when others write to the rows."""

    def __init__(self, edits: RowEdits, room: Room, identity: Identity, update: bytes, clients: Sequence[int]) -> None:
        self._asks = edits.asks(room, identity)
        self._edits = edits
        self._identity = identity
        self._update = update
        self._clients = clients
        self._allowed: object = None

    async def allow(self, room: Room) -> None:
        """Return when the whole edit may be made; apply the next piece before the next ``await``.

        Raises as :meth:`RowEdits.allow`.
        """
        if not self._asks:
            return
        for _ in range(_ATTEMPTS):
            now = self._state(room)
            if now == self._allowed:
                return
            await self._edits.require(room, self._identity, room.shared.whole(monotonic()), self._update)
            self._allowed = now
        raise _too_fast()

    def taken(self, room: Room) -> None:
        """A piece was applied just now; its own changes are no reason to check again."""
        if self._asks:
            self._allowed = self._state(room)

    def _state(self, room: Room) -> object:
        """What the answer depends on: the rows, and the elements that the edit continues."""
        if len(self._clients) > _CLIENTS:
            return room.bridge.edition, room.bridge.seq
        return room.bridge.edition, [room.gate.state.get(client, 0) for client in self._clients]


class Guard:
    """The messages of one session in ``room`` that wait while one of its edits is checked."""

    __slots__ = ("_edits", "_room", "_session", "_size", "_waiting", "busy")

    def __init__(self, edits: RowEdits, session: Session, room: Room) -> None:
        self.busy = False
        self._edits = edits
        self._room = room
        self._session = session
        self._waiting: deque[yjs.Message] = deque()
        self._size = 0

    def __call__(self, message: yjs.Message) -> bool:
        """Whether a message must wait; the room gets it later. Raises :class:`RateLimitExceeded`."""
        room = self._room = self._room.latest
        if not self.busy:
            if self._session.access < Access.WRITE or not isinstance(message, yjs.Update | yjs.SyncStep2):
                return False
            if self._session.waiting is not None:
                return False  # behind a large edit
            try:
                if _writes_fields(room, message.update) is None:
                    return False
            except TooManyParts:
                return False  # checked by LargeEdit
            self.busy = True
            room.hold()
            self._edits.begin(self._work(room))
        size = len(message.update) if isinstance(message, yjs.Update | yjs.SyncStep2) else 0
        if len(self._waiting) >= MOST_WAITING or self._size + size > MOST_WAITING_BYTES:
            raise RateLimitExceeded("too many edits wait for a permission check")
        self._size += size
        self._waiting.append(message)
        return True

    async def _work(self, held: Room) -> None:
        session = self._session
        try:
            with closing(session):
                while self._waiting:
                    room = held.latest
                    message = self._waiting[0]
                    if isinstance(message, yjs.Update | yjs.SyncStep2):
                        with suppress(TooManyParts):  # as above
                            await self._edits.allow(room, session.identity, message.update)
                        if held.latest is not room:
                            continue  # it was rebuilt meanwhile, and the old room passes nothing on any more
                        self._size -= len(message.update)
                    self._waiting.popleft()
                    self._pass_on(room, message)
                    if session.waiting is not None:  # the rest waits behind it
                        session.waiting += self._waiting
                        self._waiting.clear()
        finally:
            self._waiting.clear()
            self._size = 0
            self.busy = False
            self._edits.end(held)

    def _pass_on(self, room: Room, message: yjs.Message) -> None:
        session, now = self._session, monotonic()
        if room.broken:
            room.receive(session, message, now)
        elif session in room.sessions or isinstance(message, yjs.Update | yjs.SyncStep2):  # it may have left since
            room.take(session, message, now)


def _writes_fields(room: Room, update: bytes) -> Checked | None:
    """The checked edit if the room would apply it and it may write entity fields, else ``None``. Raises
    :class:`TooManyParts`.
    """
    if room.broken or room.deleted:
        return None
    try:
        checked = room.gate.check_at_once(update, room.portion.of(room.log.whole + len(update), busy=False))
    except TooManyParts:
        raise
    except Malformed:
        return None
    return checked if room.gate.may_write_fields(checked) else None


def _too_fast() -> Unavailable:
    return Unavailable("these fields change too fast to check permissions; retry")
