"""What a reason tells of a release."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.storage.releases import ASKED, asked, failed, failure_in, original

REASONS = st.text(max_size=30).filter(lambda text: " [" not in text)
TOLD = st.lists(st.none() | st.text(max_size=30), max_size=4)


@given(REASONS, TOLD)
def test_the_reason_of_the_quarantine_stays_whatever_is_asked_and_answered(reason: str, told: list[str | None]) -> None:
    now = reason
    for why in told:
        now = asked(now)
        assert now.endswith(ASKED)
        assert original(now) == reason
        now = now if why is None else failed(now, why)
        assert original(now) == reason
    assert failure_in(reason) is None


@pytest.mark.parametrize("why", ["its document would not load", "it [depends] on others", ""])
def test_an_answer_says_why(why: str) -> None:
    assert failure_in(failed(asked("ended a worker: signal 9"), why)) == why
    assert failed("ended a worker", why).startswith("ended a worker")
