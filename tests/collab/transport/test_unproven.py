"""Connections without a credential, and how the application ends that."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.transport.unproven import COST, IDLE, Unproven, trust, trusting


def test_the_oldest_are_dropped() -> None:
    dropped: list[int] = []
    unproven = Unproven()
    for number in range(5):
        unproven.add("a", partial(dropped.append, number))
    unproven.drop_beyond(5 * IDLE)
    assert dropped == []
    unproven.drop_beyond(2 * IDLE)
    assert dropped == [0, 1, 2]
    assert (len(unproven), unproven.held) == (2, 2 * IDLE)
    unproven.drop_beyond(0)
    assert dropped == [0, 1, 2, 3, 4]


def test_a_connection_that_has_sent_something_takes_more() -> None:
    dropped: list[int] = []
    unproven = Unproven()
    drops = [partial(dropped.append, number) for number in range(3)]
    for drop in drops:
        unproven.add("a", drop)
    for _ in range(2):
        unproven.grow("a", drops[2], 1000)
    assert unproven.held == 2 * IDLE + COST + 3000
    unproven.drop_beyond(IDLE + COST + 3000)
    assert dropped == [0]
    unproven.grow("a", drops[0], 1)
    unproven.discard("a", drops[2])
    assert unproven.held == IDLE


def test_the_address_with_the_most_connections_loses_them_first() -> None:
    dropped: list[str] = []
    unproven = Unproven()
    for address in ("one", "many", "two", "many", "many", "two"):
        unproven.add(address, partial(dropped.append, address))
    unproven.drop_beyond(4 * IDLE)
    assert dropped == ["many", "two"]
    unproven.drop_beyond(3 * IDLE)
    assert dropped == ["many", "two", "many"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from(["add", "grow", "discard"]))))
def test_what_is_counted_is_what_is_there(steps: list[tuple[str, int, str]]) -> None:
    unproven = Unproven()
    drops = {(address, number): partial(int, number) for address in "abc" for number in range(6)}
    there: dict[tuple[str, int], int] = {}
    for address, number, step in steps:
        drop = drops[address, number]
        if step == "add" and (address, number) not in there:
            unproven.add(address, drop)
            there[address, number] = IDLE
        elif step == "grow":
            unproven.grow(address, drop, 0)
            there.update({(address, number): COST} if (address, number) in there else {})
        elif step == "discard":
            unproven.discard(address, drop)
            there.pop((address, number), None)
        assert (len(unproven), unproven.held) == (len(there), sum(there.values()))
    unproven.drop_beyond(COST)
    assert unproven.held <= COST


def test_whoever_is_trusted_or_gone_counts_no_longer() -> None:
    dropped: list[int] = []
    unproven = Unproven()
    drops = [partial(dropped.append, number) for number in range(3)]
    for drop in drops:
        unproven.add("a", drop)
    unproven.discard("a", drops[0])
    unproven.discard("a", drops[0])
    unproven.drop_beyond(0)
    assert dropped == [1, 2]


def test_an_application_trusts_a_sender_through_the_state_of_its_request() -> None:
    trusted: list[bool] = []
    state = trusting(lambda: trusted.append(True), {"mine": 1})
    trust({"type": "http", "state": state})
    assert trusted == [True]
    assert state["mine"] == 1


def test_under_another_server_nobody_need_be_trusted() -> None:
    scope: dict[str, Any] = {"type": "http"}
    trust(scope)
    trust({**scope, "state": {}})
