import inspect
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab import errors
from collab.cluster.messages import (
    MOST_MESSAGE,
    OLDEST,
    PIECE,
    VERSION,
    Cancelled,
    Greeting,
    Incompatible,
    Item,
    NodeAnswer,
    NodeCall,
    NodeFailure,
    NodeMessage,
    PayerNamed,
    Spoken,
    UnknownCall,
    ValuePart,
    ValueParts,
    check_greeting,
    decode_node,
    encode_node,
    error_of,
    failure_of,
    in_pieces,
)
from collab.errors import CollabError, Conflict, Elsewhere, InternalError, InvalidRequest, TooLarge, Unavailable
from collab.sandbox.client import SandboxError
from collab.storage.base import StorageError

MESSAGES: list[NodeMessage] = [
    Greeting(1, 1, 7, MOST_MESSAGE),
    NodeCall(1, b"value", "update", PayerNamed("acme", "user", "ada")),
    NodeCall(2, b"", "create"),
    NodeAnswer(1, b"value"),
    Item(3, b"value"),
    ValuePart(4, b"value"),
    NodeFailure(5, b"\x80", "Conflict", "written by somebody else", False),
    Cancelled(6),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives(message: NodeMessage) -> None:
    assert decode_node(encode_node(message)) == message


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\xa4what", b"\x92\xa4call\xa1x", b"\x93\xa4call\x01", b"\x07"])
def test_junk_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_node(data)


@given(st.binary(max_size=60))
def test_junk_of_any_kind_is_refused_or_a_message(data: bytes) -> None:
    with suppress(InvalidRequest):
        decode_node(data)


def test_what_a_later_version_adds_at_the_end_is_skipped() -> None:
    later = msgspec.msgpack.encode(["call", 1, b"value", "update", None, None, "new"])
    assert decode_node(later) == NodeCall(1, b"value", "update")


def test_nodes_whose_versions_have_nothing_in_common_do_not_talk() -> None:
    check_greeting(Greeting(VERSION + 1, VERSION, 7, MOST_MESSAGE), 3)
    check_greeting(Greeting(OLDEST, 1, 7, MOST_MESSAGE), 3)
    for version, older in ((VERSION + 2, 3), (OLDEST - 1, 7)):
        with pytest.raises(Incompatible, match=f"node 7 speaks version {version} .* node {older} is older"):
            check_greeting(Greeting(version, version, 7, MOST_MESSAGE), 3)
    with pytest.raises(Incompatible, match=r"node 7 speaks versions 1 to 2 .*, and node 3 versions 3 to 4: node 7"):
        check_greeting(Greeting(2, 1, 7, MOST_MESSAGE), 3, Spoken(4, 3))
    for wrong in (Greeting(VERSION, OLDEST, 7, 1000), Cancelled(1)):
        with pytest.raises(InvalidRequest):
            check_greeting(wrong, 3)


@given(st.binary(max_size=20_000), st.integers(4096, 30_000))
def test_a_value_arrives_whole_however_it_is_cut(value: bytes, most: int) -> None:
    frames = list(in_pieces(NodeAnswer(1, value), most))
    assert all(len(frame) <= most for frame in frames)
    pieces = ValueParts()
    *begun, last = [pieces.take(decode_node(frame)) for frame in frames]
    assert begun == [None] * len(begun)
    assert last == NodeAnswer(1, value)


def test_a_megabyte_is_sent_at_once_and_more_in_pieces() -> None:
    assert len(list(in_pieces(NodeAnswer(1, b"x" * PIECE)))) == 1
    assert len(list(in_pieces(NodeAnswer(1, b"x" * (PIECE + 1))))) == 2


def test_values_of_several_calls_may_be_mixed() -> None:
    pieces = ValueParts()
    assert pieces.take(ValuePart(1, b"a")) is None
    assert pieces.take(ValuePart(2, b"x")) is None
    assert pieces.take(Cancelled(2)) == Cancelled(2)
    assert pieces.take(NodeAnswer(2, b"y")) == NodeAnswer(2, b"xy")
    assert pieces.take(NodeAnswer(1, b"b")) == NodeAnswer(1, b"ab")
    assert pieces.take(NodeAnswer(1, b"c")) == NodeAnswer(1, b"c")


def test_unfinished_values_are_bounded_together() -> None:
    pieces = ValueParts(most=10)
    pieces.take(ValuePart(1, b"x" * 5))
    pieces.take(ValuePart(2, b"x" * 5))
    pieces.drop(1)
    pieces.take(ValuePart(3, b"x" * 5))
    with pytest.raises(TooLarge):
        pieces.take(ValuePart(4, b"x"))


KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, CollabError) and kind is not Elsewhere
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_raised_again_as_the_same_class(kind: type[CollabError]) -> None:
    error = kind("it failed", field="title", at=[1, None])
    arrived = error_of(failure_of(1, error))
    assert type(arrived) is kind
    assert (arrived.message, arrived.details) == ("it failed", {"field": "title", "at": [1, None]})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Elsewhere(nid=7), Elsewhere),
        (UnknownCall("what"), UnknownCall),
        (StorageError("away"), Unavailable),
        (SandboxError("stuck"), InternalError),
    ],
)
def test_an_error_of_one_module_is_raised_as_the_next_general_one(error: CollabError, kind: type[CollabError]) -> None:
    arrived = error_of(failure_of(1, error))
    assert type(arrived) is kind
    assert (arrived.message, arrived.code, arrived.retryable) == (error.message, error.code, error.retryable)
    assert getattr(arrived, "nid", None) == getattr(error, "nid", None)


@pytest.mark.parametrize(("retryable", "kind"), [(True, Unavailable), (False, InvalidRequest)])
@pytest.mark.parametrize("name", ["OfALaterVersion", "annotations", "Any", "Elsewhere"])
def test_an_unknown_error_says_at_least_whether_to_retry(name: str, retryable: bool, kind: type[CollabError]) -> None:
    assert type(error_of(NodeFailure(1, b"\x80", name, "?", retryable))) is kind


@pytest.mark.parametrize("details", [{"x": object()}, {"x": 2**70}, {"x": "\ud800"}])
def test_details_that_cannot_be_encoded_are_left_out(details: dict[str, Any]) -> None:
    said = failure_of(1, Conflict("met \ud800", **details))
    assert error_of(said).details == {}
    assert isinstance(decode_node(encode_node(said)), NodeFailure)
