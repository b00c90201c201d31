"""Memory of a subscription to one entity, and of a live query; neither holds rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bench.record.clients.collab import Collab
from bench.record.live import CONNECTIONS, spread
from bench.result import Options, Result
from bench.servers import Running


async def memory(server: Running, options: Options) -> list[Result]:
    """Measure the growth of resident memory for a number of subscriptions, and for as many again."""
    count = 200 if options.quick else 10_000
    clients = [Collab("json") for _ in range(CONNECTIONS)]
    for client in clients:
        await client.connect(server.url(""))
    result = Result("memory", server.server.name, {"subscriptions": count})
    kinds: dict[str, Callable[[Collab, Sequence[str]], Awaitable[None]]] = {
        "entity_subscription": Collab.follow,
        "live_query": Collab.subscribe,
    }
    for kind, how in kinds.items():
        for turn in ("first_kb", "kb"):
            before = server.tree.rss()
            await spread(clients, [f"{kind}-{turn}-{i}" for i in range(count)], how)
            await asyncio.sleep(0.1 if options.quick else 1.5)
            result.numbers[f"{kind}_{turn}"] = round((server.tree.rss() - before) / 1e3 / count, 2)
    for client in clients:
        client.close()
    return [result]
