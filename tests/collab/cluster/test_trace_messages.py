"""What nodes tell of traces arrives as it was; anything else makes no sense."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.cluster.trace_messages import MOST, read_traces, write_traces
from collab.tracing import Trace

TRACES = st.lists(
    st.tuples(
        st.integers(1, 2**53),
        st.builds(Trace, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.just(True), st.just(True)),
    ),
    max_size=20,
)


@given(TRACES)
def test_what_is_written_is_read(traces: list[tuple[int, Trace]]) -> None:
    read = [trace for message in write_traces(traces) for trace in read_traces(message) or ()]
    assert read == traces


def test_many_take_several_messages() -> None:
    traces = [(position, Trace(1, position, remote=True)) for position in range(1, 2 * MOST + 2)]
    messages = list(write_traces(traces))
    assert len(messages) == 3
    assert [trace for message in messages for trace in read_traces(message) or ()] == traces


IDS = b"\x01" * 24


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"\x93" * 5000,
        msgspec.msgpack.encode({"a": 1}),
        msgspec.msgpack.encode([(0, IDS)]),
        msgspec.msgpack.encode([(2**60, IDS)]),
        msgspec.msgpack.encode([(1, IDS[:-1])]),
        msgspec.msgpack.encode([(1, bytes(16) + b"\x01" * 8)]),
        msgspec.msgpack.encode([(1, b"\x01" * 16 + bytes(8))]),
        msgspec.msgpack.encode([(1, IDS)] * (MOST + 1)),
        bytes(64 * MOST + 1),
    ],
)
def test_bytes_that_no_node_writes_make_no_sense(message: bytes) -> None:
    assert read_traces(message) is None
