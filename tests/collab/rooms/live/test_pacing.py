from hypothesis import given
from hypothesis import strategies as st

from collab.rooms.live.pacing import Alarm, Pacer, SendCost


def test_the_first_flush_after_a_quiet_time_is_due_at_once() -> None:
    pacer = Pacer(0.01, 0.25)
    assert pacer.due(100.0) == 100.0
    pacer.flushed(100.0, 0.0)
    assert pacer.due(200.0) == 200.0


def test_the_next_flush_waits_for_the_shortest_interval() -> None:
    pacer = Pacer(0.01, 0.25)
    pacer.flushed(100.0, 0.0)
    assert pacer.due(100.001) == 100.01


def test_few_readers_wait_for_an_eighth_of_the_shortest_interval_each() -> None:
    pacer = Pacer(0.01, 0.25)
    for readers, interval in ((0, 0.0), (1, 0.00125), (4, 0.005), (8, 0.01), (1000, 0.01)):
        pacer.flushed(0.0, 0.0, readers)
        assert pacer.due(0.0) == interval


def test_an_expensive_flush_makes_the_interval_longer_but_never_longer_than_allowed() -> None:
    pacer = Pacer(0.01, 0.25, share=0.25)
    pacer.flushed(100.0, 0.02)
    assert pacer.due(100.0) == 100.08
    pacer.flushed(200.0, 10.0)
    assert pacer.due(200.0) == 200.25


@given(st.lists(st.tuples(st.floats(0, 0.06), st.integers(0, 20)), min_size=1, max_size=100))
def test_flushing_never_takes_more_than_its_share_of_time(flushes: list[tuple[float, int]]) -> None:
    pacer = Pacer(0.01, 0.25, share=0.25)
    now = 0.0
    for cost, readers in flushes:
        now = pacer.due(now)
        pacer.flushed(now, cost, readers)
    assert pacer.due(now) * 0.25 >= sum(cost for cost, _ in flushes) - 1e-9


def test_one_long_send_hardly_moves_the_estimate() -> None:
    cost = SendCost(10e-6)
    cost.observe(5.0)
    assert cost.seconds < 15e-6


def test_only_the_soonest_time_needs_a_timer() -> None:
    alarm = Alarm()
    assert alarm.is_sooner(5.0)
    assert not alarm.is_sooner(6.0)
    assert alarm.is_sooner(4.0)
    assert alarm.due_at(4.1) == 4.1
    assert alarm.due_at(5.0) == 5.0
    assert alarm.is_sooner(9.0)


def test_a_timer_that_is_early_by_a_fraction_of_a_millisecond_counts_as_punctual() -> None:
    alarm = Alarm()
    alarm.is_sooner(5.0)
    assert alarm.due_at(4.9992) == 5.0
    alarm.is_sooner(5.0)
    assert alarm.due_at(4.997) == 4.997
    assert alarm.is_sooner(5.0)
