"""Past documents, and the edit that restores one. Runs in the child process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from secrets import randbits
from typing import Any

from collab.contents import restore as contents
from collab.contents.replica import Replica
from collab.contents.tree import as_json, kind_of, node_of


def read_past(updates: Sequence[bytes], without: Collection[str]) -> dict[str, Any]:
    """All roots except some, if their contents reveal their kinds, as JSON (:mod:`collab.contents.tree`)."""
    replica = Replica.of(updates)
    kinds = {name: kind_of(root) for name, root in replica.roots.items() if name not in without}
    return {name: as_json(node_of(replica.root(name), kind)) for name, kind in kinds.items() if kind is not None}


def restore(now: bytes, updates: Sequence[bytes], owned: Collection[str]) -> bytes | None:
    """An update that makes the roots of the document ``now``, except ``owned``, like those of ``updates``.

    ``None`` if nothing differs; see :mod:`collab.contents.restore`.
    """
    document = Replica.of([now])
    client = randbits(32)
    while client in document.state:
        client = randbits(32)
    return contents.restore(document, Replica.of(updates), owned, client)
