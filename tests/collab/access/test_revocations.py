"""A revoked token is refused, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collab.access import revocations
from collab.access.identity import Identity
from collab.access.revocations import Revocation, Revocations
from collab.errors import TooLarge

ADA = Identity("acme", "ada", token_id="t1", issued_at=100.0)
TOKEN = Revocation("acme", "token", "t1", 0.0, 500.0)
USER = Revocation("acme", "user", "ada", 200.0, 500.0)


@pytest.mark.parametrize(
    ("revocation", "identity", "refused"),
    [
        (TOKEN, ADA, True),
        (TOKEN, replace(ADA, token_id="t2"), False),
        (TOKEN, replace(ADA, project="other"), False),
        (TOKEN, replace(ADA, token_id=None), False),
        (USER, ADA, True),
        (USER, replace(ADA, token_id="t2"), True),
        (USER, replace(ADA, issued_at=200.0), False),
        (USER, replace(ADA, issued_at=None), True),
        (USER, replace(ADA, user_id="bob"), False),
        (USER, replace(ADA, project="other"), False),
        (USER, replace(ADA, token_id=None, issued_at=None), False),
    ],
)
def test_a_revocation_concerns_its_token_or_the_earlier_tokens_of_its_user(
    revocation: Revocation, identity: Identity, refused: bool
) -> None:
    known = Revocations()
    assert known.learn([revocation], 0.0) == [revocation]
    assert known.refuses(identity) is revocation.refuses(identity) is refused


def test_what_is_learnt_again_is_not_new_and_what_ended_is_forgotten() -> None:
    known = Revocations()
    assert known.learn([TOKEN, USER], 0.0) == [TOKEN, USER]
    later = replace(USER, issued_before=300.0, kept_until=900.0)
    assert known.learn([TOKEN, later], 1.0) == [later]
    assert list(known) == [TOKEN, later]
    assert known.learn([replace(TOKEN, name="old", kept_until=500.0)], 500.0) == []
    assert list(known) == [later]
    known.check_room("acme", 900.0)
    assert len(known) == 0


def test_the_list_is_bounded_for_each_project_and_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MOST", 5)
    monkeypatch.setattr(revocations, "MOST_OF_PROJECT", 3)
    known = Revocations()
    known.learn([replace(TOKEN, name=str(each)) for each in range(3)], 0.0)
    with pytest.raises(TooLarge):
        known.check_room("acme", 0.0)
    known.check_room("other", 0.0)
    known.learn([replace(TOKEN, project="other", name=str(each)) for each in range(2)], 0.0)
    with pytest.raises(TooLarge):
        known.check_room("third", 0.0)
    known.check_room("acme", 500.0)
