"""How the server tells a tracing system of its work. Nothing here imports one.

Code that may be traced takes a :class:`Tracer` or ``None``. With ``None`` it does nothing but this test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypedDict, Unpack

from collab.errors import CollabError
from collab.names import RoomKey


class Trace(NamedTuple):
    """The place of a span, for spans that follow it or link to it: the ids of its trace and its own."""

    trace_id: int
    span_id: int
    sampled: bool = True
    remote: bool = False  # another program has it

    def __str__(self) -> str:
        """As a W3C ``traceparent``."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-0{int(self.sampled)}"


Attributes: TypeAlias = Mapping[str, str | int]

SpanKind = Literal["internal", "server", "client"]


class SpanOptions(TypedDict, total=False):
    """What a span is and belongs to: its kind (``internal`` if there is none), its parent, and what it links to."""

    kind: SpanKind
    parent: Trace | None
    links: Sequence[Trace]


class TraceSpan(Protocol):
    """Something that takes time."""

    @property
    def trace(self) -> Trace | None:
        """Its place; ``None`` if it is not recorded."""

    def add(self, attributes: Attributes) -> None:
        """Say more about it."""

    def failed(self, code: str) -> None:
        """It ends with an error."""

    def end(self) -> None:
        """It is over."""


class Tracer(Protocol):
    """Makes spans. The *running* span is that of the current task or callback.

    Attributes are ids, counts and names of ours: no content, no credential, nothing about a person.
    """

    def begin(self, name: str, attributes: Attributes, **options: Unpack[SpanOptions]) -> TraceSpan:
        """Begin a span after its parent, or else after the running one. It does not run: end it yourself."""

    def work(
        self, name: str, attributes: Attributes, **options: Unpack[SpanOptions]
    ) -> AbstractContextManager[TraceSpan]:
        """The same for the work inside the block, in which the span runs. Its exception is noted."""

    def step(self, name: str, attributes: Attributes, *, kind: SpanKind = "internal") -> AbstractContextManager[object]:
        """As :meth:`work`, if a recorded span runs; otherwise nothing."""

    def here(self) -> Trace | None:
        """The running span; ``None`` if there is none, or it is not recorded."""

    def failed(self, error: CollabError) -> None:
        """The work of the running span ends with an error."""

    def carried(self) -> str | None:
        """The W3C ``traceparent`` by which another server goes on with the running span."""

    def told(self, traceparent: str | None) -> Trace | None:
        """The span that another program names; ``None`` if it names none, or a span already runs here."""


def about(key: RoomKey) -> Attributes:
    """The attributes of a span about an entity."""
    return {"collab.project": key.project, "collab.collection": key.collection, "collab.entity": key.id}
