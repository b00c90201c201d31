"""Subscriptions to queries with related rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from collab.query.include import Include, RelationQuery
from collab.query.match import conjoin
from collab.query.parse_include import parse_including
from collab.query.query import Query
from collab.realtime.matching.live_includes import RowsChange
from collab.realtime.sending.slices import included_in_slices
from collab.realtime.sending.streams import AllRows
from collab.realtime.subscriptions.base import Cancel, Context, Filters
from collab.realtime.subscriptions.rows import OpenedRows, select_step
from collab.records.including import with_keys
from collab.wire.realtime.encoding import Frame
from collab.wire.realtime.messages import RowsChanged
from collab.wire.realtime.values import Included, IncludedSteps, Rows, Step, select


class OpenedIncluding(OpenedRows):
    """A live query with ``include``. It implements ``IncludesWatcher`` of
    :mod:`collab.realtime.matching.live_includes`.
    """

    def __init__(self, context: Context, sub: int, target: Rows) -> None:
        super().__init__(context, sub, target)
        self._includes: tuple[Include, ...] = ()
        self._relations: dict[str, RelationQuery] = {}

    def _parse(self) -> Query:
        query, self._includes = parse_including(self._target.query)
        return query

    async def _rights(self, filters: Filters) -> Any:
        where = await super()._rights(filters)
        relations = await self.context.hub.records.relations(self._target.collection, self._includes, filters.of)
        return where, relations

    async def _open_query(self) -> Cancel:
        where, relations = self._seen
        caller, target = self.context.caller, self._target
        self._relations = {relation.name: relation for relation in relations}
        fields = with_keys(target.fields, relations)
        self._fields = None if fields is None else frozenset((*fields, "id"))
        assert isinstance(self._asked, Query)
        query = replace(self._asked, where=conjoin(self._asked.where, where))
        return await self.context.hub.live_includes.open(
            caller.identity.project, target.collection, query, relations, self, caller.owner
        )

    # calls of the live query

    def all_rows(
        self, rows: list[dict[str, Any]], versions: list[int], included: Mapping[str, Included] | None
    ) -> None:
        """Send all rows."""
        self._send_all(AllRows(rows, versions, included))

    def changed(self, told: RowsChange) -> None:
        """Send changes."""
        if self._stream.stale:
            return
        steps, included = self._selected(told.steps), self._selected_included(told.included)
        if steps or included:
            self.offer(lambda: self._told_frame(told, steps, included), lambda: self._stream.steps(steps, included))

    # what the client receives

    def _included(self, rows: AllRows) -> dict[str, Included] | None:
        return {name: _chosen(each, self._relations[name].fields) for name, each in (rows.included or {}).items()}

    async def _encode_included(self, rows: AllRows) -> dict[str, Included] | None:
        return await included_in_slices(self._included(rows) or {}, self.context.form)

    def _selected_included(self, included: Sequence[IncludedSteps]) -> Sequence[IncludedSteps]:
        mine = []
        for each in included:
            fields = self._relations[each.relation].fields
            if fields is not None:
                steps = [chosen for step in each.steps if (chosen := select_step(step, fields)) is not None]
                if not steps and not each.fresh:
                    continue
                each = msgspec.structs.replace(each, steps=steps)
            mine.append(each)
        return mine

    def _told_frame(self, told: RowsChange, steps: Sequence[Step], included: Sequence[IncludedSteps]) -> Frame:
        """All watchers receive the same changes: those with the same fields share one encoding."""
        if self._target.include_permissions:
            return self._steps_frame(steps, included)
        once, form = self.context.once, self.context.form
        chosen = tuple((name, each.fields) for name, each in self._relations.items())
        raw_steps: Any = once.encode(told, form, ("rows", self._fields), lambda: steps)
        raw_included: Any = once.encode(told, form, ("included", chosen), lambda: included)
        return self.context.encode(RowsChanged(sub=self.sub, steps=raw_steps, included=raw_included))


def _chosen(included: Included, fields: Sequence[str] | None) -> Included:
    if fields is None:
        return included
    rows = {key: [select(row, fields) for row in each] for key, each in included.rows.items()}
    return msgspec.structs.replace(included, rows=rows)
