"""One document's conversation, with the server's side spoken by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.client.core.awareness import DocumentAwareness
from collab.client.core.document_sync import RENEW_SECONDS, DocumentSync
from collab.errors import AuthenticationFailed, CollabError, InvalidRequest, NotFound, PermissionDenied
from collab.wire import hocuspocus, yjs
from collab.wire.hocuspocus import Token
from presence.lib0 import DecodeError, encode_string, encode_uint

NAME = "documents/d"


class Server:
    """A document on the other side."""

    def __init__(self) -> None:
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.text = self.doc.get("t", type=pycrdt.Text)
        self.awareness = pycrdt.Awareness(self.doc)
        self.awareness.set_local_state(None)

    def hear(self, frame: bytes) -> list[bytes]:
        """The server's answers."""
        address, message = hocuspocus.decode(frame)
        assert address == NAME
        match message:
            case Token():
                return [hocuspocus.authenticated(NAME, "read-write")]
            case yjs.SyncStep1(state_vector=state_vector):
                answer = hocuspocus.sync_step2(NAME, self.doc.get_update(state_vector))
                return [answer, hocuspocus.sync_step1(NAME, self.doc.get_state())]
            case yjs.SyncStep2(update=update) | yjs.Update(update=update):
                self.doc.apply_update(update)
                return [hocuspocus.sync_status(NAME, True)]
            case yjs.AwarenessUpdate(payload=payload):
                self.awareness.apply_awareness_update(payload, "client")
        return []


class Client:
    def __init__(self) -> None:
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.text = self.doc.get("t", type=pycrdt.Text)
        self.awareness = DocumentAwareness(self.doc)
        self.sync = DocumentSync(NAME, self.doc, self.awareness)

    def talk(self, server: Server, answers: Callable[[bytes], bool] = lambda frame: True) -> None:
        """Until nobody has anything to say. ``answers`` tells which answers arrive."""
        while frames := self.sync.take(0.0):
            for frame in frames:
                for answer in filter(answers, server.hear(frame)):
                    self.sync.received(answer)


def confirms(frame: bytes) -> bool:
    return frame.endswith(b"\x08\x01")


def test_both_sides_get_what_they_lack() -> None:
    server, client = Server(), Client()
    server.text += "server "
    client.text += "client "
    assert not client.sync.saved
    client.sync.opened()
    client.talk(server)
    assert str(client.text) == str(server.text)
    assert sorted(str(client.text).split()) == ["client", "server"]
    assert (client.sync.synced, client.sync.saved) == (True, True)


def test_an_edit_is_saved_when_that_is_confirmed() -> None:
    server, client = Server(), Client()
    client.sync.opened()
    client.talk(server)
    client.text += "x"
    client.talk(server, answers=lambda frame: not confirms(frame))
    assert str(server.text) == "x"
    assert not client.sync.saved
    client.sync.received(hocuspocus.sync_status(NAME, True))
    assert client.sync.saved


def test_an_edit_that_is_made_while_another_is_confirmed_is_not_saved_yet() -> None:
    server, client = Server(), Client()
    client.sync.opened()
    client.talk(server)
    client.text += "x"
    client.talk(server, answers=lambda frame: not confirms(frame))
    client.text += "y"
    client.sync.received(hocuspocus.sync_status(NAME, True))
    assert not client.sync.saved
    client.talk(server)
    assert client.sync.saved


def test_an_edit_for_which_the_server_asks_again_is_saved_when_it_is_confirmed() -> None:
    server, client = Server(), Client()
    client.sync.opened()
    client.talk(server)
    client.text += "x"
    client.sync.take(0.0)  # lost, or not taken in: the server asks, and confirms the edit with the answer
    client.text += "y"
    client.sync.received(hocuspocus.sync_step1(NAME, server.doc.get_state()))
    client.talk(server, answers=lambda frame: not confirms(frame))
    assert str(server.text) == "xy"
    client.sync.received(hocuspocus.sync_status(NAME, True))
    assert not client.sync.saved
    client.sync.received(hocuspocus.sync_status(NAME, True))
    assert client.sync.saved


def test_what_was_lost_with_the_link_comes_with_the_next_one() -> None:
    server, client = Server(), Client()
    client.sync.opened()
    client.talk(server)
    client.text += "lost "
    client.sync.take(0.0)
    client.sync.lost()
    client.text += "offline"
    assert (client.sync.synced, client.sync.saved) == (False, False)
    server.text += "theirs "
    client.sync.opened()
    client.talk(server)
    assert client.sync.saved
    assert str(server.text) == str(client.text)
    assert "lost " in str(server.text)
    assert "offline" in str(server.text)


def test_a_client_says_which_client_id_is_its_own_also_without_a_state() -> None:
    server, client = Server(), Client()
    client.awareness.set_local_state(None)
    client.sync.opened()
    client.talk(server)
    assert client.awareness.client_id in server.awareness.meta


def test_what_the_server_sends_is_not_sent_back() -> None:
    server, client = Server(), Client()
    client.sync.opened()
    client.talk(server)
    before = server.doc.get_state()
    server.text += "x"
    client.sync.received(hocuspocus.update(NAME, server.doc.get_update(before)))
    assert str(client.text) == "x"
    assert client.sync.take(0.0) == []
    assert client.sync.saved


def test_many_edits_of_one_moment_are_one_update() -> None:
    server, client = Server(), Client()
    client.sync.opened()
    client.talk(server)
    for _ in range(300):
        client.text += "x"
    frames = client.sync.take(0.0)
    assert len(frames) == 1
    server.hear(frames[0])
    assert str(server.text) == "x" * 300


def test_a_reader_is_told_that_its_edit_was_refused() -> None:
    client = Client()
    client.sync.opened()
    client.sync.received(hocuspocus.authenticated(NAME, "readonly"))
    assert client.sync.read_only
    client.sync.received(hocuspocus.sync_status(NAME, False))
    assert isinstance(client.sync.error, PermissionDenied)


@pytest.mark.parametrize("end", [hocuspocus.permission_denied(NAME, "no"), hocuspocus.close(NAME, "closed")])
def test_what_the_server_ends_stays_ended(end: bytes) -> None:
    client = Client()
    client.sync.opened()
    client.sync.received(end)
    assert client.sync.state == "ended"
    assert isinstance(client.sync.error, PermissionDenied)
    client.sync.opened()
    assert client.sync.take(0.0) == []


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("NOT_FOUND: it was deleted", NotFound),
        ("INVALID_REQUEST: a document is named collection/id", InvalidRequest),
        ("PERMISSION_DENIED: no", PermissionDenied),
        ("AUTHENTICATION_FAILED: the token has expired", AuthenticationFailed),
        ("SOMETHING_NEW: x", PermissionDenied),
        ("", PermissionDenied),
    ],
)
def test_the_reason_says_which_error_ended_it(reason: str, kind: type[CollabError]) -> None:
    for end in (hocuspocus.permission_denied(NAME, reason), hocuspocus.close(NAME, reason)):
        client = Client()
        client.sync.opened()
        client.sync.received(end)
        assert type(client.sync.error) is kind
        assert reason.partition(": ")[2] in str(client.sync.error)


def test_a_document_that_is_closed_says_goodbye_and_is_not_watched() -> None:
    client = Client()
    client.sync.opened()
    assert client.sync.close() == encode_string(NAME) + b"\x07"
    client.text += "x"
    assert client.sync.saved


def test_presence_is_said_when_it_changes_and_again_after_a_while() -> None:
    server, client = Server(), Client()
    me = client.awareness.client_id
    client.sync.opened()
    client.talk(server)
    client.awareness.set_local_state({"cursor": "é"})
    client.talk(server)
    assert server.awareness.states[me] == {"cursor": "é"}
    assert client.sync.renew_at() == RENEW_SECONDS
    before = server.awareness.meta[me]["clock"]
    client.sync.renew()
    client.talk(server)
    assert server.awareness.meta[me]["clock"] > before
    client.awareness.set_local_state(None)
    client.talk(server)
    assert me not in server.awareness.states
    assert client.sync.renew_at() is None


def test_whoever_the_server_believes_gone_says_that_they_are_here() -> None:
    server, client = Server(), Client()
    me = client.awareness.client_id
    client.sync.opened()
    client.talk(server)
    null = b"\x01" + encode_uint(me) + encode_uint(500) + encode_string("null")
    client.sync.received(hocuspocus.awareness(NAME, null))
    client.talk(server)
    assert server.awareness.meta[me]["clock"] > 500


def test_without_a_connection_nobody_else_is_here_and_whoever_is_comes_back() -> None:
    server, client = Server(), Client()
    client.sync.opened()
    client.talk(server)
    other = pycrdt.Awareness(pycrdt.Doc())
    other.set_local_state({"name": "ada"})
    states = hocuspocus.awareness(NAME, other.encode_awareness_update([other.client_id]))
    client.sync.received(states)
    assert other.client_id in client.awareness.states
    client.sync.lost()
    assert set(client.awareness.states) == {client.awareness.client_id}
    client.sync.opened()
    client.talk(server)
    client.sync.received(states)
    assert other.client_id in client.awareness.states


@given(st.binary(max_size=40))
def test_no_frame_does_harm(body: bytes) -> None:
    server, client = Server(), Client()
    client.sync.opened()
    client.talk(server)
    with suppress(DecodeError):
        client.sync.received(encode_string(NAME) + body)
    client.sync.lost()
    client.sync.opened()
    if client.sync.state != "ended":
        client.talk(server)
        assert client.sync.synced
