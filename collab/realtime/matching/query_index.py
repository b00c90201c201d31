"""Index of queries by the equality terms they contain, so that an event need not be matched against every query.

An event may affect queries that hold the entity's row now, and queries that match it now. The former are found by its
id, so the entity's old state need not be known. The latter are indexed by one equality term each, the most selective.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from collab.query.match import equalities, lookup
from collab.query.query import Condition, Path, Scalar

ItemT = TypeVar("ItemT", bound=Hashable)
KeyT = TypeVar("KeyT", bound=Hashable)


class _Buckets(Generic[KeyT, ItemT]):
    """Sets of items by key. A set of one item, the usual case, is stored as a tuple: a quarter of the size."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[KeyT, tuple[ItemT] | set[ItemT]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def get(self, key: KeyT) -> Collection[ItemT]:
        return self._buckets.get(key, ())

    def add(self, key: KeyT, item: ItemT) -> None:
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = (item,)
        elif isinstance(bucket, set):
            bucket.add(item)
        elif bucket[0] != item:
            self._buckets[key] = {*bucket, item}

    def discard(self, key: KeyT, item: ItemT) -> None:
        bucket = self._buckets.get(key)
        if isinstance(bucket, set):
            bucket.discard(item)
            if not bucket:
                del self._buckets[key]
        elif bucket is not None and bucket[0] == item:
            del self._buckets[key]


class QueryIndex(Generic[ItemT]):
    """The queries of one collection. An ``Item`` identifies a query and must hash by identity."""

    __slots__ = ("_everywhere", "_held", "_placed", "_tables")

    def __init__(self) -> None:
        self._placed: dict[ItemT, tuple[Path, tuple[Hashable, ...]] | None] = {}
        self._tables: dict[str, dict[Path, _Buckets[Hashable, ItemT]]] = {}  # by the first member of the path
        self._everywhere: set[ItemT] = set()  # queries without an equality term
        self._held: _Buckets[str, ItemT] = _Buckets()

    def __len__(self) -> int:
        return len(self._placed)

    @property
    def entries(self) -> int:
        """Number of internal entries: 0 once everything was removed and released."""
        return len(self._placed) + len(self._tables) + len(self._everywhere) + len(self._held)

    def add(self, item: ItemT, where: Condition) -> None:
        """Index ``item`` under a term of ``where``."""
        term = self._rarest(equalities(where))
        self._placed[item] = term
        if term is None:
            self._everywhere.add(item)
            return
        path, values = term
        table = self._tables.setdefault(path[0], {}).setdefault(path, _Buckets())
        for value in values:
            table.add(value, item)

    def remove(self, item: ItemT, held: Iterable[str] = ()) -> None:
        """Remove ``item``; ``held`` are the rows that it still holds."""
        for name in held:
            self.release(item, name)
        term = self._placed.pop(item)
        if term is None:
            self._everywhere.discard(item)
            return
        path, values = term
        paths = self._tables.get(path[0], {})
        table = paths.get(path)
        if table is None:  # a term without values never matches
            return
        for value in values:
            table.discard(value, item)
        if not len(table):
            del paths[path]
            if not paths:
                del self._tables[path[0]]

    def hold(self, item: ItemT, name: str) -> None:
        """``item`` holds the row with this id: return it for every event of that row."""
        self._held.add(name, item)

    def release(self, item: ItemT, name: str) -> None:
        """``item`` no longer holds this row."""
        self._held.discard(name, item)

    def candidates(self, name: str, data: Mapping[str, Any] | None) -> set[ItemT]:
        """Items that hold row ``name``, and items that may match its new ``data`` (``None``: deleted)."""
        found = set(self._held.get(name))
        if data is None:
            return found
        found |= self._everywhere
        for member in self._tables.keys() & data.keys():
            for path, table in self._tables[member].items():
                value = lookup(data, path)
                if isinstance(value, bool | int | float | str):
                    found.update(table.get(_term(value)))
        return found

    def _rarest(self, terms: Mapping[Path, tuple[Scalar, ...]]) -> tuple[Path, tuple[Hashable, ...]] | None:
        """Choose the term with the fewest entries; then prefer few values, and non-booleans."""
        best: tuple[tuple[int, int, int], Path, tuple[Hashable, ...]] | None = None
        for path, values in terms.items():
            if None in values:  # a missing member cannot be found by its value
                continue
            keys = tuple({_term(value): None for value in values})
            table = self._tables.get(path[0], {}).get(path)
            listed = sum(len(table.get(key)) for key in keys) if table else 0
            booleans = sum(isinstance(value, bool) for value in values)
            cost = (listed + len(keys) + booleans, booleans, -len(table) if table else 0)
            if best is None or cost < best[0]:
                best = cost, path, keys
        return None if best is None else best[1:]


def _term(value: Scalar) -> Hashable:
    """Distinguish ``True`` from ``1``."""
    return ("boolean", value) if isinstance(value, bool) else value
