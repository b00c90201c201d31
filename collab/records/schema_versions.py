"""Which version a declaration has, and whether it is an older one that came back. Pure.

While a cluster is updated, nodes with an older and with a newer declaration start in any order. A node whose
declaration the record knows from before must not make it the newest again: each start would be a new version, and
build or drop indexes. So the record keeps the last declarations by digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from collab.query.query import IndexPaths

_KEPT = 32


class Edition(NamedTuple):
    """A declaration that was the newest once, indexes included. ``version`` is what applications were told."""

    digest: str
    version: int


class SavedSchema(NamedTuple):
    """The saved declaration of a collection. The last of ``editions`` is the newest; there may be none."""

    version: int = 0
    fingerprint: bytes = b""
    editions: tuple[Edition, ...] = ()


class Decision(NamedTuple):
    """``version`` is that of the declaration. ``saved`` is to be saved, ``None``: nothing. ``newest``: it is no older
    one, so its indexes are those to have."""

    version: int
    saved: SavedSchema | None
    newest: bool


def digest_of(fingerprint: bytes, indexes: Sequence[IndexPaths]) -> str:
    """Equal for equal declarations with equal indexes."""
    return blake2b(fingerprint + b"\n" + msgspec.json.encode(indexes), digest_size=8).hexdigest()


def decide(saved: SavedSchema, fingerprint: bytes, digest: str, *, others: bool) -> Decision:
    """What a process that starts with a declaration is to do. ``others``: other nodes live."""
    if saved.editions and saved.editions[-1].digest == digest:
        return Decision(saved.version, None, newest=True)
    if others:
        for edition in saved.editions[::-1]:
            if edition.digest == digest:
                return Decision(edition.version, None, newest=False)
    version = saved.version + (saved.fingerprint != fingerprint)
    editions = (*(one for one in saved.editions if one.digest != digest), Edition(digest, version))[-_KEPT:]
    return Decision(version, SavedSchema(version, fingerprint, editions), newest=True)


def write_saved(saved: SavedSchema) -> bytes:
    """The content to save: a line for the declaration, and one for each edition."""
    lines = [f"{edition.digest} {edition.version}".encode() for edition in saved.editions]
    return b"\n".join([saved.fingerprint, *lines])


def read_saved(version: int, content: bytes) -> SavedSchema:
    """The inverse of :func:`write_saved`. Lines that make no sense, of a later version for example, are left out."""
    fingerprint, *lines = content.split(b"\n")
    editions = []
    for line in lines:
        digest, _, number = line.decode(errors="replace").partition(" ")
        if number.isascii() and number.isdigit():
            editions.append(Edition(digest, int(number)))
    return SavedSchema(version, fingerprint, tuple(editions))
