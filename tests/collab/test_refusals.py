from __future__ import annotations

import logging

import pytest

from collab.metrics import Metrics
from collab.refusals import Refusals


def test_refusals_are_counted_by_kind_and_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            refusals.note("presence", "p/documents/d", "ann", "too large")
        refusals.note("presence", "p/documents/d", "bob", "too large")
        refusals.note("document", "p/documents/d", "ann", "full")
    assert refusals.counts == {"presence": 6, "document": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "refused presence in p/documents/d by user ann: too large",
        "refused presence in p/documents/d by user bob: too large",
        "refused document in p/documents/d by user ann: full",
    ]


def test_refusals_are_remembered_in_bounded_memory() -> None:
    refusals = Refusals()
    for n in range(5000):
        refusals.note("edit", f"p/documents/{n}", None, "no")
    assert len(refusals._told) <= 1000


def test_the_last_refusals_that_were_logged_are_kept_newest_first() -> None:
    refusals = Refusals()
    for n in range(500):
        refusals.note("edit", f"p/documents/{n}", "ann", "no")
    assert len(refusals.recent) == 200
    assert [(each.place, each.user_id) for each in refusals.recent[:2]] == [
        ("p/documents/499", "ann"),
        ("p/documents/498", "ann"),
    ]


def test_refusals_are_told_to_prometheus() -> None:
    metrics = Metrics()
    metrics.expose(dict)
    metrics.refusals.note("edit", "p/documents/d", None, "no")
    assert b'collab_refused_total{kind="edit"} 1.0' in metrics.render()


def test_a_name_that_a_client_sends_is_one_short_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    name = "a\nERROR forged \x1b[31m" + "x" * 60_000
    with caplog.at_level(logging.WARNING):
        for end in ("1", "2"):
            refusals.note("document", name + end, "ann\r", "it has\u2028lines")
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("refused document in a\\u000aERROR forged \\u001b[31mxxx")
    assert said.endswith("… by user ann\\u000d: it has\\u2028lines")
    assert len(said) < 1000
    assert len(refusals.recent[0].place) < 1000
