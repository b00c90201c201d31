"""A server that requires tokens, with documents and watching clients."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import jwt
import pycrdt

from collab.server.config.settings import secret_issuer
from tests.e2e.peer import (
    AWARENESS,
    Heard,
    Peer,
    peer,
    presence,
)
from tests.e2e.server import Server

SECRET = "a secret of the tests, of more than 32 bytes"
TEXT = "what was there before"
VICTIM, ACTOR = 7001, 7002  # awareness ids
CURSOR = {"cursor": 1}


def mint(user: str = "ada", access: str | Mapping[str, str] = "write", seconds: float = 600, **claims: Any) -> str:
    issuer = secret_issuer(SECRET)
    rules = {"*/*": access} if isinstance(access, str) else dict(access)
    good = {"iss": issuer.issuer, "aud": issuer.audience, "sub": user, "exp": time.time() + seconds, "access": rules}
    return jwt.encode(good | claims, SECRET, algorithm="HS256")


def http(server: Server, token: str | None = None, **headers: str) -> httpx.AsyncClient:
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return httpx.AsyncClient(base_url=server.http, headers=headers, timeout=40, verify=False)


async def state_hash(server: Server, room: str) -> str:
    """Hash of the complete document, including history and deletions."""
    async with http(server, mint()) as client:
        answer = await client.get(f"/rooms/{room}", params={"format": "update"})
        assert answer.status_code == 200
        return sha256(answer.content).hexdigest()


@asynccontextmanager
async def document(server: Server, room: str) -> AsyncIterator[tuple[Peer, pycrdt.Doc[Any]]]:
    """A document with a text, a watcher who has joined it with presence, and a replica of it."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc.get("content", type=pycrdt.Text)
    text += TEXT
    async with http(server, mint()) as client:
        assert (await client.post(f"/rooms/{room}", content=doc.get_update())).status_code == 204
    async with peer(server, "hocuspocus", room, mint("watcher")) as watcher:
        await watcher.content()
        await watcher.send(presence(VICTIM, 1, CURSOR))
        await watcher.handled()
        watcher.heard.clear()
        yield watcher, doc


async def who_is_seen(server: Server, room: str) -> dict[int, Any]:
    """Awareness states that a new client receives."""
    async with peer(server, "y-websocket", room, mint("observer")) as observer:
        await observer.send(b"\x03")  # queryAwareness
        await observer.content()
        seen: dict[int, Any] = {}
        for heard in observer.heard:
            if heard.kind == AWARENESS:
                seen |= heard.states()
        return seen


def edits(doc: pycrdt.Doc[Any]) -> dict[str, bytes]:
    """Updates of the document: an insertion, a deletion, and one that does both to all of it."""
    found = {}
    for name in ("insertion", "deletion", "everything"):
        copy: pycrdt.Doc[Any] = pycrdt.Doc()
        copy.apply_update(doc.get_update())
        before = copy.get_state()
        text = copy.get("content", type=pycrdt.Text)
        if name != "insertion":
            del text[0:4]
        if name != "deletion":
            text += "!"
        found[name] = copy.get_update() if name == "everything" else copy.get_update(before)
    return found


def told(listener: Peer, wanted: int) -> list[Heard]:
    return [heard for heard in listener.heard if heard.kind == wanted]


async def metric(server: Server, name: str) -> float:
    async with http(server) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))
