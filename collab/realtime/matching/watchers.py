"""Tells the watchers of one query, none of whom can keep anything from another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

from collab.errors import CollabError, InternalError

log = logging.getLogger(__name__)


class Failing(Protocol):
    """Anyone who is told that a query has ended."""

    def failed(self, error: CollabError) -> None:
        """The query has ended; no more calls follow."""


W = TypeVar("W", bound=Failing)


def tell_all(watchers: dict[object, W], tell: Callable[[W], object]) -> bool:
    """Call ``tell`` with each of the watchers, except those that others close meanwhile.

    One that raises is removed, and gets an error. Returns whether there was one.
    """
    removed = False
    for token, watcher in list(watchers.items()):
        if token not in watchers:
            continue
        try:
            tell(watcher)
        except Exception:
            log.exception("a watcher raised; it is removed")
            if watchers.pop(token, None) is not None:
                removed = True
                tell_failure(watcher, InternalError("could not deliver the query's steps"))
    return removed


def tell_failure(watcher: Failing, error: CollabError) -> None:
    """Tell a watcher that its query has ended. What it raises is logged."""
    try:
        watcher.failed(error)
    except Exception:
        log.exception("a watcher raised in failed()")
