"""A live dashboard in the terminal: active users, today's orders, and the server's health.

python -m examples.dashboard                            # starts a server and creates orders on it
python -m examples.dashboard http://127.0.0.1:8000      # watches a running server
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from collab.client import LumenizeClient, Rows
from examples.own_server import server


@dataclass
class Dashboard:
    """The current figures. Calls ``show`` with a line whenever one changes."""

    show: Callable[[str], None] = print
    active_users: float = 0
    orders: Rows = field(default_factory=lambda: Rows([], []))
    health: str = "unknown"

    @property
    def revenue(self) -> float:
        """The sum of today's orders."""
        return float(sum(order["total"] for order in self.orders))

    async def watch(self, client: LumenizeClient) -> Callable[[], None]:
        """Subscribe; return a function that ends the subscriptions."""
        today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        subscriptions = [
            client.analytics.subscribe("active_users", self.on_users),
            client.orders.subscribe(
                {"where": {"createdAt": {"gte": today}}, "order_by": {"createdAt": "desc"}}, self.on_orders
            ),
            client.system.subscribe("health", self.on_health),
        ]
        for subscription in subscriptions:
            await subscription.ready()

        def cleanup() -> None:
            for unsubscribe in subscriptions:
                unsubscribe()

        return cleanup

    def on_users(self, count: float) -> None:
        """The number of active users has changed."""
        self.active_users = count
        self.draw()

    def on_orders(self, orders: Rows) -> None:
        """Today's orders have changed."""
        self.orders = orders
        self.draw()

    def on_health(self, health: dict[str, Any]) -> None:
        """The server's health has changed."""
        self.health = health["state"]
        self.draw()

    def draw(self) -> None:
        """Show all figures as one line."""
        self.show(
            f"{self.active_users:4} here | {len(self.orders):5} orders | {self.revenue:10.2f} | server {self.health}"
        )


async def sell(url: str, count: int | None = None, seconds: float = 1.0) -> None:
    """Create ``count`` orders, one every ``seconds``; endlessly without ``count``."""
    async with LumenizeClient(url=url, user_id="shop") as client:
        made = 0
        while count is None or made < count:
            await client.orders.create({"total": 9.5 + made % 7, "status": "pending"})
            made += 1
            await asyncio.sleep(seconds)


async def main(url: str | None = None) -> None:
    async with server(url) as where, LumenizeClient(url=where) as client:
        await Dashboard().watch(client)
        if url is None:
            await sell(where)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
