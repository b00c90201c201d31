"""A sandbox with one caller and one request at a time."""

from typing import Any

from collab.sandbox.client import Sandbox
from collab.sandbox.messages import Compacted
from collab.turns import TurnOwner

READER, WORKER = TurnOwner("default", "ada"), TurnOwner("default", "compaction")


class Asking(Sandbox):
    """Each method takes its own turn."""

    async def read(self, *asked: Any) -> Any:
        async with self.turn(READER) as child:
            return await child.read(*asked)

    async def read_rich(self, *asked: Any) -> str:
        async with self.turn(READER) as child:
            return await child.read_rich(*asked)

    async def changes(self, *asked: Any) -> Any:
        async with self.background(WORKER) as child:
            told = await child.changes(*asked)
            return None if told is None else told.turns

    async def compact(self, *asked: Any, **more: Any) -> Compacted:
        async with self.background(WORKER) as child:
            return await child.compact(*asked, **more)

    async def read_past(self, *asked: Any) -> Any:
        async with self.turn(READER) as child:
            return await child.read_past(*asked)

    async def restore(self, *asked: Any) -> bytes | None:
        async with self.turn(READER) as child:
            return await child.restore(*asked)
