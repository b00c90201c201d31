from __future__ import annotations

import gc
import weakref

from collab.rooms.allocator import Leftovers, give_memory_back


class Node:
    itself: Node


def closed(count: int) -> Leftovers:
    leftovers = Leftovers()
    for _ in range(count):
        leftovers.add()
    return leftovers


def test_memory_is_freed_after_more_than_a_hundred_rooms_and_more_than_are_open_were_closed() -> None:
    assert not closed(100).worth_it(open_rooms=0, now=1.0)
    assert closed(101).worth_it(open_rooms=0, now=1.0)
    assert not closed(500).worth_it(open_rooms=500, now=1.0)
    assert closed(501).worth_it(open_rooms=500, now=1.0)


def test_collecting_takes_a_hundredth_of_the_time_however_many_rooms_are_closed() -> None:
    leftovers = closed(1000)
    leftovers.given_back(began=10.0, now=10.5)
    assert not leftovers.worth_it(open_rooms=0, now=1000.0)  # there is nothing to give back
    for _ in range(1000):
        leftovers.add()
    assert not leftovers.worth_it(open_rooms=0, now=60.0)
    assert leftovers.worth_it(open_rooms=0, now=60.5)


def test_giving_memory_back_collects_garbage_in_cycles() -> None:
    node = Node()
    node.itself = node
    gone = weakref.ref(node)
    gc.disable()
    try:
        del node
        assert gone() is not None
        give_memory_back()
        assert gone() is None
    finally:
        gc.enable()
