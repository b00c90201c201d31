"""What a cluster promises, compared with what its clients were told. Each function returns complaints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tests.chaos.writer import Writer, audit

_TOO_MANY = 5
_OF_THE_DEAD = ("Fenced", "another server has taken over")


def documents(writers: Sequence[Writer], read: Iterable[tuple[str, str, list[str]]]) -> list[str]:
    """``read``: where a document was read, its room, and its entries.

    Every acknowledged entry is there once; all who read the same room read the same.
    """
    complaints: list[str] = []
    first: dict[str, tuple[str, list[str]]] = {}
    for where, room, entries in read:
        here = [writer for writer in writers if writer.room == room]
        complaints += [f"{where}: {text}" for text in audit(here, {room: entries})]
        other, expected = first.setdefault(room, (where, entries))
        if entries != expected:
            complaints.append(f"{where} and {other} have different documents of {room}")
    return complaints


def tenures(commits: Iterable[tuple[str, int | None, int | None]]) -> list[str]:
    """``commits``: room, the node that wrote, and the owner that others saw at that moment; in order.

    Only the owner of a room commits to it, so tenures do not overlap.
    """
    complaints: list[str] = []
    for number, (room, nid, owner) in enumerate(commits):
        if nid is None:
            complaints.append(f"commit {number} to {room} was made by no node")
        elif nid != owner:
            complaints.append(f"commit {number} to {room} was made by node {nid}, it belonged to {owner}")
    return _shortened(complaints)


Told = tuple[int, str, int]
"""An event: its position, the id of its entity, and its version."""
Heard = Told | tuple[Told, int] | None
"""What a subscriber heard: an event, one that stands for so many (rule A22), or that some may be missing."""


def apart(happened: Iterable[Told], heard: Iterable[Heard]) -> list[Told | None]:
    """What a subscriber heard, with each event that stands for several taken apart again.

    They were held back, so each goes to where its position puts it.
    """
    positions = {(name, version): position for position, name, version in happened}
    found: list[Told | None] = []
    for one in heard:
        if one is None or len(one) == 3:
            found.append(one)
            continue
        (_, name, last), count = one
        for version in range(last - count + 1, last + 1):
            position = positions.get((name, version), 0)
            at = len(found)
            while at and (before := found[at - 1]) is not None and before[0] > position:
                at -= 1
            found.insert(at, (position, name, version))
    return found


def told(happened: Sequence[Told], heard: Sequence[Told | None]) -> list[str]:
    """What is wrong with the events that a subscriber heard, of all that ``happened`` in its time, in order.

    Each comes once and in order. Only where it was told so (``None``) may some be missing.
    """
    complaints: list[str] = []
    at, may_miss = 0, False
    places = {event: number for number, event in enumerate(happened)}
    for one in heard:
        if one is None:
            may_miss = True
            continue
        place = places.get(one)
        if place is None:
            complaints.append(f"heard {one}, which never happened")
        elif place < at:
            complaints.append(f"heard {one} again, or too late")
        else:
            if place > at and not may_miss:
                complaints.append(f"heard {one} before {happened[at]}, and {place - at} were left out")
            at = place + 1
        may_miss = False
    if at < len(happened) and not may_miss:
        complaints.append(f"did not hear of the last {len(happened) - at}, from {happened[at]} on")
    return _shortened(complaints)


def tidy(log: str, name: str) -> list[str]:
    """A server's log has no traceback, but for those that end a node which was declared dead."""
    return _shortened(
        [
            f"node {name} printed a traceback: {entry[:300]} … {entry[-1500:]}"
            for entry in re.split(r"\n(?=\d{4}-\d\d-\d\d )", log)
            if "Traceback" in entry and not any(word in entry for word in _OF_THE_DEAD)
        ]
    )


def _shortened(complaints: list[str]) -> list[str]:
    more = len(complaints) - _TOO_MANY
    return complaints if more <= 0 else [*complaints[:_TOO_MANY], f"… and {more} more like these"]
