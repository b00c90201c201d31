"""A worker that obeys its requests, for tests of the supervisor; and a supervisor for it."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from time import monotonic
from typing import Any

from collab.names import RoomKey
from collab.rooms.blackbox import SharedBlackBox
from collab.server.config.settings import Settings
from collab.server.process import supervisor, worker
from collab.server.supervision import Supervision

KEY = RoomKey("default", "documents", "doc_1")


class Fragile:
    """``POST /<deed>``: the body is noted in the black box. The folder ``data`` contains a journal."""

    def __init__(self, settings: Settings, supervision: Supervision) -> None:
        assert isinstance(supervision.blackbox, SharedBlackBox)
        self.banned = supervision.banned
        self.folder = Path(settings.data)
        self.blackbox = supervision.blackbox
        self.quarantined = supervision.quarantined
        self.closed = supervision.closed
        self.deaths = supervision.deaths
        if (self.folder / "broken").exists():
            self.log(f"broken:{monotonic()}")
            raise RuntimeError("broken")
        self.failed = False
        self.log("start")

    def log(self, line: str) -> None:
        with (self.folder / "journal").open("a") as file:
            file.write(line + "\n")

    async def drain(self) -> None:
        self.log("drain")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only http here")
        body = (await receive())["body"]
        match scope["path"]:
            case "/fail":
                self.failed = True
            case "/segv":
                self.blackbox.begin(KEY, body, 5.0, seq=4)
                ctypes.string_at(0)
            case "/hang":
                self.blackbox.begin(KEY, body, 0.2)
                while True:
                    pass
            case "/killed":
                self.blackbox.begin(KEY, body, 5.0)
                os.kill(os.getpid(), signal.SIGKILL)
            case "/exit":
                os._exit(3)
            case "/stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
            case "/work":
                for _ in range(1000):
                    self.blackbox.begin(KEY, body, 5.0)
                    self.blackbox.end()
        state = {
            "pid": os.getpid(),
            "supervisor": os.getppid(),
            "deaths": self.deaths,
            "closed": self.closed(KEY),
            "quarantined": [[*entry.key, entry.seq, entry.update.hex(), entry.reason] for entry in self.quarantined],
        }
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(state).encode()})


def supervise(folder: str) -> int:
    """Supervise a worker of this module, and print its address."""
    return supervisor.run(
        Settings(host="127.0.0.1", port=0, data=folder),
        command=(sys.executable, "-m", "tests.collab.server.process.fragile"),
        serving=lambda addresses: print(addresses[0][1], flush=True),
    )


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1]) if len(sys.argv) > 1 else worker.main(Fragile))
