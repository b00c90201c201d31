"""How a room handles updates that it applied only in part, or changed."""

from __future__ import annotations

import logging
from pathlib import Path
from time import monotonic

import pycrdt
import pytest

from collab.errors import InvalidRequest
from collab.rooms.live.framing import HocuspocusFraming
from collab.rooms.live.revisions import Gaps
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.room import Room
from collab.wire import hocuspocus, yjs
from tests.collab.rooms.live.simulation import KEY, Client, Ring, room_of
from tests.collab.rooms.registry_world import opened
from tests.fuzz import encode
from tests.fuzz.encode import STRING, block, frame, item, string


def text(content: str, **where: object) -> bytes:
    return item(STRING, string(content), **(where or {"parent": "t"}))  # type: ignore[arg-type]


FIRST = frame([block(7, 0, [text("first ")])])
SECOND = frame([block(7, 6, [text("second ", origin=(7, 5))])])
OWN_AND_SECOND = frame([block(8, 0, [text("own")]), block(7, 6, [text("second ", origin=(7, 5))])])
SUBDOCUMENT = frame(
    [block(9, 0, [item(encode.DOC, string("g") + b"\x76\x00", parent="m", key="k"), text("beside it")])]
)
EMOJI = frame([block(7, 0, [text("a😀b")])])
CUT = frame([], [(7, 2, 1)])


def text_of(room: Room) -> str:
    copy: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    copy.apply_update(room.doc.get_update())
    return str(copy.get("t", type=pycrdt.Text))


def questions(client: Client) -> int:
    return sum(isinstance(yjs.decode(frame), yjs.SyncStep1) for frame in client.room.drain(client.session))


def test_pending_structs_of_a_client_do_not_delay_its_other_edits() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", framing=HocuspocusFraming("d"))
    client.say(yjs.SyncStep1(b"\0"), 1.0)
    room.drain(client.session)
    client.say(yjs.SyncStep2(OWN_AND_SECOND), 1.0)
    assert text_of(room) == "own"
    assert ring.log == [(frame([block(8, 0, [text("own")])]), "a")]
    assert hocuspocus.sync_status("d", True) not in room.drain(client.session)
    ring.commit()
    assert room.drain(client.session) == [hocuspocus.sync_status("d", True)], "all that it shows is saved"


def test_a_session_that_waits_for_anothers_edit_is_asked_once_it_arrives() -> None:
    room = room_of(Ring())
    waiting, other, third = (Client(room, "a") for _ in range(3))
    for client in (waiting, other, third):
        client.sync()
    waiting.say(yjs.SyncStep2(OWN_AND_SECOND), 1.0)
    assert questions(waiting) == 0, "its answer would be the same"
    third.say(yjs.Update(frame([block(5, 0, [text("!")])])), 2.0)
    assert questions(waiting) == 0
    other.say(yjs.Update(FIRST), 3.0)
    assert questions(waiting) == 1
    assert questions(other) == 0
    third.say(yjs.Update(frame([block(5, 1, [text("!")])])), 4.0)
    assert questions(waiting) == 0
    waiting.say(yjs.SyncStep2(SECOND), 5.0)
    assert room.gate.state == {5: 2, 7: 13, 8: 3}


def test_a_session_that_sends_the_awaited_elements_itself_is_not_asked() -> None:
    room = room_of(Ring())
    client = Client(room, "a")
    client.sync()
    client.say(yjs.SyncStep2(SECOND), 1.0)
    client.say(yjs.Update(FIRST), 2.0)
    assert questions(client) == 0


def test_the_applicable_part_of_a_live_edit_is_relayed_at_once_and_the_whole_acknowledged_later() -> None:
    ring = Ring()
    room = room_of(ring)
    writer = Client(room, "a", framing=HocuspocusFraming("d"))
    reader = Client(room, "b")
    reader.sync()
    writer.say(yjs.Update(OWN_AND_SECOND), 1.0)
    reader.listen()
    assert str(reader) == "own"
    ring.commit()
    assert room.drain(writer.session) == [hocuspocus.sync_step1("d", b"\x01\x08\x03")]
    writer.say(yjs.SyncStep2(frame([block(7, 0, [text("first second ")])])), 2.0)
    assert room.drain(writer.session) == []
    ring.commit()
    assert room.drain(writer.session) == [hocuspocus.sync_status("d", True)]
    assert sorted(text_of(room)) == sorted("first second own")


def test_e13_a_refused_element_is_deleted_in_all_replicas_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = room_of(Ring())
    writer, reader = Client(room, "ada\nERROR"), Client(room, "b")
    for client in (writer, reader):
        client.sync()
    with caplog.at_level(logging.WARNING):
        writer.say(yjs.Update(SUBDOCUMENT), 1.0)
        writer.say(yjs.Update(frame([block(9, 10, [item(encode.DOC, string("g") + b"\x76\x00", origin=(9, 0))])])), 2.0)
    assert text_of(room) == "beside it"
    assert [m.update for m in writer.listen() if isinstance(m, yjs.Update)] == [
        frame([], [(9, 0, 1)]),
        frame([], [(9, 10, 1)]),
    ]
    reader.listen()
    assert str(reader) == "beside it"
    assert reader.doc.get_state() == room.doc.get_state()
    assert writer.closed is None
    (line,) = caplog.messages
    assert "user ada\\u000aERROR was" in line
    assert "a sub-document" in line
    assert room._metrics.refused_elements == 2


def test_over_http_an_update_with_a_refused_element_is_refused_as_a_whole() -> None:
    room = room_of(Ring())
    with pytest.raises(InvalidRequest, match="a sub-document"):
        room.edit(SUBDOCUMENT, "a", 1.0, lambda: None)
    with pytest.raises(InvalidRequest, match="does not have"):
        room.edit(OWN_AND_SECOND, "a", 1.0, lambda: None)
    assert not room.gate.state


def test_e15_a_split_character_is_two_replacement_characters_for_later_joiners() -> None:
    room = room_of(Ring(), [EMOJI])
    there = Client(room, "a")
    there.sync()
    there.say(yjs.Update(CUT), 1.0)
    assert text_of(room) == "a\ufffdb"
    late = Client(room, "b")
    late.sync()
    assert str(late) == "a\ufffdb"
    assert room.doc.client_id == room.server_client_id


def test_a_document_that_keeps_deleted_content_keeps_it_when_a_character_is_split() -> None:
    room = room_of(Ring(), options=RoomOptions(keep_deleted=("documents",)))
    room.doc = pycrdt.Doc(skip_gc=True)
    client = Client(room, "a")
    client.sync()
    for update in (EMOJI, frame([block(8, 0, [text("gone", origin=(7, 3))])], [(8, 0, 4)]), CUT):
        client.say(yjs.Update(update), 1.0)
    assert b"gone" in room.doc.get_update()
    assert text_of(room) == "a\ufffdb"


async def test_a_log_with_split_characters_loads_and_compacts_to_the_same_text(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        client = Client(await registry.open(KEY), "a")
        client.sync()
        client.say(yjs.Update(EMOJI), monotonic())
        await registry._recorder.flush()
        await registry.compactor.compact(KEY)
        client.say(yjs.Update(frame([block(8, 0, [text("🦊🦊", origin=(7, 3))])])), monotonic())
        for cut in ([(7, 2, 1)], [(8, 0, 1)], [(8, 1, 2)]):
            client.say(yjs.Update(frame([], cut)), monotonic())
        await registry._recorder.flush()
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        assert text_of(room) == "a\ufffdb\ufffd"
        await registry.compactor.compact(KEY)
        record = await storage.load(KEY)
        assert record is not None
        assert not record.rows
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        assert text_of(room) == "a\ufffdb\ufffd"
        Client(room, "a").say(yjs.Update(frame([], [(8, 3, 1)])), monotonic())
        assert text_of(room) == "a\ufffdb"


def test_a_session_that_has_left_waits_for_nothing() -> None:
    room = room_of(Ring())
    one, other = (Client(room, "a").session for _ in range(2))
    gaps = Gaps()
    gaps.wait(one, {7: 5, 8: 0})
    gaps.wait(other, {7: 2})
    assert gaps.filled({7: 2}) == []
    assert gaps.filled({7: 3, 9: 1}) == [other]
    gaps.leave(one)
    assert not gaps
    gaps.wait(one, dict.fromkeys(range(1000), 0))
    gaps.wait(one, {})
    assert not gaps
