"""A room: one Yjs document with its awareness and its sessions.

Messages come in through :meth:`Room.receive`, pass the gate, are applied, recorded and relayed. Nothing here waits:
time is an argument, ``ring.record`` commits, and ``ring.wake_at`` calls back later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import pycrdt

from collab.access.rules import Access
from collab.entities.bridge import Bridge, read_entry
from collab.entities.entity import Intent, WriteOutcome
from collab.errors import EntityDeleted, InvalidRequest, Quarantined, Unavailable
from collab.gate.checked import Checked
from collab.gate.gate import Gap, Gate
from collab.gate.limits import StepLimit
from collab.gate.pieces import UpdatePiece
from collab.gate.structs import TooManyParts, encode_state_vector
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.blackbox import BlackBox
from collab.rooms.live.applying import Taken, take_in_timed
from collab.rooms.live.commits import Commits
from collab.rooms.live.compaction import LogSize
from collab.rooms.live.faults import Deferred, NotApplied, NotRecorded, closing, tell
from collab.rooms.live.framing import Framing
from collab.rooms.live.joining import Joining, is_worth_a_look
from collab.rooms.live.neighbours import check_neighbours
from collab.rooms.live.pacing import Alarm, Pacer, Portion, SendCost
from collab.rooms.live.presence import RoomPresence
from collab.rooms.live.recent import RecentRows
from collab.rooms.live.relay import Relay
from collab.rooms.live.revisions import Revisions
from collab.rooms.live.ring import Ring, RoomOptions
from collab.rooms.live.session import Session
from collab.rooms.live.shared_state import SharedState
from collab.wire import yjs

EMPTY_AWARENESS = b"\x00"
EMPTY_STATE_VECTOR = b"\x00"
_FEW_BYTES = 64  # bytes; such an update has few parts, whoever sends it
_SETBACKS = 3  # edits of a session that could not be recorded before the next one is quarantined
_CONTRADICTION = "two writers use the same Yjs client id: the update repeats known elements with other content"


class Room:
    """The live form of one entity. One event loop, one owner, no locks.

    ``gate`` and ``doc`` hold the same history; ``log`` is the size of that history in storage.
    """

    def __init__(
        self,
        key: RoomKey,
        doc: pycrdt.Doc[Any],
        gate: Gate,
        ring: Ring[Room],
        *,
        options: RoomOptions,
        metrics: Metrics,
        blackbox: BlackBox,
        send_cost: SendCost,
        bridge: Bridge | None = None,
        seq: int = 0,
        log: LogSize | None = None,
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
        self.log = log if log is not None else LogSize()
        self.commits = Commits(seq)
        self.recent = RecentRows(options.recent_bytes)
        self.holds = 0  # readers and writers other than sessions
        self.broken = False
        self.sessions: dict[Session, None] = {}
        # no reference to the room: a cycle would outlive it for long
        self.shared = SharedState(doc.get_update, doc.get_state)
        self.listeners: set[Callable[[bytes, str | None], None]] = set()
        self.successor: Room | None = None  # rebuilt from the log, replaces this one
        self._ring = ring
        self._options = options
        self._keeps_deleted = options.keeps_deleted(key.collection)
        self._metrics = metrics
        self._counts = metrics.of(key.project)
        self._blackbox = blackbox
        self.quarantine = quarantine  # whether an edit is refused because it ended a worker
        self._relay = Relay(
            Pacer(options.flush_shortest, options.flush_longest),
            Pacer(options.presence_shortest, options.presence_longest, share=0.15),
            send_cost,
            metrics,
        )
        self.presence = RoomPresence(key, self._relay, options, metrics)
        self._alarm = Alarm()
        self.portion = Portion()
        self.joining = Joining(self.shared, gate, options.join_longest)
        self._revisions = Revisions(key, metrics)
        self._deferred = Deferred()

    # sessions

    def join(self, session: Session) -> None:
        """Add a session and send it the awareness states. We send our SyncStep1 after the client has sent its own."""
        self.sessions[session] = None
        session.source = self.drain
        snapshot = self.presence.awareness.snapshot()
        if snapshot != EMPTY_AWARENESS:
            session.outbox.reply(session.framing.awareness(snapshot))

    def leave(self, session: Session, now: float) -> None:
        """Remove a session; its cursors vanish at once."""
        if self.sessions.pop(session, self) is self:
            return
        session.outbox.clear()
        self.joining.leave(session)
        self._revisions.gaps.leave(session)
        if self.presence.show(self.presence.awareness.leave(session, now), None):
            self.relay_when_due(now)

    def receive(self, session: Session, message: yjs.Message, now: float) -> None:
        """Handle one message of a session. Raises a :class:`CollabError` if the session must end."""
        if self.broken:
            self._deferred.add(session, message)
            return
        if session.guard is None or not session.guard(message):
            self.take(session, message, now)

    def take(self, session: Session, message: yjs.Message, now: float) -> None:
        """Handle a message that need not wait, or has waited; unknown ones, of a newer protocol, are skipped."""
        if session.waiting is not None:
            session.waiting.append(message)
            return
        if isinstance(message, yjs.Update):
            self._edit(session, message.update, now, live=True)
        elif isinstance(message, yjs.AwarenessUpdate):
            if self.presence.receive(session, message.payload, now):
                self.relay_when_due(now)
            self.joining.introduce(session, message.payload, now)
            self.answer_when_due(now)
        elif isinstance(message, yjs.SyncStep1):
            self.joining.hear(session, message.state_vector, now)
            self.answer_when_due(now)
        elif isinstance(message, yjs.SyncStep2):
            self._edit(session, message.update, now, live=False)
        elif isinstance(message, yjs.QueryAwareness):
            session.outbox.reply(session.framing.awareness(self.presence.awareness.snapshot()))

    def answer_when_due(self, now: float) -> None:
        """Come back for the sessions that wait for an answer."""
        due = self.joining.due(now)
        if due is not None:
            self._wake_at(due, now)

    def succeed(self, old: Room, now: float) -> None:
        """Take over the sessions of a broken room, and the messages that they have sent since it broke."""
        self.presence.succeed(old.presence)
        self.listeners = old.listeners
        self.holds += old.holds
        old.successor = self
        old.relay_all(now)
        for session in list(old.sessions):
            with closing(session):
                self.join(session)
                self.joining.ask(session, counted=False)
                session.outbox.wake()  # nobody was woken for what waited in the broken room
        asking = old.joining.take_all().items()
        asked = [(session, yjs.SyncStep1(state_vector)) for session, state_vector in asking]
        for session, message in [*asked, *old._deferred.messages]:
            if session in self.sessions:
                with closing(session):
                    self.receive(session, message, now)

    @property
    def latest(self) -> Room:
        """The room that has replaced this one, or this one itself."""
        room = self
        while room.successor is not None:
            room = room.successor
        return room

    # edits

    def edit(
        self,
        update: bytes | UpdatePiece,
        user_id: str | None,
        now: float,
        done: Callable[[], None],
        intent: Intent | None = None,
        limit: StepLimit | None = None,
    ) -> None:
        """Apply an update from the server itself; ``done`` is called once it is committed.

        ``limit``: only in one step and with so much at most (:meth:`Gate.check_at_once`).
        ``intent`` learns of the entities that it wrote, or of this document's own entity if it wrote nothing new.

        Raises :class:`collab.errors.InvalidRequest`, :class:`EntityDeleted`, :class:`Unavailable`,
        :class:`TooManyParts` or :class:`collab.rooms.live.faults.NotRecorded`.
        """
        checked = self.check_own(update, limit)
        if self.shared.is_news(checked, live=False):
            self._accept(None, checked, user_id, now, done, live=False, intent=intent)
            return
        self.commits.after(done)
        if intent is not None:
            self.commits.after(lambda: intent.told(WriteOutcome(self.bridge.main.data, self.bridge.main.version, ())))

    def check_own(self, update: bytes | UpdatePiece, limit: StepLimit | None = None) -> Checked:
        """Check an update from the server itself, and change nothing. Raises as :meth:`edit`."""
        if self.broken:
            raise Unavailable("the document is being rebuilt")
        if self.deleted:
            raise EntityDeleted("the entity was deleted")
        try:
            if isinstance(update, UpdatePiece):
                began = thread_time()
                checked = self.gate.check_all(update)
                checked.seconds = thread_time() - began
            elif limit is None:
                checked = self.gate.check_all(update)
            else:
                checked = self.gate.check_at_once(update, limit, whole=True)
        except Gap as gap:
            raise InvalidRequest("the update depends on elements that this document does not have") from gap
        if checked.revision is not None and checked.revision.refused:
            raise InvalidRequest(f"the update contains {checked.revision.refused[0].why}")
        if self.gate.contradicts(checked, self.doc.get_update):
            raise InvalidRequest(_CONTRADICTION)
        check_neighbours(self.doc, checked.neighbours)
        return checked

    def delete(self) -> None:
        """The entity was deleted: nobody may edit it until :meth:`restore`."""
        self.deleted = True
        for session in list(self.sessions):
            session.close(EntityDeleted("the entity was deleted"))

    def restore(self) -> None:
        """The entity was restored."""
        self.deleted = False

    def content_roots(self) -> dict[str, str]:
        """The root types that belong to no entity, with their kinds."""
        return {name: kind for name, kind in self.gate.roots.items() if not self.bridge.owns(name)}

    def read_field(self, root: str, child: str | None, key: str | None) -> Any:
        """The value of a map in the document as JSON (:func:`collab.entities.bridge.read_entry`)."""
        return read_entry(self.doc, root, child, key)

    def _edit(self, session: Session, update: bytes, now: float, *, live: bool) -> None:
        self._counts.edits += 1
        solicited = not live and bool(session.asked)
        counted = live or not session.asked or session.asked.pop(0)
        if session.access < Access.WRITE and not is_worth_a_look(update, solicited, self._options.reader_bytes):
            session.refuse_edit()
            return
        many = len(update) > _FEW_BYTES
        began = perf_counter() if many else 0.0
        try:
            checked = self.check_theirs(session, update, busy=many and session.throttle.is_busy())
        except TooManyParts:
            session.hold()
            self._ring.take_apart(self, session, update, live=live, counted=counted)
            return
        if many:
            checked.seconds = perf_counter() - began
        self.take_in(session, checked, now, live=live, counted=counted)

    def check_theirs(self, session: Session, update: bytes, *, busy: bool) -> Checked:
        """Check an update of a session, and change nothing. Raises :class:`Malformed` and :class:`TooManyParts`."""
        if session.access < Access.WRITE:
            return self.gate.check(update)
        return self.gate.check_one(update) or self.gate.check_at_once(
            update, self.portion.of(self.log.whole + len(update), busy=busy)
        )

    def take_in(self, session: Session, checked: Checked, now: float, *, live: bool, counted: bool | None) -> None:
        """Apply a checked update of a session that may be gone. Raises :class:`CollabError`.

        For a piece of a large edit ``counted`` is ``None``, except for the last piece, which carries what all of them
        leave out.
        """
        if self.deleted:
            if self.joining.withheld:
                raise Unavailable("the entity is being deleted; retry")
            raise EntityDeleted("the entity was deleted")
        check_neighbours(self.doc, checked.neighbours)
        returns = session.compares and not live
        if returns and counted:
            session.compares = False
        if self.gate.contradicts(checked, self.doc.get_update, returns=returns):
            session.contradicts = True
            self._metrics.refusals.note(
                "edit", str(self.key), session.identity.user_id, _CONTRADICTION, self.key.project
            )
        is_news = self.shared.is_news(checked, live=live)
        if session.access < Access.WRITE and (is_news or checked.leaves):
            session.refuse_edit()
            return
        asks = live and not session.missed
        acks = 0 if counted is None else session.acks_for(live=live, counted=counted, leaves=checked.leaves)
        if session.contradicts:  # its document shows something that is not saved and never will be
            acks = 0
            if counted is not None:
                session.refuse_edit()
        done = partial(self._saved, session, acks) if session.framing.acknowledges and acks else None
        if is_news:
            try:
                self._accept(session, checked, session.identity.user_id, now, done, live=live)
            except NotRecorded:
                if session.setbacks >= _SETBACKS:
                    raise
                # the room that replaces this one asks the session for its edits
                session.setbacks += 1
                session.missed += acks
                return
        elif done is not None:
            self.commits.after(done)
        if checked.revision is not None:
            self._revisions.tell(session, checked.revision)
            if checked.leaves and (asks or self._has_any(checked.revision.awaited)):
                self.joining.ask(session, counted=False)

    def _has_any(self, awaited: Mapping[int, int]) -> bool:
        """Whether an element has arrived for which a piece of a large edit waited."""
        return any(clock < self.gate.state.get(client, 0) for client, clock in awaited.items())

    def _accept(
        self,
        session: Session | None,
        checked: Checked,
        user_id: str | None,
        now: float,
        done: Callable[[], None] | None,
        *,
        live: bool,
        intent: Intent | None = None,
    ) -> None:
        self.admit(checked)
        update = checked.update
        self._begin(checked, session.who if session is not None else self._who(user_id))
        try:
            taken = self._take_in(checked, live=live)
            try:
                self._ring.record(self, update, user_id, done, taken.writes, checked.content, intent)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                raise NotRecorded("the update could not be recorded; the document is unchanged") from error
        except (NotApplied, NotRecorded) as error:
            again = isinstance(error, NotRecorded) and (session is None or session.setbacks < _SETBACKS)
            self.fail(error, None if again else update)
            raise
        finally:
            self._blackbox.end()
        # no failure from here on undoes the edit
        self.accepted(checked, taken)
        if session is None and self.joining.withheld:
            self.joining.withheld.follow(checked, user_id)
        else:
            self.pass_on(session, checked, user_id, now)

    def admit(self, checked: Checked) -> None:
        """Raise :class:`CollabError` if a checked update cannot be accepted now, and change nothing."""
        if self.quarantine is not None and self.quarantine(checked):
            raise Quarantined("this edit crashed a worker before and is quarantined")
        size = len(checked.update)
        self.log.admit(size, self._options.document_bytes, self._options.load_seconds)
        self._ring.admit(size)

    def apply(self, checked: Checked, user_id: str | None) -> Taken:
        """Apply an update of the server that is not recorded yet. Raises :class:`NotApplied`.

        Record it, then call :meth:`accepted`, before the next ``await``; if that is not possible, :meth:`fail`.
        """
        self._begin(checked, self._who(user_id))
        try:
            return self._take_in(checked, live=False)
        finally:
            self._blackbox.end()

    def _who(self, user_id: str | None) -> str:
        return f"user {user_id} of {self.key.project}" if user_id else ""

    def _begin(self, checked: Checked, who: str) -> None:
        seconds = self._options.apply_seconds * (1 + len(checked.update) / (4 * 1024 * 1024))
        self._blackbox.begin(self.key, checked.update, seconds, who=who)

    def _take_in(self, checked: Checked, *, live: bool) -> Taken:
        return take_in_timed(
            self.doc, self.gate, checked, live=live, keep_deleted=self._keeps_deleted, whole=self.log.whole
        )

    def accepted(self, checked: Checked, taken: Taken) -> None:
        """An update was applied and recorded."""
        self.commits.recorded()
        if taken.doc is not self.doc:
            self.doc = taken.doc
            self.shared.follow(taken.doc.get_update, taken.doc.get_state)
        self.shared.changed(deletes=checked.has_deletes)
        parts = checked.parts
        self.portion.took(taken.seconds + min(checked.seconds, 2 * taken.seconds), parts)
        self.log.add(len(checked.update), taken.seconds, parts)

    def pass_on(self, session: Session | None, checked: Checked, user_id: str | None, now: float) -> None:
        """Tell everybody else of an accepted update."""
        update = checked.update
        for listener in list(self.listeners):
            tell(partial(listener, update, user_id))
        if self.sessions:  # who comes later gets the whole document
            self._relay.add_update(update, checked.before, session)
            self.relay_when_due(now)
        if self._revisions.gaps:
            for waiting in self._revisions.gaps.filled(checked.after):
                if waiting is not session:  # its update already holds all that it can send
                    self.joining.ask(waiting, counted=False)

    def fail(self, error: BaseException, culprit: bytes | None) -> None:
        """The document may be damaged, or ahead of its log: have it rebuilt, without ``culprit``."""
        self.broken = True
        self._ring.broken(self, error, culprit)

    def hold(self) -> None:
        """Keep the room in memory for a reader or writer that is no session, until :meth:`let_go`."""
        self.holds += 1

    def let_go(self) -> None:
        """Undo one :meth:`hold`."""
        self.holds -= 1

    def _saved(self, session: Session, acks: int) -> None:
        """Tell a client that edits which it counted as unsaved are committed."""
        if session in self.sessions:
            session.acknowledge(acks)

    # relay

    def relay_when_due(self, now: float) -> None:
        """Relay what is due, and come back for what waits."""
        due = self._relay.flush(now, self.sessions, self.presence.awareness.encode)
        if due is not None:
            self._wake_at(due, now)

    def _wake_at(self, due: float, now: float) -> None:
        if self._alarm.is_sooner(due):
            self._ring.wake_at(self, due - now)

    def wake(self, now: float) -> None:
        """A time asked of ``ring.wake_at`` has come: relay what is due, and answer waiting sessions."""
        now = self._alarm.due_at(now)
        if self.joining and not self.broken:
            for session, state_vector in self.joining.take_due(now).items():
                with closing(session):
                    self.joining.answer(session, state_vector, now)
            self.answer_when_due(now)
        self.relay_when_due(now)

    def expire(self, now: float) -> None:
        """Renew cursors of live connections, forget the other silent ones, and drop unused encodings."""
        if self.presence.renew(self.sessions, now):
            self.relay_when_due(now)
        self.shared.expire(now)

    def relay_all(self, now: float) -> None:
        """Relay everything now, whatever the pace: nobody will come back for it."""
        self._relay.flush(now, self.sessions, self.presence.awareness.encode, all_=True)

    def broadcast(self, payload: str, sender: Session | None = None) -> None:
        """Send an application message to every session whose protocol has one, except ``sender``."""
        for session in list(self.sessions):
            frame = session.framing.stateless(payload)
            if frame is not None and session is not sender:
                with closing(session):
                    session.outbox.reply(frame)

    def drain(self, session: Session) -> list[bytes]:
        """Remove and return everything for a session's socket, in order."""
        if (self.broken or self.joining.withheld) and session.outbox.is_behind:
            return []  # the diff would hold what is not in the log; the next room sends it, or this one later
        framing = session.framing
        return session.outbox.drain(
            lambda behind: self._catch_up(framing, behind),
            lambda clients: framing.awareness(self.presence.awareness.encode(clients)),
        )

    def _catch_up(self, framing: Framing, behind: Mapping[int, int]) -> Iterable[bytes]:
        self._metrics.overflows += 1
        has = {client: clock for client, clock in {**self.gate.state, **behind}.items() if clock}
        return [framing.update(self.diff(encode_state_vector(has)))]

    def diff(self, state_vector: bytes = EMPTY_STATE_VECTOR) -> bytes:
        """The update that a replica at ``state_vector`` lacks, by default everything."""
        return self.doc.get_update(state_vector)
