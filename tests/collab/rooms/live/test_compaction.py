"""When to compact a log: seldom enough to be cheap, soon enough to keep loading fast."""

from hypothesis import given
from hypothesis import strategies as st

from collab.rooms.live.compaction import LogSize, should_compact


def test_a_short_log_is_left_alone() -> None:
    assert not should_compact(LogSize(0, 100, 3000))
    assert not should_compact(LogSize(0, 1999, 10_000_000))
    assert not should_compact(LogSize(0, 30_000, 200_000))


def test_a_log_that_outweighs_its_snapshot_is_compacted() -> None:
    assert should_compact(LogSize(0, 2000, 262_144))
    assert should_compact(LogSize(1_000_000, 2000, 1_000_000))
    assert not should_compact(LogSize(1_000_001, 2000, 1_000_000))


def test_many_small_rows_are_compacted_whatever_they_weigh() -> None:
    assert should_compact(LogSize(20_000_000, 40_000, 800_000))


def test_e19_rows_that_took_long_are_compacted_even_if_they_are_few_and_small() -> None:
    log = LogSize(0, 300, 9000, seconds=0.49)
    assert not should_compact(log)
    log.seconds = 0.5
    assert should_compact(log)
    assert should_compact(log, leaving=True)


def test_rows_may_take_as_long_as_the_snapshot_does() -> None:
    log = LogSize(1_000_000, 300, 9000, snapshot_seconds=2.0, seconds=1.9)
    assert not should_compact(log)
    log.seconds = 2.0
    assert should_compact(log)


def test_rows_appended_during_a_compaction_still_count() -> None:
    log = LogSize(0, 1500, 45_000, seconds=0.75)
    log.compacted(LogSize(20_000, 1000, 30_000, snapshot_seconds=0.05, seconds=0.5))
    assert log == LogSize(20_000, 500, 15_000, 0.05, 0.25)
    log.compacted(LogSize(30_000, 500, 15_000, snapshot_seconds=0.06, seconds=0.2))
    assert log == LogSize(30_000, 0, 0, 0.06, 0.0)


def test_a_large_document_may_take_longer_to_load() -> None:
    assert LogSize(100 * 1024 * 1024, snapshot_seconds=4.0).excess < 0
    assert LogSize(1024 * 1024, snapshot_seconds=4.0).excess > 3


@given(st.lists(st.floats(0.0001, 0.4), max_size=300), st.floats(0, 4))
def test_e19_loading_takes_no_longer_than_the_snapshot_twice_or_half_a_second_more(
    costs: list[float], snapshot: float
) -> None:
    log = LogSize(1000, snapshot_seconds=snapshot)
    for seconds in costs:
        log.rows += 1
        log.seconds += seconds
        if should_compact(log):
            log.compacted(LogSize(1000, log.rows, 0, snapshot, log.seconds))
        assert log.snapshot_seconds + log.seconds <= snapshot + max(0.5, snapshot)


def test_a_room_that_is_evicted_is_compacted_sooner() -> None:
    log = LogSize(10_000, 50, 1500)
    assert not should_compact(log)
    assert should_compact(log, leaving=True)
    assert not should_compact(LogSize(10_000, 49, 1500), leaving=True)
    assert not should_compact(LogSize(), leaving=True)


def test_a_large_document_is_not_compacted_after_each_short_visit() -> None:
    assert not should_compact(LogSize(20_000_000, 200, 6000), leaving=True)
    assert should_compact(LogSize(20_000_000, 2000, 60_000), leaving=True)


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=300), st.integers(100, 3000))
def test_all_compactions_together_cost_a_constant_times_what_was_written(sizes: list[int], rows: int) -> None:
    # the worst case: nothing that was written is ever deleted, so the snapshot is all of it
    log = LogSize()
    written = work = 0
    for size in sizes:
        log.rows += rows
        log.bytes += size * rows
        written += size * rows
        if log.rows < 40_000 and should_compact(log):
            log = LogSize(log.snapshot_bytes + log.bytes)
            work += log.snapshot_bytes
    assert work <= 2 * written
