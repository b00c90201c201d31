"""The client without a socket: what it says to what it is told, and when."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.client.core.effects import (
    Answered,
    Confirmed,
    Delayed,
    Delivery,
    DocumentFrame,
    Effect,
    Ended,
    Met,
    Opened,
    Trouble,
)
from collab.client.core.options import WebSocketOptions
from collab.client.core.state import MOST_REQUESTS, PAUSE_SECONDS, ClientState
from collab.client.core.subscription_table import RETRY_SECONDS
from collab.client.core.writes import LATE_SECONDS
from collab.dates import iso
from collab.errors import (
    ConnectionLost,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimitExceeded,
    TooLarge,
    Unavailable,
)
from collab.event import FieldConflict
from collab.wire.realtime import encoding
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.messages import ClientMessage, Hello, Message

AT = "2024-01-01T00:00:00.000Z"


class Talk:
    """A state, and the server's side of the conversation, word by word."""

    def __init__(self, **options: Any) -> None:
        self.state = ClientState(WebSocketOptions(**options))
        self.now = 100.0

    def connect(self, *, limit: int = 0, at: str | None = None) -> list[Effect]:
        self.state.opened(Hello(), self.now)
        assert [type(message) for message in self.heard()] == [Hello]
        limits = wire.Limits(max_subscriptions=0, max_events_per_second=0, max_message_bytes=limit)
        return self.say(
            realtime.Welcome(
                protocol=1,
                project_id="p",
                user_id=None,
                session="s",
                cursor="0",
                heartbeat_seconds=30,
                limits=limits,
                at=at,
            )
        )

    def say(self, message: Message) -> list[Effect]:
        form: encoding.Format = "msgpack" if self.state.options.binary_protocol else "json"
        return self.state.received(encoding.encode(message, form), self.now)

    def heard(self) -> list[ClientMessage]:
        frames, refused = self.state.take()
        assert refused == []
        return [encoding.decode_client(frame) for frame in frames]

    def ask(self, kind: type[realtime.Asked], **members: Any) -> int:
        ticket = self.state.ticket()
        assert self.state.ask(kind(id=ticket, **members), self.now) == []
        return ticket

    def update(self, entity: str = "t", **changes: Any) -> int:
        ticket = self.state.ticket()
        message = realtime.Update(id=ticket, collection="tasks", entity=entity, changes=changes, request=f"r{ticket}")
        self.state.write(message, AT)
        return ticket

    def create(self, entity: str, **data: Any) -> tuple[int, list[Effect]]:
        ticket = self.state.ticket()
        message = realtime.Create(id=ticket, collection="tasks", entity=entity, data=data, request=f"r{ticket}")
        return ticket, self.state.write(message, AT)

    def subscribe(self, target: wire.AnyTarget) -> int:
        sub = self.state.ticket()
        self.state.subscriptions.add(sub, target)
        return sub

    def confirm(self, **members: Any) -> list[Effect]:
        """Take the one request to subscribe, and confirm all that is in it."""
        told: list[Effect] = []
        for message in self.heard():
            assert isinstance(message, realtime.Subscribe)
            for each in message.subscriptions:
                result = [msgspec.to_builtins(wire.Subscribed(sub=each.sub, **members))]
                told += self.say(realtime.Reply(id=message.id, result=result))
        return told


def written(version: int, **data: Any) -> dict[str, Any]:
    return {"data": data, "version": version, "conflicts": []}


def failure(error: Any, **members: Any) -> realtime.Failure:
    return realtime.Failure(error=wire.Error.of(error), **members)


# the session


def test_nothing_is_said_before_the_welcome_and_then_all() -> None:
    talk = Talk()
    talk.ask(realtime.Count, collection="tasks")
    talk.update(n=1)
    talk.subscribe(wire.Entities(collection="tasks"))
    assert talk.connect() == [Opened(again=False)], "connect() sees that only the greeting is sent"
    assert [type(message) for message in talk.heard()] == [realtime.Subscribe, realtime.Count, realtime.Update]
    assert talk.heard() == []


@pytest.mark.parametrize("binary", [True, False])
def test_messages_are_json_or_message_pack(binary: bool) -> None:
    talk = Talk(binary_protocol=binary)
    talk.connect()
    talk.ask(realtime.Count, collection="tasks")
    frames, _ = talk.state.take()
    assert [isinstance(frame, bytes) for frame in frames] == [binary]


def test_the_second_session_is_a_reconnect() -> None:
    talk = Talk()
    talk.connect()
    talk.state.lost()
    assert talk.connect() == [Opened(again=True)]
    talk.state.lost()
    talk.state.stopped(ConnectionLost())
    assert talk.connect() == [Opened(again=False)]


def test_what_the_server_says_at_the_end_is_the_reason() -> None:
    talk = Talk()
    talk.connect()
    assert talk.say(failure(PermissionDenied("revoked"))) == []
    assert isinstance(talk.state.reason, PermissionDenied)
    talk.connect()
    assert talk.state.reason is None


@pytest.mark.parametrize("frame", ["{", '{"type":"reply"}', '{"type":"event","subs":[1],"cursor":"c","event":5}'])
def test_a_message_that_cannot_be_read_is_not_passed_over(frame: str) -> None:
    talk = Talk()
    talk.connect()
    with pytest.raises(InternalError):
        talk.state.received(frame, 0)


def test_what_a_later_server_says_is_skipped() -> None:
    talk = Talk()
    talk.connect()
    assert talk.state.received('{"type":"novel"}', 0) == []
    assert talk.state.received(encoding.MESSAGE_PACK + msgspec.msgpack.encode({"type": "novel"}), 0) == []


SAID = st.fixed_dictionaries(
    {"type": st.sampled_from(["reply", "failure", "event", "rows", "diff", "custom", "presence", "welcome"])},
    optional={
        "id": st.integers(0, 6),
        "sub": st.integers(0, 6),
        "subs": st.lists(st.integers(0, 6), max_size=2),
        "cursor": st.just("c"),
        "event": st.dictionaries(st.sampled_from(["id", "type", "version"]), st.integers() | st.text(max_size=2)),
        "rows": st.lists(st.dictionaries(st.sampled_from(["id", "n"]), st.text(max_size=2)), max_size=2),
        "versions": st.lists(st.integers(), max_size=3),
        "steps": st.lists(st.just({"op": "enter", "id": "a", "index": 0, "data": {}}), max_size=2),
        "result": st.none() | st.lists(st.dictionaries(st.just("sub"), st.integers(0, 6)), max_size=2) | st.just({}),
        "error": st.just({"code": "NOT_FOUND", "message": "", "details": {"retryAfter": "soon"}}),
        "count": st.integers(),
        "people": st.just([{"key": "a"}]),
    },
)


@given(st.lists(SAID, max_size=8))
def test_no_message_does_harm(said: list[dict[str, Any]]) -> None:
    talk = Talk()
    talk.connect()
    talk.subscribe(wire.Rows(collection="tasks"))
    talk.subscribe(wire.Entities(collection="tasks"))
    talk.ask(realtime.FindMany, collection="tasks")
    talk.update(n=1)
    talk.heard()
    for message in said:
        with suppress(InternalError):  # that ends the connection
            talk.state.received(msgspec.json.encode(message).decode(), talk.now)
        talk.state.take()
        talk.state.tick(talk.now)
    talk.state.lost()
    assert talk.connect() == [Opened(again=True)]
    talk.state.take()


def test_binary_frames_of_documents_are_handed_on() -> None:
    talk = Talk()
    talk.connect()
    assert talk.state.received(b"\x03d/d\x00", 0) == [DocumentFrame(b"\x03d/d\x00")]


# time


def test_a_silent_link_is_asked_for_life_and_then_dead() -> None:
    talk = Talk(heartbeat_interval=30_000, heartbeat_timeout=10_000)
    talk.connect()
    assert talk.state.next_tick() == 130
    talk.state.tick(129)
    assert talk.heard() == []
    talk.state.tick(130)
    assert [type(message) for message in talk.heard()] == [realtime.Ping]
    assert talk.state.next_tick() == 140
    talk.state.tick(139)
    assert (talk.heard(), talk.state.dead) == ([], False)
    talk.state.tick(140)
    assert talk.state.dead


def test_any_word_is_a_sign_of_life() -> None:
    talk = Talk()
    talk.connect()
    talk.state.tick(130)
    talk.now = 131
    talk.say(realtime.Pong())
    talk.state.tick(160)
    assert not talk.state.dead
    assert talk.state.next_tick() == 161


def test_a_server_that_does_not_greet_is_dead() -> None:
    talk = Talk(connect_timeout=5000)
    talk.state.opened(Hello(), 100)
    assert talk.state.next_tick() == 105
    talk.state.tick(105)
    assert talk.state.dead


def test_a_request_is_answered_in_time_or_not_at_all() -> None:
    talk = Talk(request_timeout=1000)
    ticket = talk.ask(realtime.Count, collection="tasks")
    assert talk.state.next_tick() == 101
    [answered] = talk.state.tick(101)
    assert isinstance(answered, Answered)
    assert (answered.ticket, type(answered.error)) == (ticket, ConnectionLost)
    talk.connect()
    assert talk.heard() == []
    assert talk.state.tick(101.5) == []


# requests


def test_an_answer_is_told_to_whom_it_belongs() -> None:
    talk = Talk()
    talk.connect()
    first = talk.ask(realtime.Count, collection="tasks")
    second = talk.ask(realtime.Count, collection="users")
    assert talk.say(realtime.Reply(id=second, result=2)) == [Answered(second, 2)]
    [refused] = talk.say(failure(NotFound("no"), id=first))
    assert isinstance(refused, Answered)
    assert (refused.ticket, type(refused.error)) == (first, NotFound)
    assert talk.say(realtime.Reply(id=first, result=1)) == []


def test_reads_without_an_answer_are_asked_again() -> None:
    talk = Talk()
    talk.connect()
    ticket = talk.ask(realtime.FindMany, collection="tasks")
    assert len(talk.heard()) == 1
    assert talk.state.lost() == []
    talk.connect()
    assert [message.id for message in talk.heard() if isinstance(message, realtime.FindMany)] == [ticket]


def test_an_event_whose_answer_was_lost_is_emitted_again_under_its_name() -> None:
    talk = Talk()
    talk.connect()
    sent = talk.ask(realtime.Emit, event={"type": "x"}, request="r1")
    assert len(talk.heard()) == 1
    unsent = talk.ask(realtime.Emit, event={"type": "y"}, request="r2")
    assert talk.state.lost() == []
    talk.connect()
    again = [message for message in talk.heard() if isinstance(message, realtime.Emit)]
    assert [(message.id, message.request) for message in again] == [(sent, "r1"), (unsent, "r2")]


def test_only_so_many_requests_wait() -> None:
    talk = Talk()
    for _ in range(MOST_REQUESTS):
        talk.ask(realtime.Count, collection="tasks")
    with pytest.raises(RateLimitExceeded):
        talk.ask(realtime.Count, collection="tasks")


def test_a_request_that_nobody_waits_for_is_not_asked() -> None:
    talk = Talk()
    ticket = talk.ask(realtime.Count, collection="tasks")
    talk.state.forget(ticket)
    talk.connect()
    assert talk.heard() == []


def test_what_is_larger_than_the_server_takes_is_refused_here() -> None:
    talk = Talk()
    talk.connect(limit=1000)
    ticket = talk.update(text="é" * 600)
    small = talk.update("other", text="é")
    frames, refused = talk.state.take()
    assert len(frames) == 1
    answered = [each for each in refused if isinstance(each, Answered)]
    assert [(each.ticket, type(each.error)) for each in answered] == [(ticket, TooLarge)]
    assert talk.state.pending == 1
    assert talk.say(realtime.Reply(id=small, result=written(1)))[0] == Answered(small, written(1))


def test_whoever_stops_gives_up_what_waits() -> None:
    talk = Talk()
    read, write = talk.ask(realtime.Count, collection="tasks"), talk.update(n=1)
    told = talk.state.stopped(ConnectionLost("over"))
    assert [each.ticket for each in told if isinstance(each, Answered) and each.error is not None] == [read, write]
    assert talk.state.pending == 0
    talk.connect()
    assert talk.heard() == []


# writes


def test_a_write_is_sent_with_the_version_that_was_seen_last() -> None:
    talk = Talk()
    talk.connect()
    found = talk.ask(realtime.FindById, collection="tasks", entity="t")
    talk.say(realtime.Reply(id=found, result={"data": {"id": "t"}, "version": 7}))
    talk.update(n=1)
    assert [message.version for message in talk.heard() if isinstance(message, realtime.Update)] == [7]


def test_versions_are_seen_in_rows_events_and_answers() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Rows(collection="tasks"))
    talk.confirm()
    talk.say(realtime.RowsAre(sub=sub, rows=[{"id": "a"}, {"id": "b"}], versions=[2, 3]))
    talk.say(realtime.RowsChanged(sub=sub, steps=[wire.Step(op="change", id="b", version=5)]))
    many = talk.ask(realtime.FindMany, collection="tasks")
    talk.say(realtime.Reply(id=many, result={"rows": [{"id": "c"}], "versions": [4]}))
    talk.say(realtime.Event(subs=(), cursor="1", event={**EVENT, "id": "d", "version": 9}))
    talk.heard()
    for entity in "abcd":
        talk.update(entity, n=1)
    assert [message.version for message in talk.heard() if isinstance(message, realtime.Update)] == [2, 5, 4, 9]


def test_a_write_of_a_broken_link_is_sent_again_under_its_name() -> None:
    talk = Talk()
    talk.connect()
    talk.update(n=1)
    [first] = talk.heard()
    assert talk.state.lost() == []
    assert talk.state.pending == 1
    talk.connect()
    assert talk.heard() == [first]


def test_a_write_that_cannot_be_taken_in_now_is_sent_again_after_a_pause() -> None:
    talk = Talk()
    talk.connect()
    ticket = talk.update(n=1)
    [first] = talk.heard()
    assert talk.say(failure(Unavailable("later"), id=ticket)) == []
    assert talk.heard() == []
    assert talk.state.next_tick() == talk.now + PAUSE_SECONDS
    talk.state.tick(talk.now + PAUSE_SECONDS)
    assert talk.heard() == [first]


def test_writes_over_the_rate_are_sent_again_in_order_when_the_server_says() -> None:
    talk = Talk()
    talk.connect()
    tickets = [talk.update(entity, n=1) for entity in "abc"]
    sent = talk.heard()
    told: list[Effect] = []
    for ticket in tickets:
        told += talk.say(failure(RateLimitExceeded("slower", retryAfter=0.25), id=ticket))
    assert [type(each) for each in told] == [Trouble]
    assert talk.state.next_tick() == talk.now + 0.25
    talk.state.tick(talk.now + 0.25)
    assert talk.heard() == sent


def test_conflicts_of_a_write_are_told() -> None:
    talk = Talk()
    talk.connect()
    ticket = talk.update(n=1)
    talk.heard()
    conflict = FieldConflict("n", 0, 2, 1, "yours", "ada", AT)
    result = {"data": {"id": "t", "n": 1}, "version": 3, "conflicts": [msgspec.to_builtins(conflict)]}
    told = talk.say(realtime.Reply(id=ticket, result=result))
    assert told == [Answered(ticket, result), Met("tasks", "t", {"id": "t", "n": 1}, 3, (conflict,))]


def test_a_live_query_shows_own_writes_at_once_and_settles_on_what_the_server_says() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Rows(collection="tasks", query={"where": {"open": True}}))
    talk.confirm()
    assert talk.say(realtime.RowsAre(sub=sub, rows=[], versions=[])) == [Delivery(sub, [])]
    ticket, told = talk.create("t", open=True)
    own = {"id": "t", "open": True, "createdAt": AT, "updatedAt": AT}
    assert told == [Delivery(sub, [own])]
    talk.heard()
    made = {**own, "createdAt": "2025-01-01T00:00:00.000Z"}
    answered, shown = talk.say(realtime.Reply(id=ticket, result=written(1, **made)))
    assert isinstance(answered, Answered)
    assert shown == Delivery(sub, [made])
    step = wire.Step(op="enter", id="t", index=0, data=made, version=1)
    assert talk.say(realtime.RowsChanged(sub=sub, steps=[step])) == []
    assert talk.state.tick(talk.now + LATE_SECONDS) == []
    assert talk.heard() == []


def test_a_refused_write_vanishes_from_live_queries() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Rows(collection="tasks"))
    talk.confirm()
    talk.say(realtime.RowsAre(sub=sub, rows=[], versions=[]))
    ticket, told = talk.create("t")
    assert len(told) == 1
    told = talk.say(failure(InvalidRequest("no"), id=ticket))
    assert told[1:] == [Delivery(sub, [])]


def test_a_list_that_is_not_told_of_a_committed_write_shows_it_until_it_is_read_anew() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Rows(collection="tasks"))
    talk.confirm()
    talk.say(realtime.RowsAre(sub=sub, rows=[], versions=[]))
    ticket, _ = talk.create("t")
    talk.heard()
    talk.say(realtime.Reply(id=ticket, result=written(1, id="t")))
    assert talk.heard() == []
    assert talk.state.tick(talk.now + LATE_SECONDS) == []
    [end, begin] = talk.heard()
    assert isinstance(end, realtime.Unsubscribe)
    assert isinstance(begin, realtime.Subscribe)
    late = realtime.RowsAre(sub=sub, rows=[{"id": "u"}], versions=[1])
    assert talk.say(late) == [], "that was said before the end was known"
    talk.say(realtime.Reply(id=end.id))
    talk.say(realtime.Reply(id=begin.id, result=[{"sub": sub}]))
    assert talk.say(realtime.RowsAre(sub=sub, rows=[], versions=[])) == [Delivery(sub, [])]


def test_a_row_that_somebody_deletes_at_once_leaves_the_list_of_its_creator_at_once() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Rows(collection="tasks"))
    talk.confirm()
    talk.say(realtime.RowsAre(sub=sub, rows=[], versions=[]))
    ticket, _ = talk.create("t")
    enter = wire.Step(op="enter", id="t", index=0, data={"id": "t"}, version=1)
    talk.say(realtime.RowsChanged(sub=sub, steps=[enter]))
    [gone] = talk.say(realtime.RowsChanged(sub=sub, steps=[wire.Step(op="leave", id="t", version=2)]))
    assert isinstance(gone, Delivery), "it is pending as yet: who knows"
    [_, shown] = talk.say(realtime.Reply(id=ticket, result=written(1, id="t")))
    assert shown == Delivery(sub, [])


def test_a_confirmed_write_is_shown_by_each_list_until_that_was_told() -> None:
    talk = Talk()
    talk.connect()
    subs = [talk.subscribe(wire.Rows(collection="tasks")) for _ in range(2)]
    talk.confirm()
    for sub in subs:
        talk.say(realtime.RowsAre(sub=sub, rows=[{"id": "t", "n": 0}], versions=[1]))
    ticket = talk.update(n=1)
    told = talk.say(realtime.Reply(id=ticket, result=written(2, id="t", n=1)))
    assert told[1:] == [Delivery(sub, [{"id": "t", "n": 1}]) for sub in subs]
    step = wire.Step(op="change", id="t", set={"n": 1}, version=2)
    assert talk.say(realtime.RowsChanged(sub=subs[0], steps=[step])) == []
    other = wire.Step(op="enter", id="u", index=1, data={"id": "u"}, version=1)
    [value] = talk.say(realtime.RowsChanged(sub=subs[1], steps=[other]))
    assert value == Delivery(subs[1], [{"id": "t", "n": 1}, {"id": "u"}])


def test_a_read_that_was_asked_before_a_write_was_committed_has_the_write() -> None:
    talk = Talk()
    talk.connect()
    read = talk.ask(realtime.FindById, collection="tasks", entity="t")
    ticket = talk.update(n=1)
    talk.say(realtime.Reply(id=ticket, result=written(2, id="t", n=1)))
    [answered] = talk.say(realtime.Reply(id=read, result={"data": {"id": "t", "n": 0}, "version": 1}))
    assert isinstance(answered, Answered)
    assert answered.result.data["n"] == 1


def test_without_a_connection_a_created_entity_is_found() -> None:
    talk = Talk()
    talk.create("t", n=1)
    talk.update(n=2)
    ticket = talk.state.ticket()
    [answered] = talk.state.ask(realtime.FindById(id=ticket, collection="tasks", entity="t"), 0)
    assert isinstance(answered, Answered)
    assert answered.result.data["n"] == 2
    delete = realtime.Delete(id=talk.state.ticket(), collection="tasks", entity="t")
    talk.state.write(delete, AT)
    [answered] = talk.state.ask(realtime.FindById(id=ticket, collection="tasks", entity="t"), 0)
    assert isinstance(answered, Answered)
    assert isinstance(answered.error, NotFound)
    assert talk.state.ask(realtime.FindById(id=ticket, collection="tasks", entity="u"), 0) == []


def test_what_is_found_has_the_own_writes_that_are_under_way() -> None:
    talk = Talk()
    talk.connect()
    talk.update(n=2)
    ticket = talk.ask(realtime.FindById, collection="tasks", entity="t")
    [answered] = talk.say(realtime.Reply(id=ticket, result={"data": {"id": "t", "n": 1, "m": 1}, "version": 1}))
    assert isinstance(answered, Answered)
    assert answered.result.data == {"id": "t", "n": 2, "m": 1, "updatedAt": AT}


# subscriptions


EVENT: dict[str, Any] = {
    "position": 5,
    "type": "updated",
    "collection": "tasks",
    "id": "t",
    "version": 3,
    "data": {"id": "t", "n": 1},
    "changes": {"n": {"to": 1}},
    "userId": None,
    "at": AT,
}


def test_subscriptions_of_one_moment_are_asked_for_in_one_message() -> None:
    talk = Talk()
    talk.connect()
    subs = [talk.subscribe(wire.Entities(collection=name)) for name in ("a", "b", "c")]
    [message] = talk.heard()
    assert isinstance(message, realtime.Subscribe)
    assert [each.sub for each in message.subscriptions] == subs


def test_a_subscription_resumes_behind_the_last_event_and_is_told_whether_that_was_all() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Entities(collection="tasks"))
    assert talk.confirm(cursor="e:4") == [Confirmed(sub, True)]
    told = talk.say(realtime.Event(subs=(sub,), cursor="e:5", event=EVENT))
    assert [(type(each), each.value.version) for each in told if isinstance(each, Delivery)] == [(Delivery, 3)]
    talk.state.lost()
    talk.connect()
    frames, _ = talk.state.take()
    [message] = [encoding.decode_client(frame) for frame in frames]
    assert isinstance(message, realtime.Subscribe)
    [again] = message.subscriptions
    assert again.target == wire.Entities(collection="tasks", cursor="e:5")
    result = [{"sub": sub, "cursor": "f:9", "recovered": False}]
    assert talk.say(realtime.Reply(id=message.id, result=result)) == [Confirmed(sub, False)]
    talk.state.lost()
    talk.connect()
    [message] = talk.heard()
    assert isinstance(message, realtime.Subscribe)
    assert message.subscriptions[0].target == wire.Entities(collection="tasks", cursor="f:9")


def test_an_event_that_comes_once_more_is_not_told_again() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Entities(collection="tasks"))
    talk.confirm(cursor="e:4")
    event = realtime.Event(subs=(sub,), cursor="e:5", event=EVENT)
    assert len(talk.say(event)) == 1
    assert talk.say(event) == []


def test_after_the_end_of_a_subscription_nothing_is_told_and_the_server_knows() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Custom(event="x"))
    talk.confirm(cursor="1")
    talk.state.subscriptions.remove(sub)
    assert [message.subs for message in talk.heard() if isinstance(message, realtime.Unsubscribe)] == [(sub,)]
    assert talk.say(realtime.CustomEvent(subs=(sub,), cursor="2", event={"type": "x"})) == []


def test_a_subscription_that_was_never_asked_for_needs_no_end() -> None:
    talk = Talk()
    talk.connect()
    talk.state.subscriptions.remove(talk.subscribe(wire.Custom(event="x")))
    assert talk.heard() == []


def test_a_refused_subscription_has_ended() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Entities(collection="secrets"))
    [ended] = talk.confirm(error=wire.Error.of(PermissionDenied("no")))
    assert isinstance(ended, Ended)
    assert (ended.sub, type(ended.error)) == (sub, PermissionDenied)
    talk.state.lost()
    talk.connect()
    assert talk.heard() == []


def test_a_subscription_may_end_later() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Entities(collection="tasks"))
    talk.confirm()
    [ended] = talk.say(failure(PermissionDenied("revoked"), sub=sub))
    assert isinstance(ended, Ended)
    assert talk.heard() == []


def test_a_subscription_that_fails_for_now_is_asked_for_again() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Entities(collection="tasks"))
    [delayed] = talk.confirm(error=wire.Error.of(Unavailable("busy")))
    assert isinstance(delayed, Delayed)
    assert (delayed.sub, type(delayed.error)) == (sub, Unavailable)
    assert talk.heard() == []
    assert talk.state.next_tick() == talk.now + RETRY_SECONDS
    talk.state.tick(talk.now + RETRY_SECONDS)
    assert talk.confirm(error=wire.Error.of(Unavailable("busy"))) == [], "that is known already"
    talk.state.tick(talk.now + RETRY_SECONDS)
    assert talk.confirm() == [Confirmed(sub, True)]


def test_rows_that_went_out_of_step_are_asked_for_anew() -> None:
    talk = Talk()
    talk.connect()
    sub = talk.subscribe(wire.Rows(collection="tasks"))
    talk.confirm()
    talk.say(realtime.RowsAre(sub=sub, rows=[], versions=[]))
    told = talk.say(realtime.RowsChanged(sub=sub, steps=[wire.Step(op="leave", id="x")]))
    assert [type(each) for each in told] == [Trouble]
    assert [type(message) for message in talk.heard()] == [realtime.Unsubscribe, realtime.Subscribe]


def test_events_numbers_and_people_reach_their_subscriptions() -> None:
    talk = Talk()
    talk.connect()
    custom = talk.subscribe(wire.Custom(event="x"))
    system = talk.subscribe(wire.System(event="health"))
    metric = talk.subscribe(wire.Analytics(metric="active_users"))
    room = talk.subscribe(wire.Presence(room="documents/d"))
    talk.confirm()
    event = {"type": "x", "n": 1}
    assert talk.say(realtime.CustomEvent(subs=(custom,), cursor="1", event=event)) == [Delivery(custom, event)]
    assert talk.say(realtime.SystemEvent(subs=(system,), event=event)) == [Delivery(system, event)]
    assert talk.say(realtime.Metric(subs=(metric,), value=7)) == [Delivery(metric, 7)]
    person = wire.Person(key="a")
    assert talk.say(realtime.People(subs=(room,), count=1, people=[person])) == [Delivery(room, [person])]


# presence and channels


def test_whoever_joined_joins_again_after_a_reconnect_as_they_are_now() -> None:
    talk = Talk()
    talk.connect()
    joined = talk.ask(realtime.JoinPresence, room="documents/d", state={"cursor": 1, "name": "ada"})
    moved = talk.ask(realtime.UpdatePresence, room="documents/d", state={"cursor": 2})
    talk.ask(realtime.JoinChannel, channel="team")
    for ticket in (joined, moved):
        talk.heard()
        talk.say(realtime.Reply(id=ticket))
    talk.state.lost()
    talk.connect()
    heard = talk.heard()
    assert [message.state for message in heard if isinstance(message, realtime.JoinPresence)] == [
        {"cursor": 2, "name": "ada"}
    ]
    assert any(isinstance(message, realtime.JoinChannel) and message.channel == "team" for message in heard)


def test_presence_that_was_refused_or_left_is_not_joined_again() -> None:
    talk = Talk()
    talk.connect()
    joined = talk.ask(realtime.JoinPresence, room="documents/d", state={"n": 1})
    refused = talk.ask(realtime.UpdatePresence, room="documents/d", state={"n": 2})
    unanswered = talk.ask(realtime.JoinPresence, room="documents/e", state={})
    talk.heard()
    talk.say(realtime.Reply(id=joined))
    talk.heard()
    talk.say(failure(InvalidRequest("no"), id=refused))
    talk.state.lost()
    talk.connect()
    joins = [message for message in talk.heard() if isinstance(message, realtime.JoinPresence)]
    assert [(join.room, join.state) for join in joins] == [("documents/d", {"n": 1}), ("documents/e", {})]
    assert joins[1].id == unanswered


def test_a_room_that_cannot_be_joined_for_a_moment_is_asked_again_without_another_reconnect() -> None:
    talk = Talk()
    talk.connect()
    for room in ("documents/d", "documents/e"):
        joined = talk.ask(realtime.JoinPresence, room=room, state={"n": 1})
        talk.heard()
        talk.say(realtime.Reply(id=joined))
    talk.state.lost()
    talk.connect()
    for join in [message for message in talk.heard() if isinstance(message, realtime.JoinPresence)]:
        talk.say(failure(Unavailable("later"), id=join.id))
    talk.ask(realtime.LeavePresence, room="documents/e")
    assert not [message for message in talk.heard() if isinstance(message, realtime.JoinPresence)]
    due = talk.state.next_tick()
    assert due is not None
    talk.now = due
    talk.state.tick(due)
    (again,) = [message for message in talk.heard() if isinstance(message, realtime.JoinPresence)]
    assert (again.room, again.state) == ("documents/d", {"n": 1})


def test_a_room_that_refuses_who_comes_back_is_not_asked_again() -> None:
    talk = Talk()
    talk.connect()
    joined = talk.ask(realtime.JoinPresence, room="documents/d", state={})
    talk.heard()
    talk.say(realtime.Reply(id=joined))
    for error, again in [(Unavailable("later"), True), (PermissionDenied("no"), True), (PermissionDenied("no"), False)]:
        talk.state.lost()
        talk.connect()
        joins = [message for message in talk.heard() if isinstance(message, realtime.JoinPresence)]
        assert bool(joins) is again
        for join in joins:
            [told] = talk.say(failure(error, id=join.id))
            assert isinstance(told, Trouble)


def test_a_request_waits_until_its_answer_has_been_read() -> None:
    talk = Talk()
    talk.connect()
    find = talk.ask(realtime.FindById, collection="tasks", entity="t")
    talk.heard()
    with pytest.raises(InternalError):
        talk.say(realtime.Reply(id=find, result="nonsense"))
    error = ConnectionLost("over")
    assert talk.state.stopped(error) == [Answered(find, None, error)]


def test_a_room_is_told_one_thing_after_the_other() -> None:
    talk = Talk()
    talk.connect()
    joined = talk.ask(realtime.JoinPresence, room="documents/d", state={})
    talk.ask(realtime.UpdatePresence, room="documents/d", state={"n": 1})
    talk.ask(realtime.JoinPresence, room="documents/e", state={})
    assert [type(message) for message in talk.heard()] == [realtime.JoinPresence, realtime.JoinPresence]
    talk.say(realtime.Reply(id=joined))
    assert [type(message) for message in talk.heard()] == [realtime.UpdatePresence]


def test_whoever_left_does_not_come_back() -> None:
    talk = Talk()
    talk.connect()
    for kind in (realtime.JoinPresence, realtime.LeavePresence):
        members: dict[str, Any] = {"state": {}} if kind is realtime.JoinPresence else {}
        ticket = talk.ask(kind, room="documents/d", **members)
        talk.heard()
        talk.say(realtime.Reply(id=ticket))
    talk.state.lost()
    talk.connect()
    assert talk.heard() == []


# how long the server knows the name of a write


def at_hour(hour: float) -> str:
    return iso(hour * 3600)


@pytest.mark.parametrize("clock", [0.0, 30 * 3600.0, -30 * 3600.0])
def test_a10_what_the_server_may_have_forgotten_is_not_sent_again_whatever_our_clock_says(clock: float) -> None:
    talk = Talk()
    talk.connect(at=at_hour(1000))
    talk.now += 3600
    talk.say(realtime.Pong())
    sent = talk.update("sent", n=1)
    assert [type(message) for message in talk.heard()] == [realtime.Update]
    talk.state.lost()
    waits = talk.update("waits", n=1)
    talk.now += clock
    effects = talk.connect(at=at_hour(1001 + 23.1))
    (answered,) = [effect for effect in effects if isinstance(effect, Answered)]
    assert (answered.ticket, type(answered.error)) == (sent, ConnectionLost)
    assert "may have been made" in str(answered.error)
    assert [message.id for message in talk.heard() if isinstance(message, realtime.Update)] == [waits]


def test_a10_what_was_sent_within_a_day_is_sent_again_however_long_the_connection_was_open() -> None:
    talk = Talk()
    talk.connect(at=at_hour(1000))
    talk.now += 100 * 3600
    talk.say(realtime.Pong())
    sent = talk.update(n=1)
    assert len(talk.heard()) == 1
    talk.state.lost()
    talk.connect(at=at_hour(1100 + 22.9))
    assert [message.id for message in talk.heard() if isinstance(message, realtime.Update)] == [sent]


def test_an_older_server_that_does_not_say_its_time_gets_every_write_again() -> None:
    talk = Talk()
    talk.connect()
    sent = talk.update(n=1)
    assert len(talk.heard()) == 1
    talk.state.lost()
    talk.now += 100 * 3600
    talk.connect()
    assert [message.id for message in talk.heard() if isinstance(message, realtime.Update)] == [sent]
