from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest

from collab.client.core.notices import MOST_CAUSED, NoticeQueue


def test_what_a_notice_causes_comes_after_what_was_told_with_it() -> None:
    notices = NoticeQueue()
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        notices.tell(lambda: seen.append("caused"))
        notices.tell()

    notices.tell(first, lambda: seen.append("second"))
    assert seen == ["first", "second", "caused"]


def test_an_exit_of_the_application_leaves_the_rest_to_the_next_notice() -> None:
    notices = NoticeQueue()
    seen: list[str] = []

    def leave() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        notices.tell(leave, lambda: seen.append("rest"))
    notices.tell(lambda: seen.append("next"))
    assert seen == ["rest", "next"]


def test_a_callback_that_causes_itself_without_end_fails() -> None:
    notices = NoticeQueue()
    seen: list[int] = []

    def again() -> None:
        seen.append(len(seen))
        with suppress(RecursionError):
            notices.tell(again)

    notices.tell(again)
    assert len(seen) == MOST_CAUSED + 1
    notices.tell(lambda: seen.clear())
    assert seen == []


def test_everybody_is_told_what_many_notices_cause_if_that_ends() -> None:
    notices = NoticeQueue()
    seen: list[int] = []

    def report(number: int) -> None:
        notices.tell(partial(seen.append, number))

    numbers = range(MOST_CAUSED + 1)
    notices.tell(*(partial(report, number) for number in numbers))
    assert seen == list(numbers)
