"""What nodes tell each other of the traces of events: bytes to traces and back. Pure.

They have a topic of their own, beside that of the events, because nodes that do not trace need none of it. A message is
a list of ``[position, ids]`` in MessagePack; ``ids`` are the 24 bytes of a trace's id and a span's id. Only what is
sampled is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta

from collab.tracing import Trace

MOST = 1000
"""Most traces in a message."""

_Message = Annotated[
    list[tuple[Annotated[int, Meta(ge=1, le=2**53)], Annotated[bytes, Meta(min_length=24, max_length=24)]]],
    Meta(max_length=MOST),
]

_messages = msgspec.msgpack.Decoder(_Message)


def topic_of(project: str) -> str:
    """The topic of the traces of a project's events."""
    return f"traces/{project}"


def write_traces(traces: Sequence[tuple[int, Trace]]) -> Iterator[bytes]:
    """Messages about events, by position, and the spans that made them."""
    rest = iter(traces)
    while some := list(islice(rest, MOST)):
        yield msgspec.msgpack.encode(
            [
                (position, trace.trace_id.to_bytes(16, "big") + trace.span_id.to_bytes(8, "big"))
                for position, trace in some
            ]
        )


def read_traces(message: bytes) -> Sequence[tuple[int, Trace]] | None:
    """What a message says; ``None`` if it makes no sense."""
    if len(message) > 64 * MOST:
        return None
    try:
        found = _messages.decode(message)
    except (msgspec.MsgspecError, RecursionError):
        return None
    traces = [
        (position, Trace(int.from_bytes(ids[:16], "big"), int.from_bytes(ids[16:], "big"), remote=True))
        for position, ids in found
    ]
    return traces if all(trace.trace_id and trace.span_id for _, trace in traces) else None
