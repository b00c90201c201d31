from __future__ import annotations

from collab.realtime.topics.emitted import Emitted, EmittedEvent


def test_c11_names_of_all_callers_are_bounded_and_those_of_the_idle_are_forgotten_first() -> None:
    names = Emitted()
    for caller in range(200):
        for number in range(1000):
            names.once("p", f"user:{caller}", str(number), EmittedEvent(b"", "", 0.0))
    assert len(names) == 100_000
    assert names.once("p", "user:199", "0", EmittedEvent(b"", "at", 0.0)) == ""
