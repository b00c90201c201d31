from __future__ import annotations

import pytest

from collab.realtime.topics import kept_in_memory
from collab.realtime.topics.custom_events import CustomEvents
from collab.realtime.topics.kept_in_memory import KEPT_EVENTS, KeptInMemory
from tests.collab.realtime.topics.test_custom_events import Session, recent


@pytest.fixture
def custom() -> CustomEvents:
    return CustomEvents(KeptInMemory(epoch="custom"), clock=lambda: 1000.0)


async def test_c6_of_more_events_than_are_kept_the_newest_are_known_and_it_is_said(custom: CustomEvents) -> None:
    for n in range(KEPT_EVENTS + 1):
        custom.emit("p", {"type": "done", "n": n})
    missed, recovered = await recent(custom, Session(), "done", "custom.1")
    assert recovered
    assert [event["n"] for event in missed] == [*range(1, KEPT_EVENTS + 1)]
    assert not (await recent(custom, Session(), "done", "custom.0"))[1]


async def test_c6_large_events_are_kept_for_less_long(custom: CustomEvents) -> None:
    for _ in range(30):
        custom.emit("p", {"type": "done", "data": "x" * 60_000})
    assert await recent(custom, Session(), "done", "custom.0") == ([], False)
    assert not (await recent(custom, Session(), "done", "custom.12"))[1]
    missed, recovered = await recent(custom, Session(), "done", "custom.15")
    assert recovered
    assert len(missed) == 15


async def test_c6_what_all_projects_keep_together_is_bounded(
    custom: CustomEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_in_memory, "KEPT_BYTES_OF_ALL", 10_000)
    for n in range(20):
        custom.emit(f"p{n}", {"type": "done", "data": "x" * 1000})
    first, last = Session(project="p0"), Session(project="p19")
    assert await recent(custom, first, "done", "custom.0") == ([], False)
    assert (await recent(custom, first, "done", "custom.18"))[1]
    assert (await recent(custom, last, "done", "custom.19"))[1]
    custom.emit("p0", {"type": "done"})
    assert not (await recent(custom, first, "done", "custom.0"))[1]


async def test_an_event_is_sent_before_emit_returns_whether_or_not_somebody_awaits_it(custom: CustomEvents) -> None:
    ada = Session("ada")
    custom.subscribe(ada, "done")
    emission = custom.emit("p", {"type": "done"})
    assert len(ada.heard) == 1
    assert await emission == await emission == ada.heard[0]
