"""A room: one Yjs document with its awareness and its sessions.

Messages come in through :meth:`Room.receive`, pass the gate, are applied, recorded and relayed. Nothing here
waits: time is an argument, what must be committed goes to ``ring.record``, and what is due later is asked of
``ring.wake_at``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import pycrdt

from collab.access.identity import Access
from collab.entities.bridge import Bridge, read_entry
from collab.entities.entity import Intent, Told
from collab.errors import (
    ClientIdInUse,
    CollabError,
    EntityDeleted,
    InvalidRequest,
    Quarantined,
    TooLarge,
    Unavailable,
)
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.blackbox import BlackBox
from collab.rooms.compaction import LogSize
from collab.rooms.deletions import DeleteSet
from collab.rooms.framing import Framing
from collab.rooms.pacing import Pacer, SendCost
from collab.rooms.relay import Relay
from collab.rooms.ring import Ring, RoomOptions
from collab.rooms.session import Session
from collab.rooms.shared_state import SharedState
from collab.wire import yjs
from collab.wire.fields import Write
from collab.wire.update import Checked, Gap, Gate, decode_state_vector, encode_state_vector
from presence.awareness import Awareness, Change, User

EMPTY_AWARENESS = b"\x00"
EMPTY_STATE_VECTOR = b"\x00"

_COSTLY = 0.002  # seconds of encoding from which on joiners are worth gathering


class Room:
    """The live form of one entity. One event loop, one owner, no locks.

    ``gate`` and ``doc`` hold the same history; ``log`` is how much storage holds of it.
    """

    def __init__(
        self,
        key: RoomKey,
        doc: pycrdt.Doc[Any],
        gate: Gate,
        ring: Ring,
        *,
        options: RoomOptions,
        metrics: Metrics,
        blackbox: BlackBox,
        send_cost: SendCost,
        bridge: Bridge | None = None,
        lineage: str | None = None,
        quarantine: Callable[[Checked], bool] | None = None,
    ) -> None:
        self.key = key
        self.doc = doc
        self.gate = gate
        self.lineage = lineage
        self.bridge = bridge if bridge is not None else Bridge(key)
        self.deleted = self.bridge.main.deleted
        self.server_client_id: int = doc.client_id  # edits from Python are written under this Yjs client id
        self.seq = 0  # of the last row known to be committed
        self.log = LogSize()
        self.uncommitted = 0
        self.holds = 0  # readers and writers other than sessions
        self.broken = False
        self.sessions: dict[Session, None] = {}
        self.awareness = Awareness(timeout=options.presence_timeout, max_state_bytes=options.presence_bytes)
        self.shared = SharedState(doc.get_update)  # nothing of the room: a cycle would outlive it for long
        self.listeners: set[Callable[[bytes, str | None], None]] = set()
        self.watchers: set[Callable[[], None]] = set()  # called when presence has changed
        self.successor: Room | None = None  # rebuilt from the log, in the place of this one
        self._ring = ring
        self._options = options
        self._metrics = metrics
        self._blackbox = blackbox
        self._quarantine = quarantine
        self._writers: dict[int, Session] = {}
        self._deleted: DeleteSet | None = None  # known only while nothing more is deleted
        self._relay = Relay(
            Pacer(options.flush_shortest, options.flush_longest),
            Pacer(options.presence_shortest, options.presence_longest, share=0.15),
            send_cost,
            metrics,
        )
        self._wakes_at: float | None = None
        self._join_pacer = Pacer(0.0, options.join_longest)
        self._asking: dict[Session, bytes] = {}
        self._after_commit: list[Callable[[], None]] = []
        self._deferred: list[tuple[Session, yjs.Message]] = []

    # sessions

    def join(self, session: Session) -> None:
        """Take a session in and show it who is here. It is asked what it has once it asks what we have."""
        self.sessions[session] = None
        session.room = self
        snapshot = self.awareness.snapshot()
        if snapshot != EMPTY_AWARENESS:
            session.outbox.reply(session.framing.awareness(snapshot))

    def leave(self, session: Session, now: float) -> None:
        """Let a session go; its cursors vanish at once."""
        if self.sessions.pop(session, self) is self:
            return
        for client in session.writes:
            if self._writers.get(client) is session:
                del self._writers[client]
        session.writes.clear()
        session.outbox.clear()
        self._asking.pop(session, None)
        self.show(self.awareness.leave(session, now), None, now)

    def receive(self, session: Session, message: yjs.Message, now: float) -> None:
        """Answer one message of a session.

        Raises a :class:`collab.errors.CollabError` if the session must end.
        """
        if self.broken:
            self._deferred.append((session, message))
            return
        # in the order of their frequency; what is left is skipped: a new type must not end today's sessions
        if isinstance(message, yjs.Update):
            self._edit(session, message.update, now, live=True)
        elif isinstance(message, yjs.AwarenessUpdate):
            self._meet(session, message.payload, now)
        elif isinstance(message, yjs.SyncStep1):
            self._hear(session, message.state_vector, now)
        elif isinstance(message, yjs.SyncStep2):
            self._edit(session, message.update, now, live=False)
        elif isinstance(message, yjs.QueryAwareness):
            session.outbox.reply(session.framing.awareness(self.awareness.snapshot()))

    def _hear(self, session: Session, state_vector: bytes, now: float) -> None:
        """A client asks for what it lacks. While a large document is edited, those who ask are answered together."""
        decode_state_vector(state_vector)
        due = self._join_pacer.due(now)
        if due <= now or self.shared.has(state_vector, session.framing.address):
            self._answer(session, state_vector, now)
        else:
            self._asking[session] = state_vector
            self._wake_at(due, now)

    def _answer(self, session: Session, state_vector: bytes, now: float) -> None:
        started = perf_counter()
        framing = session.framing
        answer = self.shared.answer(state_vector, framing.address, framing.sync_step2, now)
        cost = perf_counter() - started
        if cost > _COSTLY:
            self._join_pacer.flushed(now, cost)
        session.synced = True
        # asked first, as by stock servers: who knows what we have cannot tell any more what of theirs lost against it
        self._ask(session, counted=True)
        session.outbox.reply(answer)

    def _answer_all(self, now: float) -> None:
        asking, self._asking = self._asking, {}
        for session, state_vector in asking.items():
            with _closing(session):
                self._answer(session, state_vector, now)

    def succeed(self, old: Room, now: float) -> None:
        """Take over the sessions of a broken room, and what they said since it broke."""
        self.awareness = old.awareness
        self.listeners = old.listeners
        self.watchers = old.watchers
        self.holds += old.holds
        old.successor = self
        old.relay_all(now)
        for session in list(old.sessions):
            self.join(session)
            with _closing(session):
                self._ask(session, counted=False)
        for session, state_vector in old._asking.items():
            old._deferred.insert(0, (session, yjs.SyncStep1(state_vector)))
        for session, message in old._deferred:
            if session in self.sessions:
                with _closing(session):
                    self.receive(session, message, now)

    # edits

    def edit(
        self,
        update: bytes,
        user_id: str | None,
        now: float,
        done: Callable[[], None],
        intent: Intent | None = None,
    ) -> None:
        """Take in an update from the server's own side; ``done`` is called once it is committed.

        ``intent`` is told of the entities that it wrote; of this document's own if it wrote nothing new.

        Raises :class:`collab.errors.InvalidRequest`, :class:`EntityDeleted`, :class:`Unavailable` or
        :class:`TooLarge`.
        """
        if self.broken:
            raise Unavailable("the document is being rebuilt")
        if self.deleted:
            raise EntityDeleted("it was deleted")
        try:
            checked = self.gate.check(update)
        except Gap as gap:
            raise InvalidRequest("the update continues something that this document does not have") from gap
        if self._is_news(checked, live=False):
            self._accept(None, update, checked, user_id, now, done, live=False, intent=intent)
            return
        self._when_committed(done)
        if intent is not None:
            self._when_committed(lambda: intent.told(Told(self.bridge.main.data, self.bridge.main.version, ())))

    def delete(self) -> None:
        """The entity is deleted: nobody edits it any more, until :meth:`restore`."""
        self.deleted = True
        for session in list(self.sessions):
            session.close(EntityDeleted("it was deleted"))

    def restore(self) -> None:
        """The entity is back."""
        self.deleted = False

    def content_roots(self) -> dict[str, str]:
        """Roots that are no entity's, and their kinds."""
        return {name: kind for name, kind in self.gate.roots.items() if not self.bridge.owns(name)}

    def read_field(self, root: str, child: str | None, key: str | None) -> Any:
        """What a map of the document holds now, as JSON (:func:`collab.entities.bridge.read_entry`)."""
        return read_entry(self.doc, root, child, key)

    def _edit(self, session: Session, update: bytes, now: float, *, live: bool) -> None:
        if self.deleted:
            raise EntityDeleted("it was deleted")
        self._metrics.updates_in += 1
        counted = live or not session.asked or session.asked.pop(0)
        early = live and True in session.asked
        try:
            checked = self.gate.check(update)
        except Gap:
            self._resync(session, live=live)
            return
        acks = int(counted)
        if early:
            # A provider that opens counts from 1 again, but sends what was written before: answered one by one,
            # the first of them would count as all.
            session.early += 1
            acks = 0
        if not live:
            acks += session.missed
            session.missed = 0
            if counted:
                acks += session.early
                session.early = 0
        done = partial(self._saved, session, acks) if session.framing.acknowledges else None
        if not self._is_news(checked, live=live):
            if done is not None:
                self._when_committed(done)
            return
        if session.access < Access.WRITE:
            self._refuse(session)
            return
        self._claim(session, checked, live=live)
        self._accept(session, update, checked, session.identity.user_id, now, done, live=live)

    def _is_news(self, checked: Checked, *, live: bool) -> bool:
        if checked.before:
            return True
        if not checked.has_deletes:
            return False
        # A reconnecting client repeats every deletion it knows of. Relayed and logged, each reconnect would
        # grow the log by the whole delete set.
        if live:
            return True
        if self._deleted is None:
            self._deleted = DeleteSet(self.diff(encode_state_vector(self.gate.state)))
        return not self._deleted.covers(checked.deletes)

    def _resync(self, session: Session, *, live: bool) -> None:
        self._metrics.resyncs += 1
        if session.access < Access.WRITE:
            self._refuse(session)
        elif live:
            if not session.missed:
                self._ask(session, counted=False)
            session.missed += 1
        # A second step of the handshake that has gaps holds what its sender itself is waiting for (Yjs encodes
        # its pending structs along): asking again would bring the same. It comes when the gap is filled.

    def _ask(self, session: Session, *, counted: bool) -> None:
        """Ask a client for what we lack. A Hocuspocus client counts the answer only if it asked first."""
        session.asked.append(counted)
        session.outbox.reply(session.framing.sync_step1(encode_state_vector(self.gate.state)))

    def _refuse(self, session: Session) -> None:
        frame = session.framing.saved(False)
        if frame is not None:
            session.outbox.reply(frame)

    def _claim(self, session: Session, checked: Checked, *, live: bool) -> None:
        """Two live writers under one client id diverge without any replica noticing: the second is refused.

        A user's own new socket takes over from the old one, which may not be known to be dead yet; if the old one
        writes again, both live, and it is refused after all.
        """
        for client in checked.before:
            if client in session.lost:
                raise ClientIdInUse("a newer session writes under this Yjs client id", client=client)
            owner = self._writers.get(client)
            if owner is session:
                continue
            if owner is not None and owner.identity.user_id != session.identity.user_id:
                if live:
                    raise ClientIdInUse("another session writes under this Yjs client id", client=client)
                raise Unavailable("someone else's unsent edits: their own session will bring them")
            if live:
                if owner is not None:
                    owner.writes.discard(client)
                    owner.lost.add(client)
                self._writers[client] = session
                session.writes.add(client)

    def _accept(
        self,
        session: Session | None,
        update: bytes,
        checked: Checked,
        user_id: str | None,
        now: float,
        done: Callable[[], None] | None,
        *,
        live: bool,
        intent: Intent | None = None,
    ) -> None:
        if self._quarantine is not None and self._quarantine(checked):
            raise Quarantined("this edit ended a worker before and is kept aside")
        size = len(update)
        if self.log.snapshot_bytes + self.log.bytes + size > self._options.document_bytes:
            raise TooLarge("the document is full", limit=self._options.document_bytes)
        self._ring.admit(size)
        writes = self._apply(update, checked, live=live)
        self.shared.changed()
        if checked.has_deletes:
            self._deleted = None
        self.uncommitted += 1
        self.log.rows += 1
        self.log.bytes += size
        self._ring.record(self, update, user_id, done, writes, checked.content, intent)
        for listener in self.listeners:
            listener(update, user_id)
        self._relay.add_update(update, checked.before, session)
        self._relay_when_due(now)

    def _apply(self, update: bytes, checked: Checked, *, live: bool) -> Sequence[Write]:
        """Apply an update, and have the gate remember it: both, or the document is rebuilt without it."""
        seconds = self._options.apply_seconds * (1 + len(update) / (4 * 1024 * 1024))
        self._blackbox.begin(self.key, update, seconds)
        try:
            self.doc.apply_update(update)
            return self.gate.commit(checked, live=live)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # yrs panics arrive as PanicException, which is no Exception
            self.broken = True
            self._ring.broken(self, update, error)
            raise InvalidRequest("the document could not take this update in") from error
        finally:
            self._blackbox.end()

    # commits

    def committed(self, seq: int | None) -> None:
        """The oldest of what was not committed is now, as log row ``seq`` unless it leaves none."""
        if seq is not None:
            self.seq = seq
        self.uncommitted -= 1
        if not self.uncommitted and self._after_commit:
            waiting, self._after_commit = self._after_commit, []
            for call in waiting:
                call()

    def _when_committed(self, call: Callable[[], None]) -> None:
        if self.uncommitted:
            self._after_commit.append(call)
        else:
            call()

    def _saved(self, session: Session, acks: int) -> None:
        """Tell a client that what it counted as unsaved is committed."""
        frame = session.framing.saved(True)
        if frame is not None and session in self.sessions:
            for _ in range(acks):
                session.outbox.acknowledge(frame)

    # presence

    def _meet(self, session: Session, payload: bytes, now: float) -> None:
        self._metrics.presence_in += 1
        identity = session.identity
        user = User(identity.user_id, identity.name) if identity.verified else None
        change = self.awareness.apply(payload, session, user, now)
        if change.nudge is not None:
            session.outbox.reply(session.framing.awareness(change.nudge))
        self.show(change, session, now)

    def expire(self, now: float) -> None:
        """Forget cursors that fell silent and encoded states that nobody uses."""
        self.show(self.awareness.expire(now), None, now)
        self.shared.expire(now)

    def show(self, change: Change, author: Session | None, now: float) -> None:
        """Tell everybody, but not its only author, of a change of :attr:`awareness`."""
        if change.clients:
            self._relay.add_presence(change.clients, author)
            for watcher in list(self.watchers):
                watcher()
            self._relay_when_due(now)

    # relay

    def _relay_when_due(self, now: float) -> None:
        due = self._relay.due(now)
        if due is not None and due <= now:
            self._relay.flush(now, self.sessions, self.awareness.encode)
            due = self._relay.due(now)
        if due is not None:
            self._wake_at(due, now)

    def _wake_at(self, due: float, now: float) -> None:
        if self._wakes_at is None or due < self._wakes_at:
            self._wakes_at = due
            self._ring.wake_at(self, due - now)

    def wake(self, now: float) -> None:
        """What was asked of ``ring.wake_at`` has come: relay what is due, answer who asked."""
        self._wakes_at = None
        if self._asking:
            due = self._join_pacer.due(now)
            if due <= now:
                self._answer_all(now)
            else:
                self._wake_at(due, now)
        self._relay_when_due(now)

    def relay_all(self, now: float) -> None:
        """Relay what waits, whatever the pace: nobody will come back for it."""
        self._relay.flush(now, self.sessions, self.awareness.encode, all_=True)

    def broadcast(self, payload: str, sender: Session | None = None) -> None:
        """Pass an application message to every session that has a word for it, except ``sender``."""
        for session in list(self.sessions):
            frame = session.framing.stateless(payload)
            if frame is not None and session is not sender:
                with _closing(session):
                    session.outbox.reply(frame)

    def drain(self, session: Session) -> list[bytes]:
        """Everything a session's socket should be given now, in order."""
        framing = session.framing
        return session.outbox.drain(
            lambda behind: self._catch_up(framing, behind),
            lambda clients: framing.awareness(self.awareness.encode(clients)),
        )

    def _catch_up(self, framing: Framing, behind: Mapping[int, int]) -> Iterable[bytes]:
        self._metrics.overflows += 1
        has = {client: clock for client, clock in {**self.gate.state, **behind}.items() if clock}
        return [framing.update(self.diff(encode_state_vector(has)))]

    def diff(self, state_vector: bytes = EMPTY_STATE_VECTOR) -> bytes:
        """What a replica at ``state_vector`` lacks, by default everything."""
        return self.doc.get_update(state_vector)


@contextmanager
def _closing(session: Session) -> Iterator[None]:
    """Whatever a session does wrong inside the block ends that session, and nothing else."""
    try:
        yield
    except CollabError as error:
        session.close(error)
