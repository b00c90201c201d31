"""The presence of one room, without the room: what a session says, and what the others are to be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import CollabError
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.live.framing import YjsFraming
from collab.rooms.live.pacing import Pacer, SendCost
from collab.rooms.live.presence import RoomPresence
from collab.rooms.live.relay import Relay
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.session import Session
from collab.wire import yjs
from presence.lib0 import encode_bytes, encode_uint

KEY = RoomKey("acme", "documents", "d")


def said(client: int, clock: int, state: str = '{"cursor":1}') -> bytes:
    """An awareness update about one client."""
    return b"\x01" + encode_uint(client) + encode_uint(clock) + encode_bytes(state.encode())


@dataclass
class Setup:
    """The presence of a room, its relay, and sessions."""

    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.relay = Relay(Pacer(0.01, 0.25), Pacer(0.01, 0.25), SendCost(), self.metrics)
        self.presence = RoomPresence(KEY, self.relay, RoomOptions(presence_timeout=30.0), self.metrics)
        self.sessions: dict[Session, None] = {}

    def session(self, user: str | None = None, *, verified: bool = True) -> Session:
        def close(error: CollabError) -> None:
            raise AssertionError(error)

        identity = Identity("acme", user, verified=verified)
        made = Session(identity, Access.WRITE, YjsFraming(), ready=lambda: None, close=close, outbox_bytes=1 << 20)
        self.sessions[made] = None
        return made

    def told(self, session: Session, now: float) -> list[bytes]:
        """The presence that a session is sent."""
        self.relay.flush(now, self.sessions, self.presence.awareness.encode, all_=True)
        encode = self.presence.awareness.encode
        sent = session.outbox.drain(lambda _: (), lambda clients: session.framing.awareness(encode(clients)))
        messages = map(yjs.decode, sent)
        return [message.payload for message in messages if isinstance(message, yjs.AwarenessUpdate)]


def test_what_one_session_shows_is_relayed_to_the_others_and_told_to_watchers() -> None:
    setup = Setup()
    author, other = setup.session("ada"), setup.session("bob")
    calls: list[str] = []
    setup.presence.watchers.add(lambda: calls.append("changed"))
    assert setup.presence.receive(author, said(5, 1), 0.0)
    assert calls == ["changed"]
    (payload,) = setup.told(other, 1.0)
    assert b'"cursor":1' in payload
    assert all(b"cursor" not in each for each in setup.told(author, 1.0))
    assert setup.metrics.presence_in == 1


def test_a_state_has_the_name_of_a_user_who_is_verified_only() -> None:
    setup = Setup()
    known, unknown = setup.session("ada"), setup.session("eve", verified=False)
    setup.presence.receive(known, said(5, 1), 0.0)
    setup.presence.receive(unknown, said(6, 1), 0.0)
    states = setup.presence.awareness.states
    assert b"ada" in states[5].json
    assert b"eve" not in states[6].json


def test_p1_what_cannot_be_read_is_counted_and_changes_nothing() -> None:
    setup = Setup()
    session = setup.session("ada")
    for payload in (b"\xff", said(5, 1, "[]")):
        assert not setup.presence.receive(session, payload, 0.0)
    assert not setup.presence.awareness.states
    assert setup.metrics.refusals.counts == {"presence": 2}
    assert setup.told(setup.session(), 0.0) == []


def test_a_watcher_that_raises_keeps_nothing_from_the_next_one() -> None:
    setup = Setup()
    calls: list[str] = []

    def broken() -> None:
        calls.append("broken")
        raise ValueError("of the application")

    setup.presence.watchers |= {broken, lambda: calls.append("whole")}
    assert setup.presence.receive(setup.session("ada"), said(5, 1), 0.0)
    assert sorted(calls) == ["broken", "whole"]


def test_p4_a_silent_client_of_a_live_connection_is_renewed_and_any_other_one_leaves() -> None:
    setup = Setup()
    author, other = setup.session("ada"), setup.session("bob")
    setup.presence.receive(author, said(5, 1), 0.0)
    setup.presence.receive(author, said(6, 1), 0.0)  # another client, whose state it passes on
    setup.told(other, 0.0)
    assert not setup.presence.renew(setup.sessions, 10.0)
    assert setup.presence.renew(setup.sessions, 29.0)
    assert set(setup.presence.awareness.states) == {5, 6}
    assert setup.presence.renew(setup.sessions, 31.0)
    assert set(setup.presence.awareness.states) == {5}


def test_a_room_that_replaces_another_goes_on_with_its_people_and_watchers() -> None:
    setup, after = Setup(), Setup()
    setup.presence.watchers.add(print)
    setup.presence.receive(setup.session("ada"), said(5, 1), 0.0)
    after.presence.succeed(setup.presence)
    assert set(after.presence.awareness.states) == {5}
    assert after.presence.watchers == {print}
