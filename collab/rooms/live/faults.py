"""Containment of failures: each stays with the session, listener or update that caused it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pycrdt

from collab.errors import CollabError, InternalError, InvalidRequest, Unavailable
from collab.gate.checked import Checked
from collab.gate.fields import Write
from collab.gate.gate import Gate
from collab.rooms.live.revisions import mended
from collab.rooms.live.session import Session
from collab.wire import yjs
from presence.lib0 import DecodeError

log = logging.getLogger(__name__)

_DEFERRED_BYTES = 16 * 1024 * 1024
_MESSAGE_BYTES = 200  # per message, besides its content


class NotApplied(InvalidRequest):
    """The document could not apply an update. It is rebuilt without the update, which is quarantined."""


class NotRecorded(InternalError):
    """An update was applied but could not be recorded. The document is rebuilt without it, and asks for it again."""


def take_in(
    doc: pycrdt.Doc[Any], gate: Gate, checked: Checked, *, live: bool, keep_deleted: bool = False
) -> tuple[pycrdt.Doc[Any], Sequence[Write]]:
    """Apply an update to the document and to the gate. Return the document and the writes to entity fields.

    The document is a new one if the update splits surrogate pairs of the old one.

    Raises :class:`NotApplied` on any failure; the document and the gate may then differ.
    """
    try:
        if checked.cuts:
            doc = mended(doc, checked.cuts, keep_deleted=keep_deleted)
        doc.apply_update(checked.update)
        return doc, gate.commit(checked, live=live)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # yrs panics arrive as PanicException, which is no Exception
        raise NotApplied("the document could not apply this update") from error


class Deferred:
    """Messages of sessions whose document is being rebuilt, in bounded memory."""

    def __init__(self) -> None:
        self.messages: list[tuple[Session, yjs.Message]] = []
        self._bytes = 0

    def add(self, session: Session, message: yjs.Message) -> None:
        """Keep a message. Raises :class:`Unavailable` if too many wait already."""
        match message:
            case yjs.Update(update=data) | yjs.SyncStep2(update=data) | yjs.AwarenessUpdate(payload=data):
                size = len(data)
            case _:
                size = 0
        if self._bytes + size > _DEFERRED_BYTES:
            raise Unavailable("the document is being rebuilt; nothing was lost, retry")
        self._bytes += size + _MESSAGE_BYTES
        self.messages.append((session, message))


@contextmanager
def closing(session: Session) -> Iterator[None]:
    """Any failure inside the block ends this session and nothing else."""
    try:
        yield
    except CollabError as error:
        session.close(error)
    except DecodeError as error:
        session.close(InvalidRequest(str(error)))
    except Exception:
        log.exception("a message could not be handled")
        session.close(InternalError("a message could not be handled"))


def tell(listener: Callable[[], None]) -> None:
    """Notify a listener of something that has already happened; an exception of the listener is only logged."""
    try:
        listener()
    except Exception:
        log.exception("a listener failed")
