"""Optimistic rows: the server's rows with the own uncommitted writes applied. Pure: the result depends only on the rows
and versions that the server sent last, and on the own writes.

1. A write applies to a row with a smaller version, or, before it is committed, to any version. Several writes to one
   entity apply in order.
2. A write is shown only where that is simple and correct: an update whose row is known, a deletion, and a creation in a
   query whose first page is shown with all members. Everything else waits for the server.
3. A creation never changes an existing entity: the server will refuse it. A committed write shows the server's result,
   which may differ from what was written (a conflict).
4. An uncommitted write counts as later than everything received, including own committed writes, whatever the clock of
   this device says, and as later than the own writes before it. Its ``createdAt`` and ``updatedAt`` reflect that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from collab.client.core.values import Rows
from collab.dates import EPOCH, canonical, iso
from collab.errors import InvalidRequest
from collab.query.match import compile_where, sort_key
from collab.query.parse import parse_query
from collab.wire.realtime.messages import Create, Delete, Restore, Update
from collab.wire.realtime.values import AnyWrite, CreateOne, DeleteOne, UpdateOne, Written


@dataclass(frozen=True, slots=True)
class Op:
    """One own write, made at ``made`` (milliseconds since the epoch, by this device's clock).

    Once committed, ``version`` is the version that it created, ``values`` (except for deletions) the whole entity, and
    ``commit`` its position among the own commits. ``late``: lists that still need it are fetched again.
    """

    kind: Literal["create", "update", "delete"]
    collection: str
    entity: str
    values: Mapping[str, Any]
    unset: tuple[str, ...] = ()
    version: int | None = None
    made: int | None = None
    commit: int | None = None
    late: bool = False

    @classmethod
    def of(cls, message: Create | Update | Delete | Restore | AnyWrite, at: str) -> Op | None:
        """Return the effect of ``message``, written at ``at``, on rows; ``None`` if only the server knows it."""
        assert message.entity is not None
        match message:
            case Create() | CreateOne():
                data = {"id": message.entity, **message.data}
                return cls("create", message.collection, message.entity, data, made=_milliseconds(at))
            case Update() | UpdateOne():
                changes, unset = message.changes, message.unset
                return cls("update", message.collection, message.entity, changes, unset, made=_milliseconds(at))
            case Delete() | DeleteOne():
                return cls("delete", message.collection, message.entity, {})
            case Restore():
                return None

    def committed(self, written: Written, commit: int) -> Op:
        """Return the committed write, with the server's result."""
        values = {} if self.kind == "delete" else written.data
        return replace(self, values=values, unset=(), version=written.version, commit=commit)

    def is_news(self, version: int) -> bool:
        """Whether a row of ``version`` lacks this write."""
        return self.version is None or version < self.version

    def after(self, last: int) -> tuple[Op, int]:
        """Return the write with times later than ``last``, the newest time before it, and the newest time with it."""
        if self.version is not None or self.made is None:
            return self, max(last, _newest([self.values]))
        time = max(last + 1, self.made)
        at = iso(time / 1000)
        created = {"createdAt": at} if self.kind == "create" else {}
        return replace(self, values={**self.values, **created, "updatedAt": at}), time


def apply(op: Op, data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Apply a write to an entity's data; ``None`` if the entity does not exist afterwards, or is unknown."""
    if op.kind == "delete":
        return None
    if op.kind == "create":
        return dict(op.values) if data is None or op.commit is not None else dict(data)
    if data is None:
        return None
    if op.commit is not None:
        return dict(op.values)
    return {name: value for name, value in {**data, **op.values}.items() if name not in op.unset}


def lay_over(ops: Iterable[Op], data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Apply writes to one entity's data."""
    last = _newest([] if data is None else [data])
    after = None if data is None else dict(data)
    for op in ops:
        timed, last = op.after(last)
        after = apply(timed, after)
    return after


def _newest(rows: Iterable[Mapping[str, Any]]) -> int:
    """Return the newest time in rows, in milliseconds since the epoch."""
    times = (row.get(name) for row in rows for name in ("createdAt", "updatedAt"))
    texts = (canonical(time) for time in times if isinstance(time, str))
    return _milliseconds(max((text for text in texts if text is not None), default=""))


def _milliseconds(at: str) -> int:
    text = canonical(at)
    return 0 if text is None else (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


class Lens:
    """Evaluates a query locally, as far as a client can."""

    def __init__(self, query: Mapping[str, Any], fields: Sequence[str] | None) -> None:
        self._fields = None if fields is None else {"id", *fields}
        self._matches: Callable[[Mapping[str, Any]], bool] | None = None
        self._key: Callable[[Mapping[str, Any]], Any] | None = None
        self._limit: int | None = None
        try:
            parsed = parse_query(query)
        except InvalidRequest:
            return  # the server will refuse it
        # what is searched is declared at the server
        if fields is None and not parsed.offset and parsed.after is None and parsed.search is None:
            self._matches = compile_where(parsed.where)
            self._key = sort_key(parsed.order_by)
            self._limit = parsed.limit

    def over(self, rows: Sequence[dict[str, Any]], versions: Mapping[str, int], ops: Sequence[Op]) -> Rows:
        """Return ``rows`` with ``ops`` applied, sorted and filtered by the query."""
        now = {row["id"]: row for row in rows}
        known = now.keys() & versions.keys()
        after = self._after(now, [op for op in ops if op.is_news(versions.get(op.entity, 0))])
        for entity, data in after.items():
            if data is None or (self._matches is not None and not self._matches(data)):
                now.pop(entity, None)
            else:
                now[entity] = self._select(data)
        wanted = list(now.values())
        if after and self._key is not None:
            wanted.sort(key=self._key)
            wanted = wanted[: self._limit]
        return Rows(wanted, [versions[row["id"]] if row["id"] in known else 0 for row in wanted])

    def _after(self, now: Mapping[str, dict[str, Any]], news: Sequence[Op]) -> dict[str, dict[str, Any] | None]:
        """Return the new data of every written entity."""
        after: dict[str, dict[str, Any] | None] = {}
        last = _newest([*now.values(), *(op.values for op in news if op.version is not None)]) if news else 0
        for op in news:
            before = after[op.entity] if op.entity in after else now.get(op.entity)
            if before is not None or (op.kind == "create" and self._matches is not None):
                timed, last = op.after(last)
                after[op.entity] = apply(timed, before)
        return after

    def _select(self, data: dict[str, Any]) -> dict[str, Any]:
        if self._fields is None:
            return data
        return {name: value for name, value in data.items() if name in self._fields}
