"""The order in which the structs of one update can be added: each after those that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from collab.gate.structs import Id, Struct


class Waiting(NamedTuple):
    """The structs of one client that cannot be added; the first one waits for ``element``."""

    element: Id
    structs: list[Struct]


def add_in_order(
    structs: Sequence[Struct], add: Callable[[Struct], Id | None], end: Callable[[int], int]
) -> list[Waiting]:
    """Add structs, sorted by client and clock. Returns those that cannot be added.

    ``add`` adds one, or returns the element that it waits for; ``end`` returns the next clock of a client. A waiting
    struct is tried again when its element is there.
    """
    if structs and structs[0][0] == structs[-1][0]:  # of one client, like most updates: nothing can arrive meanwhile
        for i, struct in enumerate(structs):
            element = add(struct)
            if element is not None:
                return [Waiting(element, list(structs[i:]))]
        return []
    ready = [(list(block), 0) for _, block in groupby(structs, itemgetter(0))]
    ready.reverse()
    # by client: the blocks that wait for one of its clocks, lowest first
    waiting: dict[int, list[tuple[int, int, list[Struct], int]]] = {}
    number = 0
    while ready:
        block, i = ready.pop()
        while i < len(block):
            element = add(block[i])
            if element is not None:
                number += 1
                heappush(waiting.setdefault(element[0], []), (element[1], number, block, i))
                break
            i += 1
        client = block[0][0]
        heap = waiting.get(client)
        while heap and heap[0][0] < end(client):
            ready.append(heappop(heap)[2:])
    return [Waiting((client, at), block[i:]) for client, heap in waiting.items() for at, _, block, i in heap]
