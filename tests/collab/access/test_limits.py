from hypothesis import given
from hypothesis import strategies as st

from collab.access.limits import Rates, Strikes, TokenBucket


def test_a_bucket_lets_a_burst_pass_and_then_the_rate() -> None:
    bucket = TokenBucket(10, 0, burst=2)
    assert sum(bucket.take(1, 0.0) for _ in range(100)) == 20
    assert sum(bucket.take(1, 1.0) for _ in range(100)) == 10
    assert sum(bucket.take(1, 100.0) for _ in range(100)) == 20, "no more is saved up than the burst"


def test_bytes_are_limited_too() -> None:
    bucket = TokenBucket(0, 1000, burst=1)
    assert bucket.take(600, 0.0)
    assert bucket.take(600, 0.0)
    assert not bucket.take(1, 0.0)
    assert bucket.take(1, 0.3)


def test_one_message_larger_than_the_burst_passes_and_is_waited_for() -> None:
    bucket = TokenBucket(0, 1000, burst=1)
    assert bucket.take(50_000, 0.0)
    assert not bucket.take(1, 40.0)
    assert bucket.take(1, 50.0)


def test_a_rate_of_zero_is_no_limit() -> None:
    bucket = TokenBucket(0, 0)
    assert all(bucket.take(1 << 20, 0.0) for _ in range(10_000))


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3000)), max_size=60))
def test_never_more_passes_than_the_burst_and_the_rate_allow(steps: list[tuple[float, int]]) -> None:
    bucket = TokenBucket(5, 1000, burst=2)
    now, messages, allowed_bytes, last = 0.0, 0, 0, 0
    for pause, size in steps:
        now += pause
        if bucket.take(size, now):
            messages, allowed_bytes, last = messages + 1, allowed_bytes + size, size
    assert messages <= 5 * (2 + now) + 1e-6
    assert allowed_bytes - last <= 1000 * (2 + now) + 1e-6


def test_who_comes_back_after_being_sent_away_for_good_waits() -> None:
    strikes = Strikes(count=3, window=60, penalty=30)
    for second in range(3):
        assert strikes.allowed("10.0.0.1", second)
        strikes.strike("10.0.0.1", second)
    assert not strikes.allowed("10.0.0.1", 2)
    assert not strikes.allowed("10.0.0.1", 31.9)
    assert strikes.allowed("10.0.0.2", 2), "others are not meant"
    assert strikes.allowed("10.0.0.1", 32)
    strikes.strike("10.0.0.1", 32)
    assert not strikes.allowed("10.0.0.1", 33), "one more try, then the wait begins again"


def test_a_storm_of_a_client_that_never_waits_is_held_to_a_few_tries() -> None:
    strikes = Strikes()
    served = 0
    for tenth in range(6000):  # ten minutes of ten attempts a second
        now = tenth / 10
        if strikes.allowed("10.0.0.1", now):
            served += 1
            strikes.strike("10.0.0.1", now)
    assert served <= 5 * 11, "no more than the count in each window"


def test_rare_mistakes_are_forgiven() -> None:
    strikes = Strikes(count=3, window=60, penalty=30)
    for minute in range(20):
        assert strikes.allowed("10.0.0.1", minute * 90)
        strikes.strike("10.0.0.1", minute * 90)


def test_a_flood_of_callers_does_not_fill_the_memory() -> None:
    strikes = Strikes()
    for caller in range(50_000):
        strikes.strike(caller, 0.0)
    assert len(strikes) == 10_000


def test_each_caller_without_a_connection_has_a_rate_of_its_own_and_is_told_how_long_to_wait() -> None:
    rates = Rates(2, 100)
    assert [rates.take("ada", 0, 5.0) for _ in range(21)] == [0.0] * 20 + [0.5]
    assert rates.take("bob", 0, 5.0) == 0.0
    assert rates.take("ada", 0, 5.5) == 0.0
    assert rates.take("bob", 2000, 5.5) == 0.0, "one may take the last of it and more"
    assert rates.take("bob", 1, 5.5) == 10.0
    assert rates.take("bob", 1, 15.6) == 0.0


def test_who_writes_once_over_http_is_not_remembered_for_ever() -> None:
    rates = Rates(1, 0)
    for caller in range(20_000):
        assert rates.take(caller, 0, 0.0) == 0.0
    assert len(rates) == 10_000
