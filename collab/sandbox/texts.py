"""What documents say, for search. Runs in the child process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from collab.contents.replica import Replica
from collab.contents.tree import ROOTS, kind_of, node_of
from collab.query.search import fold_texts
from collab.richtext.texts import texts_of


def text_of_roots(replica: Replica, roots: Mapping[str, str]) -> str:
    """The folded text of some roots, given their kinds as the gate knows them; empty for a kind that nobody knows."""

    def texts() -> Iterator[str]:
        for name in sorted(roots):
            root = replica.roots.get(name)
            kind = None if root is None else kind_of(root, ROOTS.get(roots[name]))
            if root is not None and kind is not None:
                yield from texts_of(node_of(root, kind))

    return fold_texts(texts())


def read_text(updates: Sequence[bytes], without: Collection[str]) -> str | None:
    """The folded text of a document without some roots; ``None`` if it cannot be read."""
    try:
        replica = Replica.of(updates)
        return text_of_roots(replica, {name: "" for name in replica.roots if name not in without})
    except Exception:  # of one document among many
        return None
