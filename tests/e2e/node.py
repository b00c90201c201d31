"""Stock Yjs clients in a Node process, driven from a test."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import dev
from tests.e2e.server import Server

Kind = Literal["y-websocket-2", "y-websocket-3", "hocuspocus-3", "hocuspocus-4"]

KINDS: tuple[Kind, ...] = ("y-websocket-2", "y-websocket-3", "hocuspocus-3", "hocuspocus-4")

_CLIENTS = Path(__file__).parent / "clients"
_LINE_LIMIT = 64 * 1024 * 1024


class NodeError(Exception):
    """A command failed inside Node: its message."""


class Node:
    """A process that holds clients. ``complaints`` are errors that clients raised or logged by themselves."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.complaints: list[str] = []
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> Node:
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                dev.node(), "main.js", cwd=_CLIENTS, stdin=pipe, stdout=pipe, limit=_LINE_LIMIT
            )
        )

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            answer = json.loads(line)
            if "complaint" in answer:
                self.complaints.append(answer["complaint"])
                continue
            future = self._waiting.pop(answer["id"])
            if future.cancelled():
                continue
            if "error" in answer:
                future.set_exception(NodeError(answer["error"]))
            else:
                future.set_result(answer["result"])
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(NodeError("the Node process has ended"))

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Run a command of ``clients/main.js`` and return its answer."""
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": number, "command": command, **arguments}).encode() + b"\n")
        return await future

    async def stop(self) -> None:
        if self.process.returncode is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                await asyncio.wait_for(self.process.wait(), 5)
            except TimeoutError:
                self.process.kill()
        await self.process.wait()
        await self._reader

    async def kill(self) -> None:
        """End the process and all its clients without a word."""
        self.process.kill()
        await self.process.wait()
        await self._reader

    async def client(self, name: str, kind: Kind, server: Server | str, room: str, **how: Any) -> Client:
        """Create a client of a document ``room``. See ``Client`` in ``clients/client.js`` for ``how``."""
        url = _url(server, kind)
        number = await self.ask("create", client=name, kind=kind, url=url, name=room, **how)
        return Client(self, name, kind, number)

    async def socket(self, name: str, kind: Kind, server: Server | str) -> None:
        """Open a Hocuspocus socket that several clients share: pass ``socket=name`` to :meth:`client`."""
        await self.ask("socket", socket=name, kind=kind, url=_url(server, kind))

    async def converge(self, clients: Iterable[Client], seconds: float = 15) -> str:
        """Wait until all are synced, saved and equal. Returns their hash."""
        found: str = await self.ask("converge", clients=[client.name for client in clients], seconds=seconds)
        return found

    async def oracle(self, clients: Iterable[Client], seed: int = 0) -> dict[str, Any]:
        """A document that yjs alone kept from all that these clients wrote: ``complete``, ``hash``, ``state``."""
        found: dict[str, Any] = await self.ask("oracle", clients=[client.name for client in clients], seed=seed)
        return found


def _url(server: Server | str, kind: Kind) -> str:
    if isinstance(server, str):
        return server
    return server.hocuspocus if kind.startswith("hocuspocus") else server.rooms


class Client:
    """One stock provider with its document and awareness. ``id`` is the Yjs client id."""

    def __init__(self, node: Node, name: str, kind: Kind, number: int) -> None:
        self.node = node
        self.name = name
        self.kind = kind
        self.id = number

    async def _ask(self, command: str, **arguments: Any) -> Any:
        return await self.node.ask(command, client=self.name, **arguments)

    async def wait(self, seconds: float = 10, **wanted: Any) -> dict[str, Any]:
        """Wait until the client's summary (``Client.summary`` in ``clients/client.js``) holds these values."""
        found: dict[str, Any] = await self._ask("wait", wanted=wanted, seconds=seconds)
        return found

    async def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask("summary")
        return found

    async def state(self) -> Any:
        """The document as plain values."""
        return await self._ask("state")

    async def edit(self, seed: int, count: int = 1) -> None:
        """Make random edits over text, map, array and XML."""
        await self._ask("edit", seed=seed, count=count)

    async def insert(self, text: str, index: int = -1) -> None:
        """Insert into the text ``content``, by default at its end."""
        await self._ask("insert", index=index, text=text)

    async def set(self, key: str, value: Any) -> None:
        """Set a key of the map ``fields``."""
        await self._ask("set", key=key, value=value)

    async def change(self, *edits: tuple[Any, ...]) -> None:
        """Edit maps in one transaction, as ``clients/fields.js`` reads edits: ``("set", ["fields", "title"], "x")``."""
        await self._ask("change", edits=edits)

    async def edit_fields(self, seed: int, count: int = 1) -> None:
        """Make random edits of the map ``fields``, and undo and redo some."""
        await self._ask("editFields", seed=seed, count=count)

    async def undo(self) -> None:
        """Undo the last own edit."""
        await self._ask("undo")

    async def redo(self) -> None:
        """Do again what was undone last."""
        await self._ask("redo")

    async def values(self, root: str = "fields") -> dict[str, Any]:
        """A root map as plain values."""
        found: dict[str, Any] = await self._ask("values", root=root)
        return found

    async def holds(self, wanted: dict[str, Any], root: str = "fields", seconds: float = 10) -> None:
        """Wait until a root map holds these values and no others."""
        await self._ask("holds", root=root, wanted=wanted, seconds=seconds)

    async def connect(self) -> None:
        await self._ask("connect")

    async def disconnect(self) -> None:
        await self._ask("disconnect")

    async def terminate(self) -> None:
        """Cut the connection; the provider will connect again by itself."""
        await self._ask("terminate")

    async def abandon(self) -> None:
        """Connect again with the same document and awareness while the old connection stays open."""
        await self._ask("abandon")

    async def drop_abandoned(self) -> None:
        await self._ask("dropAbandoned")

    async def destroy(self) -> None:
        await self._ask("destroy")

    async def set_awareness(self, state: Any) -> None:
        await self._ask("setAwareness", state=state)

    async def awareness(self) -> dict[int, Any]:
        """All states that this client sees, its own among them."""
        return dict(await self._ask("awareness"))

    async def stateless(self, payload: str) -> None:
        await self._ask("stateless", payload=payload)

    async def send_token(self, token: str) -> None:
        """Send another token on the open connection."""
        await self._ask("sendToken", token=token)

    async def raw(self, frame: bytes) -> None:
        """Send bytes on the client's socket, past its provider."""
        await self._ask("raw", frame=frame.hex())
