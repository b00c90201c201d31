from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.client.core.backoff import delay
from collab.client.core.options import WebSocketOptions, read_options


def delays(options: WebSocketOptions, attempts: int = 6) -> list[float | None]:
    return [delay(options, attempt, 1.0) for attempt in range(1, attempts + 1)]


def test_exponential_waits_grow_by_a_factor_up_to_the_longest() -> None:
    options = WebSocketOptions(initial_delay=1000, max_delay=10_000, backoff_factor=3)
    assert delays(options) == [1, 3, 9, 10, 10, 10]


def test_linear_waits_grow_by_the_same_each_time_up_to_the_longest() -> None:
    options = WebSocketOptions(reconnect_strategy="linear", reconnect_interval=2000, max_delay=7000)
    assert delays(options) == [2, 4, 6, 7, 7, 7]


@pytest.mark.parametrize("name", ["max_attempts", "max_reconnect_attempts"])
def test_after_the_last_attempt_there_is_none(name: str) -> None:
    options = read_options({name: 2})
    assert delays(options, 4)[1:] == [2, None, None]


def test_without_a_limit_it_never_gives_up() -> None:
    assert delay(WebSocketOptions(), 10**9, 0.0) == 15


def test_without_reconnection_there_is_no_attempt() -> None:
    assert delay(WebSocketOptions(auto_reconnect=False), 1, 0.5) is None


@given(chance=st.floats(0, 1), attempt=st.integers(1, 10_000), strategy=st.sampled_from(["linear", "exponential"]))
def test_chance_takes_away_half_at_most(chance: float, attempt: int, strategy: str) -> None:
    options = WebSocketOptions(reconnect_strategy="linear" if strategy == "linear" else "exponential")
    longest, wait = delay(options, attempt, 1.0), delay(options, attempt, chance)
    assert longest is not None
    assert wait is not None
    assert longest / 2 <= wait <= longest <= 30
