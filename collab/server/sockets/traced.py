"""What is traced of the opening of a WebSocket."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Scope

from collab.tracing import Trace, Tracer

_TRACEPARENT = "traceparent"


def headers_of(scope: Scope) -> list[tuple[str, str]]:
    """The headers of a handshake; their names are in lower case."""
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]


def connected(tracer: Tracer, scope: Scope) -> Trace | None:
    """A WebSocket is being opened. Returns the span of this, to which those of its messages link."""
    span = tracer.begin(
        "collab.connect",
        {"collab.endpoint": scope["path"].split("/")[1]},
        kind="server",
        parent=tracer.told(traceparent_in(headers_of(scope))),
    )
    span.end()
    return span.trace


def traceparent_in(headers: Sequence[tuple[str, str]]) -> str | None:
    """The value of the header, if there is exactly one."""
    found = [value for name, value in headers if name == _TRACEPARENT]
    return found[0] if len(found) == 1 else None


def followed(headers: Sequence[tuple[str, str]], origin: Trace | None) -> list[tuple[str, str]]:
    """Headers by which another server goes on with the span in which a WebSocket was opened."""
    if origin is None:
        return list(headers)
    rest = [(name, value) for name, value in headers if name != _TRACEPARENT]
    return [*rest, (_TRACEPARENT, str(origin))]
