"""A webhook that fails is told, and does not fill the log."""

from hypothesis import given
from hypothesis import strategies as st

from collab.consumers.failure_log import FailureLog


def test_a_failure_is_told_at_most_once_a_minute_with_how_many_more_there_were() -> None:
    log = FailureLog("crm")
    assert log.failed("HTTP status 500", 0.0) == "webhook crm fails and will be retried: HTTP status 500"
    assert [log.failed("no answer", at) for at in (1.0, 30.0, 59.9)] == [None] * 3
    assert log.failed("no answer", 60.0) == (
        "webhook crm fails and will be retried: no answer (3 more since the last time)"
    )


def test_recovery_is_told_once_and_only_if_the_failure_was() -> None:
    log = FailureLog("crm")
    assert log.taken() is None
    log.failed("no", 0.0)
    assert log.taken() == "webhook crm works again"
    assert log.taken() is None
    assert log.failed("no", 1.0) is None
    assert log.taken() is None


def test_a_dead_letter_is_told_although_a_failure_was_just_told() -> None:
    log = FailureLog("crm")
    log.failed("no", 0.0)
    assert log.gave_up("version 1 of tasks/t1", "no", 0.0) == "webhook crm gave up version 1 of tasks/t1: no"
    assert log.gave_up("version 2 of tasks/t1", "no", 1.0) is None
    assert log.gave_up("version 3 of tasks/t1", "no", 61.0) == (
        "webhook crm gave up version 3 of tasks/t1: no (1 more since the last time)"
    )


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(["failed", "taken", "gave_up"]))))
def test_whatever_happens_there_are_at_most_five_lines_a_minute(steps: list[tuple[float, str]]) -> None:
    log, now = FailureLog("crm"), 0.0
    told: list[float] = []
    for seconds, step in steps:
        now += seconds
        match step:
            case "failed":
                line = log.failed("no", now)
            case "taken":
                line = log.taken()
            case _:
                line = log.gave_up("version 1 of tasks/t1", "no", now)
        if line is not None:
            told.append(now)
    assert all(sum(at <= other < at + 60.0 for other in told) <= 5 for at in told)
