"""Writes the entities of a record, with their documents, as lines of JSON into a folder; resumes after a kill."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from collab.access.rules import glob_matches
from collab.dates import iso
from collab.errors import DocumentDamaged, InvalidRequest, Unavailable
from collab.names import RoomKey
from collab.records.declaration import CollectionDeclaration
from collab.records.schema import EVERY_PROJECT, declared_in
from collab.sandbox.client import Sandbox, SandboxRefused, SandboxUnanswered
from collab.server.export_lines import FORMAT, encode_line
from collab.storage.base import Record
from collab.storage.location import reader_at
from collab.storage.reading import RecordReader
from collab.turns import TurnOwner

HEAD_NAME = "@export.json"  # no project has such a name
DAMAGED_NAME = "@damaged.txt"

_PAGE = 100
_SECONDS = 120.0
_PART = ".part"


class ExportHead(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is in a folder: ``@export.json``. ``projects`` and ``collections`` are what was chosen, none for all."""

    format: int
    epoch: str
    began_at: str
    projects: list[str]
    collections: list[str]
    deleted: bool
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which projects and collections to export, none for all, and whether deleted entities, too."""

    projects: Sequence[str] = ()
    collections: Sequence[str] = ()
    deleted: bool = False


@dataclass(slots=True)
class Exported:
    """How many entities and documents were written (``resumed`` of them before), and which are damaged, and how."""

    entities: int = 0
    resumed: int = 0
    damaged: list[str] = field(default_factory=list)


async def export(
    location: str,
    folder: Path,
    selection: Selection,
    *,
    now: float,
    declared: Mapping[str, CollectionDeclaration],
    keep_deleted: Sequence[str],
    moved: Callable[[int, int], object],
) -> Exported:
    """Export to ``folder/PROJECT/COLLECTION.jsonl``. A server may use the record meanwhile.

    Each line is one state of its entity; what changes while the export runs is in it or not. After a kill, the same
    call goes on where it ended. ``declared`` are declarations beside those in the record, ``keep_deleted`` globs of
    collections whose documents keep deleted content. ``moved`` is called with how many are done, and of how many.
    Raises :class:`InvalidRequest` if the folder holds another or a complete export, :class:`Unavailable` if a document
    could not be read in time, which the same call tries again, and :class:`collab.storage.base.StorageError`.
    """
    async with reader_at(location) as reader, _sandbox() as sandbox:
        mapped = await _mapped(reader, declared)
        head = _begin(folder, selection, (await reader.positions()).epoch, now)
        damages = _Damages(folder / DAMAGED_NAME)
        done = Exported(damaged=damages.named)
        chosen = _with_inside(selection.collections, mapped)
        parts = [
            each
            for each in await reader.collections()
            if (not selection.projects or each.project in selection.projects)
            and (not chosen or each.collection in chosen)
        ]
        total = sum(each.size for each in parts)
        passed = 0
        for part in parts:
            writer = _Writer(folder / part.project, part.collection)
            if not writer.complete:
                exporter = _Exporter(reader, sandbox, mapped, selection.deleted, keep_deleted, damages.name)
                try:
                    async for line, seen in exporter.lines(part.project, part.collection, writer.resume(done)):
                        if line is not None:
                            writer.write(line)
                            done.entities += 1
                        moved(passed + seen, total)
                    writer.finish()
                finally:
                    writer.close()
            else:
                done.resumed += writer.count
                done.entities += writer.count
            passed += part.size
        _write_head(folder, msgspec.structs.replace(head, complete=True))
    return done


class _Exporter:
    """Reads one collection after the other."""

    def __init__(
        self,
        reader: RecordReader,
        sandbox: Sandbox,
        mapped: Mapping[str, str],
        deleted: bool,
        keep_deleted: Sequence[str],
        damaged: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._sandbox = sandbox
        self._mapped = mapped
        self._deleted = deleted
        self._keep_deleted = keep_deleted
        self._damaged = damaged

    async def lines(self, project: str, collection: str, after: str) -> AsyncIterator[tuple[bytes | None, int]]:
        """The line of each entity after one (``None`` for those left out), and how many there were so far."""
        seen = 0
        while ids := await self._reader.ids(project, collection, after, _PAGE):
            for name in ids:
                seen += 1
                yield await self._line(RoomKey(project, collection, name)), seen
            after = ids[-1]

    async def _line(self, key: RoomKey) -> bytes | None:
        where = f"{key.name} in project {key.project}"
        try:
            loaded = await self._reader.load(key)
            if loaded is None:
                return None  # erased meanwhile
            record = loaded.record
            if record.entity is not None and record.entity.deleted and not self._deleted:
                return None
            if record.entity is None and record.lineage is None:
                return None  # only quarantined edits are known
            if loaded.damaged:
                self._damaged(f"{len(loaded.damaged)} rows of {where} do not match their checksums")
            update = await self._state(key, record)
        except (DocumentDamaged, SandboxRefused) as error:
            self._damaged(f"{where}: {error.message}")
            return None
        except SandboxUnanswered as error:
            raise Unavailable(
                f"{where} could not be read in time, which says nothing of the document: {error.message}. "
                "The export is not complete: repeat the command, it goes on there"
            ) from error
        inside = None
        if update is None:
            inside = f"{self._mapped.get(key.collection, '?')}/{key.id.partition(':')[0]}"
        return encode_line(key, record.entity, update, inside)

    async def _state(self, key: RoomKey, record: Record) -> bytes | None:
        """The document as one update, ``None`` if the entity has none of its own."""
        if record.lineage is None:
            return None
        snapshot, updates = record.snapshot, [row.update for row in record.rows]
        if snapshot is not None and not updates:
            return snapshot.update
        if snapshot is None and len(updates) == 1:
            return updates[0]
        if snapshot is None and not updates:
            return b"\x00\x00"
        keeps = any(glob_matches(pattern, key.collection) for pattern in self._keep_deleted)
        async with self._sandbox.turn(TurnOwner(key.project, "export")) as child:
            compacted = await child.compact(
                snapshot.update if snapshot is not None else None, updates, _SECONDS, keep_deleted=keeps
            )
        return compacted.update


class _Damages:
    """What is damaged, a line each in a file: also what was named before an interruption."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_text("utf-8") if path.exists() else ""
        self.named = text.split("\n")[:-1]  # the last one may be half a line
        self._known = set(self.named)
        if text and not text.endswith("\n"):
            self._path.write_text("".join(f"{line}\n" for line in self.named), "utf-8")

    def name(self, what: str) -> None:
        """Add to the list, once."""
        line = what.replace("\n", " ")
        if line in self._known:
            return
        self._known.add(line)
        self.named.append(line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


class _Writer:
    """The file of one collection: ``NAME.jsonl.part`` until it is complete."""

    def __init__(self, folder: Path, collection: str) -> None:
        self._path = folder / f"{collection}.jsonl"
        self._part = folder / f"{collection}.jsonl{_PART}"
        self._file: BinaryIO | None = None

    @property
    def complete(self) -> bool:
        return self._path.exists()

    @property
    def count(self) -> int:
        """Lines of a complete file."""
        with self._path.open("rb") as file:
            return sum(1 for _ in file)

    def resume(self, done: Exported) -> str:
        """Open the file, cut off half a line, and return the id of the last whole one, ``""`` if there is none."""
        self._part.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = file = os.fdopen(descriptor, "r+b")
        last, end = b"", 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            last, end = line, end + len(line)
            done.entities += 1
            done.resumed += 1
        file.truncate(end)
        file.seek(end)
        return "" if not last else str(msgspec.json.decode(last)["id"])

    def write(self, line: bytes) -> None:
        assert self._file is not None
        self._file.write(line)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def finish(self) -> None:
        """Give the file its name, durably."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)


def _begin(folder: Path, selection: Selection, epoch: str, now: float) -> ExportHead:
    head = ExportHead(
        format=FORMAT,
        epoch=epoch,
        began_at=iso(now),
        projects=sorted(selection.projects),
        collections=sorted(selection.collections),
        deleted=selection.deleted,
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / HEAD_NAME).exists():
        if any(folder.iterdir()):
            raise InvalidRequest(f"{folder} is not empty and holds no export: choose another folder")
        _write_head(folder, head)
        return head
    known = read_head(folder)
    if known.complete:
        raise InvalidRequest(f"{folder} holds a complete export of {known.began_at}: choose another folder")
    if msgspec.structs.replace(known, began_at=head.began_at) != head:
        raise InvalidRequest(
            f"{folder} holds an export of another record, or of other projects or collections, that is not complete: "
            "repeat the same command, or choose another folder"
        )
    return known


def read_head(folder: Path) -> ExportHead:
    """What is in a folder. Raises :class:`InvalidRequest` if it is no export that this version reads."""
    try:
        head = msgspec.json.decode((folder / HEAD_NAME).read_bytes(), type=ExportHead)
    except OSError as error:
        raise InvalidRequest(f"{folder / HEAD_NAME} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError:
        raise InvalidRequest(f"{folder / HEAD_NAME} is not that of an export") from None
    if head.format != FORMAT:
        raise InvalidRequest(f"{folder} holds an export of format {head.format}, this program knows {FORMAT}")
    return head


def _write_head(folder: Path, head: ExportHead) -> None:
    path = folder / (HEAD_NAME + _PART)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(head)) + b"\n")
    path.rename(folder / HEAD_NAME)


async def _mapped(reader: RecordReader, declared: Mapping[str, CollectionDeclaration]) -> dict[str, str]:
    """Collections whose entities live inside documents of others, with these."""
    found = {
        name: declaration.mapped.collection for name, declaration in declared.items() if declaration.mapped is not None
    }
    for name, saved in declared_in(await reader.schemas(EVERY_PROJECT)).items():
        if saved.mapped is not None:
            found.setdefault(name, saved.mapped.collection)
    return found


def _with_inside(chosen: Sequence[str], mapped: Mapping[str, str]) -> set[str]:
    for name in chosen:
        if name in mapped and mapped[name] not in chosen:
            raise InvalidRequest(f"{name} live inside documents of {mapped[name]}: choose {mapped[name]}")
    return {*chosen, *(name for name, outer in mapped.items() if outer in chosen)}


@asynccontextmanager
async def _sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    try:
        yield sandbox
    finally:
        await sandbox.close()
