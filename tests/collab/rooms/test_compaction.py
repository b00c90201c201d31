"""When a log is compacted: not so often that it costs, not so late that loading does."""

from hypothesis import given
from hypothesis import strategies as st

from collab.rooms.compaction import LogSize, should_compact


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


def test_a_room_that_leaves_is_compacted_sooner() -> None:
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
