"""A server, and every kind of request to it with certain rights."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from time import time
from typing import Any

import anyio
import httpx
import jwt
import msgspec
import pycrdt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collab import Collab
from collab.errors import Conflict
from collab.wire import yjs
from collab.wire.realtime import messages as realtime
from presence.lib0 import encode_string, encode_uint, read_string, read_uint
from tests.collab.server.rights_model import TEAM, USER, Rights, Row

SECRET = "a secret of the tests, of more than 32 bytes"
SYNC, AWARENESS, AUTH, BROADCAST = 0, 1, 2, 6
ASK = yjs.sync_step1(b"\0")


class Heard:
    """One message of a document: its type and its body."""

    def __init__(self, data: bytes, *, addressed: bool) -> None:
        self._addressed = addressed
        pos = read_string(data, 0)[1] if addressed else 0
        self.kind, pos = read_uint(data, pos)
        self.body = data[pos:]

    @property
    def is_refusal(self) -> bool:
        return self.kind == AUTH and self.body[0] == int(self._addressed)  # 0 in y-protocols, 1 with Hocuspocus

    @property
    def is_answer(self) -> bool:
        return self.kind == SYNC and self.body[0] == yjs.STEP2


class Documents:
    """One document over one socket. ``open``: the server has admitted the client and not closed the document."""

    def __init__(self, socket: ClientConnection | None, address: str | None, name: str) -> None:
        self.open = socket is not None
        self._socket = socket
        self._address = address
        self.name = name

    async def send(self, body: bytes) -> None:
        assert self._socket is not None
        with suppress(ConnectionClosed):
            await self._socket.send(body if self._address is None else encode_string(self._address) + body)

    async def until(self, wanted: Callable[[Heard], bool]) -> bool:
        """Read until a message is as wanted. Returns false if the connection ended before that."""
        if not self.open:
            return False
        assert self._socket is not None
        with anyio.fail_after(30), suppress(ConnectionClosed):
            while True:
                data = await self._socket.recv()
                if not isinstance(data, bytes):
                    continue
                heard = Heard(data, addressed=self._address is not None)
                if heard.is_refusal:
                    break
                if wanted(heard):
                    return True
        self.open = False
        return False

    async def handled(self) -> bool:
        """Wait until everything sent before was handled. Returns whether the document is still open."""
        if self.open:
            await self.send(ASK)
        return await self.until(lambda heard: heard.is_answer)


class World:
    """``mapped``: tasks live inside boards (``b1:t1`` in the map ``tasks`` of ``boards/b1``)."""

    def __init__(self, collab: Collab, address: str, client: httpx.AsyncClient, *, mapped: bool = False) -> None:
        self.mapped = mapped
        self.collab = collab
        self.address = address
        self._client = client

    def token(self, rights: Rights) -> str:
        said = {"iss": "collab", "aud": "collab", "sub": USER, "exp": time() + 600, "access": rights.claim()}
        return jwt.encode({**said, "claims.team": TEAM, "team": TEAM}, SECRET, algorithm="HS256")

    async def http(self, rights: Rights, method: str, path: str, **how: Any) -> httpx.Response:
        return await self._client.request(method, path, headers=self._headers(rights), **how)

    def _headers(self, rights: Rights) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(rights)}"}

    async def streams(self, rights: Rights, path: str) -> int:
        """Status of a stream's response."""
        async with self._client.stream("GET", path, headers=self._headers(rights)) as answer:
            return answer.status_code

    @asynccontextmanager
    async def session(self, rights: Rights) -> AsyncIterator[ClientConnection]:
        async with connect(f"ws://{self.address}/realtime", max_size=None) as socket:
            await socket.send(msgspec.json.encode(realtime.Hello(token=self.token(rights))).decode())
            await socket.recv()
            yield socket

    async def ask(self, rights: Rights, *messages: realtime.ClientMessage) -> Any:
        """Result of the last request; ``PERMISSION_DENIED`` if any request got that."""
        async with self.session(rights) as socket:
            result: Any = None
            for message in messages:
                await socket.send(msgspec.json.encode(message).decode())
                while True:
                    answer = msgspec.json.decode(await socket.recv())
                    if answer.get("id") == message.id:  # type: ignore[union-attr]
                        break
                if answer["type"] == "failure":
                    return answer["error"]["code"]
                result = answer.get("result")
            return result

    def documents(self, way: str, rights: Rights, name: str) -> AbstractAsyncContextManager[Documents]:
        return {"y-websocket": self._yjs, "Hocuspocus": self._hocuspocus, "embedded": self._embedded}[way](rights, name)

    @asynccontextmanager
    async def _yjs(self, rights: Rights, name: str) -> AsyncIterator[Documents]:
        try:
            async with connect(f"ws://{self.address}/rooms/{name}?token={self.token(rights)}") as socket:
                yield Documents(socket, None, name)
        except InvalidStatus as refused:
            if refused.response.status_code != 403:
                raise
            yield Documents(None, None, name)

    @asynccontextmanager
    async def _hocuspocus(self, rights: Rights, name: str) -> AsyncIterator[Documents]:
        async with connect(f"ws://{self.address}/hocuspocus") as socket:
            yield await self._opened(socket, name, self.token(rights))

    @asynccontextmanager
    async def _embedded(self, rights: Rights, name: str) -> AsyncIterator[Documents]:
        async with self.session(rights) as socket:
            yield await self._opened(socket, name, "")

    async def _opened(self, socket: ClientConnection, name: str, token: str) -> Documents:
        documents = Documents(socket, name, name)
        await documents.send(bytes([AUTH, 0]) + encode_string(token))
        await documents.until(lambda heard: heard.kind == AUTH)
        return documents

    # as an administrator

    def document(self, entity: str) -> str:
        """The document in which a task lives."""
        return f"boards/{entity.partition(':')[0]}" if self.mapped else f"tasks/{entity}"

    async def prepare(self, entity: str) -> None:
        """Create what a task needs."""
        if self.mapped:
            with suppress(Conflict):
                await self.collab.collection("boards").create({"title": "board"}, id=entity.partition(":")[0])

    async def put(self, collection: str, entity: str, *versions: Row) -> None:
        """Create an entity with these states, one after the other."""
        await self.prepare(entity)
        rows = self.collab.collection(collection)
        await rows.create(dict(versions[0]), id=entity)
        for version in versions[1:]:
            await rows.update(entity, dict(version))

    async def now(self, collection: str, entity: str) -> dict[str, Any] | None:
        """Its fields; ``None`` if it does not exist."""
        found = (await self.collab.collection(collection).find_many({"where": {"id": entity}})).rows
        record = {"id", "createdAt", "updatedAt"}
        return {name: value for name, value in found[0].items() if name not in record} if found else None

    async def edit(self, entity: str, changes: Mapping[str, Any]) -> bytes:
        """An editor's update that sets fields of a task."""

        def change(doc: pycrdt.Doc[Any]) -> None:
            if self.mapped:
                doc.get("tasks", type=pycrdt.Map)[entity.partition(":")[2]].update(changes)
            else:
                doc.get("fields", type=pycrdt.Map).update(changes)

        return await self._update(entity, change)

    async def text(self, entity: str) -> bytes:
        """An editor's update that types into the document of a task."""

        def change(doc: pycrdt.Doc[Any]) -> None:
            text = doc.get("body", type=pycrdt.Text)
            text += "x"

        return await self._update(entity, change)

    async def _update(self, entity: str, change: Callable[[pycrdt.Doc[Any]], None]) -> bytes:
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        doc.apply_update(await self.collab.room(self.document(entity)).update())
        before = doc.get_state()
        change(doc)
        return doc.get_update(before)


def presence(client: int, state: str = '{"cursor": 1}') -> bytes:
    """An awareness message about one client."""
    return yjs.awareness(b"\1" + encode_uint(client) + encode_uint(1) + encode_string(state))
