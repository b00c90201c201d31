"""Honest edits of any size are applied, acknowledged once, and give the document that was written."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import anyio
import pycrdt

from collab import Access, Identity, RoomKey
from collab.access.rules import Rule
from collab.rooms.live.framing import HocuspocusFraming
from collab.rooms.live.session import Session
from collab.wire import hocuspocus, yjs
from tests.collab.records.test_records import running


async def taken_in(*updates: bytes) -> pycrdt.Doc[Any]:
    """The document after a Hocuspocus session has sent these, each acknowledged once."""
    async with running() as collab:
        room = await collab._registry.open(RoomKey("default", "documents", "large"))
        closed: list[object] = []
        session = Session(
            Identity("default", "ada", rules=(Rule("*/*", Access.WRITE),)),
            Access.WRITE,
            HocuspocusFraming("large"),
            ready=lambda: None,
            close=closed.append,
            outbox_bytes=1 << 20,
        )
        room.join(session)
        saved = 0
        for update in updates:
            room.receive(session, yjs.Update(update), monotonic())
        with anyio.fail_after(60):
            while (session.waiting is not None or room.commits.pending or saved < len(updates)) and not closed:
                saved += room.drain(session).count(hocuspocus.sync_status("large", True))
                await asyncio.sleep(0.01)
        assert not closed
        assert saved == len(updates)
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        doc.apply_update(room.diff())
        room.leave(session, monotonic())
        return doc


async def test_a_paste_of_15_mib_is_applied() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc.get("t", type=pycrdt.Text)
    text += "fifteen characters, then 9 more " * (15 * 32 * 1024)
    assert str((await taken_in(doc.get_update())).get("t", type=pycrdt.Text)) == str(text)
