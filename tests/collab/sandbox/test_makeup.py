"""What a document is made of."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest

from collab.gate.struct_content import Malformed
from collab.sandbox.makeup import makeup_of
from tests.collab.sandbox.asking import READER, Asking


def a_document() -> tuple[bytes, bytes]:
    """A snapshot of client 1 and an update of client 2 behind it."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=1)
    text = doc.get("text", type=pycrdt.Text)
    text += "hello world"
    del text[0:6]
    snapshot, state = doc.get_update(), doc.get_state()
    other: pycrdt.Doc[Any] = pycrdt.Doc(client_id=2)
    other.apply_update(snapshot)
    shared = other.get("text", type=pycrdt.Text)
    shared += "!!"
    del shared[0:1]
    return snapshot, other.get_update(state)


def test_elements_and_tombstones_are_counted_for_each_client() -> None:
    snapshot, update = a_document()
    made = makeup_of(snapshot, [(update, "bob", 5.0)])
    assert (made.elements, made.deleted, made.client_count) == (13, 7, 2)
    first, second = made.clients
    assert (first.client, first.elements, first.deleted, first.users, first.last_at) == (1, 11, 7, [], None)
    assert (second.client, second.elements, second.deleted, second.users, second.last_at) == (2, 2, 0, ["bob"], 5.0)


def test_what_several_rows_delete_is_one_tombstone() -> None:
    snapshot, update = a_document()
    once = makeup_of(snapshot, [(update, "bob", 5.0)])
    twice = makeup_of(snapshot, [(update, "bob", 5.0), (update, "eve", 6.0)])
    assert twice.deleted == once.deleted
    assert twice.clients[1].users == ["bob", "eve"]


def test_an_empty_document_has_nothing() -> None:
    made = makeup_of(None, [])
    assert (made.elements, made.deleted, made.clients) == (0, 0, [])


def test_of_many_clients_the_largest_are_listed() -> None:
    rows = []
    for client in range(1, 601):
        doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)
        doc.get("text", type=pycrdt.Text).insert(0, "x" * (client % 7 + 1))
        rows.append((doc.get_update(), None, 0.0))
    made = makeup_of(None, rows)
    assert (made.client_count, len(made.clients), made.clients[0].elements) == (600, 500, 7)


def test_bytes_that_are_no_update_are_refused() -> None:
    with pytest.raises(Malformed):
        makeup_of(b"\xff\xff", [])


async def test_the_sandbox_counts_in_a_child_process() -> None:
    snapshot, update = a_document()
    sandbox = Asking()
    try:
        async with sandbox.turn(READER) as child:
            made = await child.inspect(snapshot, [(update, "bob", 5.0)], 30.0)
    finally:
        await sandbox.close()
    assert made == makeup_of(snapshot, [(update, "bob", 5.0)])
