from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.access.identity import Identity
from collab.errors import SubscriptionFailed
from collab.realtime.topics.analytics import ActiveUsers, AnalyticsMetrics
from tests.collab.realtime.virtual_time import VirtualTime

ADA, BOB = Identity("p", "ada"), Identity("p", "bob")
SOMEBODY = Identity("p", "ada", verified=False)


def analytics() -> tuple[AnalyticsMetrics, VirtualTime]:
    time = VirtualTime()
    return AnalyticsMetrics(later=time.later), time


def test_v4_a_user_counts_once_and_an_unverified_session_each_time() -> None:
    numbers, _ = analytics()
    for identity in (ADA, ADA, BOB, SOMEBODY, SOMEBODY, Identity("p"), Identity("q", "eve")):
        numbers.entered(identity)
    assert numbers.active_users("p") == 5
    assert numbers.active_users("q") == 1
    assert numbers.active_users("r") == 0
    numbers.left(ADA)
    assert numbers.active_users("p") == 5
    numbers.left(ADA)
    assert numbers.active_users("p") == 4


def test_v4_the_number_is_told_at_once_then_once_a_second_at_most() -> None:
    numbers, time = analytics()
    numbers.entered(ADA)
    told: list[float] = []
    numbers.subscribe("p", "active_users", told.append)
    assert told == [1]
    numbers.entered(BOB)
    numbers.entered(SOMEBODY)
    time.pass_by(0.9)
    assert told == [1]
    time.pass_by(0.1)
    assert told == [1, 3]


def test_v4_a_number_that_is_what_it_was_is_not_told() -> None:
    numbers, time = analytics()
    told: list[float] = []
    numbers.subscribe("p", "active_users", told.append)
    numbers.entered(ADA)
    numbers.left(ADA)
    time.pass_by(5)
    assert told == [0]


def test_who_subscribes_between_two_tellings_ends_up_with_the_same_number() -> None:
    numbers, time = analytics()
    one: list[float] = []
    two: list[float] = []
    numbers.subscribe("p", "active_users", one.append)
    numbers.entered(ADA)
    numbers.subscribe("p", "active_users", two.append)
    time.pass_by(1)
    assert one[-1] == two[-1] == 1


def test_a_subscription_that_was_closed_hears_nothing_and_costs_nothing() -> None:
    numbers, time = analytics()
    told: list[float] = []
    close = numbers.subscribe("p", "active_users", told.append)
    numbers.entered(ADA)
    close()
    close()
    time.pass_by(5)
    assert told == [0]
    assert not time.waiting


def test_a_metric_that_there_is_not_is_refused() -> None:
    numbers, _ = analytics()
    with pytest.raises(SubscriptionFailed):
        numbers.subscribe("p", "revenue", lambda value: None)


IDENTITIES = st.builds(
    Identity,
    st.sampled_from(["p", "q"]),
    st.sampled_from([None, "ada", "bob"]),
    verified=st.booleans(),
)


@given(st.lists(st.tuples(IDENTITIES, st.booleans()), max_size=30))
def test_the_count_is_that_of_who_is_here(steps: list[tuple[Identity, bool]]) -> None:
    users = ActiveUsers()
    here: Counter[Identity] = Counter()
    for identity, comes in steps:
        if comes:
            users.entered(identity)
            here[identity] += 1
        elif here[identity]:
            users.left(identity)
            here[identity] -= 1
    for project in ("p", "q"):
        mine = [identity for identity in here.elements() if identity.project == project]
        verified = {identity.user_id for identity in mine if identity.verified and identity.user_id is not None}
        others = [identity for identity in mine if not identity.verified or identity.user_id is None]
        assert users.count(project) == len(verified) + len(others)
