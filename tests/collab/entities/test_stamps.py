"""Times of events increase, whatever the clock does."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from collab.dates import canonical, iso_micros
from collab.entities.stamps import Stamps

times = st.floats(0, 4e9) | st.sampled_from([0.0, 1.7e9, 1.7e9 + 1e-7, 1.7e9 + 0.001, 1.7e9 - 86400])


@given(st.lists(times, min_size=2, max_size=50))
def test_the_times_of_events_rise_strictly_as_numbers_and_as_texts(clock: list[float]) -> None:
    stamps = Stamps()
    given = [stamps.next(now) for now in clock]
    assert all(earlier < later for earlier, later in pairwise(given))
    texts = [iso_micros(at) for at in given]
    assert texts == sorted(set(texts))
    assert [canonical(text) for text in texts] == [text if text >= "1000" else None for text in texts]
    # to the microsecond: that is how exact the product of seconds and a million is for times to come
    assert all(at >= now - 1e-6 for at, now in zip(given, clock, strict=True)), "nothing is older than what made it"


def test_the_clock_is_followed_when_it_is_ahead() -> None:
    stamps = Stamps()
    assert [stamps.next(now) for now in (10.0, 10.0, 12.5)] == [10.0, 10.000001, 12.5]


def test_after_a_restart_with_a_clock_that_was_set_back_times_go_on() -> None:
    stamps = Stamps()
    stamps.resume(1_700_000_000.000005)
    assert stamps.next(1_600_000_000.0) == 1_700_000_000.000006
