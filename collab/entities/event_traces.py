"""Which traces the newest events belong to: from the changes of a commit to whoever tells of its events."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias, TypeVar

from collab.entities.entity import EntityOp
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.storage.base import Fact
from collab.tracing import Trace, Tracer, TraceSpan, about

log = logging.getLogger(__name__)

T = TypeVar("T")

_EVENTS = 10_000
_LINKS = 128
"""Links of one span, at most: the limit that OpenTelemetry recommends."""

_Place: TypeAlias = tuple[str, int]  # project, position
_Author: TypeAlias = tuple[RoomKey, str | None]


class TracedChange(NamedTuple):
    """A change in a commit, and the span that made it; ``None`` if none is recorded."""

    trace: Trace | None
    ops: Sequence[EntityOp]


class CommitTrace(NamedTuple):
    """A commit under way. ``origins`` are the spans that changed an entity, by its key and their author."""

    span: TraceSpan
    origins: dict[_Author, list[Trace]]


class _Origin(NamedTuple):
    """What the span of an event follows, and what it links to."""

    parent: Trace
    links: Sequence[Trace]


class EventTraces:
    """Remembers the newest ``most`` events that are traced.

    A commit belongs to the trace of the first change in it that is recorded, and links to the others; without one it
    has no span. An event belongs to the trace of the change that made it, and links to the commit.
    """

    def __init__(self, tracer: Tracer, most: int = _EVENTS) -> None:
        self._tracer = tracer
        self._most = most
        self._origins: OrderedDict[_Place, _Origin] = OrderedDict()  # of events that nobody was told of
        self._told: OrderedDict[_Place, Trace] = OrderedDict()
        self._elsewhere: OrderedDict[_Place, Trace] = OrderedDict()  # what other nodes have told of theirs

    def here(self) -> Trace | None:
        """The running span, which makes a change; ``None`` if none is recorded."""
        return self._tracer.here()

    def begin(self, changes: Sequence[TracedChange]) -> CommitTrace | None:
        """A commit begins; ``None`` if nothing in it is traced, or it cannot be: commits go on all the same."""
        try:
            return self._begin(changes)
        except Exception:
            log.exception("a commit could not be traced")
            return None

    def _begin(self, changes: Sequence[TracedChange]) -> CommitTrace | None:
        traces = list(dict.fromkeys(change.trace for change in changes if change.trace is not None))
        if not traces:
            return None
        origins: dict[_Author, list[Trace]] = {}
        for trace, ops in changes:
            if trace is None:
                continue
            for op in ops:
                known = origins.setdefault((op.entity.key, op.user_id), [])
                if trace not in known:
                    known.append(trace)
        attributes = {"collab.changes": len(changes)}
        span = self._tracer.begin("collab.commit", attributes, parent=traces[0], links=traces[1 : _LINKS + 1])
        return CommitTrace(span, origins)

    def committed(self, commit: CommitTrace, facts: Sequence[Fact], positions: Sequence[int]) -> None:
        """A commit is over, and its events are about to be told."""
        try:
            self._committed(commit, facts, positions)
        except Exception:
            log.exception("a commit could not be traced")

    def _committed(self, commit: CommitTrace, facts: Sequence[Fact], positions: Sequence[int]) -> None:
        commit.span.add({"collab.events": len(facts)})
        commit.span.end()
        here = [commit.span.trace] if commit.span.trace is not None else []
        for fact, position in zip(facts, positions, strict=True):
            key = fact.entity.key
            made_by = commit.origins.get((key, fact.event.user_id))
            if made_by is not None:
                origin = _Origin(made_by[0], [*here, *made_by[1:_LINKS]])
                _put(self._origins, (key.project, position), origin, self._most)

    @contextmanager
    def telling(self, project: str, event: EntityEvent) -> Iterator[None]:
        """Inside the block the listeners of this process are told of an event."""
        place = project, event.position
        origin = self._origins.pop(place, None)
        if origin is None:
            yield
            return
        attributes = {
            **about(RoomKey(project, event.collection, event.id)),
            "collab.event": event.type,
            "collab.version": event.version,
        }
        with self._tracer.work("collab.event", attributes, parent=origin.parent, links=origin.links) as span:
            if span.trace is not None:
                _put(self._told, place, span.trace, self._most)
            yield

    def made(self, project: str, positions: Sequence[int]) -> list[tuple[int, Trace]]:
        """The spans that made events of a commit that is being told; none for those that are not traced."""
        found = ((position, self._origins.get((project, position))) for position in positions)
        return [(position, origin.parent) for position, origin in found if origin is not None]

    def heard(self, project: str, traces: Sequence[tuple[int, Trace]]) -> None:
        """Another node has told which spans made its events, by their positions."""
        for position, trace in traces:
            _put(self._elsewhere, (project, position), trace, self._most)

    def of(self, project: str, position: int) -> Trace | None:
        """The span that told of an event here, or else made it on another node; ``None``: unknown, or long ago."""
        place = project, position
        return self._told.get(place) or self._elsewhere.get(place)


def _put(known: OrderedDict[_Place, T], place: _Place, what: T, most: int) -> None:
    known[place] = what
    if len(known) > most:
        known.popitem(last=False)
