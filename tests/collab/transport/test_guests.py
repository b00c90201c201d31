from __future__ import annotations

from collab.transport.guests import Guest, Guests
from collab.transport.slots import Budget
from collab.transport.unproven import IDLE


class Door:
    """Guests, and the connections that were dropped."""

    def __init__(self, *, most: int = 0, plain: int = 0, unproven: int = 0, proxies: tuple[str, ...] = ()) -> None:
        self.guests = Guests(most=most, plain=plain, proxies=proxies, unproven=unproven, budget=Budget(0, 0))
        self.dropped: list[str] = []

    def enter(self, name: str, address: str | None = "10.0.0.1") -> Guest | None:
        return self.guests.enter(address, lambda: self.dropped.append(name))


def test_one_address_has_half_of_the_places_and_gives_them_back() -> None:
    door = Door(most=4)
    first, second = door.enter("a"), door.enter("b")
    assert first is not None
    assert second is not None
    assert door.enter("c") is None
    assert door.enter("d", "10.0.0.2") is not None
    second.leave()
    assert door.enter("e") is not None


def test_all_places_together_are_limited_also_for_proxies() -> None:
    door = Door(most=2, proxies=("10.0.0.1",))
    assert door.enter("a") is not None
    assert door.enter("b") is not None
    assert door.enter("c") is None


def test_a_websocket_takes_no_place_of_those_that_have_none() -> None:
    door = Door(plain=1)
    first = door.enter("a")
    assert first is not None
    assert door.enter("b") is None
    first.upgraded()
    second = door.enter("c")
    assert second is not None
    first.leave()
    assert door.enter("d") is None
    second.leave()
    assert door.enter("e") is not None


def test_a_refused_connection_holds_nothing() -> None:
    door = Door(most=10, plain=1)
    first = door.enter("a")
    assert first is not None
    for _ in range(10):
        assert door.enter("b") is None
    first.leave()
    assert door.enter("c") is not None


def test_the_oldest_stranger_is_dropped_and_one_who_has_shown_a_credential_is_not() -> None:
    door = Door(unproven=2 * IDLE)
    known = door.enter("known")
    assert known is not None
    known.trusted()
    for name in ("a", "b", "c"):
        assert door.enter(name) is not None
    assert door.dropped == ["a"]


def test_a_long_head_counts() -> None:
    door = Door(unproven=100 * 1024)
    door.enter("a")
    writes = door.enter("b")
    assert writes is not None
    writes.heard(1)
    assert door.dropped == []
    writes.heard(30 * 1024)
    assert "a" in door.dropped
