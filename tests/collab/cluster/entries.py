"""The ways in: the same operation over HTTP, on ``/realtime`` and from Python, with comparable results."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from collab import errors
from collab.errors import CollabError
from collab.names import RoomKey
from tests.collab.cluster.nodes_world import Node

PATHS = {
    "create": ("POST", "/collections/{collection}"),
    "list": ("GET", "/collections/{collection}"),
    "query": ("POST", "/collections/{collection}/query"),
    "count": ("POST", "/collections/{collection}/count"),
    "aggregate": ("POST", "/collections/{collection}/aggregate"),
    "listGroups": ("GET", "/collections/{collection}/aggregate"),
    "read": ("GET", "/collections/{collection}/{id}"),
    "update": ("PATCH", "/collections/{collection}/{id}"),
    "delete": ("DELETE", "/collections/{collection}/{id}"),
    "restore": ("POST", "/collections/{collection}/{id}/restore"),
    "history": ("GET", "/collections/{collection}/{id}/history"),
    "writeMany": ("POST", "/writes"),
    "transaction": ("POST", "/transaction"),
    "present": ("GET", "/presence/{collection}/{id}"),
}


class Failed(NamedTuple):
    """What went wrong, as every entry tells it."""

    code: str
    message: str
    details: Any


class Http:
    """``/api/v1`` and ``/rooms``."""

    def __init__(self, node: Node, user: str, access: Mapping[str, Any]) -> None:
        token = node.collab.mint(user, access=access)
        self._client = httpx.AsyncClient(
            base_url=f"http://{node.address}", headers={"authorization": f"Bearer {token}"}, timeout=30
        )

    async def call(self, name: str, collection: str = "tasks", **what: Any) -> Any:
        """Use an operation; named as in the API. ``request``, ``params`` and ``body`` are what it takes."""
        method, path = PATHS[name]
        headers = {"idempotency-key": what["request"]} if "request" in what else {}
        answer = await self._client.request(
            method,
            f"/api/v1{path.format(collection=collection, id=what.get('id'))}",
            json=what.get("body"),
            params=what.get("params"),
            headers=headers,
        )
        return _read(answer)

    async def document(self, name: str, **params: Any) -> Any:
        """Read a document."""
        answer = await self._client.get(f"/rooms/{name}", params=params)
        return answer.content if answer.status_code == 200 else _read(answer)

    async def apply(self, name: str, update: bytes) -> Any:
        """Send an update of a document."""
        return _read(await self._client.post(f"/rooms/{name}", content=update))

    async def close(self) -> None:
        await self._client.aclose()


def _read(answer: httpx.Response) -> Any:
    if answer.status_code == 204:
        return None
    if answer.is_success:
        return answer.json()
    error = answer.json()["error"]
    return answer.status_code, Failed(error["code"], error["message"], error["details"])


class Realtime:
    """A session on ``/realtime``, with JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._next = 0
        self.heard: list[dict[str, Any]] = []

    @classmethod
    async def open(cls, node: Node, user: str, access: Mapping[str, Any]) -> Realtime:
        session = cls(await connect(f"ws://{node.address}/realtime"))
        token = node.collab.mint(user, access=access)
        await session._socket.send(json.dumps({"type": "hello", "token": token}))
        assert (await session._receive())["type"] == "welcome"
        return session

    async def _receive(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self._socket.recv())
        return found

    async def call(self, kind: str, **what: Any) -> Any:
        """Send a request; named as in the protocol."""
        self._next += 1
        await self._socket.send(json.dumps({"type": kind, "id": self._next, **what}))
        while True:
            message = await self._receive()
            if message.get("id") != self._next:
                self.heard.append(message)
            elif message["type"] == "reply":
                return message.get("result")
            else:
                error = message["error"]
                return Failed(error["code"], error["message"], error.get("details", {}))

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read until a message that is no answer is as wanted."""
        while True:
            for number, message in enumerate(self.heard):
                if wanted(message):
                    del self.heard[: number + 1]
                    return message
            self.heard = [await self._receive()]

    async def close(self) -> None:
        await self._socket.close()


async def told(work: Awaitable[Any]) -> Any:
    """The result of a Python operation, or its error."""
    try:
        return msgspec.to_builtins(await work)
    except CollabError as error:
        public = next(kind for kind in type(error).__mro__ if vars(errors).get(kind.__name__) is kind)
        return public.__name__, Failed(error.code, error.message, error.details)


def base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def key_of(name: str) -> RoomKey:
    return RoomKey("default", *name.split("/"))
