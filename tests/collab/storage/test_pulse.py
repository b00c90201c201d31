"""Who seems to be dead: whose beats stand still for so many looks in a row."""

from hypothesis import given
from hypothesis import strategies as st

from collab.storage.nodes import Pulse


def test_a_node_whose_beats_stand_still_for_so_many_looks_seems_dead() -> None:
    pulse = Pulse(3)
    assert [pulse.look({1: 7}) for _ in range(5)] == [[], [], [], [1], [1]]


def test_one_beat_is_enough_to_begin_anew() -> None:
    pulse = Pulse(2)
    assert [pulse.look({1: beats}) for beats in (5, 5, 6, 6, 6)] == [[], [], [], [], [1]]


def test_a_counter_that_a_crash_of_the_database_set_back_is_a_beat() -> None:
    pulse = Pulse(2)
    assert [pulse.look({1: beats}) for beats in (5, 5, 4, 4, 4)] == [[], [], [], [], [1]]


def test_a_node_that_was_not_listed_is_looked_at_anew() -> None:
    pulse = Pulse(2)
    looks: list[dict[int, int]] = [{1: 5, 2: 0}, {1: 5}, {1: 5, 2: 0}, {2: 0}]
    assert [pulse.look(beats) for beats in looks] == [[], [], [1], []]


@given(st.integers(1, 4), st.lists(st.dictionaries(st.integers(1, 3), st.integers(0, 2)), max_size=20))
def test_whoever_seems_dead_has_not_changed_for_exactly_so_many_looks(looks: int, seen: list[dict[int, int]]) -> None:
    pulse = Pulse(looks)
    for number, beats in enumerate(seen):
        last = seen[max(number - looks, 0) : number + 1]
        still = [nid for nid in beats if len(last) == looks + 1 and all(look.get(nid) == beats[nid] for look in last)]
        assert pulse.look(beats) == sorted(still)
