from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.errors import RateLimitExceeded
from collab.rooms.live.outbox import RoomOutbox


class Reader:
    """The other end of an outbox: counts wake-ups and gives recognisable answers."""

    def __init__(self, limit: int = 100, reply_limit: int = 1024) -> None:
        self.woken = 0
        self.outbox = RoomOutbox(self._wake, limit, reply_limit)

    def _wake(self) -> None:
        self.woken += 1

    def drain(self) -> list[bytes]:
        return self.outbox.drain(_catch_up, _presence)


def _catch_up(behind: Mapping[int, int]) -> list[bytes]:
    return [f"diff{dict(sorted(behind.items()))}".encode()]


def _presence(clients: Iterable[int]) -> bytes:
    return f"presence{sorted(clients)}".encode()


def test_replies_and_updates_leave_in_the_order_they_came() -> None:
    reader = Reader()
    reader.outbox.reply(b"a")
    reader.outbox.update(b"b", {})
    reader.outbox.reply(b"c")
    assert reader.drain() == [b"a", b"b", b"c"]
    assert not reader.outbox


def test_the_reader_is_woken_once_until_it_drains() -> None:
    reader = Reader()
    reader.outbox.reply(b"a")
    reader.outbox.update(b"b", {})
    reader.outbox.presence(b"p", frozenset({1}))
    reader.outbox.acknowledge(b"ok")
    assert reader.woken == 1
    reader.drain()
    reader.outbox.update(b"b", {})
    assert reader.woken == 2


def test_e6_a_slow_reader_is_brought_up_to_date_by_one_diff_from_what_it_had() -> None:
    reader = Reader(limit=10)
    reader.outbox.reply(b"step2")
    reader.outbox.update(b"12345", {1: 7})
    reader.outbox.update(b"12345", {1: 8, 2: 0})
    reader.outbox.update(b"12345", {1: 9})
    reader.outbox.update(b"12345", {3: 4})
    assert reader.outbox.is_behind
    assert reader.drain() == [b"step2", b"diff{1: 7, 2: 0, 3: 4}"]
    reader.outbox.update(b"12345", {1: 20})
    assert reader.drain() == [b"12345"]


def test_a_single_update_above_the_limit_still_leaves_as_it_is() -> None:
    reader = Reader(limit=3)
    reader.outbox.update(b"12345", {1: 7})
    assert reader.drain() == [b"12345"]


def test_of_presence_only_the_newest_states_leave() -> None:
    reader = Reader()
    reader.outbox.presence(b"first", frozenset({1, 2}))
    reader.outbox.presence(b"second", frozenset({2, 3}))
    reader.outbox.presence(b"third", frozenset({3}))
    assert reader.drain() == [b"presence[1, 2, 3]"]
    reader.outbox.presence(b"fourth", frozenset({4}))
    assert reader.drain() == [b"fourth"]


def test_every_acknowledgement_is_counted() -> None:
    reader = Reader(reply_limit=1)
    for _ in range(5000):
        reader.outbox.acknowledge(b"ok")
    assert reader.drain() == [b"ok"] * 5000


def test_a_client_that_asks_without_reading_gets_a_rate_limit_error() -> None:
    reader = Reader(reply_limit=2)
    reader.outbox.reply(b"a")
    reader.outbox.reply(b"b")
    with pytest.raises(RateLimitExceeded):
        reader.outbox.reply(b"c")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=60))
def test_waiting_updates_never_exceed_the_limit_by_more_than_one(pushes: list[tuple[int, int]]) -> None:
    reader = Reader(limit=50)
    for kind, size in pushes:
        if kind == 3:
            reader.drain()
        else:
            reader.outbox.update(b"x" * size, {kind: size})
        assert reader.outbox.update_bytes <= 50


def test_a_cleared_outbox_has_nothing_to_send() -> None:
    reader = Reader(limit=1)
    reader.outbox.reply(b"a")
    reader.outbox.update(b"bb", {1: 0})
    reader.outbox.update(b"bb", {1: 2})
    reader.outbox.presence(b"p", frozenset({1}))
    reader.outbox.acknowledge(b"ok")
    reader.outbox.clear()
    assert not reader.outbox
    assert reader.drain() == []
