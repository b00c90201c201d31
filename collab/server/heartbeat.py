"""The beats by which the record knows that this server lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from collab.storage.base import StorageError
from collab.storage.nodes import Fenced, Nodes

log = logging.getLogger(__name__)

_SECONDS = 1.0


async def beat(nodes: Nodes, fenced: Callable[[Fenced], object], *, seconds: float = _SECONDS) -> None:
    """Beat every ``seconds`` until this node is declared dead; then call ``fenced``.

    A storage that fails for a while does no harm.
    """
    heard = True
    while True:
        try:
            await nodes.beat()
            heard = True
        except Fenced as error:
            log.error("this server was declared dead: %s", error)
            fenced(error)
            return
        except StorageError as error:
            if heard:  # the recorder tells for how long the storage is away
                log.info("no beat of this server reaches the database: %s", error)
            heard = False
        await asyncio.sleep(seconds)
