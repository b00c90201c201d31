"""Reads what an export wrote, or another program, into a record; what the record has already stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from collab.errors import CollabError, InvalidRequest
from collab.records.schema import Schemas
from collab.server.config.settings import Settings
from collab.server.export_lines import ExportedLine, adoptee_of, decode_line
from collab.server.exporting import read_head
from collab.storage.adopting import Adoptee, RecordAdopter
from collab.storage.location import adopter_at

_CHUNK = 200
_CHUNK_BYTES = 8 * 1024 * 1024


class _Line(NamedTuple):
    where: str
    content: bytes


@dataclass(slots=True)
class Imported:
    """How many entities were created, how many the record had already, and which it has in another state.

    ``refused`` are lines that cannot be imported, with the reason.
    """

    created: int = 0
    unchanged: int = 0
    different: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


async def import_lines(
    settings: Settings,
    source: Path,
    *,
    projects: Sequence[str] = (),
    collections: Sequence[str] = (),
    into: str | None = None,
    takes_over: bool = False,
    clock: Callable[[], float],
    client_id: Callable[[], int],
    moved: Callable[[int, int], object],
) -> Imported:
    """Import a folder of an export, or one file of lines. The record must not be in use.

    Each entity is added as a whole or not at all, in transactions of some hundred; doing it again changes nothing, so
    after a kill it goes on where it ended. ``projects`` and ``collections`` choose, none for all; ``into`` is the
    project to use instead of those in the lines. ``moved`` is called with how many bytes are read, and of how many.
    Raises :class:`InvalidRequest` if the source is no export or an unfinished one, and
    :class:`collab.storage.base.StorageError`.
    """
    files = _files(source, projects, collections)
    total = sum(path.stat().st_size for path in files)
    schemas = Schemas(settings.collections, strict=settings.strict_collections)
    done = Imported()
    passed = 0
    async with adopter_at(settings.location, takes_over=takes_over) as adopter:
        chunk: list[Adoptee] = []
        size = 0
        for line in _lines(files):
            passed += len(line.content)
            if not line.content.strip():
                continue
            try:
                said = decode_line(line.content)
                if not _is_chosen(said, projects, collections):
                    continue
                adoptee = adoptee_of(
                    said,
                    into=into,
                    validate=schemas.validate,
                    client=client_id(),
                    most_bytes=settings.max_document_bytes,
                )
                schemas.check_collection(adoptee.key.collection)
                if adoptee.update is not None:
                    schemas.check_document(adoptee.key)
            except CollabError as error:
                done.refused.append(f"{line.where}: {error.message}")
                continue
            chunk.append(adoptee)
            size += len(line.content)
            if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
                await _adopt(adopter, chunk, clock(), done)
                chunk, size = [], 0
                moved(passed, total)
        await _adopt(adopter, chunk, clock(), done)
    return done


async def _adopt(adopter: RecordAdopter, chunk: Sequence[Adoptee], now: float, done: Imported) -> None:
    if not chunk:
        return
    for adoptee, result in zip(chunk, await adopter.adopt(chunk, now), strict=True):
        match result:
            case "created":
                done.created += 1
            case "unchanged":
                done.unchanged += 1
            case "different":
                done.different.append(f"{adoptee.key.name} in project {adoptee.key.project}")


def _is_chosen(said: ExportedLine, projects: Sequence[str], collections: Sequence[str]) -> bool:
    return (not projects or said.project in projects) and (not collections or said.collection in collections)


def _files(source: Path, projects: Sequence[str], collections: Sequence[str]) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InvalidRequest(f"there is no {source}")
    if not read_head(source).complete:
        raise InvalidRequest(f"the export in {source} is not complete: repeat `collab export`")
    return [
        path
        for path in sorted(source.glob("*/*.jsonl"))
        if (not projects or path.parent.name in projects) and (not collections or path.stem in collections)
    ]


def _lines(files: Sequence[Path]) -> Iterator[_Line]:
    for path in files:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _Line(f"{path}:{number}", line)
