"""The rows that a live query includes, with the own writes applied. Pure. The twin of ``js/client/src/included.ts``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from collab.client.core.overlay import Lens, Op
from collab.query.include import DEFAULT_RELATED
from collab.query.steps import apply_steps
from collab.wire.realtime.values import Included, IncludedSteps

_List = tuple[str, str]
"""A relation, and a key."""


class _RelatedRows:
    """The rows of one relation with one key, and the versions of those that are or were in it."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.rows: list[dict[str, Any]] = []
        self.versions: dict[str, int] = {}


class IncludedView:
    """What is related to the rows of a live query, as the server sent it last.

    A write concerns a list that has or had its entity, and a creation also the list to whose key the entity is related.
    """

    def __init__(self, include: Mapping[str, Any]) -> None:
        self._include = include
        self._relations: dict[str, Included] = {}
        self._lists: dict[_List, _RelatedRows] = {}
        self.seen: list[tuple[str, str, int]] = []
        """Collection, id and version of the rows in the last message."""

    @property
    def collections(self) -> Set[str]:
        """The collections of the related rows."""
        return {relation.collection for relation in self._relations.values()}

    def reset(self, included: Mapping[str, Included] | None, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace everything; also the lists without rows, which the server leaves out."""
        self._relations = dict(included or {})
        self._lists, self.seen = {}, []
        for name, relation in self._relations.items():
            keys = [row.get(relation.by) for row in rows]
            for key in dict.fromkeys(key for key in keys if isinstance(key, str)):
                of = self._lists[name, key] = self._new(name, key)
                of.rows = list(relation.rows.get(key, ()))
                of.versions = dict(zip((row["id"] for row in of.rows), relation.versions.get(key, ()), strict=False))
                self.seen += [(relation.collection, entity, version) for entity, version in of.versions.items()]

    def change(self, entries: Iterable[IncludedSteps], rows: Iterable[Mapping[str, Any]], own: Set[str]) -> None:
        """Change some lists, after the ``rows``; ``own`` are the ids with own writes.

        Raises :class:`collab.errors.InvalidRequest` if the steps do not fit.
        """
        self.seen = []
        keys = ((name, row.get(relation.by)) for row in rows for name, relation in self._relations.items())
        used = {(name, key) for name, key in keys if isinstance(key, str)}
        self._lists = {of: related for of, related in self._lists.items() if of in used}
        for each in entries:
            of = each.relation, each.key
            if of not in used:
                continue
            if each.fresh or of not in self._lists:
                self._lists[of] = self._new(*of)
            related = self._lists[of]
            related.rows = apply_steps(related.rows, each.steps)
            for step in each.steps:
                if step.version is not None:
                    related.versions[step.id] = step.version
                    if step.op != "leave":
                        self.seen.append((self._relations[each.relation].collection, step.id, step.version))
                if step.op == "leave" and step.id not in own:
                    related.versions.pop(step.id, None)

    def shown(self, rows: Iterable[Mapping[str, Any]], ops: Sequence[Op]) -> list[dict[str, Any]]:
        """Return what is related to each of these rows, by relation."""
        return [
            {name: self._related(name, relation, row, ops) for name, relation in self._relations.items()}
            for row in rows
        ]

    def is_told(self, op: Op, answered: int) -> bool:
        """Whether every list that a committed write concerns includes it."""
        return all(
            not op.is_news(related.versions.get(op.entity, 0)) or (op.commit is not None and op.commit <= answered)
            for related in self._concerned(op)
        )

    def _related(self, name: str, relation: Included, row: Mapping[str, Any], ops: Sequence[Op]) -> Any:
        key = row.get(relation.by)
        related = self._lists.get((name, key)) if isinstance(key, str) else None
        mine: Sequence[dict[str, Any]] = () if related is None else related.rows
        if isinstance(key, str):
            known = related or self._new(name, key)
            news = [op for op in ops if self._concerns(op, relation, key, known)]
            if news:
                mine = known.lens.over(known.rows, known.versions, news)
        return next(iter(mine), None) if relation.one else list(mine)

    def _concerned(self, op: Op) -> Iterator[_RelatedRows]:
        for (name, key), related in self._lists.items():
            if self._concerns(op, self._relations[name], key, related):
                yield related

    def _concerns(self, op: Op, relation: Included, key: str, related: _RelatedRows) -> bool:
        if op.collection != relation.collection:
            return False
        if op.entity in related.versions:
            return True
        return op.kind == "create" and (op.entity if relation.one else op.values.get(relation.member)) == key

    def _new(self, name: str, key: str) -> _RelatedRows:
        said = self._include.get(name)
        asked = dict(said) if isinstance(said, Mapping) else {}
        related = {"\\" + self._relations[name].member: key}  # a name that may look like an operator
        where = related if asked.get("where") is None else {"AND": [related, asked["where"]]}
        query = {"where": where, "orderBy": asked.get("orderBy"), "limit": asked.get("limit", DEFAULT_RELATED)}
        return _RelatedRows(Lens(query, asked.get("fields")))
