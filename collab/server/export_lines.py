"""One entity as a line of JSON, in an export. Pure.

``{"project", "collection", "id", "version", "deleted", "data", "heads", "update", "inside"}``. ``update`` is the state
of its document, a Yjs update (encoding v1) in base64; ``inside`` names the document in which it lives instead.
``heads`` (base64) is who wrote each field last. A line that other programs write needs only ``collection``, ``id`` and
``data``: its document is then made from ``data``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from collab.entities.bridge import FIELDS
from collab.errors import CollabError, InvalidRequest
from collab.event import RECORD_MEMBERS
from collab.gate.edit import encode_fields
from collab.gate.fields import NESTED
from collab.gate.gate import Gap, Gate
from collab.gate.struct_content import Malformed
from collab.json_values import same
from collab.names import DEFAULT_PROJECT, RoomKey, is_part
from collab.records.field_values import check_fields
from collab.storage.adopting import Adoptee
from collab.storage.base import EntityRow

FORMAT = 1


class ExportedLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line; ``version`` 0: only the document is known. Members of other programs are ignored."""

    collection: str
    id: str
    project: str = DEFAULT_PROJECT
    version: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    deleted: bool = False
    data: dict[str, Any] = {}
    heads: str | None = None
    update: str | None = None
    inside: str | None = None


_decoder = msgspec.json.Decoder(ExportedLine)


def encode_line(key: RoomKey, entity: EntityRow | None, update: bytes | None, inside: str | None) -> bytes:
    """A line with its line feed."""
    line = ExportedLine(
        key.collection,
        key.id,
        key.project,
        entity.version if entity is not None else 0,
        entity is not None and entity.deleted,
        entity.data if entity is not None else {},
        b64encode(entity.heads).decode() if entity is not None and entity.heads else None,
        b64encode(update).decode() if update is not None else None,
        inside,
    )
    whole = {"project": key.project, **msgspec.to_builtins(line)}
    return msgspec.json.encode(whole) + b"\n"


def decode_line(line: bytes) -> ExportedLine:
    """Read a line. Raises :class:`InvalidRequest` if it is none."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"not a line of an export: {error}") from None


def adoptee_of(
    said: ExportedLine,
    *,
    into: str | None,
    validate: Callable[[str, Mapping[str, Any]], object],
    client: int,
    most_bytes: int,
) -> Adoptee:
    """Return what to put into a record. Checks that the document is one and has the fields that ``data`` says.

    ``into``: the project to use instead. ``validate`` is called with the collection and data of a line without a
    document, and may raise; ``client`` is a random client id for the document that is made then. Raises
    :class:`InvalidRequest` or another :class:`CollabError` with the reason.
    """
    key = RoomKey(into or said.project, said.collection, said.id)
    if not all(map(is_part, key)):
        raise InvalidRequest("project, collection and id must be 1-128 characters of [A-Za-z0-9_.:-]")
    if said.data.get("id", said.id) != said.id:
        raise InvalidRequest(f"id is {said.id!r}, but in data it is {said.data['id']!r}")
    version = 1 if said.version is None else said.version
    if said.update is not None:
        update: bytes | None = _checked(_bytes(said.update, "update"), said, version)
    elif said.inside is not None:
        update = None
    elif version:
        fields = {name: value for name, value in said.data.items() if name not in RECORD_MEMBERS}
        check_fields(fields)
        validate(said.collection, fields)
        update = encode_fields(client, 0, FIELDS, fields, (), {})
    else:
        raise InvalidRequest("it has neither data nor a document")
    if update is not None and len(update) > most_bytes:
        raise InvalidRequest(f"its document has {len(update)} bytes, more than max_document_bytes")
    return Adoptee(key, update, version, said.data, said.deleted, _bytes(said.heads or "", "heads"))


def _checked(update: bytes, said: ExportedLine, version: int) -> bytes:
    """The part of an update to store. Raises :class:`InvalidRequest` if it is no whole document, or another one."""
    gate = Gate()
    try:
        checked = gate.check_all(update, limit=max(1, len(update)))
        writes = gate.commit(checked)
    except (Malformed, Gap, CollabError) as error:
        raise InvalidRequest(f"its document cannot be used: {error}") from None
    if version:
        found = {
            write.key: write.value
            for write in writes
            if write.root == FIELDS and write.child is None and write.head and write.kind != "delete"
        }
        own = {name: value for name, value in said.data.items() if name not in RECORD_MEMBERS}
        found = {name: value for name, value in found.items() if name not in RECORD_MEMBERS}
        for name in found.keys() | own.keys():
            if name not in found or name not in own or not _agree(found[name], own[name]):
                raise InvalidRequest(f"its document and its data differ in the field {name}")
    return checked.update


def _agree(found: Any, said: Any) -> bool:
    return found is NESTED or same(found, said)


def _bytes(text: str, name: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise InvalidRequest(f"{name} is not base64") from None
