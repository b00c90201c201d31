import json

from hypothesis import given
from hypothesis import strategies as st

from presence.awareness import Awareness
from presence.lib0 import encode_string, encode_uint
from presence.roster import EMPTY, Difference, Person, Roster, difference, roster
from presence.state import User


def say(room: Awareness, client: int, user: User | None, state: object, clock: int = 1, now: float = 0) -> None:
    payload = b"\x01" + encode_uint(client) + encode_uint(clock) + encode_string(json.dumps(state))
    room.apply(payload, owner=f"socket {client}", user=user, now=now)


def test_a_person_with_two_tabs_is_one_person() -> None:
    room = Awareness()
    say(room, 1, User("ada", "Ada"), {})
    say(room, 2, User("ada", "Ada"), {"cursor": 3})
    [person] = roster(room.states).people
    assert (person.key, person.id, person.name, person.clients) == ("user:ada", "ada", "Ada", (1, 2))
    assert [json.loads(state).get("cursor") for state in person.states] == [None, 3]


def test_the_state_that_changed_last_comes_first_and_a_renewal_is_no_change() -> None:
    room = Awareness()
    say(room, 1, User("ada", None), {"cursor": 1})
    say(room, 2, User("ada", None), {"cursor": 2}, now=1)
    assert roster(room.states).people[0].clients == (2, 1)
    say(room, 1, User("ada", None), {"cursor": 1}, clock=300, now=2)
    assert roster(room.states).people[0].clients == (2, 1)
    say(room, 1, User("ada", None), {"cursor": 5}, clock=301, now=3)
    assert roster(room.states).people[0].clients == (1, 2)


def test_unverified_clients_count_one_by_one_under_their_own_name() -> None:
    room = Awareness()
    say(room, 1, None, {"user": {"name": "Ada"}})
    say(room, 2, User(None, None), {"user": {"name": "Ada", "id": "ada"}})
    say(room, 3, None, {"user": "Ada"})
    say(room, 4, None, {"name": "Ada", "cursor": 5})
    say(room, 5, None, {"name": "Al", "user": {"name": "Alan"}})
    say(room, 6, User("ada", "Ada"), {"name": "Bob"})
    say(room, 7, None, {"name": 7})
    people = roster(room.states).people
    assert [(person.key, person.id, person.name) for person in people] == [
        ("client:1", None, "Ada"),
        ("client:2", None, "Ada"),
        ("client:3", None, None),
        ("client:4", None, "Ada"),
        ("client:5", None, "Alan"),
        ("user:ada", "ada", "Ada"),
        ("client:7", None, None),
    ]


def test_a_user_id_that_looks_like_a_client_id_is_not_mixed_up_with_it() -> None:
    room = Awareness()
    say(room, 1, None, {})
    say(room, 2, User("1", "One"), {})
    assert roster(room.states).count == 2


def test_a_large_room_is_a_number_and_those_who_came_first() -> None:
    room = Awareness()
    for client in range(1, 201):
        say(room, client, User(f"u{client}", None), {"user": {"name": f"n{client}"}})
    people = roster(room.states, sample=3)
    assert people.count == 200
    assert [person.name for person in people.people] == ["n1", "n2", "n3"]


def test_listed_people_stay_listed_while_others_come_and_go() -> None:
    room = Awareness()
    for client in range(1, 6):
        say(room, client, User(f"u{client}", None), {})
    say(room, 11, User("u1", None), {})
    first = roster(room.states, sample=2)
    room.leave("socket 1", now=1)  # the first tab of u1, whose second one came last of all
    room.leave("socket 2", now=1)
    second = roster(room.states, 2, [person.key for person in first.people])
    assert [person.id for person in second.people] == ["u1", "u3"]
    assert difference(first, second) == Difference(4, second.people, ("user:u2",))


def test_unchanged_people_are_not_in_the_difference() -> None:
    room = Awareness()
    say(room, 1, User("ada", None), {"cursor": 1})
    say(room, 2, User("bob", None), {"cursor": 1})
    before = roster(room.states)
    say(room, 1, User("ada", None), {"cursor": 1}, clock=300, now=9)
    assert difference(before, roster(room.states)) is None
    say(room, 2, User("bob", None), {"cursor": 2}, clock=300, now=9)
    change = difference(before, roster(room.states))
    assert change is not None
    assert [person.id for person in change.people] == ["bob"]
    assert not change.left


def test_a_crowd_that_grows_outside_of_the_sample_is_told_as_a_number() -> None:
    one = Person("user:a", "a", None, (1,), (b"{}",))
    assert difference(Roster(60, (one,)), Roster(61, (one,))) == Difference(61, (), ())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "leave", "look"]),
        st.integers(1, 6),
        st.sampled_from(["a", "b", None]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 4))
def test_applying_all_differences_gives_the_roster(steps: list[tuple[str, int, str | None, int]], sample: int) -> None:
    room, told = Awareness(), EMPTY
    known: dict[str, Person] = {}
    for now, (step, client, user, cursor) in enumerate([*steps, ("look", 1, None, 0)]):
        if step == "say":
            verified = User(user, None) if user is not None else None
            say(room, client, verified, {"cursor": cursor}, clock=300 + now, now=now)
        elif step == "leave":
            room.leave(f"socket {client}", now)
        else:
            before, told = told, roster(room.states, sample, [person.key for person in told.people])
            change = difference(before, told)
            if change is not None:
                assert change.count == told.count
                assert all(known.get(person.key) != person for person in change.people)
                for key in change.left:
                    del known[key]
                known |= {person.key: person for person in change.people}
            assert known == {person.key: person for person in told.people}
            assert len(known) == min(sample, told.count)
