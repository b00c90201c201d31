"""Suggestions for unknown names. A misspelt condition is rejected, never ignored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_SIMILAR = 0.6
_SIGNS = re.compile(r"[$_\-\s]")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the most similar known name, ignoring case, ``$``, ``_`` and ``-``; ``None`` if none is similar."""
    folded = {_folded(one): one for one in known}
    found = get_close_matches(_folded(name[:100]), folded, n=1, cutoff=_SIMILAR)
    return folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End of an error message about an unknown name: ``; did you mean limit?``, or nothing."""
    found = nearest(name, known)
    return "" if found is None else f"; did you mean {found}?"


def _folded(name: str) -> str:
    return _SIGNS.sub("", name).lower()
