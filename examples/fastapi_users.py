"""Your own users in FastAPI: the routes know their callers, and sign the tokens with which pages connect.

    COLLAB_JWT_SECRET=$(openssl rand -hex 32) uvicorn examples.fastapi_users:app

A page calls ``POST /login``, and connects to /collab with the token. Routes act with the rights of their caller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

from collab import (
    Collab,
    FoundMany,
    Hooks,
    Identity,
    Present,
    ProposedWrite,
    Settings,
    ValidationFailed,
    Written,
    exception_handlers,
)

PASSWORDS = {"ada": "analytical", "bob": "builder"}  # in production: hashes, in your database


class Notes(Hooks):
    """What must be true of each note, whoever writes it: a route, a page, or another service."""

    async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
        """Refuse notes without a title, and note who changed one."""
        if write.key.collection != "notes" or write.after is None or write.action == "restore":
            return None
        if not write.after.get("title"):
            raise ValidationFailed("a note needs a title")
        return {"changedBy": write.identity.user_id}


collab = Collab(Settings.from_env(data="data/fastapi_users"), hooks=Notes())
Caller = Annotated[Identity, Depends(collab.identity)]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Your own resources beside ours: they may use ``collab``, which stops after them."""
    async with collab.lifespan(app), httpx.AsyncClient() as http:
        yield {"http": http}


app = FastAPI(lifespan=lifespan, exception_handlers=exception_handlers)


class Login(BaseModel):
    """What a user types."""

    user: str
    password: str


@app.post("/login")
async def login(said: Login) -> dict[str, str]:
    """Sign a token for an hour: the user's own notes, and reading everybody's."""
    if PASSWORDS.get(said.user) != said.password:
        raise HTTPException(401, "wrong user or password")
    mine = {"access": "write", "where": {"owner": "$userId"}}
    return {"token": collab.mint(said.user, name=said.user.title(), access={"notes/*": mine, "*/*": "read"})}


@app.get("/me")
async def me(caller: Caller) -> dict[str, str | None]:
    """Who is asking."""
    return {"user": caller.user_id, "name": caller.name}


@app.post("/notes", status_code=201)
async def create(caller: Caller, title: str) -> Written:
    """Create a note that belongs to the caller."""
    return await collab.collection("notes", identity=caller).create({"title": title, "owner": caller.user_id})


@app.patch("/notes/{note_id}")
async def rename(caller: Caller, note_id: str, title: str) -> Written:
    """Rename a note, if the caller may: 403 otherwise."""
    return await collab.collection("notes", identity=caller).update(note_id, {"title": title})


@app.get("/notes/{note_id}/people")
async def people(caller: Caller, note_id: str) -> Present:
    """Who has the note open."""
    return await collab.present(f"notes/{note_id}", caller.project)


@app.post("/logout-everywhere", status_code=204)
async def logout(caller: Caller) -> None:
    """Refuse all tokens of the caller from now on, and end their sessions."""
    await collab.revoke(user_id=caller.user_id, project=caller.project)


@app.get("/notes")
async def notes(caller: Caller) -> FoundMany:
    """The notes that the caller may see."""
    return await collab.collection("notes", identity=caller).find_many({"orderBy": {"createdAt": "desc"}})


app.mount("/collab", collab)
