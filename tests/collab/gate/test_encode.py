"""Updates are written in the form in which they were read."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.gate.encode import encode_update
from collab.gate.struct_content import Malformed
from collab.gate.structs import Parts, decode, read
from tests.fuzz import encode
from tests.fuzz.author import Author
from tests.fuzz.encode import STRING, block, filler, frame, item, string
from tests.fuzz.test_honest_traffic import histories


def text(content: str, **where: object) -> bytes:
    return item(STRING, string(content), **(where or {"parent": "t"}))  # type: ignore[arg-type]


@given(st.integers(0, 2**32), st.sampled_from((0.0, 0.05, 0.2)))
def test_what_was_read_is_written_the_same(seed: int, malice: float) -> None:
    author = Author(Random(seed), malice)
    for _ in range(5):
        update = author.write()
        try:
            parts = read(update, len(update))
        except Malformed:
            continue
        author.accepted()
        written = encode_update(parts.source, parts.structs, parts.deletes)
        again = read(written, len(written))
        assert again.as_sent
        assert [struct[:8] for struct in again.structs] == [struct[:8] for struct in parts.structs]
        assert _contents(again) == _contents(parts)
        assert again.deletes == parts.deletes


def _contents(parts: Parts) -> list[bytes]:
    return [parts.source[struct[8] : struct[9]] for struct in parts.structs if struct[3] != encode.DELETED]


def test_what_yjs_wrote_is_written_byte_for_byte() -> None:
    for history in histories(0, 2):
        for _, hex_, _ in history["traffic"]:
            update = bytes.fromhex(hex_)
            written = encode_update(update, *decode(update))
            # Yjs sets a flag for the key that it does not write beside a neighbour, and that nobody reads
            assert len(written) == len(update)
            assert decode(written) == decode(update)


def test_what_is_left_out_between_structs_becomes_a_skip() -> None:
    update = frame([block(1, 0, [text("a"), text("bc", origin=(1, 0)), text("d", origin=(1, 2))])])
    (first, _, last), deletes = decode(update)
    assert encode_update(update, [first, last], deletes) == frame(
        [block(1, 0, [text("a"), filler(encode.SKIP, 2), text("d", origin=(1, 2))])]
    )


def test_the_deletions_of_a_client_are_written_together() -> None:
    deletes = [(1, 5, 1), (2, 0, 3), (1, 0, 2)]
    assert encode_update(b"", [], deletes) == frame([], deletes)
    assert decode(encode_update(b"", [], deletes))[1] == [(1, 5, 1), (1, 0, 2), (2, 0, 3)]


def test_structs_must_follow_each_other() -> None:
    one = frame([block(1, 0, [text("a"), text("b", origin=(1, 0))]), block(2, 0, [text("c")])])
    a, b, c = decode(one)[0]
    with pytest.raises(ValueError, match="overlap"):
        encode_update(one, [b, a], [])
    with pytest.raises(ValueError, match="not adjacent"):
        encode_update(one, [a, c, b], [])
