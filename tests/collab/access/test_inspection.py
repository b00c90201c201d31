"""What the inspector's secret signs, and that nothing else passes for it."""

from __future__ import annotations

import json
from base64 import b64decode

import jwt
import pytest

from collab.access.inspection import (
    LINK_SECONDS,
    SESSION_SECONDS,
    TICKET_PREFIX,
    TICKET_SECONDS,
    InspectionKey,
)
from collab.access.rules import Access
from collab.errors import AuthenticationFailed
from collab.names import RoomKey

SECRET = "the secret of the inspector, of more than 32 bytes"
NOW = 1_800_000_000.0
KEY = InspectionKey(SECRET)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        InspectionKey("s" * 31)


def test_only_the_secret_matches() -> None:
    assert KEY.matches(SECRET)
    for other in ("", SECRET[:-1], SECRET + " ", SECRET.upper(), "\ud800"):
        assert not KEY.matches(other)


def test_a_link_a_session_and_a_ticket_last_as_long_as_they_say() -> None:
    link, session, ticket = KEY.issue_link("one", NOW), KEY.issue_session(NOW), KEY.issue_ticket("acme", NOW)
    assert KEY.read_link(link, NOW + LINK_SECONDS - 1).name == "one"
    KEY.check_session(session, NOW + SESSION_SECONDS - 1)
    identity = KEY.identity_of(ticket, NOW + TICKET_SECONDS - 1)
    assert identity is not None
    assert identity.expires_at == NOW + TICKET_SECONDS
    for check in (
        lambda: KEY.read_link(link, NOW + LINK_SECONDS),
        lambda: KEY.check_session(session, NOW + SESSION_SECONDS),
        lambda: KEY.identity_of(ticket, NOW + TICKET_SECONDS),
    ):
        with pytest.raises(AuthenticationFailed):
            check()


def test_none_is_accepted_in_place_of_another() -> None:
    link, session, ticket = KEY.issue_link("one", NOW), KEY.issue_session(NOW), KEY.issue_ticket("acme", NOW)
    for text in (session, ticket, ticket.removeprefix(TICKET_PREFIX)):
        with pytest.raises(AuthenticationFailed):
            KEY.read_link(text, NOW)
    for text in (link, ticket, ticket.removeprefix(TICKET_PREFIX), SECRET, ""):
        with pytest.raises(AuthenticationFailed):
            KEY.check_session(text, NOW)
    for text in (link, session):
        with pytest.raises(AuthenticationFailed):
            KEY.identity_of(TICKET_PREFIX + text, NOW)


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
def test_what_others_have_signed_is_refused(algorithm: str) -> None:
    claims = {"aud": "collab-inspector-session", "exp": int(NOW + 100), "project": "acme"}
    forged = jwt.encode(claims, SECRET if algorithm == "HS256" else "", algorithm=algorithm)
    with pytest.raises(AuthenticationFailed):
        KEY.check_session(forged, NOW)
    with pytest.raises(AuthenticationFailed):
        KEY.check_session(InspectionKey("another secret, of more than 32 bytes!").issue_session(NOW), NOW)
    with pytest.raises(AuthenticationFailed):
        KEY.check_session("x" * 100_000, NOW)


def test_a_ticket_may_do_everything_in_its_project_and_nothing_elsewhere() -> None:
    identity = KEY.identity_of(KEY.issue_ticket("acme", NOW), NOW)
    assert identity is not None
    assert identity.access_to(RoomKey("acme", "tasks", "t1")) is Access.WRITE
    assert identity.access_to(RoomKey("other", "tasks", "t1")) is Access.NONE
    with pytest.raises(AuthenticationFailed):
        KEY.identity_of(KEY.issue_ticket("a/b", NOW), NOW)


def test_clients_can_read_when_a_ticket_expires_so_that_they_ask_for_the_next_one() -> None:
    claims = KEY.issue_ticket("acme", NOW).split(".")[1]  # as the JavaScript client reads it
    assert json.loads(b64decode(claims + "=" * (-len(claims) % 4)))["exp"] == NOW + TICKET_SECONDS


def test_other_tokens_are_left_to_the_other_credentials() -> None:
    for token in (None, "", "eyJ.eyJ.x", SECRET, KEY.issue_session(NOW)):
        assert KEY.identity_of(token, NOW) is None


def test_servers_of_one_host_have_different_cookies() -> None:
    assert KEY.cookie != InspectionKey("another secret, of more than 32 bytes!").cookie
    assert SECRET not in KEY.cookie
