"""Connections without a credential, and how the application ends that."""

from __future__ import annotations

from functools import partial
from typing import Any

from collab.transport.unproven import Unproven, trust, trusting


def test_the_oldest_are_dropped_and_never_those_of_the_last_second() -> None:
    dropped: list[int] = []
    unproven = Unproven()
    for number in range(5):
        unproven.add("a", partial(dropped.append, number), float(number))
    unproven.drop_beyond(2, 2.5)
    assert dropped == [0, 1]
    unproven.drop_beyond(2, 2.5)
    assert dropped == [0, 1]
    unproven.drop_beyond(2, 3.0)
    assert dropped == [0, 1, 2]
    assert len(unproven) == 2
    unproven.drop_beyond(0, 100.0)
    assert dropped == [0, 1, 2, 3, 4]


def test_the_address_with_the_most_connections_loses_them_first() -> None:
    dropped: list[str] = []
    unproven = Unproven()
    for address in ("one", "many", "two", "many", "many", "two"):
        unproven.add(address, partial(dropped.append, address), 0.0)
    unproven.drop_beyond(4, 10.0)
    assert sorted(dropped) == ["many", "two"] or dropped == ["many", "many"]
    unproven.drop_beyond(3, 10.0)
    assert sorted(dropped) == ["many", "many", "two"]
    assert len(unproven) == 3


def test_whoever_is_trusted_or_gone_counts_no_longer() -> None:
    dropped: list[int] = []
    unproven = Unproven()
    drops = [partial(dropped.append, number) for number in range(3)]
    for drop in drops:
        unproven.add("a", drop, 0.0)
    unproven.discard("a", drops[0])
    unproven.discard("a", drops[0])
    unproven.drop_beyond(0, 10.0)
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
