"""Warm up a server before its memory is measured."""

from __future__ import annotations

import asyncio

from bench.servers import Running
from bench.session import join_all
from bench.yjs import awareness, insert, update

STATE = '{"user":{"name":"Ana","color":"#30bced"}}'


async def warm_up(server: Running) -> None:
    """Use everything once, so that lazy imports and caches count as part of the empty server."""
    sessions = [server.session(f"warm-{i}", watch=True) for i in range(4)]
    await join_all(sessions)
    for i, (session, _) in enumerate(sessions):
        session.edit(update((i + 1, 0), insert(b"warm", None, None)))
        session.send(session.framing.awareness(awareness(i + 1, 1, STATE)))
    await asyncio.sleep(0.5)
    for session, _ in sessions:
        session.close()
    await asyncio.sleep(1.0)
