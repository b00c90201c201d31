"""Rows as they will be once the own writes are committed. Pure.

A write is shown at once where that is simple and right: an update where its row is known, a deletion, and a creation
in a query that tells which rows it wants and shows all their members from the first one on. Everything else waits for
the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from collab.client.values import Rows
from collab.errors import InvalidRequest
from collab.query.match import compile_where, sort_key
from collab.query.parse import parse_query
from collab.wire.realtime import Create, Delete, Restore, Update, Written


@dataclass(frozen=True, slots=True)
class Op:
    """One own write. Once it is committed, as ``version``, it is shown until rows have it."""

    kind: Literal["create", "update", "delete"]
    collection: str
    entity: str
    values: Mapping[str, Any]
    unset: tuple[str, ...] = ()
    version: int | None = None

    @classmethod
    def of(cls, message: Create | Update | Delete | Restore, at: str) -> Op | None:
        """What ``message``, written at ``at``, does to rows; ``None`` for what only the server knows."""
        assert message.entity is not None
        match message:
            case Create():
                data = {"id": message.entity, **message.data, "createdAt": at, "updatedAt": at}
                return cls("create", message.collection, message.entity, data)
            case Update():
                changes = {**message.changes, "updatedAt": at}
                return cls("update", message.collection, message.entity, changes, message.unset)
            case Delete():
                return cls("delete", message.collection, message.entity, {})
            case Restore():
                return None

    def committed(self, written: Written) -> Op:
        """The same once it is committed. A created row is what the server made of it."""
        values = written.data if self.kind == "create" else self.values
        return replace(self, values=values, version=written.version)

    def shows(self, version: int) -> bool:
        """Whether a row of ``version`` does not have this yet."""
        return self.version is None or version < self.version


def apply(op: Op, data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An entity's data after a write; ``None`` if there is no such entity then, or none is known."""
    if op.kind == "delete":
        return None
    if op.kind == "create":
        return dict(op.values) if data is None else dict(data)
    if data is None:
        return None
    return {name: value for name, value in {**data, **op.values}.items() if name not in op.unset}


class Lens:
    """One query as far as a client can evaluate it."""

    def __init__(self, query: Mapping[str, Any], fields: Sequence[str] | None) -> None:
        self._fields = None if fields is None else {"id", *fields}
        self._matches: Callable[[Mapping[str, Any]], bool] | None = None
        self._key: Callable[[Mapping[str, Any]], Any] | None = None
        self._limit: int | None = None
        try:
            parsed = parse_query(query)
        except InvalidRequest:
            return  # the server will say so
        if fields is None and not parsed.offset and parsed.after is None:
            self._matches = compile_where(parsed.where)
            self._key = sort_key(parsed.order_by)
            self._limit = parsed.limit

    def over(self, rows: Sequence[dict[str, Any]], versions: Mapping[str, int], ops: Sequence[Op]) -> Rows:
        """``rows`` with ``ops`` done to them, still in order and within the query."""
        now = {row["id"]: row for row in rows}
        made = [op for op in ops if op.shows(versions.get(op.entity, 0)) and self._do(op, now)]
        wanted = list(now.values())
        if made and self._key is not None:
            wanted.sort(key=self._key)
            wanted = wanted[: self._limit]
        return Rows(wanted, [versions.get(row["id"], 0) for row in wanted])

    def _do(self, op: Op, now: dict[str, dict[str, Any]]) -> bool:
        row = now.get(op.entity)
        if row is None and (op.kind != "create" or self._matches is None):
            return False
        after = apply(op, row)
        if after is not None and self._fields is not None:
            after = {name: value for name, value in after.items() if name in self._fields}
        if after is None or (self._matches is not None and not self._matches(after)):
            now.pop(op.entity, None)
        else:
            now[op.entity] = after
        return True
