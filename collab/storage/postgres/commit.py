"""The parameters of a commit in PostgreSQL: log rows, entities and events as arrays, in one statement. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Any

from collab.names import RoomKey
from collab.storage.base import Append, CommitId, Fact
from collab.storage.codec import to_json
from collab.storage.postgres.values import checksum, keys_and_texts, plain, plain_or_none


def commit_values(
    batch: Sequence[Append], facts: Sequence[Fact], commit_id: CommitId | None, *, only_new: bool = False
) -> tuple[Any, ...]:
    """The parameters of ``commit_1`` behind the first. ``only_new``: nothing is written if the document is there."""
    places: dict[RoomKey, int] = {}
    for key in [*(entry.key for entry in batch), *(fact.entity.key for fact in facts)]:
        places.setdefault(key, len(places) + 1)
    last = {fact.entity.key: number for number, fact in enumerate(facts, 1)}
    first: dict[RoomKey, float] = {}
    for fact in facts:
        first.setdefault(fact.entity.key, fact.at)
    entities = [facts[number - 1].entity for number in last.values()]
    compared = [keys_and_texts(entity.data) for entity in entities]
    projects = {project: place for place, project in enumerate(sorted({key.project for key in last}), 1)}
    requests = [(place, fact.request) for place, fact in enumerate(facts, 1) if fact.request is not None]
    return (
        None if commit_id is None else commit_id.writer,
        None if commit_id is None else commit_id.number,
        only_new,
        [key.project for key in places],
        [key.collection for key in places],
        [key.id for key in places],
        [token_hex(8) for _ in places],
        [projects.get(key.project, 0) for key in places],
        [places[entry.key] for entry in batch],
        [entry.update for entry in batch],
        [plain_or_none(entry.user_id) for entry in batch],
        [entry.at for entry in batch],
        [checksum(entry.update) for entry in batch],
        list(projects),
        [places[fact.entity.key] for fact in facts],
        [fact.row + 1 for fact in facts],
        [fact.entity.version for fact in facts],
        [fact.event.type for fact in facts],
        [plain_or_none(fact.event.user_id) for fact in facts],
        [fact.at for fact in facts],
        [to_json(fact.event.data) for fact in facts],
        [to_json(fact.event.changes) for fact in facts],
        [to_json(fact.event.conflicts) if fact.event.conflicts else None for fact in facts],
        [fact.entity.content_seq for fact in facts],
        [place for place, _ in requests],
        [plain(request.caller) for _, request in requests],
        [plain(request.name) for _, request in requests],
        [request.digest for _, request in requests],
        list(last.values()),
        [entity.deleted for entity in entities],
        [to_json(entity.data) for entity in entities],
        [keys for keys, _ in compared],
        [texts for _, texts in compared],
        [entity.heads for entity in entities],
        [first[entity.key] for entity in entities],
    )
