"""The cost of callers, and how long they wait for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.access.price import METER, Ledger, Meter, Payer, Share, charge, is_busy, owed, rest_after
from collab.project_names import OTHER_PROJECTS

ADA = Payer("p", "user", "ada")
BOB = Payer("p", "user", "bob")


def ledger(user: float = 0.25, address: float = 0.5, project: float = 0.0, burst: float = 2.0) -> Ledger:
    return Ledger(user=Share(user, burst), address=Share(address, burst), project=Share(project, burst))


def test_what_was_saved_up_may_be_used_at_once() -> None:
    book = ledger()
    assert book.charge(ADA, 1.5, 100.0) == 0
    assert book.charge(ADA, 0.5, 100.0) == 0


def test_who_has_used_it_up_waits_until_the_debt_is_paid() -> None:
    book = ledger()
    assert book.charge(ADA, 3.0, 100.0) == pytest.approx(4.0)
    assert book.wait(ADA, 102.0) == pytest.approx(2.0)
    assert book.wait(ADA, 104.5) == 0


def test_one_user_does_not_wait_for_another() -> None:
    book = ledger()
    book.charge(ADA, 30.0, 100.0)
    assert book.wait(BOB, 100.0) == 0
    assert book.charge(BOB, 1.0, 100.0) == 0


def test_all_of_a_project_wait_for_what_is_done_for_it() -> None:
    book = ledger(project=0.5)
    book.charge(ADA, 2.0, 100.0)
    assert book.charge(BOB, 1.0, 100.0) == pytest.approx(2.0)
    assert book.wait(Payer("other", "user", "ada"), 100.0) == 0


def test_a_rate_of_zero_is_no_limit() -> None:
    book = ledger(user=0)
    assert book.charge(ADA, 1000.0, 100.0) == 0


def test_the_projects_that_are_named_are_bounded() -> None:
    book = ledger()
    for n in range(1000):
        book.charge(Payer(f"p{n}", "user", "ada"), 1.0, 100.0)
    assert len(book.used) == 101
    assert book.used[OTHER_PROJECTS, "user"] == 900


def test_callers_that_are_remembered_are_bounded() -> None:
    book = ledger()
    for n in range(12_000):
        book.charge(Payer("p", "user", str(n)), 1.0, 100.0)
    assert len(book) == 10_000


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1))
def test_over_any_time_nobody_who_waits_as_told_uses_more_than_the_rate_and_the_burst(
    steps: list[tuple[float, float]],
) -> None:
    book = ledger()
    now = began = 1000.0
    used = 0.0
    for pause, cost in steps:
        now += pause + book.wait(ADA, now)
        book.charge(ADA, cost, now)
        used += cost
        assert used <= 2.0 + 0.25 * (now - began) + 1.0 + 1e-6  # one piece of work may pass the limit


def test_small_work_is_charged_together() -> None:
    book = ledger()
    meter = Meter(book, ADA, lambda: 100.0)
    for _ in range(100):
        meter.add(0.0001)
    assert book.used["p", "user"] == pytest.approx(0.01)


def test_what_is_done_in_the_background_is_charged_to_its_project() -> None:
    book = ledger(project=0.5)
    book.charge_project("p", 3.0, 100.0)
    assert book.wait(ADA, 100.0) == pytest.approx(2.0)
    assert book.used == {("p", "server"): 3.0}


def test_small_work_is_charged_at_once_while_something_is_owed() -> None:
    now = [0.0]
    meter = Meter(ledger(), ADA, lambda: now[0])
    meter.add(4.0)  # elsewhere, by a child process
    assert meter.add(0.0) == pytest.approx(8.0)
    now[0] = 8.0
    assert meter.add(0.0001) == pytest.approx(0.0, abs=0.001)


def test_who_is_charged_follows_the_running_task() -> None:
    book = ledger()
    charge(1.0)
    assert owed() == 0
    token = METER.set(Meter(book, ADA))
    charge(4.0)
    assert owed() > 5
    METER.reset(token)
    assert book.used == {("p", "user"): 4.0}


def test_who_is_busy_has_used_more_than_its_share_and_is_so_no_more_when_that_is_paid() -> None:
    book = ledger(user=0.25)
    book.charge(ADA, 0.2, 0.0)
    assert not book.is_busy(ADA, 0.0)
    book.charge(ADA, 0.2, 0.0)
    assert book.is_busy(ADA, 0.0)
    assert book.is_busy(ADA, 0.5)
    assert not book.is_busy(ADA, 0.7)
    assert not book.is_busy(BOB, 0.0)


def test_work_leaves_the_loop_to_others_for_twice_as_long_and_that_of_busy_callers_for_longer() -> None:
    assert rest_after(0.003, busy=False) == pytest.approx(0.006)
    assert rest_after(0.003, busy=True) == pytest.approx(0.009)


def test_nobody_in_particular_is_not_busy() -> None:
    assert not is_busy()
    book = ledger()
    token = METER.set(Meter(book, ADA, lambda: 0.0))
    book.charge(ADA, 1.0, 0.0)
    assert is_busy()
    METER.reset(token)
