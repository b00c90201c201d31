from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.access.identity import Identity
from collab.access.rules import parse_rules
from collab.errors import CollabError, InvalidRequest, PermissionDenied, RateLimitExceeded
from collab.names import RoomKey
from collab.realtime.topics.channels import MOST_JOINED, Channels, user_channel

TASK = RoomKey("p", "tasks", "task_123")
RULES = parse_rules({"channels/secret*": "none", "channels/*": "read"})


def ada(**more: object) -> Identity:
    return Identity("p", "ada", rules=RULES, **more)  # type: ignore[arg-type]


def test_c7_a_user_has_the_channel_of_their_name() -> None:
    assert "user:ada" in Channels(ada())
    assert set(Channels(Identity("p", "user_456"))) == {"user_456"}
    assert not Channels(Identity("p"))


def test_c7_users_whose_names_are_alike_have_channels_of_their_own() -> None:
    users = ["1", "user_1", "user:1", "user_user_1", "user:user_1", ":1", "_1", "user"]
    assert len({user_channel(user) for user in users}) == len(users)
    for user in users:
        channels = Channels(Identity("p", user, rules=parse_rules({"*/*": "write"})))
        for other in users:
            channels.follow(RoomKey("p", "users", other))
        assert [other for other in users if user_channel(other) in channels] == [user]


@given(st.lists(st.text(alphabet="user_:1", min_size=1, max_size=9), unique=True))
def test_c7_the_channel_of_a_user_is_of_no_other_user(users: list[str]) -> None:
    assert len({user_channel(user) for user in users}) == len(users)


def test_c7_a_credential_grants_channels() -> None:
    assert set(Channels(ada(channels=("team_789",)))) == {"user:ada", "team_789"}


def test_c8_a_channel_is_joined_with_the_right_to_read_it_and_left() -> None:
    channels = Channels(ada())
    channels.join("team_1")
    assert "team_1" in channels
    channels.leave("team_1")
    channels.leave("team_1")
    assert "team_1" not in channels
    with pytest.raises(PermissionDenied):
        channels.join("secret_1")
    with pytest.raises(PermissionDenied):
        Channels(Identity("p", "eve")).join("team_1")


def test_c8_nobody_joins_the_channel_of_another_user() -> None:
    channels = Channels(Identity("p", "eve", rules=parse_rules({"*/*": "write"})))
    with pytest.raises(PermissionDenied):
        channels.join("user_ada")
    for others in "user:ada", "user_eve":
        with pytest.raises(PermissionDenied):
            channels.join(others)
    channels.join("user:eve")
    assert set(channels) == {"user:eve"}


@pytest.mark.parametrize("name", ["", "a/b", "x" * 129, "a b", "ä"])
def test_c8_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        Channels(ada()).join(name)


def test_c8_a_session_joins_only_so_many() -> None:
    channels = Channels(ada())
    for number in range(MOST_JOINED):
        channels.join(f"c{number}")
    channels.join("c0")
    with pytest.raises(RateLimitExceeded):
        channels.join("one_more")


def test_c9_an_entity_that_is_followed_is_a_channel_by_both_its_names_until_the_last_reason_ends() -> None:
    channels = Channels(ada())
    channels.follow(TASK)
    channels.follow(TASK)
    channels.unfollow(TASK)
    assert "task_123" in channels
    assert "tasks/task_123" in channels
    channels.unfollow(TASK)
    assert set(channels) == {"user:ada"}
    channels.unfollow(TASK)
    assert set(channels) == {"user:ada"}


def test_c9_entities_of_the_same_id_share_the_short_name() -> None:
    channels = Channels(ada())
    other = RoomKey("p", "notes", "task_123")
    channels.follow(TASK)
    channels.follow(other)
    channels.unfollow(TASK)
    assert set(channels) == {"user:ada", "task_123", "notes/task_123"}


def test_c9_who_follows_the_entity_of_a_user_is_not_that_user() -> None:
    channels = Channels(ada())
    channels.follow(RoomKey("p", "users", "user_bob"))
    assert set(channels) == {"user:ada", "users/user_bob"}


PRIVATE = "team_789"


@pytest.mark.parametrize("collection", ["notes", "teams", "channels", "users", "documents"])
def test_c9_a_private_channel_is_not_heard_by_following_an_entity_of_its_name(collection: str) -> None:
    mallory = Channels(Identity("p", "mallory", rules=parse_rules({"channels/*": "none", "*/*": "write"})))
    mallory.follow(RoomKey("p", collection, PRIVATE))
    assert set(mallory) == {"user:mallory", f"{collection}/{PRIVATE}"}
    assert PRIVATE not in mallory
    assert PRIVATE in Channels(Identity("p", "bob", channels=(PRIVATE,)))


def test_c9_who_may_hear_the_channel_hears_it_while_the_entity_is_followed() -> None:
    channels = Channels(Identity("p", "bob", rules=parse_rules({"tasks/*": "read", "channels/task_*": "read"})))
    assert "task_123" not in channels
    channels.follow(TASK)
    assert "task_123" in channels
    channels.identify(Identity("p", "bob", rules=parse_rules({"tasks/*": "read"})))
    assert "task_123" not in channels
    assert "tasks/task_123" in channels


def test_c10_another_credential_takes_away_what_it_does_not_allow() -> None:
    channels = Channels(ada(channels=("team_1",)))
    channels.join("open")
    channels.follow(TASK)
    channels.identify(Identity("p", "ada", rules=(), channels=("team_2",)))
    assert set(channels) == {"user:ada", "team_2", "tasks/task_123"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "follow", "unfollow"]),
        st.sampled_from(["a", "secret", "user_x", "b"]),
    ),
    max_size=30,
)


@given(STEPS)
def test_what_is_in_them_what_they_list_and_how_many_they_are_agree(steps: list[tuple[str, str]]) -> None:
    channels = Channels(ada())
    followed: list[str] = []
    joined: set[str] = set()
    for step, name in steps:
        match step:
            case "join":
                try:
                    channels.join(name)
                    joined.add(name)
                except CollabError:
                    assert name in ("secret", "user_x")
            case "leave":
                channels.leave(name)
                joined.discard(name)
            case "follow":
                channels.follow(RoomKey("p", "t", name))
                followed.append(name)
            case "unfollow" if name in followed:
                channels.unfollow(RoomKey("p", "t", name))
                followed.remove(name)
    expected = {"user:ada", *joined, *(f"t/{name}" for name in followed), *followed}
    expected -= {"user_x", *({"secret"} - joined)}
    assert set(channels) == expected
    assert len(channels) == len(expected)
    assert all(name in channels for name in expected)
