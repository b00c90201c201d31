"""The people in a room: awareness states grouped by verified user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from presence.state import State


class Person(msgspec.Struct, frozen=True):
    """One verified user with all their clients (tabs, devices), or one unverified client.

    ``key`` identifies the person within the room. ``id`` is ``None`` for an unverified client; ``name`` is the verified
    name, or else the name that the client gives itself, if any. ``states`` are the JSON states of ``clients``, the most
    recently changed first.
    """

    key: str
    id: str | None
    name: str | None
    clients: tuple[int, ...]
    states: tuple[bytes, ...]


class Roster(msgspec.Struct, frozen=True):
    """``count`` people are present; ``people`` are some or all of them."""

    count: int
    people: tuple[Person, ...]


EMPTY = Roster(0, ())


class Difference(msgspec.Struct, frozen=True):
    """The difference between two rosters: the new count, new or changed people, and keys that are no longer listed."""

    count: int
    people: tuple[Person, ...]
    left: tuple[str, ...]


def roster(states: Mapping[int, State], sample: int = 50, listed: Iterable[str] = ()) -> Roster:
    """Group ``states`` into people, and list at most ``sample`` of them.

    In a large room the number matters most, and a complete list would go to everybody. The list begins with people
    whose keys are in ``listed`` (so that they stay listed, whoever comes and goes), then those who came first.
    """
    groups: dict[str, list[State]] = {}
    for client, state in states.items():
        user = state.user
        key = f"client:{client}" if user is None or user.id is None else f"user:{user.id}"
        group = groups.get(key)
        if group is None:
            groups[key] = [state]
        else:
            group.append(state)
    shown = [key for key in listed if key in groups] if len(groups) > sample else []
    if len(shown) < sample:
        known = set(shown)
        shown += [key for key in groups if key not in known]
    return Roster(len(groups), tuple(_person(key, groups[key]) for key in shown[:sample]))


def difference(before: Roster, after: Roster) -> Difference | None:
    """The change from ``before`` to ``after``; ``None`` if they are the same."""
    known = {person.key: person for person in before.people}
    changed = [person for person in after.people if known.pop(person.key, None) != person]
    if not changed and not known and before.count == after.count:
        return None
    return Difference(after.count, tuple(changed), tuple(known))


def _person(key: str, group: list[State]) -> Person:
    if len(group) > 1:
        group = sorted(group, key=lambda state: -state.changed)
    newest = group[0]
    user = newest.user
    return Person(
        key,
        user.id if user is not None else None,
        _name(newest),
        tuple(state.client for state in group),
        tuple(state.json for state in group),
    )


def _name(state: State) -> str | None:
    if state.user is not None and state.user.name is not None:
        return state.user.name
    # editors write the name inside `user`, applications beside their cursor
    for said in (state.value.get("user"), state.value):
        word = said.get("name") if isinstance(said, dict) else None
        if isinstance(word, str):
            return word
    return None
