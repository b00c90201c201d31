from __future__ import annotations

import signal

import pytest

from collab.names import RoomKey
from collab.rooms.blackbox import Note
from collab.server.process.restarts import Death, Restarts

KEY = RoomKey("default", "documents", "doc_1")


def note(update: bytes | None = b"bytes", seq: int = 0, key: RoomKey = KEY) -> Note:
    return Note(key, update, seq, 0.0)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS])
def test_bytes_that_crashed_the_worker_are_set_aside(number: int) -> None:
    entry = Restarts().died(Death(-number, note()), now=10.0, wall=1000.0)
    assert entry is not None
    assert (entry.key, entry.seq, entry.update, entry.at) == (KEY, None, b"bytes", 1000.0)
    assert entry.reason == f"ended a worker: {signal.Signals(number).name}"


def test_bytes_that_hung_the_worker_are_set_aside() -> None:
    entry = Restarts().died(Death(-signal.SIGKILL, note(), hung=True), now=10.0, wall=1000.0)
    assert entry is not None
    assert entry.reason == "ended a worker: hung"


def test_a_log_row_is_set_aside_by_its_number() -> None:
    entry = Restarts().died(Death(-signal.SIGSEGV, note(seq=12)), now=10.0, wall=1000.0)
    assert entry is not None
    assert entry.seq == 12


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGTERM, 1, 0])
def test_bytes_are_innocent_when_the_worker_was_ended_from_outside_unless_it_happens_again(code: int) -> None:
    restarts = Restarts()
    assert restarts.died(Death(code, note(b"one")), now=10.0, wall=0) is None
    assert restarts.died(Death(code, note(b"two")), now=11.0, wall=0) is None
    entry = restarts.died(Death(code, note(b"one")), now=12.0, wall=0)
    assert entry is not None
    assert entry.update == b"one"


def test_what_happened_long_ago_is_forgotten() -> None:
    restarts = Restarts(window=300)
    assert restarts.died(Death(-9, note()), now=10.0, wall=0) is None
    assert restarts.died(Death(-9, note()), now=311.0, wall=0) is None


def test_an_update_whose_bytes_are_unknown_cannot_be_set_aside_but_closes_its_document() -> None:
    restarts = Restarts(strikes=2)
    assert restarts.died(Death(-11, note(None, seq=3)), now=10.0, wall=0) is None
    assert restarts.closed(10.0) == {}
    assert restarts.died(Death(-11, note(None, seq=3)), now=20.0, wall=0) is None
    assert KEY in restarts.closed(20.0)


def test_a_document_that_ends_workers_again_and_again_is_closed_for_a_time() -> None:
    restarts = Restarts(strikes=3, closed_seconds=60)
    other = KEY._replace(id="other")
    for second in range(2):
        restarts.died(Death(-11, note(bytes([second]))), now=second, wall=0)
        restarts.died(Death(-11, note(bytes([second]), key=other)), now=second, wall=0)
    assert restarts.closed(2.0) == {}
    restarts.died(Death(-11, note(b"third")), now=3.0, wall=0)
    assert restarts.closed(13.0) == {KEY: 50.0}
    assert restarts.closed(63.0) == {}


def test_the_first_replacement_comes_at_once_and_the_next_ones_ever_later() -> None:
    restarts = Restarts(longest_delay=15)
    delays = []
    for _ in range(10):
        restarts.died(Death(1, None), now=100.0, wall=0)
        delays.append(restarts.delay(100.0))
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert delays[1] > 0
    assert delays[-1] == 15
    assert restarts.delay(161.0) == 0


def test_a_few_crashes_with_a_culprit_are_answered_at_once_but_not_a_storm_of_them() -> None:
    restarts = Restarts()
    delays = []
    for number in range(40):
        culprit = note(bytes([number]), key=KEY._replace(id=str(number)))
        restarts.died(Death(-11, culprit), now=100.0, wall=0)
        delays.append(restarts.delay(100.0))
    assert delays[:4] == [0, 0, 0, 0]
    assert delays[-1] > 5


@pytest.mark.parametrize(
    ("death", "cause"),
    [(Death(3, None), "exit 3"), (Death(-11, None), "SIGSEGV"), (Death(-63, None), "signal 63")],
)
def test_a_cause_is_told_in_words(death: Death, cause: str) -> None:
    assert death.cause == cause


def by(who: str, document: str, update: bytes = b"bytes") -> Note:
    return Note(KEY._replace(id=document), update, 0, 0.0, who)


def test_whose_bytes_ended_two_workers_is_refused_for_a_while_whatever_the_documents() -> None:
    restarts = Restarts(closed_seconds=300.0)
    restarts.died(Death(-9, by("user eve of p", "one"), hung=True), now=10.0, wall=0)
    assert restarts.banned(10.0) == {}
    restarts.died(Death(-signal.SIGSEGV, by("user eve of p", "two")), now=20.0, wall=0)
    restarts.died(Death(-signal.SIGSEGV, by("user ada of p", "two")), now=20.0, wall=0)
    assert restarts.banned(20.0) == {"user eve of p": 300.0}
    assert restarts.banned(321.0) == {}


def test_whose_bytes_were_there_when_a_worker_was_killed_from_outside_is_not_blamed() -> None:
    restarts = Restarts()
    for now in (10.0, 20.0, 30.0):
        restarts.died(Death(-9, by("user eve of p", str(now))), now=now, wall=0)
    assert restarts.banned(30.0) == {}


def test_what_one_sender_does_makes_nobody_wait_longer_for_the_next_worker() -> None:
    restarts = Restarts()
    for now in range(12):
        restarts.died(Death(-9, by("user eve of p", str(now)), hung=True), now=float(now), wall=0)
    assert restarts.delay(12.0) == 0
    for now in range(12):
        restarts.died(Death(-9, by(f"user {now} of p", str(now)), hung=True), now=12.0 + now, wall=0)
    assert restarts.delay(24.0) > 0
