"""A watcher of rows with related rows that builds both only from what it receives, by the rules of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from collab.errors import CollabError
from collab.query.steps import apply_steps
from collab.realtime.matching.live_includes import RowsChange
from collab.wire.realtime.messages import RowsAre, RowsChanged
from collab.wire.realtime.values import Included, Step


class IncludeScreen:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.versions: dict[str, int] = {}
        self.relations: dict[str, Included] = {}
        self.lists: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.related_versions: dict[tuple[str, str], dict[str, int]] = {}
        self.resets = 0
        self.told: list[RowsChange] = []
        self.error: CollabError | None = None

    def all_rows(
        self, rows: list[dict[str, Any]], versions: list[int], included: Mapping[str, Included] | None
    ) -> None:
        self.resets += 1
        self.rows, self.versions = rows, dict(zip((row["id"] for row in rows), versions, strict=True))
        self.relations = dict(included or {})
        self.lists, self.related_versions = {}, {}
        for name, each in self.relations.items():
            for key, related in each.rows.items():
                self.lists[name, key] = related
                ids = [row["id"] for row in related]
                self.related_versions[name, key] = dict(zip(ids, each.versions[key], strict=True))
        assert self.lists.keys() <= self.used(), "rows that are related to nothing"

    def changed(self, told: RowsChange) -> None:
        assert self.resets, "steps before there are rows"
        assert self.error is None, "steps after the end"
        self.told.append(told)
        self.rows = apply_steps(self.rows, told.steps)
        note(self.versions, told.steps)
        used = self.used()
        for of in self.lists.keys() - used:
            del self.lists[of], self.related_versions[of]
        for each in told.included:
            of = each.relation, each.key
            if of not in used:
                continue
            if each.fresh:
                self.lists[of], self.related_versions[of] = [], {}
            rows = apply_steps(self.lists.get(of, []), each.steps)
            note(self.related_versions.setdefault(of, {}), each.steps)
            self.lists[of] = rows

    def failed(self, error: CollabError) -> None:
        assert self.error is None
        self.error = error

    def receive(self, message: Any) -> None:
        """A message of the protocol."""
        if isinstance(message, RowsAre):
            self.all_rows(list(message.rows), list(message.versions), message.included)
        elif isinstance(message, RowsChanged):
            self.changed(RowsChange(message.steps, message.included))

    def used(self) -> set[tuple[str, str]]:
        keys = ((name, row.get(each.by)) for row in self.rows for name, each in self.relations.items())
        return {(name, key) for name, key in keys if isinstance(key, str)}

    def shown(self) -> list[Any]:
        """Rows, with their versions and what is related to them."""
        return [
            (
                row,
                self.versions[row["id"]],
                {
                    name: [
                        (related, self.related_versions[name, row[each.by]][related["id"]])
                        for related in self.lists.get((name, row.get(each.by)), [])  # type: ignore[arg-type]
                    ]
                    for name, each in self.relations.items()
                },
            )
            for row in self.rows
        ]


def note(versions: dict[str, int], steps: Any) -> None:
    for step in steps:
        assert isinstance(step, Step)
        if step.op == "leave":
            versions.pop(step.id, None)
        elif step.version is not None:
            versions[step.id] = step.version


def fresh(found: Any) -> list[Any]:
    """What :meth:`IncludeScreen.shown` is for the answer to a fresh query."""
    return [
        (
            row,
            version,
            {
                name: list(
                    zip(each.rows.get(row.get(each.by), []), each.versions.get(row.get(each.by), []), strict=True)
                )
                for name, each in msgspec.structs.asdict(found)["included"].items()
            },
        )
        for row, version in zip(found.rows, found.versions, strict=True)
    ]
