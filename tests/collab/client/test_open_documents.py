from __future__ import annotations

from itertools import count

import pytest

from collab.client.core.document_sync import RENEW_SECONDS
from collab.client.core.failures import Unreadable
from collab.client.documents import Document
from collab.client.open_documents import OpenDocuments
from collab.errors import InvalidRequest
from collab.wire import hocuspocus

NAME = "documents/d"


class Opened:
    """Documents of a client whose session is open."""

    def __init__(self) -> None:
        self.documents = OpenDocuments()
        self.numbers = count(1)

    def open(self, name: str = NAME, *, connected: bool = True) -> Document:
        address = self.documents.address(name, lambda: next(self.numbers))
        document = Document(
            address,
            None,
            wake=lambda: None,
            close=lambda document: None,
            connected=lambda: connected,
            over=lambda: None,
        )
        self.documents.add(document, connected=connected)
        return document

    def sent(self) -> list[tuple[str, hocuspocus.Message]]:
        return [hocuspocus.decode(frame) for frame in self.documents.take(0.0, 0)]


def test_a_document_is_open_once() -> None:
    it = Opened()
    it.open()
    with pytest.raises(InvalidRequest, match="already open"):
        it.open()


def test_a_document_that_is_opened_again_has_another_address_until_the_server_says_goodbye() -> None:
    it = Opened()
    it.documents.remove(it.open(), connected=True)
    again = it.open()
    assert again.sync.address == f"{NAME}\x001"
    it.documents.remove(again, connected=True)
    assert it.documents.received(hocuspocus.close(NAME, "")) is None
    assert it.open().sync.address == NAME


def test_each_connection_has_its_own_addresses() -> None:
    it = Opened()
    it.documents.remove(it.open(), connected=True)
    it.documents.lost()
    assert it.open().sync.address == NAME


def test_a_document_is_synced_once_the_session_is_open_and_again_on_the_next_connection() -> None:
    it = Opened()
    document = it.open(connected=False)
    assert it.sent() == []
    for _ in range(2):
        it.documents.opened()
        assert NAME in {address for address, _ in it.sent()}
        it.documents.lost()
        assert document.sync.state == "away"


def test_the_server_learns_of_a_closed_document_unless_the_connection_is_lost() -> None:
    it = Opened()
    document = it.open()
    it.sent()
    assert it.documents.remove(document, connected=True)
    assert not it.documents.remove(document, connected=True)
    assert it.sent() == [(NAME, hocuspocus.Close())]
    it.documents.remove(it.open("documents/e"), connected=True)
    it.documents.lost()
    assert it.sent() == []


def test_an_error_of_a_document_is_reported_once() -> None:
    it = Opened()
    document = it.open()
    error = it.documents.received(hocuspocus.permission_denied(NAME, "PERMISSION_DENIED: no"))
    assert error is document.sync.error
    assert error is not None
    assert it.documents.received(hocuspocus.permission_denied(NAME, "PERMISSION_DENIED: no")) is None


def test_a_frame_that_cannot_be_read_is_an_error_of_the_connection() -> None:
    with pytest.raises(Unreadable):
        Opened().documents.received(b"\xff")


def test_awareness_is_renewed_when_it_is_due() -> None:
    it = Opened()
    document = it.open()
    assert it.documents.renew(0.0) is None
    it.documents.received(hocuspocus.authenticated(NAME, "read-write"))
    document.awareness.set_local_state({"name": "ada"})
    it.sent()
    assert it.documents.renew(0.0) == RENEW_SECONDS
    assert it.documents.renew(RENEW_SECONDS) is None
    assert [type(message).__name__ for _, message in it.sent()] == ["AwarenessUpdate"]
