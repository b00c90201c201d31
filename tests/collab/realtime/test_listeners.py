from __future__ import annotations

from collections.abc import Callable

from collab.realtime.listeners import Gathered, KeyedListeners, Listeners
from tests.collab.realtime.virtual_time import VirtualTime


def test_all_are_told_in_the_order_in_which_they_came() -> None:
    told: list[tuple[str, int]] = []
    listeners: Listeners[int] = Listeners()
    listeners.add(lambda value: told.append(("a", value)))
    listeners.add(lambda value: told.append(("b", value)))
    listeners.tell(1)
    assert told == [("a", 1), ("b", 1)]


def test_one_that_fails_harms_no_other() -> None:
    told: list[int] = []
    listeners: Listeners[int] = Listeners()
    listeners.add(lambda value: [][value])
    listeners.add(told.append)
    listeners.tell(1)
    assert told == [1]


def test_closing_twice_removes_nobody_else() -> None:
    told: list[int] = []
    listeners: Listeners[int] = Listeners()
    close = listeners.add(told.append)
    listeners.add(told.append)
    close()
    close()
    listeners.tell(1)
    assert told == [1]
    assert len(listeners) == 1


def test_who_is_removed_while_others_are_told_is_not_told() -> None:
    told: list[int] = []
    listeners: Listeners[int] = Listeners()
    closes: list[Callable[[], None]] = []
    listeners.add(lambda value: closes[0]())
    closes.append(listeners.add(told.append))
    listeners.tell(1)
    assert not told


def test_the_removal_of_the_last_listener_is_reported_once() -> None:
    emptied: list[str] = []
    listeners: Listeners[int] = Listeners(lambda: emptied.append("empty"))
    first, second = listeners.add(lambda value: None), listeners.add(lambda value: None)
    first()
    assert emptied == []
    second()
    second()
    assert emptied == ["empty"]


def test_keyed_listeners_hear_their_key_and_leave_nothing_behind() -> None:
    told: list[tuple[str, int]] = []
    listeners: KeyedListeners[int] = KeyedListeners()
    one = listeners.add(("p", "a"), lambda value: told.append(("one", value)))
    two = listeners.add(("p", "a"), lambda value: told.append(("two", value)))
    other = listeners.add(("q", "a"), lambda value: told.append(("other", value)))
    listeners.tell(("p", "a"), 1)
    listeners.tell(("p", "b"), 2)
    assert told == [("one", 1), ("two", 1)]
    for close in (one, two, one, other):
        close()
    assert list(listeners) == []
    again = listeners.add(("p", "a"), lambda value: told.append(("again", value)))
    two()  # closed before: it removes nobody else
    listeners.tell(("p", "a"), 3)
    assert told[2:] == [("again", 3)]
    again()
    assert list(listeners) == []


def test_what_happens_within_the_interval_is_told_once() -> None:
    time, told = VirtualTime(), []
    gathered = Gathered(0.1, lambda: told.append(time.now), time.later)
    gathered.happened()
    time.pass_by(0.05)
    gathered.happened()
    assert gathered.waiting
    assert not told
    time.pass_by(1)
    assert told == [1000.1]
    gathered.happened()
    time.pass_by(1)
    assert told == [1000.1, 1001.15]


def test_what_is_cancelled_is_not_told() -> None:
    time, told = VirtualTime(), []
    gathered = Gathered(0.1, lambda: told.append(time.now), time.later)
    gathered.happened()
    gathered.cancel()
    gathered.cancel()
    time.pass_by(1)
    assert not told
    assert not gathered.waiting
