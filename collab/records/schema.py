"""All declared collections of a server, and what is saved of them in the record.

After each write the whole entity must fit the declaration of its collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import msgspec

from collab.dates import iso
from collab.errors import InvalidName, InvalidRequest, NotFound, ValidationFailed
from collab.event import RECORD_MEMBERS
from collab.names import RoomKey, is_part, may_hold_others
from collab.nearest import did_you_mean
from collab.query.aggregate import Aggregation
from collab.query.parse import quoted
from collab.query.query import IndexPaths, Path, Query
from collab.query.search import CONTENTS
from collab.records.declaration import CollectionDeclaration, Relation
from collab.records.json_schema import CompiledSchema, compile_schema, explain
from collab.records.schema_versions import SavedSchema, decide, digest_of, read_saved, write_saved
from collab.storage.base import EntityStorage

EVERY_PROJECT = "*"
"""The project under which declarations are saved: they apply to all projects. No real project has this name."""

MOST_ERRORS = 20

Searching = TypeVar("Searching", bound=Query | Aggregation)


class Schemas:
    """The declared collections of a server. ``strict``: only declared collections may be used.

    ``reads_content``: somebody reads what documents say, so that it may be searched.
    """

    def __init__(
        self,
        declared: Mapping[str, CollectionDeclaration] | None = None,
        *,
        strict: bool = False,
        reads_content: bool = True,
    ) -> None:
        self.strict = strict
        self._reads_content = reads_content
        self._declared: dict[str, CollectionDeclaration] = {}
        self._validators: dict[str, CompiledSchema] = {}
        self._versions: dict[str, int] = {}
        self._contents_paths: dict[str, Path] = {}
        for name, said in (declared or {}).items():
            self.declare(name, said)

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def get(self, collection: str) -> CollectionDeclaration | None:
        return self._declared.get(collection)

    def version(self, collection: str) -> int:
        """Return the version of its declaration, from 1; 0 before :meth:`save`."""
        return self._versions.get(collection, 0)

    def declare(self, collection: str, said: CollectionDeclaration) -> None:
        """Declare a collection, or replace its declaration. Raises :class:`ValueError`. Call :meth:`save` next."""
        if not is_part(collection):
            raise ValueError("a collection's name must be 1-128 characters of [A-Za-z0-9_.:-]")
        if said.search_content and not self._reads_content:
            raise ValueError(f"search_content of {collection} needs content_event_seconds, which is 0")
        mapped = said.mapped
        if mapped is not None:
            if mapped.collection == collection or any(
                other.mapped is not None and other.mapped.collection == collection for other in self._declared.values()
            ):
                raise ValueError(f"{collection} is mapped itself, so it cannot hold other entities")
            outer = self._declared.get(mapped.collection)
            if outer is not None and outer.mapped is not None:
                raise ValueError(f"{mapped.collection} is mapped itself, so it cannot hold {collection}")
            if self.mapped_in(mapped.collection).get(mapped.root, collection) != collection:
                raise ValueError(f"the root {mapped.root} of {mapped.collection} already holds another collection")
        self._declared[collection] = said
        if said.fields is None:
            self._validators.pop(collection, None)
        else:
            self._validators[collection] = compile_schema(said.fields)
        for name, each in self._declared.items():
            if each.search_content:
                self._contents_paths[name] = search_paths_of(self._declared, name)[0]
            else:
                self._contents_paths.pop(name, None)

    def mapped_in(self, collection: str) -> dict[str, str]:
        """Return the roots of documents of a collection that hold other entities, with those entities' collections."""
        return {
            said.mapped.root: name
            for name, said in self._declared.items()
            if said.mapped is not None and said.mapped.collection == collection
        }

    def check_document(self, key: RoomKey) -> None:
        """Raise :class:`collab.errors.InvalidName` if there can be no document of this name."""
        said = self._declared.get(key.collection)
        if said is not None and said.mapped is not None:
            raise InvalidName(f"entities of {key.collection} live inside other documents and have none of their own")
        if not may_hold_others(key) and self.mapped_in(key.collection):
            raise InvalidName(f"an id in {key.collection} must not contain a colon: other entities live inside")

    def check_collection(self, collection: str) -> None:
        """Raise :class:`collab.errors.NotFound` for a collection that may not be used."""
        if self.strict and collection not in self._declared:
            raise NotFound(f"there is no collection {collection}")

    def search(self, collection: str, query: Searching) -> Searching:
        """Return a query or an aggregate with the members that it searches.

        Raises :class:`collab.errors.InvalidRequest` if the collection declares none.
        """
        if query.search is None:
            return query
        paths = search_paths_of(self._declared, collection)
        if not paths:
            raise InvalidRequest(f"search: {collection} declares nothing to search")
        return replace(query, search=replace(query.search, paths=paths))

    @property
    def contents_paths(self) -> Mapping[str, Path]:
        """The collections whose searches find what documents say, each with the path of these contents."""
        return self._contents_paths

    def validate(self, collection: str, data: Mapping[str, Any]) -> None:
        """Validate an entity as it would be after a write. Metadata is ignored.

        Raises :class:`collab.errors.ValidationFailed` with ``errors``, a list of ``{"field": "a.b", "message": …}``.
        """
        validator = self._validators.get(collection)
        if validator is None:
            return
        fields = {name: value for name, value in data.items() if name not in RECORD_MEMBERS}
        try:
            errors_found = islice(validator.iter_errors(fields), MOST_ERRORS)
            found = list(islice((each for error in errors_found for each in explain(error)), MOST_ERRORS))
        except RecursionError:
            found = [("", "is nested too deeply")]
        if found:
            errors = [{"field": field, "message": message} for field, message in dict.fromkeys(found)]
            field, message = found[0]
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise ValidationFailed(f"{field}: {message}{more}" if field else f"{message}{more}", errors=errors)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return ``{collection: {"schema": …, "content": {root: kind}, "version": n}}``, and ``mapped``,
        ``relations`` if it has them.
        """
        described: dict[str, dict[str, Any]] = {}
        for name, said in self._declared.items():
            described[name] = {"schema": said.fields, "content": dict(said.content), "version": self.version(name)}
            if said.mapped is not None:
                described[name]["mapped"] = msgspec.to_builtins(said.mapped)
            if said.relations:
                described[name]["relations"] = msgspec.to_builtins(said.relations)
        return described

    def relation(self, collection: str, name: str) -> Relation:
        """Return a relation of a collection. Raises :class:`collab.errors.InvalidRequest`."""
        said = self._declared.get(collection)
        known = {} if said is None else said.relations
        if name not in known:
            if not known:
                raise InvalidRequest(f"include: {collection} declares no relations")
            has = f"only {', '.join(sorted(known))}"
            meant = did_you_mean(name, known)
            raise InvalidRequest(f"include: {collection} has no relation {quoted(name)}, {has}{meant}")
        return known[name]

    async def differing(self, storage: EntityStorage) -> list[str]:
        """The collections of which the record has another declaration as the newest: see :func:`differing`."""
        return differing(self._declared, await storage.schemas(EVERY_PROJECT))

    async def save(self, storage: EntityStorage, now: float, *, others: bool = False) -> list[dict[str, Any]]:
        """Save the declarations; create their indexes, and those that their relations need.

        Returns a ``schema_updated`` event for each change.

        While ``others`` write to the record, a declaration that was replaced before stays replaced: this process
        uses it, with the version that it had. ``now`` is in seconds since the epoch.
        """
        saved = await storage.schemas(EVERY_PROJECT)
        events = []
        for name, said in self._declared.items():
            before = read_saved(*saved[name]) if name in saved else SavedSchema()
            fingerprint = said.fingerprint()
            version, after, newest = decide(before, fingerprint, _digest(self._declared, name), others=others)
            if newest:
                await storage.index(name, indexes_of(self._declared, name))
                many = {relation.many for relation in said.relations.values() if relation.many is not None}
                for other in sorted(many - self._declared.keys()):
                    await storage.index(other, indexes_of(self._declared, other))
                await storage.searchable(name, search_paths_of(self._declared, name))
            if after is not None:
                await storage.save_schema(EVERY_PROJECT, name, version, write_saved(after))
                if version != before.version:
                    events.append({"type": "schema_updated", "entityName": name, "version": version, "at": iso(now)})
            self._versions[name] = version
        return events


def differing(declared: Mapping[str, CollectionDeclaration], saved: Mapping[str, tuple[int, bytes]]) -> list[str]:
    """The collections, by name, of which a record has another declaration as the newest, indexes included."""
    names = []
    for name in sorted(declared.keys() & saved.keys()):
        editions = read_saved(*saved[name]).editions
        if editions and editions[-1].digest != _digest(declared, name):
            names.append(name)
    return names


def declared_in(saved: Mapping[str, tuple[int, bytes]]) -> dict[str, CollectionDeclaration]:
    """The declarations, without indexes, that :meth:`Schemas.save` has saved in a record.

    Those that this version does not understand are left out.
    """
    found = {}
    for name, (version, content) in saved.items():
        with suppress(msgspec.MsgspecError):
            found[name] = msgspec.json.decode(read_saved(version, content).fingerprint, type=CollectionDeclaration)
    return found


def indexes_of(declared: Mapping[str, CollectionDeclaration], collection: str) -> tuple[IndexPaths, ...]:
    """The indexes of a collection: those that it declares, and those by which the relations of others find its rows.

    What is related to a thousand rows is a thousand searches: each would read the whole collection.
    """
    said = declared.get(collection)
    listed = () if said is None else said.index_paths()
    relations = (relation for other in declared.values() for relation in other.relations.values())
    found = sorted({relation.by for relation in relations if relation.many == collection})
    return (*listed, *(((by,),) for by in found if not any(paths[0] == (by,) for paths in listed)))


def search_paths_of(declared: Mapping[str, CollectionDeclaration], collection: str) -> IndexPaths:
    """What is searched in a collection.

    Entities inside its documents have rights of their own, and are searched where they are declared. So their roots
    are no contents: if other roots are declared, the documents are read again.
    """
    said = declared.get(collection)
    inside = (other.mapped for other in declared.values() if other.mapped is not None)
    roots = sorted(mapped.root for mapped in inside if mapped.collection == collection)
    paths = () if said is None else said.search_paths()
    return tuple((*path, *roots) if path == CONTENTS else path for path in paths)


def _digest(declared: Mapping[str, CollectionDeclaration], collection: str) -> str:
    """Equal for equal declarations, with what is indexed and searched."""
    paths = search_paths_of(declared, collection)
    searched = (paths,) if paths else ()
    return digest_of(declared[collection].fingerprint(), (*indexes_of(declared, collection), *searched))
