"""Rich text of documents, read and written in formats (:mod:`collab.richtext`). Runs in the child process."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import randbits
from typing import cast
from uuid import uuid4

from collab.contents.replica import Replica
from collab.contents.tree import ROOTS, TypeKind, kind_of, node_of
from collab.errors import InvalidRequest
from collab.richtext.names import ReadFormat, RichSchema, WriteFormat
from collab.richtext.reading import read_root


def read_rich(update: bytes, roots: Mapping[str, str], root: str | None, form: str) -> str:
    """A root of a document in a format; empty if the document has none. Raises :class:`InvalidRequest`."""
    replica = Replica.of([update])
    name = root if root is not None else _only_root(replica, roots) or ""
    type_ = replica.root(name)
    return read_root(node_of(type_, kind_of(type_, _known(roots, name)) or "fragment"), cast(ReadFormat, form))


def rewrite(
    update: bytes, roots: Mapping[str, str], root: str | None, form: str, content: str, schema: str | None
) -> bytes | None:
    """The edit after which a root says ``content``. Raises :class:`InvalidRequest`."""
    replica = Replica.of([update])
    name = root if root is not None else _only_root(replica, roots)
    if name is None:
        raise InvalidRequest("name a root: this document has none yet")
    client = randbits(32)
    while client in replica.state:
        client = randbits(32)
    from collab.richtext.setting import set_root  # its parsers take half as long to load as all else

    return set_root(
        replica,
        name,
        cast(WriteFormat, form),
        content,
        known=_known(roots, name),
        schema=cast(RichSchema | None, schema),
        client=client,
        new_id=lambda: str(uuid4()),
    )


def _known(roots: Mapping[str, str], name: str) -> TypeKind | None:
    return ROOTS.get(roots.get(name, ""))


def _only_root(replica: Replica, roots: Mapping[str, str]) -> str | None:
    names = [name for name, root in replica.roots.items() if kind_of(root) in ("text", "xml_text", "fragment")]
    if not names:  # perhaps it is one that was emptied
        names = [name for name, kind in roots.items() if kind in ("text", "xml")]
    if len(names) > 1:
        raise InvalidRequest(f"name a root: this document has {', '.join(sorted(names))}")
    return names[0] if names else None
