"""What may be wrong with a record and with the clock: reads beside a server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from collab.dates import iso
from collab.errors import CollabError
from collab.names import RoomKey, may_hold_others
from collab.records.schema import EVERY_PROJECT, differing
from collab.server.config.settings import MIB, Settings
from collab.server.doctor.finding import Finding
from collab.server.quarantined import is_settled
from collab.storage.base import StorageCorrupt
from collab.storage.location import is_postgres, read_schema_version, reader_at, shown
from collab.storage.reading import RecordReader, WebhookProgress

_LEAST_FREE = 256 * MIB
_CLOCK_SECONDS = 2.0
_BEHIND = 1000
_PAGE = 1000  # ids read at once
_NAMED = 10
_OLDEST = 1_735_689_600.0  # 2025: before this program was made
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "sshfs", "fuse.sshfs", "9p", "glusterfs", "fuse.glusterfs"}
_MOUNTS = Path("/proc/mounts")


async def check_record(settings: Settings, clock: Callable[[], float]) -> list[Finding]:
    """The findings about the record at the settings' location, which may be in use, and about the clock."""
    findings = list(_clock(clock()))
    if not is_postgres(settings.location):
        findings += _folder(Path(settings.location))
        if not (Path(settings.location) / "collab.db").is_file():
            return [
                *findings,
                Finding(
                    "note", "record", f"there is no record in {shown(settings.location)} yet", "the server makes it"
                ),
            ]
    try:
        version, newest = await read_schema_version(settings.location)
        if version < newest:
            return [
                *findings,
                Finding(
                    "note",
                    "record",
                    f"its schema has version {version}, the newest is {newest}",
                    "the server brings it forward when it starts, or `collab migrate`; back it up before",
                ),
            ]
        async with reader_at(settings.location) as reader:
            findings += await _read(reader, settings, clock)
    except StorageCorrupt as error:
        findings.append(Finding("wrong", "record", error.message, "restore a backup: `collab restore`"))
    except CollabError as error:
        findings.append(Finding("wrong", "record", error.message, "see whether it is there, and who may read it"))
    return findings


async def _read(reader: RecordReader, settings: Settings, clock: Callable[[], float]) -> list[Finding]:
    findings = [
        Finding("wrong", "record", complaint, "see docs/deploying.md, or restore a backup: `collab restore`")
        for complaint in await reader.complaints()
    ]
    findings += _compared_clocks(await reader.newest_at(), await reader.clock(), clock())
    aside = [each for each in await reader.quarantined() if not is_settled(each)]
    if aside:
        findings.append(
            Finding("note", "record", f"{len(aside)} edits are in quarantine", "see them: `collab quarantine list`")
        )
    findings += [
        Finding(
            "note",
            "collections",
            f"the newest declaration of {name} in the record is not the one in these settings",
            "serve with the same declaration on all nodes; a new one is saved when a server starts with it",
        )
        for name in differing(settings.collections, await reader.schemas(EVERY_PROJECT))
    ]
    for outer in sorted({said.mapped.collection for said in settings.collections.values() if said.mapped is not None}):
        findings += await _not_served(reader, outer)
    webhooks, positions = await reader.webhooks(), await reader.positions()
    configured = {(webhook.name, webhook.project) for webhook in settings.webhooks}
    for progress in webhooks:
        if (progress.name, progress.project) in configured:
            findings += _webhook(progress, positions.of(progress.project) - progress.position)
    return findings


async def _not_served(reader: RecordReader, outer: str) -> list[Finding]:
    """The documents of a collection that were there before it held other entities, whose ids it does not allow now."""
    names = []
    for count in await reader.collections():
        if count.collection == outer:
            after = ""
            while ids := await reader.ids(count.project, outer, after, _PAGE):
                keys = (RoomKey(count.project, outer, name) for name in ids)
                names += [str(key) for key in keys if not may_hold_others(key)]
                after = ids[-1]
    if not names:
        return []
    some = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return [
        Finding(
            "wrong",
            "collections",
            f"{len(names)} documents of {outer} are kept and not served, because entities live inside documents of it"
            f" and the ids of these have a colon: {some}",
            "`collab export` writes them: import them with other ids, or let another collection hold the entities",
        )
    ]


def _compared_clocks(newest: float, theirs: float | None, now: float) -> Iterator[Finding]:
    """Compare this machine's clock with the newest event, and with that of the database if it has one."""
    if newest > now + _CLOCK_SECONDS:
        yield Finding(
            "wrong",
            "clock",
            f"the newest event is of {iso(newest)}, which is later than now: the clock was set back",
            "synchronise it (NTP); new events get times after that one until then",
        )
    if theirs is not None and abs(theirs - now) > _CLOCK_SECONDS:
        yield Finding(
            "wrong",
            "clock",
            f"this machine and that of the database differ by {abs(theirs - now):.0f} s",
            "synchronise both (NTP): tokens expire by this machine's clock",
        )


def _webhook(progress: WebhookProgress, behind: int) -> Iterator[Finding]:
    if progress.dead:
        yield Finding(
            "note",
            "webhooks",
            f"the webhook {progress.name} has {progress.dead} dead letters",
            f"see them: `collab webhooks dead-letters {progress.name}`; then `collab webhooks replay`",
        )
    if behind > _BEHIND:
        yield Finding(
            "wrong",
            "webhooks",
            f"the webhook {progress.name} is {behind} events behind",
            "see whether its receiver answers, and the server's log",
        )


def _clock(now: float) -> Iterator[Finding]:
    if now < _OLDEST:
        yield Finding("wrong", "clock", f"the clock says {iso(now)}", "set it, and synchronise it (NTP)")


def _folder(data: Path) -> Iterator[Finding]:
    place = shown(str(data))
    existing = data
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if data.exists():
        if data.stat().st_mode & 0o077:
            yield Finding(
                "note",
                "data",
                f"other users of this machine may look into {place}; its files are private",
                f"chmod 700 {place}",
            )
        for file in (data / "collab.db", data / "collab.db-wal"):
            if file.exists() and file.stat().st_mode & 0o077:
                yield Finding("wrong", "data", f"other users may read {file}", f"chmod 600 {file}")
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(
            "wrong",
            "data",
            f"this user cannot write to {existing}",
            "start as the user of the server, or change its owner",
        )
    free = shutil.disk_usage(existing).free
    if free < _LEAST_FREE:
        yield Finding(
            "wrong",
            "data",
            f"{free / MIB:.0f} MiB are left on the disk of {place}",
            "make room: without any, edits are no longer saved",
        )
    kind = file_system_of(existing.resolve(), _MOUNTS.read_text() if _MOUNTS.exists() else "")
    if kind in _NETWORK:
        yield Finding(
            "wrong",
            "data",
            f"{place} is on a network file system ({kind}), whose locks and memory SQLite cannot rely on",
            "use a local disk, or PostgreSQL",
        )


def file_system_of(path: Path, mounts: str) -> str | None:
    """The type of the file system that holds a path, by the content of ``/proc/mounts``."""
    best, found = -1, None
    for line in mounts.splitlines():
        _, _, rest = line.partition(" ")
        point, _, rest = rest.partition(" ")
        folder = Path(point.replace("\\040", " "))
        if path.is_relative_to(folder) and len(folder.parts) >= best:
            best, found = len(folder.parts), rest.partition(" ")[0]
    return found
