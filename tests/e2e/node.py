"""Stock Yjs clients in a Node process, driven from a test."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tests.e2e.server import Server
from tools import machine

Kind = Literal["y-websocket-2", "y-websocket-3", "hocuspocus-3", "hocuspocus-4"]

KINDS: tuple[Kind, ...] = ("y-websocket-2", "y-websocket-3", "hocuspocus-3", "hocuspocus-4")

_CLIENTS = Path(__file__).parent / "clients"
_LINE_LIMIT = 64 * 1024 * 1024


class NodeError(Exception):
    """A command failed in Node."""


class Node:
    """A process with clients. ``complaints`` are errors that clients raised or logged."""

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
                machine.node(), "main.js", cwd=_CLIENTS, stdin=pipe, stdout=pipe, limit=_LINE_LIMIT
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
        """Kill the process with all its clients."""
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

    async def converge(self, clients: Iterable[Client], seconds: float = 40) -> str:
        """Wait until all are synced, saved and equal. Returns their hash."""
        found: str = await self.ask("converge", clients=[client.name for client in clients], seconds=seconds)
        return found

    async def oracle(self, clients: Iterable[Client], seed: int = 0) -> dict[str, Any]:
        """A document that yjs built from all updates of these clients: ``complete``, ``hash``, ``state``."""
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

    async def wait(self, seconds: float = 40, **wanted: Any) -> dict[str, Any]:
        """Wait until the client's summary (``Client.summary`` in ``clients/client.js``) has these values."""
        found: dict[str, Any] = await self._ask("wait", wanted=wanted, seconds=seconds)
        return found

    async def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask("summary")
        return found

    async def state(self) -> Any:
        """The document as plain values."""
        return await self._ask("state")

    async def apply(self, *updates: bytes) -> None:
        """Apply updates as if the page had received them from elsewhere; its provider forwards them."""
        for update in updates:
            await self._ask("apply", update=update.hex())

    async def update(self) -> bytes:
        """The whole document as one update."""
        return bytes.fromhex(await self._ask("update"))

    async def clear(self) -> None:
        """Delete the text ``content``."""
        await self._ask("clear")

    async def snapshot(self) -> str:
        """A Yjs snapshot, for :meth:`at_snapshot`."""
        found: str = await self._ask("snapshot")
        return found

    async def at_snapshot(self, snapshot: str) -> Any:
        """The document at a snapshot, as plain values."""
        return await self._ask("atSnapshot", snapshot=snapshot)

    async def edit(self, seed: int, count: int = 1) -> None:
        """Make random edits over text, map, array and XML."""
        await self._ask("edit", seed=seed, count=count)

    async def odd(self, edit: str) -> None:
        """Make an edit of ``clients/odd.js``."""
        await self._ask("odd", edit=edit)

    async def large(self, edit: str) -> None:
        """Make an edit of ``clients/large.js``."""
        await self._ask("large", edit=edit)

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
        """Make random edits of the map ``fields``; undo and redo some."""
        await self._ask("editFields", seed=seed, count=count)

    async def undo(self) -> None:
        """Undo the last own edit."""
        await self._ask("undo")

    async def redo(self) -> None:
        """Redo."""
        await self._ask("redo")

    async def values(self, root: str = "fields") -> dict[str, Any]:
        """A root map as plain values."""
        found: dict[str, Any] = await self._ask("values", root=root)
        return found

    async def holds(self, wanted: dict[str, Any], root: str = "fields", seconds: float = 40) -> None:
        """Wait until a root map equals these values."""
        await self._ask("holds", root=root, wanted=wanted, seconds=seconds)

    async def connect(self) -> None:
        await self._ask("connect")

    async def disconnect(self) -> None:
        await self._ask("disconnect")

    async def terminate(self) -> None:
        """Cut the connection; the provider will reconnect."""
        await self._ask("terminate")

    async def abandon(self) -> None:
        """Connect again with the same document and awareness while the old connection stays open."""
        await self._ask("abandon")

    async def mesh(self, other: Client) -> None:
        """Also exchange updates with another client directly."""
        await self._ask("mesh", other=other.name)

    async def type_in_turn(self, other: Client, count: int) -> None:
        """Type characters into the middle of the text, in turn with another client."""
        await self._ask("type", other=other.name, count=count)

    async def leak(self, **how: Any) -> None:
        """Open a second provider on the same document, optionally with another ``token``."""
        await self._ask("leak", **how)

    async def drop_abandoned(self) -> None:
        await self._ask("dropAbandoned")

    async def destroy(self) -> None:
        await self._ask("destroy")

    async def set_awareness(self, state: Any) -> None:
        await self._ask("setAwareness", state=state)

    async def awareness(self) -> dict[int, Any]:
        """All states that this client sees, including its own."""
        return dict(await self._ask("awareness"))

    async def stateless(self, payload: str) -> None:
        await self._ask("stateless", payload=payload)

    async def send_token(self, token: str) -> None:
        """Send another token on the open connection."""
        await self._ask("sendToken", token=token)

    async def raw(self, frame: bytes) -> None:
        """Send bytes on the client's socket, past its provider."""
        await self._ask("raw", frame=frame.hex())
