"""The people in a room: awareness states grouped by verified user."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from presence.state import State


class Person(msgspec.Struct, frozen=True):
    """One verified user with all their clients (tabs, devices), or one client that nobody verified.

    ``id`` is ``None`` for the latter; ``name`` is the verified name, or else the client's own word, if any.
    """

    id: str | None
    name: str | None
    clients: tuple[int, ...]


class Roster(msgspec.Struct, frozen=True):
    """``count`` people are here; ``people`` are those of them who came first."""

    count: int
    people: tuple[Person, ...]


def roster(states: Mapping[int, State], sample: int = 50) -> Roster:
    """Group ``states`` into people, and list at most ``sample`` of them.

    In a large room it is the number that matters, and a list of all would be sent to all.
    """
    groups: dict[str | int, list[State]] = {}
    for client, state in states.items():
        user = state.user
        groups.setdefault(client if user is None or user.id is None else user.id, []).append(state)
    listed = list(groups.items())[:sample]
    return Roster(
        len(groups),
        tuple(Person(key if isinstance(key, str) else None, *_who(group)) for key, group in listed),
    )


def _who(group: list[State]) -> tuple[str | None, tuple[int, ...]]:
    newest = group[-1]
    name = newest.user.name if newest.user is not None else None
    if name is None:
        said = newest.value.get("user")
        word = said.get("name") if isinstance(said, dict) else None
        name = word if isinstance(word, str) else None
    return name, tuple(state.client for state in group)
