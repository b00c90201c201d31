import json
import sys

import pytest

from presence.awareness import MAX_CLOCK, Awareness
from presence.lib0 import MAX_UINT
from presence.state import User
from tests.presence.room import Peer, entries, states, update

ADA = User("ada", "Ada")
BOB = User("bob", "Bob")


def present(room: Awareness) -> dict[int, object]:
    return {client: state.value for client, state in room.states.items()}


def test_peers_learn_of_joins_and_changes() -> None:
    room = Awareness()
    came = room.apply(update((1, 0, {"x": 1})), "a", None, 0)
    assert (set(came.joined), set(came.updated), set(came.left)) == ({1}, set(), set())
    assert states(room.encode(came.clients)) == {1: {"x": 1}}
    moved = room.apply(update((1, 1, {"x": 2})), "a", None, 0)
    assert (set(moved.joined), set(moved.updated), set(moved.left)) == (set(), {1}, set())
    assert states(room.encode(moved.clients)) == {1: {"x": 2}}


def test_only_the_newest_state_is_sent() -> None:
    room = Awareness()
    for clock in range(10):
        room.apply(update((1, clock, {"at": clock})), "a", None, 0)
    assert states(room.encode([1])) == {1: {"at": 9}}


def test_an_older_clock_of_the_same_connection_changes_nothing() -> None:
    room = Awareness()
    room.apply(update((1, 5, {"x": 5})), "a", None, 0)
    assert not room.apply(update((1, 4, {"x": 4})), "a", None, 0).clients
    assert not room.apply(update((1, 5, {"x": 4})), "a", None, 0).clients
    assert present(room) == {1: {"x": 5}}


def test_a_null_state_means_leaving_and_the_client_may_return() -> None:
    room = Awareness()
    peer = Peer(9)
    came = room.apply(update((1, 1, {})), "a", None, 0)
    peer.apply(room.encode(came.clients))
    left = room.apply(update((1, 2, None)), "a", None, 0)
    assert left.left == {1}
    peer.apply(room.encode(left.clients))
    assert peer.states == {9: {}}
    back = room.apply(update((1, 3, {"x": 1})), "a", None, 0)
    assert back.joined == {1}
    peer.apply(room.encode(back.clients))
    assert peer.states[1] == {"x": 1}


def test_a_null_about_nobody_changes_nothing() -> None:
    room = Awareness()
    assert not room.apply(update((1, 2, None)), "a", None, 0).clients


def test_coming_and_leaving_in_one_update_is_no_change() -> None:
    room = Awareness()
    change = room.apply(update((1, 1, {}), (1, 2, None)), "a", None, 0)
    assert not change.clients
    assert not room.states


def test_p4_a_closed_connection_takes_exactly_its_own_clients_along() -> None:
    room = Awareness()
    room.apply(update((1, 1, {})), "a", None, 0)
    room.apply(update((2, 1, {})), "b", None, 0)
    peer = Peer(9)
    peer.apply(room.snapshot())
    gone = room.leave("a", 1)
    assert gone.left == {1}
    peer.apply(room.encode(gone.clients))
    assert set(peer.states) == {2, 9}
    assert not room.leave("a", 1).clients


def test_p4_a_client_silent_for_longer_than_the_timeout_is_removed() -> None:
    room = Awareness(timeout=30)
    room.apply(update((1, 1, {})), "a", None, 0)
    room.apply(update((2, 1, {})), "b", None, 20)
    assert not room.expire(30).clients
    assert room.expire(30.1).left == {1}
    assert set(room.states) == {2}


def test_a_renewal_keeps_a_client_and_is_relayed_because_peers_count_too() -> None:
    room = Awareness(timeout=30)
    peer = Peer(1)
    answer = room.apply(peer.encode([1]), "a", None, 0)
    assert answer.nudge is not None
    peer.apply(answer.nudge)
    room.apply(peer.encode([1]), "a", None, 0)
    renewed = room.apply(peer.set({}), "a", None, 15)
    assert renewed.updated == {1}
    assert not room.expire(45).clients


def test_a_frozen_client_that_wakes_up_returns_with_its_first_message() -> None:
    room = Awareness(timeout=30)
    room.apply(update((1, 5, {})), "a", None, 0)
    room.expire(31)
    assert room.apply(update((1, 6, {"x": 1})), "a", None, 60).joined == {1}


def test_p5_a_late_joiner_is_sent_everybody_at_once() -> None:
    room = Awareness()
    assert room.snapshot() == b"\x00"
    for client in range(1, 4):
        room.apply(update((client, 0, {"n": client})), client, None, 0)
    joiner = Peer(9)
    joiner.apply(room.snapshot())
    assert joiner.states == {9: {}, 1: {"n": 1}, 2: {"n": 2}, 3: {"n": 3}}


def test_p5_a_returning_client_sees_those_who_did_not_change_meanwhile() -> None:
    room = Awareness()
    room.apply(update((1, 1, {"n": 1})), "a", None, 0)
    peer = Peer(9)
    for _ in range(5):
        peer.apply(room.snapshot())
        assert peer.states.get(1) == {"n": 1}
        peer.disconnected()
        room.leave("socket of 9", 1)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_p6_a_reconnect_under_the_same_id_and_clock_is_visible_at_once(restart: bool, answers: bool) -> None:
    room = Awareness()
    peer, client = Peer(9), Peer(1)
    client.set({"x": 1})
    for connection in range(100):
        change = room.apply(client.encode([1]), connection, None, connection)
        assert change.joined == {1}
        assert change.nudge is not None
        changed = client.apply(change.nudge)
        peer.apply(room.encode(change.clients))
        assert peer.states.get(1) == {"x": 1}, connection
        assert changed == [1]
        if answers:
            answer = room.apply(client.encode(changed), connection, None, connection)
            assert not answer.clients
            assert answer.nudge is None
        peer.apply(room.encode(room.leave(connection, connection).clients))
        assert 1 not in peer.states
        client.disconnected()
        if restart:
            room = Awareness()
            peer.disconnected()


def test_snapshots_of_one_moment_are_one() -> None:
    room = Awareness()
    room.apply(update((1, 1, {})), "a", None, 5)
    first = room.snapshot(10)
    assert room.snapshot(10.01) is first
    assert states(room.snapshot(11)) == states(first)
    assert entries(room.snapshot(11)) != entries(first)


def test_p6_a_client_goes_on_after_a_nudge_as_before() -> None:
    room = Awareness()
    peer, client = Peer(9), Peer(1)
    change = room.apply(client.encode([1]), "a", None, 0)
    assert change.nudge is not None
    in_flight = [client.set({"x": n}) for n in range(3)]
    client.apply(change.nudge)
    for payload in [*in_flight, client.encode([1]), client.set({"x": 3}), client.set({"x": 4})]:
        change = room.apply(payload, "a", None, 0)
        assert change.nudge is None
        peer.apply(room.encode([1]))
        assert peer.states[1] == room.states[1].value
    assert peer.states[1] == {"x": 4}
    assert room.states[1].clock == client.meta[1]


def test_p2_the_new_connection_of_a_verified_user_owns_the_id_and_the_old_close_does_not_remove_it() -> None:
    room = Awareness()
    peer, client = Peer(9), Peer(1)
    client.set({"x": 1})
    flaps = 0
    for connection in range(100):
        change = room.apply(client.encode([1]), connection, ADA, 0)
        if change.nudge is not None:
            client.apply(change.nudge)
        peer.apply(room.encode(change.clients))
        closed = room.leave(connection - 1, 0)
        peer.apply(room.encode(closed.clients))
        flaps += 1 not in peer.states
        change = room.apply(client.set({"x": connection}), connection, ADA, 0)
        peer.apply(room.encode(change.clients))
        assert peer.states[1]["x"] == connection
    assert flaps == 0


def test_p2_the_old_connection_does_not_take_the_id_back() -> None:
    room = Awareness()
    room.apply(update((1, 5, {"x": 5})), "old", ADA, 0)
    room.apply(update((1, 7, {"x": 7})), "new", ADA, 0)
    assert not room.apply(update((1, 6, {"x": 6})), "old", ADA, 0).clients
    assert room.states[1].value["x"] == 7
    assert not room.leave("old", 0).clients


def test_an_unverified_client_returns_when_its_old_connection_closes_late() -> None:
    room = Awareness()
    client = Peer(1)
    client.set({"x": 1})
    first = room.apply(client.encode([1]), "old", None, 0)
    assert first.nudge is not None
    client.apply(first.nudge)
    assert not room.apply(client.encode([1]), "new", None, 1).clients
    gone = room.encode(room.leave("old", 2).clients)
    assert client.apply(gone) == [1]
    assert room.apply(client.encode([1]), "new", None, 2).joined == {1}


def test_a_room_shows_only_clients_that_came() -> None:
    room = Awareness()
    for client in range(1, 8):
        room.apply(update((client, 0, {})), client, None, 0)
    assert len(room.states) == 7
    assert len(entries(room.snapshot())) == 7
    for client in range(1, 8):
        room.leave(client, 0)
    assert room.snapshot() == b"\x00"


@pytest.mark.parametrize("clock", [MAX_CLOCK + 1, MAX_UINT])
def test_a_huge_clock_does_not_freeze_an_id(clock: int) -> None:
    room = Awareness()
    room.apply(update((1, clock, {"x": 1})), "a", None, 0)
    room.apply(update((1, 2, {"x": 2})), "a", None, 0)
    assert present(room) == {1: {"x": 2}}
    room.apply(update((1, clock, {"x": 3})), "a", None, 0)
    room.apply(update((1, 3, {"x": 4})), "a", None, 0)
    assert present(room) == {1: {"x": 4}}


def test_the_highest_clock_is_reset_with_a_new_connection() -> None:
    room = Awareness()
    peer = Peer(9)
    room.apply(update((1, MAX_CLOCK, {"x": 1})), "a", None, 0)
    peer.apply(room.encode([1]))
    peer.apply(room.encode(room.leave("a", 0).clients))
    change = room.apply(update((1, 2, {"x": 2})), "b", None, 0)
    peer.apply(room.encode(change.clients))
    assert peer.states[1] == {"x": 2}
    change = room.apply(update((1, 3, {"x": 3})), "b", None, 0)
    peer.apply(room.encode(change.clients))
    assert peer.states[1] == {"x": 3}


def test_a_clock_that_another_drove_up_can_be_stepped_over() -> None:
    room = Awareness()
    room.apply(update((1, MAX_CLOCK, {})), "stranger", None, 0)
    room.leave("stranger", 0)
    client, peer = Peer(1), Peer(9)
    client.set({"x": 1})
    change = room.apply(client.encode([1]), "a", None, 0)
    assert change.nudge is not None
    client.apply(change.nudge)
    for n in range(3):
        peer.apply(room.encode(room.apply(client.set({"n": n}), "a", None, 0).clients))
        assert peer.states[1] == {"n": n}


@pytest.mark.slow
def test_a_hundred_thousand_who_came_and_left_are_forgotten() -> None:
    room = Awareness()

    def held() -> int:
        return sum(len(value) for value in vars(room).values() if isinstance(value, (dict, list, set)))

    most = 0
    for n in range(100_000):
        room.apply(update((n, 0, {})), n, None, n / 100)
        room.leave(n, n / 100)
        most = max(most, held())
    assert most < 5000
    room.expire(100_000)
    assert held() == 0


def test_an_owner_with_many_ids_keeps_as_many_as_are_allowed() -> None:
    room = Awareness(max_ids_per_owner=3)
    room.apply(update(*((n, 0, {}) for n in range(100))), "a", None, 0)
    for n in range(100, 200):
        room.apply(update((n, 0, {})), "a", None, 0)
    assert set(room.states) == {0, 1, 2}


@pytest.mark.parametrize("state", ['{"a":NaN}', "[]", "1", '"x"', "{", ""])
def test_p1_a_malformed_state_is_left_out_and_the_others_are_taken(state: str) -> None:
    room = Awareness()
    good = update((1, 0, {}))[1:]
    bad = b"\x02\x01" + bytes([len(state)]) + state.encode()
    change = room.apply(b"\x02" + good + bad, "a", None, 0)
    assert change.joined == {1}
    assert len(change.refused) == 1
    assert set(room.states) == {1}


def test_p1_a_state_that_is_too_large_is_left_out_and_what_was_shown_before_stays() -> None:
    room = Awareness(max_state_bytes=4096)
    room.apply(update((1, 0, {"x": "y" * 4000})), "a", None, 0)
    change = room.apply(update((1, 1, {"x": "y" * 4096})), "a", None, 25)
    assert change.refused == ("an awareness state of 4104 bytes; the limit is 4096",)
    assert not change.clients
    assert len(room.states[1].json) < 4096
    assert not room.expire(31).clients  # it has spoken
    assert room.apply(update((1, 2, {"x": 1})), "a", None, 26).updated == {1}


def test_a_drawing_with_many_selected_shapes_is_shown() -> None:
    room = Awareness()
    selected = {"selected": [f"shape:{n:020}" for n in range(2000)]}
    assert room.apply(update((1, 0, selected)), "a", None, 0).joined == {1}
    assert room.states[1].value == selected


def test_a_lone_surrogate_in_a_state_becomes_a_replacement_character() -> None:
    room = Awareness()
    state = rb'{"user":{"initials":"\ud83e","name":"\ud83e\udd8a \\ud83e"}}'
    room.apply(bytes([1, 1, 0, len(state)]) + state, "a", None, 0)
    assert room.states[1].value == {"user": {"initials": "\ufffd", "name": "\U0001f98a \\ud83e"}}


def test_all_states_of_a_room_together_are_bounded() -> None:
    room = Awareness(max_bytes=10_000)
    state = {"x": "y" * 900}
    joined = [n for n in range(20) if room.apply(update((n, 0, state)), n, None, 0).joined]
    assert joined == list(range(len(joined)))
    assert 5 < len(joined) < 12
    room.leave(0, 1)
    assert room.apply(update((30, 0, state)), "late", None, 1).joined == {30}
    # who replaces a state by one of its size is not refused
    assert room.apply(update((1, 1, {"x": "z" * 900})), 1, None, 2).updated == {1}


def test_p4_a_silent_client_with_a_live_connection_is_renewed_for_its_peers() -> None:
    room = Awareness(timeout=30)
    hidden, peer = Peer(1), Peer(2)
    answer = room.apply(hidden.set({"n": 1}), "a", None, 0)
    assert answer.nudge is not None
    hidden.apply(answer.nudge)
    peer.apply(room.encode([1]))
    for now in range(1, 200):
        change, nudges = room.renew(now)
        assert not room.expire(now).clients
        if change.clients:
            before = peer.meta[1]
            assert peer.apply(room.encode(change.clients)) == [1]  # a higher clock: believed, and counted anew
            assert peer.meta[1] > before
            hidden.apply(nudges["a"])
            assert not hidden.apply(room.encode(change.clients))  # it never takes its own state from the server
    assert peer.states[1] == hidden.states[1] == {"n": 1}
    assert room.apply(hidden.set({"n": 2}), "a", None, 200).updated == {1}
    peer.apply(room.encode([1]))
    assert peer.states[1] == {"n": 2}


def test_clients_passed_on_by_a_connection_are_not_renewed() -> None:
    room = Awareness(timeout=30)
    room.apply(update((1, 1, {})), "a", None, 0)
    room.apply(update((9, 1, {})), "a", None, 0)
    change, nudges = room.renew(25)
    assert change.clients == {1}
    assert set(nudges) == {"a"}
    assert room.expire(31).left == {9}


def test_p2_an_echo_does_not_adopt_others_ids() -> None:
    room = Awareness()
    for n in (1, 2, 3):
        room.apply(update((n, 1, {"n": n})), n, None, 0)
    echo = room.snapshot()
    assert not room.apply(echo, 2, None, 0).clients
    assert not room.apply(echo, "viewer", None, 0).clients
    assert room.leave(2, 0).left == {2}
    assert not room.leave("viewer", 0).clients
    assert set(room.states) == {1, 3}


@pytest.mark.parametrize("count", [2, 20])
def test_an_echo_that_is_late_does_not_bring_back_who_left(count: int) -> None:
    room = Awareness()
    for n in range(count):
        room.apply(update((n, 1, {"n": n})), n, None, 0)
    viewer = Peer(100)
    viewer.states.clear()
    changed = viewer.apply(room.snapshot())
    assert not room.apply(viewer.encode(changed), "viewer", None, 0).clients
    room.apply(update((0, 2, {"n": "new"})), 0, None, 0)
    late = viewer.encode(viewer.apply(room.encode([0])))
    room.leave(0, 1)
    assert not room.apply(late, "viewer", None, 1).clients
    assert not room.apply(late, 1, None, 1).clients
    assert set(room.states) == set(range(1, count))


def test_p2_a_verified_users_other_tab_does_not_take_ids_by_echoing() -> None:
    room = Awareness()
    room.apply(update((1, 1, {})), "tab 1", ADA, 0)
    room.apply(update((2, 1, {})), "tab 2", ADA, 0)
    room.apply(room.encode([1]), "tab 2", ADA, 0)
    assert room.leave("tab 2", 0).left == {2}


def test_an_echo_of_a_large_room_is_recognised_with_and_without_its_sender() -> None:
    room = Awareness()
    for n in range(20):
        room.apply(update((n, 1, {"n": n})), n, None, 0)
    sent = entries(room.encode(room.states))
    for echo in (sent, sent[:7] + sent[8:]):
        assert not room.apply(update(*echo), 7, None, 0).clients
    moved = [*sent[:7], (7, sent[7][1] + 1, {"n": "new"}), *sent[8:]]
    assert room.apply(update(*moved), 7, None, 0).updated == {7}


def test_p2_nobody_clears_or_moves_anothers_presence() -> None:
    room = Awareness()
    room.apply(update((1, 1, {"x": 1})), "victim", ADA, 0)
    for user in (None, User(None, None), BOB):
        for clock in (1, 2, 1000, MAX_CLOCK, MAX_UINT):
            assert not room.apply(update((1, clock, None)), "eve", user, 0).clients
            assert not room.apply(update((1, clock, {"x": "forged"})), "eve", user, 0).clients
    assert room.states[1].value["x"] == 1


def test_p3_a_forged_name_is_replaced_and_a_colour_is_kept() -> None:
    room = Awareness()
    forged = {"user": {"id": "ada", "name": "Ada", "color": "#f00"}, "cursor": 1}
    room.apply(update((1, 1, forged)), "a", BOB, 0)
    assert states(room.snapshot()) == {1: {"user": {"id": "bob", "name": "Bob", "color": "#f00"}, "cursor": 1}}
    assert room.states[1].user == BOB


def test_p2_a_victims_id_cannot_be_used_while_the_victim_is_silent() -> None:
    room = Awareness()
    room.apply(update((1, 1, {})), "victim", ADA, 0)
    room.apply(update((1, 2, None)), "victim", ADA, 0)
    assert not room.apply(update((1, 1000, {})), "eve", BOB, 0).clients
    assert room.apply(update((1, 3, {})), "victim", ADA, 0).joined == {1}


def test_a_renamed_user_is_shown_with_the_new_name() -> None:
    room = Awareness()
    room.apply(update((1, 1, {})), "a", ADA, 0)
    room.apply(update((1, 2, {})), "a", User("ada", "Countess"), 0)
    assert room.states[1].value["user"]["name"] == "Countess"


def test_an_update_about_clients_that_nobody_knows_is_empty() -> None:
    assert Awareness().encode([1, 2]) == b"\x00"


def test_no_connection_is_kept_alive_by_what_is_remembered_of_it() -> None:
    class Connection:
        pass

    room = Awareness()
    connection = Connection()
    room.apply(update((1, 1, {})), connection, None, 0)
    room.leave(connection, 0)
    assert sys.getrefcount(connection) == 2


def test_every_output_is_json_that_javascript_reads() -> None:
    room = Awareness()
    state = {"é": "\u2028\x7f\x00😀", "big": 10**30, "small": 5e-324, "list": [None, True, -0.0, 1e21]}
    room.apply(update((1, 1, state)), "a", ADA, 0)
    text = room.states[1].json.decode()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse)["é"] == state["é"]
