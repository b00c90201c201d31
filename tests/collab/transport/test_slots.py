from __future__ import annotations

from collab.transport.slots import Slots


def test_slots_are_per_caller_and_can_be_given_back() -> None:
    slots = Slots(2)
    assert slots.take("ada")
    assert slots.take("ada")
    assert not slots.take("ada")
    assert slots.take("bob")
    slots.give_back("ada")
    assert slots.take("ada")
    for who in ("ada", "ada", "bob"):
        slots.give_back(who)
    assert len(slots) == 0, "nothing is remembered of who left"


def test_no_limit_still_counts() -> None:
    slots = Slots(0)
    assert all(slots.take("ada") for _ in range(1000))
    assert len(slots) == 1
