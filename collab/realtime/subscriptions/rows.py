"""Subscriptions to queries and aggregates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from collab.access.rules import Access
from collab.errors import CollabError
from collab.names import RoomKey
from collab.query.aggregate import Aggregation
from collab.query.match import conjoin
from collab.query.parse_aggregation import parse_aggregation
from collab.query.parse_include import parse_including
from collab.query.query import Query
from collab.realtime.sending.slices import encoded_in_slices
from collab.realtime.sending.streams import AllRows, RowsStream
from collab.realtime.subscriptions.base import Cancel, Context, Filters, OpenSubscription, check_fields
from collab.wire.realtime.encoding import Frame
from collab.wire.realtime.messages import RowsAre, RowsChanged
from collab.wire.realtime.values import Aggregated, Included, IncludedSteps, Rows, Step, Subscribed, select


class OpenedRows(OpenSubscription):
    """A live query. It implements ``Watcher`` of :mod:`collab.realtime.matching.live_queries`."""

    def __init__(self, context: Context, sub: int, target: Rows) -> None:
        super().__init__(context, sub)
        self._target = target
        self._fields = None if target.fields is None else frozenset((*target.fields, "id"))
        self._asked: Query | Aggregation = Query()
        self._seen: Any = None  # what the caller may see, as `_rights` returns it
        self._stream = RowsStream(self._steps_frame, self._rows_frame, full=lambda: context.run(self._again))

    @property
    def stream(self) -> RowsStream:
        """Waiting rows or steps."""
        return self._stream

    async def open(self, filters: Filters) -> Subscribed:
        """Start; the rows are sent first."""
        check_fields(self._target.fields)
        self._asked = self._parse()
        self._seen = await self._rights(filters)
        self._asked = self.context.hub.schemas.search(self._target.collection, self._asked)
        await self._watch()
        return Subscribed(sub=self.sub)

    async def recheck(self, filters: Filters) -> None:
        """Apply a changed row filter: send all rows again."""
        seen = await self._rights(filters)
        if not self.closed and repr(seen) != repr(self._seen):
            self._seen = seen
            await self._watch()

    def _parse(self) -> Query | Aggregation:
        """Read what the client asks for. Raises :class:`collab.errors.InvalidRequest`."""
        return parse_including(self._target.query)[0]

    async def _rights(self, filters: Filters) -> Any:
        """Return what the caller may see. Raises :class:`collab.errors.PermissionDenied` if it may see no rows."""
        return await filters.of(self._target.collection)

    # calls of the live query

    def reset(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        """Send all rows."""
        self._send_all(AllRows(rows, versions))

    def _send_all(self, rows: AllRows) -> None:
        self.context.outbox.forget(self._stream)
        self._stream.clear()
        self.offer(lambda: self._rows_frame(rows), lambda: self._stream.reset(rows))

    def steps(self, steps: Sequence[Step]) -> None:
        """Send changes."""
        if self._stream.stale:
            return
        mine = self._selected(steps)
        if mine:
            self.offer(lambda: self._shared_frame(steps, mine), lambda: self._stream.steps(mine))

    def failed(self, error: CollabError) -> None:
        """The query has ended."""
        if not self.closed:
            self.context.ended(self.sub, error)

    async def _watch(self) -> None:
        self.unwatch()
        corked, self.corked = self.corked, True  # hold the rows back until they are encoded
        try:
            self.watch(await self._open_query())
            await self._encode_rows()
        finally:
            if not corked:
                self.uncork()

    async def _open_query(self) -> Cancel:
        caller = self.context.caller
        query = replace(self._asked, where=conjoin(self._asked.where, self._seen))
        return await self.context.hub.live_queries.open(
            caller.identity.project, self._target.collection, query, self, caller.owner
        )

    async def _encode_rows(self) -> None:
        """Encode the waiting rows, with others served in between."""
        waiting = self._stream.rows
        if waiting is None:
            return
        raw = await encoded_in_slices(map(self._row, waiting.rows), self.context.form)
        included = await self._encode_included(waiting)
        if self._stream.rows is waiting:
            self._stream.encoded(waiting, self.context.encode(self._message(waiting, raw, included)))

    async def _encode_included(self, rows: AllRows) -> dict[str, Included] | None:
        """Return what the rows include, encoded."""
        return None

    async def _again(self) -> None:
        """Steps were dropped: send all rows again."""
        if self.closed:
            return
        try:
            await self._watch()
        except CollabError as error:
            self.failed(error)

    # what the client receives

    def _selected(self, steps: Sequence[Step]) -> Sequence[Step]:
        if self._fields is None and not self._target.include_permissions:
            return steps
        return [mine for step in steps if (mine := self._select(step)) is not None]

    def _select(self, step: Step) -> Step | None:
        if step.op == "enter":
            assert step.data is not None
            permissions = self._permissions(step.data) if self._target.include_permissions else None
            return msgspec.structs.replace(step, data=self._row(step.data), permissions=permissions)
        return step if self._fields is None else select_step(step, self._fields)

    def _row(self, data: dict[str, Any]) -> dict[str, Any]:
        if self._fields is None:
            return data
        return {name: value for name, value in data.items() if name in self._fields}

    def _permissions(self, data: dict[str, Any]) -> dict[str, bool]:
        identity = self.context.caller.identity
        access = identity.access_to_row(RoomKey(identity.project, self._target.collection, data["id"]), data)
        return {"read": access >= Access.READ, "write": access >= Access.WRITE}

    def _rows_frame(self, rows: AllRows) -> Frame:
        return self.context.encode(self._message(rows, list(map(self._row, rows.rows)), self._included(rows)))

    def _message(self, rows: AllRows, mine: list[Any], included: dict[str, Included] | None) -> RowsAre:
        permissions = [self._permissions(row) for row in rows.rows] if self._target.include_permissions else None
        return RowsAre(sub=self.sub, rows=mine, versions=rows.versions, permissions=permissions, included=included)

    def _included(self, rows: AllRows) -> dict[str, Included] | None:
        """Return what the rows include."""
        return None

    def _steps_frame(self, steps: Sequence[Step], included: Sequence[IncludedSteps] = ()) -> Frame:
        return self.context.encode(RowsChanged(sub=self.sub, steps=list(steps), included=list(included)))

    def _shared_frame(self, steps: Sequence[Step], mine: Sequence[Step]) -> Frame:
        """All watchers of a query receive the same steps: those with the same fields share one encoding."""
        if self._target.include_permissions:
            return self._steps_frame(mine)
        raw: Any = self.context.once.encode(steps, self.context.form, self._fields, lambda: mine)
        return self.context.encode(RowsChanged(sub=self.sub, steps=raw))


class OpenedAggregate(OpenedRows):
    """A live aggregate. Its groups are rows with all their members."""

    def __init__(self, context: Context, sub: int, target: Aggregated) -> None:
        super().__init__(context, sub, Rows(collection=target.collection, query=target.query))

    def _parse(self) -> Aggregation:
        return parse_aggregation(self._target.query)


def select_step(step: Step, fields: Collection[str]) -> Step | None:
    """Return a step of rows of which only these members and ``id`` are shown; ``None`` if it changes none of them."""
    if step.op == "enter":
        assert step.data is not None
        return msgspec.structs.replace(step, data=select(step.data, tuple(fields)))
    if step.op != "change":
        return step
    values = {name: value for name, value in (step.set or {}).items() if name in fields}
    unset = tuple(name for name in step.unset or () if name in fields)
    if not values and not unset:
        return None
    return msgspec.structs.replace(step, set=values or None, unset=unset or None)
