from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from collab.rooms.allocator import Leftovers


class Node:
    itself: Node


def circle() -> Node:
    node = Node()
    node.itself = node
    return node


def after(opened: int, closed: int) -> Leftovers:
    leftovers = Leftovers()
    for _ in range(opened):
        leftovers.opened()
    for _ in range(closed):
        leftovers.closed()
    return leftovers


@pytest.fixture
def started() -> Iterator[Leftovers]:
    thresholds = gc.get_threshold()
    leftovers = Leftovers()
    leftovers.start()
    try:
        yield leftovers
    finally:
        leftovers.stop()
        gc.set_threshold(*thresholds)


def test_memory_is_freed_after_more_than_a_hundred_and_more_than_are_open_were_closed() -> None:
    assert not after(100, 100).worth_it(1.0)
    assert after(101, 101).worth_it(1.0)
    assert not after(1000, 500).worth_it(1.0)
    assert after(1001, 501).worth_it(1.0)


def test_collecting_takes_a_hundredth_of_the_time_however_many_are_closed() -> None:
    leftovers = after(1000, 1000)
    leftovers.given_back(began=10.0, now=10.5)
    assert not leftovers.worth_it(1000.0)  # there is nothing to give back
    for _ in range(1000):
        leftovers.opened()
        leftovers.closed()
    assert not leftovers.worth_it(60.0)
    assert leftovers.worth_it(60.5)


def test_what_is_not_looked_at_any_more_is_looked_at_again_in_quiet_times_or_when_it_is_too_much() -> None:
    leftovers = Leftovers()
    for number in range(50):
        leftovers.froze(now=float(number))
    assert not leftovers.worth_it(58.0)
    assert leftovers.worth_it(59.0)
    for number in range(50, 149):
        leftovers.froze(now=float(number))
    assert not leftovers.worth_it(149.0)
    leftovers.froze(now=149.0)
    assert leftovers.worth_it(149.0)


def test_giving_memory_back_collects_garbage_in_cycles() -> None:
    node = circle()
    gone = weakref.ref(node)
    gc.disable()
    try:
        del node
        assert gone() is not None
        Leftovers().give_back()
        assert gone() is None
    finally:
        gc.enable()


def test_a_full_collection_does_not_look_at_what_survived_the_last_one(started: Leftovers) -> None:
    node = circle()
    gone = weakref.ref(node)
    gc.collect()
    del node
    gc.collect()
    assert gone() is not None
    started.give_back()
    assert gone() is None


def test_garbage_since_the_last_full_collection_is_found(started: Leftovers) -> None:
    gc.collect()
    node = circle()
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None


def test_without_a_worker_the_collector_is_left_alone() -> None:
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    Leftovers().give_back()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, frozen)
