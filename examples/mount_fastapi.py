"""Collaboration inside a FastAPI application: rooms under /collab, your routes beside them.

    uvicorn examples.mount_fastapi:app          # or: hypercorn examples.mount_fastapi:app

Editors connect to ws://127.0.0.1:8000/collab/rooms. ``POST /notes/{id}/sign`` edits a document that may be
open: its editors show the signature at once.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pycrdt import Text

from collab import Collab, FoundMany, Settings, Written, exception_handlers

collab = Collab(Settings.from_env(data="data/fastapi"))
app = FastAPI(lifespan=collab.lifespan, exception_handlers=exception_handlers)


@app.get("/notes/{note_id}")
async def read(note_id: str) -> dict[str, Any]:
    """The note as JSON."""
    return await collab.room(f"notes/{note_id}").json()


@app.post("/notes/{note_id}/sign")
async def sign(note_id: str, user: str) -> dict[str, str]:
    """Append a signature, as the named user."""
    room = collab.room(f"notes/{note_id}")
    async with room.edit(user=user) as doc:
        content = doc.get("content", type=Text)
        content += f"\n-- {user}"
    return {"text": await room.text("content")}


@app.post("/notes/{note_id}/close")
async def close(note_id: str) -> Written:
    """Write a field of the note; its subscribers receive an event."""
    return await collab.collection("notes").update(note_id, {"open": False})


@app.get("/notes")
async def open_notes() -> FoundMany:
    """The notes that are open."""
    return await collab.collection("notes").find_many({"where": {"open": True}})


app.mount("/collab", collab)
