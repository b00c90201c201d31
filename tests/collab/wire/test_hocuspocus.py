import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.wire import hocuspocus as hp
from collab.wire import yjs
from presence.lib0 import DecodeError, encode_bytes, encode_string

blobs = st.binary(max_size=200)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
addresses = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(addresses, blobs)
def test_what_is_written_is_read_with_its_address(address: str, body: bytes) -> None:
    assert hp.decode(hp.sync_step1(address, body)) == (address, yjs.SyncStep1(body))
    assert hp.decode(hp.sync_step2(address, body)) == (address, yjs.SyncStep2(body))
    assert hp.decode(hp.update(address, body)) == (address, yjs.Update(body))
    assert hp.decode(hp.awareness(address, body)) == (address, yjs.AwarenessUpdate(body))


@given(addresses, texts)
def test_texts_are_read_with_their_address(address: str, text: str) -> None:
    assert hp.decode(hp.stateless(address, text)) == (address, hp.Stateless(text))
    assert hp.decode(hp.close(address, text)) == (address, hp.Close(text))


def test_a_token_comes_with_or_without_the_providers_version() -> None:
    token = encode_string("doc") + b"\x02\x00" + encode_string("secret")
    assert hp.decode(token) == ("doc", hp.Token("secret"))
    assert hp.decode(token + encode_string("4.0.0")) == ("doc", hp.Token("secret", "4.0.0"))


def test_sync_reply_is_read_as_sync() -> None:
    assert hp.decode(encode_string("doc") + b"\x04\x01" + encode_bytes(b"u")) == ("doc", yjs.SyncStep2(b"u"))


def test_a_client_closes_a_document_without_a_reason() -> None:
    assert hp.decode(encode_string("doc") + b"\x07") == ("doc", hp.Close(""))


def test_ping_and_pong_bear_no_address() -> None:
    assert hp.decode(b"\x09") == ("", hp.Ping())
    assert hp.decode(b"\x0a") == ("", hp.Pong())


def test_a_name_of_nine_or_ten_bytes_is_not_taken_for_ping_or_pong() -> None:
    assert hp.decode(encode_string("a" * 9) + b"\x03") == ("a" * 9, yjs.QueryAwareness())
    assert hp.decode(encode_string("a" * 10) + b"\x03") == ("a" * 10, yjs.QueryAwareness())


def test_broadcast_stateless_is_read_so_that_it_can_be_refused() -> None:
    assert hp.decode(encode_string("doc") + b"\x06" + encode_string("x")) == (
        "doc",
        hp.BroadcastStateless("x"),
    )


def test_server_messages_are_laid_out_as_providers_read_them() -> None:
    assert hp.authenticated("d", "readonly") == b"\x01d\x02\x02\x08readonly"
    assert hp.permission_denied("d", "no") == b"\x01d\x02\x01\x02no"
    assert hp.token_request("d") == b"\x01d\x02\x00"
    assert hp.sync_status("d", True) == b"\x01d\x08\x01"
    assert hp.sync_status("d", False) == b"\x01d\x08\x00"
    assert hp.close("d", "bye") == b"\x01d\x07\x03bye"
    assert hp.query_awareness("d") == b"\x01d\x03"
    assert hp.decode(hp.heartbeat("d")) == ("d", yjs.AwarenessUpdate(b"\x00"))


def test_an_address_is_a_name_and_maybe_a_session() -> None:
    assert hp.split_address("notes/today") == ("notes/today", None)
    assert hp.split_address("notes/today\0k3x") == ("notes/today", "k3x")


@given(st.sampled_from([hp.sync_step1, hp.sync_step2, hp.update, hp.awareness]), addresses, blobs, st.data())
def test_a_frame_with_a_byte_too_few_or_too_many_is_refused(encode, address, body, data) -> None:  # type: ignore[no-untyped-def]
    frame = encode(address, body)
    cut = data.draw(st.integers(0, len(frame) - 1))
    if frame[:cut] not in (hp.PING, hp.PONG):
        with pytest.raises(DecodeError):
            hp.decode(frame[:cut])
    with pytest.raises(DecodeError):
        hp.decode(frame + b"\x00")


@pytest.mark.parametrize(("body", "type_"), [("08 01", 8), ("0b", 11), ("00 03", 0), ("02 02 00", 2), ("ff7f", 16383)])
def test_unknown_messages_of_newer_providers_are_not_errors(body: str, type_: int) -> None:
    assert hp.decode(b"\x01d" + bytes.fromhex(body)) == ("d", yjs.Unknown(type_))


def test_an_endless_address_is_refused() -> None:
    with pytest.raises(DecodeError):
        hp.decode(encode_string("a" * (hp.MAX_ADDRESS_BYTES + 1)) + b"\x03")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        hp.decode(data)
