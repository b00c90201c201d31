"""Supervision is handed to one Collab, however it is created."""

from __future__ import annotations

from collab.rooms.blackbox import NoBlackBox, SharedBlackBox
from collab.server.supervision import Supervision, offered, offering


def test_the_first_who_asks_gets_what_is_offered() -> None:
    supervision = Supervision(SharedBlackBox.create(1024))
    with offering(supervision) as offer:
        assert not offer.taken
        assert offered() is supervision
        assert offer.taken
        assert isinstance(offered().blackbox, NoBlackBox)
    assert isinstance(offered().blackbox, NoBlackBox)


def test_an_offer_ends_with_its_block() -> None:
    with offering(Supervision(SharedBlackBox.create(1024))) as offer:
        pass
    assert isinstance(offered().blackbox, NoBlackBox)
    assert not offer.taken
