"""Large edits are applied piece by piece, so that others are served in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic, thread_time
from typing import TYPE_CHECKING, TypeVar

from collab.access.price import rest_after
from collab.access.rules import Access
from collab.errors import CollabError, Unavailable
from collab.gate.limits import AT_ONCE_BYTES
from collab.gate.pieces import Pieces, UpdatePiece, read_piece
from collab.rooms.live.faults import NotRecorded
from collab.rooms.live.session import Session
from collab.rooms.row_edits import LargeEdit, RowEdits

if TYPE_CHECKING:
    from collab.rooms.live.room import Room

T = TypeVar("T")
_ATTEMPTS = 5
Charge = Callable[[float], object]
"""Charges CPU seconds to whoever causes them."""


@asynccontextmanager
async def reading(update: bytes, charge: Charge) -> AsyncIterator[tuple[Pieces, float]]:
    """Read a large update: its pieces, and the CPU seconds it took.

    A thread reads them and frees what is left of them: freeing a million objects here would stop everybody. Raises
    :class:`collab.gate.gate.Malformed`.
    """
    pieces, seconds = await _in_thread(lambda: Pieces(update), charge)
    try:
        yield pieces, seconds
    finally:
        asyncio.get_running_loop().run_in_executor(None, pieces.discard)


async def read_ahead(piece: UpdatePiece, charge: Charge) -> UpdatePiece:
    """Read a piece in a thread if it is large: it may be one struct of many megabytes."""
    if len(piece.update) <= AT_ONCE_BYTES:
        return piece
    parts, _ = await _in_thread(lambda: read_piece(piece.update), charge)
    return piece._replace(parts=parts)


async def made_ready(room: Room, piece: UpdatePiece, edit: LargeEdit | None, charge: Charge) -> UpdatePiece:
    """Return when ``edit`` may be made, with a piece to be applied before the next ``await``.

    A thread rewrites what is large and cannot be applied as it is, again if others changed what that depends on.
    Raises :class:`Unavailable` if they do so all the time, and as :meth:`LargeEdit.allow`.
    """
    for _ in range(_ATTEMPTS):
        if edit is not None:
            await edit.allow(room)
        rewrite = room.gate.rewriting(piece) if len(piece.update) > AT_ONCE_BYTES else None
        if rewrite is None:
            return piece
        piece, _ = await _in_thread(rewrite, charge)
    raise Unavailable("others change this document too fast; retry")


async def _in_thread(work: Callable[[], T], charge: Charge) -> tuple[T, float]:
    """Do work that computes, and charge for it even if it fails."""
    spent = 0.0

    def measured() -> T:
        nonlocal spent
        began = thread_time()
        try:
            return work()
        finally:
            spent = thread_time() - began

    try:
        return await asyncio.to_thread(measured), spent
    finally:
        charge(spent)


async def take_apart(
    room: Room,
    session: Session,
    update: bytes,
    *,
    live: bool,
    counted: bool,
    edits: RowEdits,
    release: Callable[[Room], None],
) -> None:
    """Apply an edit of a held session (:meth:`Session.hold`), then the messages that it sent meanwhile.

    If the session leaves, the remaining pieces are still applied. ``release`` releases the room, which is not evicted
    until then.
    """
    room.hold()
    try:
        async with reading(update, session.throttle.charge) as (pieces, seconds):
            wait = _wait(session, 0.0, seconds)
            edit = LargeEdit(edits, room, session.identity, update, pieces.clients)
            sizes = room.portion.sizes(room.log.whole + len(update), busy=session.throttle.is_busy())
            while True:
                began = thread_time()
                piece = pieces.take(next(sizes), room.gate.state)
                spent = thread_time() - began
                piece = await read_ahead(piece, session.throttle.charge)
                await asyncio.sleep(wait)
                allowing = edit if session.access >= Access.WRITE else None  # otherwise the room refuses it
                piece = await made_ready(room, piece, allowing, session.throttle.charge)
                if room.broken:  # the session is asked for what the new room lacks: its answer is acknowledged instead
                    acks = session.acks_for(live=live, counted=counted, leaves=True)
                    session.missed += acks
                    break
                began = thread_time()
                last = None if pieces else counted
                checked = room.gate.check(piece)
                checked.seconds = spent + thread_time() - began
                pieces.sum_up(checked)
                room.take_in(session, checked, monotonic(), live=live, counted=last)
                edit.taken(room)
                seconds = spent + thread_time() - began
                wait = _wait(session, seconds, seconds)
                if not pieces:
                    break
    except NotRecorded:
        pass  # the session is asked again
    except CollabError as error:
        session.close(error)
    finally:
        release(room)
        for message in session.release():
            latest = room.latest
            if session not in latest.sessions:
                break
            try:
                latest.receive(session, message, monotonic())
            except CollabError as error:
                session.close(error)


def _wait(session: Session, charged: float, seconds: float) -> float:
    """Charge CPU time to a session. Returns for how long it is the turn of others after ``seconds`` of work."""
    return max(session.throttle.charge(charged), rest_after(seconds, busy=session.throttle.is_busy()))
