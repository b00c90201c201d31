"""200 people type in one document, with and without content events."""

from __future__ import annotations

from dataclasses import replace

from bench.result import Options, Result
from bench.scenarios import typing
from bench.servers import SERVERS, serving

TURNS = 2
EVENTS = {"with events of content": "1", "without": "0"}


async def room(options: Options) -> list[Result]:
    """Alternate between both, so that disturbances affect them equally."""
    results = []
    ours = SERVERS["collab"]
    for turn in range(1 if options.quick else TURNS):
        for label, seconds in EVENTS.items():
            server = replace(ours, environment=(*ours.environment, ("COLLAB_CONTENT_EVENT_SECONDS", seconds)))
            async with serving(server, options.core) as running:
                result = await typing.steady("room", typing.TYPISTS_200, running, options)
            result.server = f"{label}, turn {turn + 1}"
            results.append(result)
    return results
