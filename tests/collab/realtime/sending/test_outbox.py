from __future__ import annotations

import pytest

from collab.errors import RateLimitExceeded
from collab.realtime.sending.outbox import SessionOutbox
from collab.wire.realtime.encoding import Frame
from tests.collab.realtime.virtual_time import VirtualTime


class Waiting:
    """A stream of frames."""

    def __init__(self, *frames: Frame) -> None:
        self.frames = list(frames)

    def __bool__(self) -> bool:
        return bool(self.frames)

    def take(self) -> Frame | None:
        return self.frames.pop(0) if self.frames else None

    def close(self) -> None:
        self.frames.clear()


class Box:
    def __init__(self, rate: float = 0, limit: int = 100) -> None:
        self.time = VirtualTime()
        self.woken = 0
        self.outbox = SessionOutbox(self._wake, clock=self.time.clock, later=self.time.later, limit=limit, rate=rate)

    def _wake(self) -> None:
        self.woken += 1

    def event(self, frame: Frame) -> bool:
        return self.outbox.event(lambda: frame)


def test_replies_and_events_keep_their_order() -> None:
    box = Box()
    box.outbox.reply("a")
    assert box.event("b")
    box.outbox.say("c")
    assert box.woken == 1
    assert box.outbox.drain() == ["a", "b", "c"]
    assert box.outbox.drain() == []


def test_unread_replies_are_limited_in_number() -> None:
    box = Box()
    with pytest.raises(RateLimitExceeded):
        for _ in range(2000):
            box.outbox.reply("a")


def test_events_over_the_rate_are_not_taken_until_time_has_passed() -> None:
    box = Box(rate=2)
    assert [box.event("a") for _ in range(3)] == [True, True, False]
    box.time.pass_by(0.5)
    assert box.event("a")


def test_while_something_waits_for_its_rate_nothing_overtakes_it() -> None:
    box = Box(rate=1)
    assert box.event("a")
    box.outbox.wait(Waiting("b"))
    assert not box.event("c")
    box.time.pass_by(1)
    assert box.outbox.drain() == ["a", "b"]


def test_streams_take_turns() -> None:
    box = Box(rate=4)
    box.outbox.wait(Waiting("a1", "a2", "a3"))
    box.outbox.wait(Waiting("b1"))
    box.outbox.wait(Waiting("c1", "c2"))
    box.time.pass_by(5)
    assert box.outbox.drain() == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_what_waits_is_sent_without_anybody_asking_when_its_time_has_come() -> None:
    box = Box(rate=1)
    box.event("a")
    box.outbox.drain()
    woken = box.woken
    box.outbox.wait(Waiting("b"))
    box.time.pass_by(1)
    assert box.woken == woken + 1
    assert box.time.waiting == 0


def test_bytes_that_nobody_takes_stop_events_until_they_are_taken() -> None:
    box = Box(limit=10)
    stream = Waiting("x" * 6, "y" * 6, "z" * 6)
    assert box.event("a" * 12)
    assert not box.event("b")
    box.outbox.wait(stream)
    assert box.outbox.queued_bytes == 12
    assert box.outbox.drain() == ["a" * 12]
    assert box.outbox.drain() == ["x" * 6, "y" * 6]
    assert box.outbox.drain() == ["z" * 6]
    assert box.outbox.waiting == 0


def test_a_stream_that_has_nothing_to_say_any_more_is_let_go() -> None:
    box = Box()
    stream = Waiting("a")
    box.outbox.wait(stream)
    box.outbox.forget(stream)
    box.outbox.wait(Waiting())
    box.time.pass_by(1)
    assert box.outbox.drain() == []
    assert box.outbox.waiting == 0


def test_closed_it_wakes_nobody_and_forgets() -> None:
    box = Box(rate=1)
    box.outbox.wait(Waiting("a"))
    box.outbox.reply("b")
    box.outbox.close()
    woken = box.woken
    box.time.pass_by(10)
    box.outbox.reply("c")
    assert box.woken == woken
    assert box.time.waiting == 0


@pytest.mark.parametrize("rate", [0, 100])
def test_while_it_is_paused_events_wait_and_replies_do_not(rate: float) -> None:
    box = Box(rate=rate)
    box.outbox.pause(True)
    assert not box.event("a")
    box.outbox.wait(Waiting("a", "b"))
    box.outbox.reply("reply")
    for _ in range(3):
        box.time.pass_by(1)
        assert box.outbox.drain() in (["reply"], [])
    woken = box.woken
    box.time.pass_by(1)
    assert box.woken == woken, "nobody is woken for what must not be sent"
    box.outbox.pause(False)
    box.time.pass_by(1)
    assert box.outbox.drain() == ["a", "b"]
    assert box.event("c")
