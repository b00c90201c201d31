"""Takes entities with their documents into a record that may hold others, as an import does.

Pure: the rows of an entity, and whether the record has it already. The storages write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from collab.dates import iso_micros
from collab.event import RECORD_MEMBERS
from collab.json_values import same
from collab.names import RoomKey
from collab.storage.base import EntityRow
from collab.storage.codec import to_json
from collab.storage.copying import (
    Copied,
    CopiedDocument,
    CopiedEntity,
    CopiedEvent,
    CopiedUncovered,
    CopiedUpdate,
)

AdoptionResult = Literal["created", "unchanged", "different"]
"""``different``: the record has another state of this entity, which stays."""


class Adoptee(NamedTuple):
    """An entity with its document.

    ``update`` is the document's state, ``None`` if the entity lives inside another document. ``version`` is 0 if only
    the document is known; the server makes an entity of it later. Members that ``data`` does not say (``createdAt``)
    come from the time of the adoption.
    """

    key: RoomKey
    update: bytes | None
    version: int
    data: Mapping[str, Any]
    deleted: bool = False
    heads: bytes = b""


class RecordAdopter(Protocol):
    """Writes entities into a record that nobody else uses meanwhile."""

    async def adopt(self, entities: Sequence[Adoptee], now: float) -> Sequence[AdoptionResult]:
        """Add those that the record does not have, in one transaction; durable on return.

        An added entity has one event, at ``now`` (seconds since the epoch) or just after the newest event. Raises
        :class:`collab.storage.base.StorageError`.
        """


class AdoptionPlaces(NamedTuple):
    """Where the storage puts an entity: numbers of its document and of itself, and its event's position and time."""

    document: int
    entity: int
    position: int
    at: float
    lineage: str


def rows_of(adoptee: Adoptee, places: AdoptionPlaces) -> list[Copied]:
    """The rows of an entity that is new in a record."""
    key, at = adoptee.key, places.at
    seq = 0
    rows: list[Copied] = []
    if adoptee.update is not None:
        seq = 1
        rows.append(CopiedDocument(places.document, *key, places.lineage, at))
        rows.append(CopiedUpdate(places.document, seq, adoptee.update, None, at, intact=True))
    if not adoptee.version:
        return [*rows, CopiedUncovered(places.document)]
    fields = {name: value for name, value in adoptee.data.items() if name not in RECORD_MEMBERS}
    times = {name: adoptee.data.get(name, iso_micros(at)) for name in ("createdAt", "updatedAt")}
    data = to_json({"id": key.id, **fields, **times})
    changes = {} if adoptee.deleted else {name: {"to": value} for name, value in fields.items()}
    kind = "deleted" if adoptee.deleted else "created"
    what = (places.entity, adoptee.version)
    rows.append(CopiedEntity(places.entity, *key, adoptee.version, adoptee.deleted, data, adoptee.heads, seq, at, at))
    rows.append(CopiedEvent(key.project, places.position, *what, kind, seq, None, at, data, to_json(changes), None))
    return rows


def compare(adoptee: Adoptee, row: EntityRow | None, *, has_document: bool) -> AdoptionResult:
    """What adopting means for a record that holds ``row`` under its key; ``has_document``: a document, too."""
    if row is None and not has_document:
        return "created"
    if not adoptee.version:
        return "unchanged" if has_document else "different"
    if row is None or (row.version, row.deleted) != (adoptee.version, adoptee.deleted):
        return "different"
    known = row.data.keys() - (RECORD_MEMBERS - adoptee.data.keys())
    alike = known | {"id"} == adoptee.data.keys() | {"id"} and all(
        same(row.data[name], value) for name, value in adoptee.data.items()
    )
    return "unchanged" if alike else "different"


def next_moment(now: float, newest: float) -> float:
    """The time of an event at ``now`` that comes after ``newest``, in whole microseconds."""
    return max(round(now * 1e6), round(newest * 1e6) + 1) / 1e6
