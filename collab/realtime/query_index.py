"""Which queries an event may matter to, found by what the entity holds and not by asking each query.

It may matter to queries that hold the entity's row now, and to those that it matches now. The first are found by its
id: what the entity was before need not be known. The others by one equality term each, the rarest that the query has.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from collab.query.match import equalities, lookup
from collab.query.query import Condition, Path, Scalar

Item = TypeVar("Item", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)


class _Buckets(Generic[Key, Item]):
    """Sets of items by key. Most hold one item: such a set is a tuple, a quarter the size."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[Key, tuple[Item] | set[Item]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def get(self, key: Key) -> Collection[Item]:
        return self._buckets.get(key, ())

    def add(self, key: Key, item: Item) -> None:
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = (item,)
        elif isinstance(bucket, set):
            bucket.add(item)
        elif bucket[0] != item:
            self._buckets[key] = {*bucket, item}

    def discard(self, key: Key, item: Item) -> None:
        bucket = self._buckets.get(key)
        if isinstance(bucket, set):
            bucket.discard(item)
            if not bucket:
                del self._buckets[key]
        elif bucket is not None and bucket[0] == item:
            del self._buckets[key]


class QueryIndex(Generic[Item]):
    """The queries of one collection. They are told apart by ``Item``, which hashes as what it is."""

    __slots__ = ("_everywhere", "_held", "_placed", "_tables")

    def __init__(self) -> None:
        self._placed: dict[Item, tuple[Path, tuple[Hashable, ...]] | None] = {}
        self._tables: dict[str, dict[Path, _Buckets[Hashable, Item]]] = {}  # by the outermost member
        self._everywhere: set[Item] = set()  # what has no term to be found by
        self._held: _Buckets[str, Item] = _Buckets()

    def __len__(self) -> int:
        return len(self._placed)

    @property
    def entries(self) -> int:
        """Of how many parts it consists: none, once everything was removed and released."""
        return len(self._placed) + len(self._tables) + len(self._everywhere) + len(self._held)

    def add(self, item: Item, where: Condition) -> None:
        """Find ``item`` for rows that ``where`` may match."""
        term = self._rarest(equalities(where))
        self._placed[item] = term
        if term is None:
            self._everywhere.add(item)
            return
        path, values = term
        table = self._tables.setdefault(path[0], {}).setdefault(path, _Buckets())
        for value in values:
            table.add(value, item)

    def remove(self, item: Item, held: Iterable[str] = ()) -> None:
        """Find ``item`` no more; ``held`` are the rows that it still holds."""
        for name in held:
            self.release(item, name)
        term = self._placed.pop(item)
        if term is None:
            self._everywhere.discard(item)
            return
        path, values = term
        paths = self._tables.get(path[0], {})
        table = paths.get(path)
        if table is None:  # a term without values: it is never true
            return
        for value in values:
            table.discard(value, item)
        if not len(table):
            del paths[path]
            if not paths:
                del self._tables[path[0]]

    def hold(self, item: Item, name: str) -> None:
        """``item`` holds the row with this id: find it, whatever becomes of the row."""
        self._held.add(name, item)

    def release(self, item: Item, name: str) -> None:
        """``item`` does not hold this row any more."""
        self._held.discard(name, item)

    def candidates(self, name: str, data: Mapping[str, Any] | None) -> set[Item]:
        """Who holds row ``name``, and who may match it as it is now: ``data``, ``None`` if it is deleted."""
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
        """The path and values under which the fewest are listed; among equals few values, and none of few kinds."""
        best: tuple[tuple[int, int, int], Path, tuple[Hashable, ...]] | None = None
        for path, values in terms.items():
            if None in values:  # a missing member is not found by its value
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
    """``True`` is not ``1`` here."""
    return ("boolean", value) if isinstance(value, bool) else value
