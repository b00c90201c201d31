import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.wire import yjs
from presence.lib0 import DecodeError

blobs = st.binary(max_size=200)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(blobs)
def test_what_is_written_is_read(body: bytes) -> None:
    assert yjs.decode(yjs.sync_step1(body)) == yjs.SyncStep1(body)
    assert yjs.decode(yjs.sync_step2(body)) == yjs.SyncStep2(body)
    assert yjs.decode(yjs.update(body)) == yjs.Update(body)
    assert yjs.decode(yjs.awareness(body)) == yjs.AwarenessUpdate(body)


@given(texts)
def test_a_denial_contains_its_reason(reason: str) -> None:
    assert yjs.decode(yjs.permission_denied(reason)) == yjs.Auth(reason)


def test_a_query_for_awareness_is_one_byte() -> None:
    assert yjs.decode(b"\x03") == yjs.QueryAwareness()


def test_a_heartbeat_is_about_nobody() -> None:
    assert yjs.decode(yjs.HEARTBEAT) == yjs.AwarenessUpdate(b"\x00")


@given(st.sampled_from([yjs.sync_step1, yjs.sync_step2, yjs.update, yjs.awareness]), blobs, st.data())
def test_a_frame_with_a_byte_too_few_or_too_many_is_refused(encode, body, data) -> None:  # type: ignore[no-untyped-def]
    frame = encode(body)
    with pytest.raises(DecodeError):
        yjs.decode(frame[: data.draw(st.integers(0, len(frame) - 1))])
    with pytest.raises(DecodeError):
        yjs.decode(frame + b"\x00")


@pytest.mark.parametrize(
    ("frame", "type_"),
    [("04", 4), ("7f00ff", 127), ("8008", 1024), ("000300", 0), ("00ff7f", 0), ("0201", 2)],
)
def test_unknown_messages_of_newer_clients_are_not_errors(frame: str, type_: int) -> None:
    assert yjs.decode(bytes.fromhex(frame)) == yjs.Unknown(type_)


@pytest.mark.parametrize("frame", ["", "00", "80", "0000", "000001", "01ff", "0300", "020001ff", "ff" * 50])
def test_malformed_frames_are_refused(frame: str) -> None:
    with pytest.raises(DecodeError):
        yjs.decode(bytes.fromhex(frame))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        yjs.decode(data)
