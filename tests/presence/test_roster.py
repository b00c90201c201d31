import json

from presence.awareness import Awareness, User
from presence.lib0 import encode_string, encode_uint
from presence.roster import Person, Roster, roster


def enter(room: Awareness, client: int, user: User | None, state: object) -> None:
    payload = b"\x01" + encode_uint(client) + b"\x01" + encode_string(json.dumps(state))
    room.apply(payload, owner=f"socket {client}", user=user, now=0)


def test_a_person_with_two_tabs_is_one_person() -> None:
    room = Awareness()
    enter(room, 1, User("ada", "Ada"), {})
    enter(room, 2, User("ada", "Ada"), {"cursor": 3})
    assert roster(room.states) == Roster(1, (Person("ada", "Ada", (1, 2)),))


def test_who_nobody_verified_is_counted_by_client_with_the_name_they_say() -> None:
    room = Awareness()
    enter(room, 1, None, {"user": {"name": "Ada"}})
    enter(room, 2, User(None, None), {"user": {"name": "Ada", "id": "ada"}})
    enter(room, 3, None, {"user": "Ada"})
    assert roster(room.states) == Roster(
        3, (Person(None, "Ada", (1,)), Person(None, "Ada", (2,)), Person(None, None, (3,)))
    )


def test_a_user_id_that_looks_like_a_client_id_is_not_mixed_up_with_it() -> None:
    room = Awareness()
    enter(room, 1, None, {})
    enter(room, 2, User("1", "One"), {})
    assert roster(room.states).count == 2


def test_a_large_room_is_a_number_and_those_who_came_first() -> None:
    room = Awareness()
    for client in range(1, 201):
        enter(room, client, User(f"u{client}", None), {"user": {"name": f"n{client}"}})
    people = roster(room.states, sample=3)
    assert people.count == 200
    assert [person.name for person in people.people] == ["n1", "n2", "n3"]
