"""A live chat in the terminal that shows who is typing.

    python -m examples.chat ada                             # starts a server and prints its address
    python -m examples.chat bob http://127.0.0.1:54321      # joins

Messages are entities of the collection ``messages``; a live query shows the newest ones. Typing is a custom
event, which the server does not store.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

import anyio

from collab.client import LumenizeClient, Rows
from examples.own_server import server


async def chat(
    url: str, chat_id: str, name: str, lines: AsyncIterable[str], show: Callable[[str], None] = print
) -> None:
    """Show the messages of the chat, and send ``lines``."""
    shown: set[str] = set()

    def on_messages(messages: Rows) -> None:
        for message in reversed(messages):  # the newest is the first
            if message["id"] not in shown:
                shown.add(message["id"])
                show(f"{message['authorId']}: {message['text']}")

    def on_typing(event: dict[str, Any]) -> None:
        if event["chatId"] == chat_id and event["userId"] != name:
            show(f"({event['userId']} is typing)")

    async with LumenizeClient(url=url, user_id=name) as client:
        quiet = client.on_disconnect(lambda: show("(no connection: your messages will be sent later)"))
        client.on_reconnect(lambda: show("(connected again)"))
        query = {"where": {"chatId": chat_id}, "order_by": {"createdAt": "desc"}, "limit": 50}
        await client.messages.subscribe(query, on_messages).ready()
        await client.events.subscribe("user_typing", on_typing).ready()
        async for line in lines:
            client.events.emit({"type": "user_typing", "chatId": chat_id, "userId": name})
            # not awaited: without a connection it is shown at once and sent later
            client.messages.create({"chatId": chat_id, "text": line, "authorId": name})
        await client.saved()
        quiet()


async def typed() -> AsyncIterator[str]:
    """Lines from the terminal."""
    while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield line.rstrip("\n")


async def main(name: str = "somebody", url: str | None = None) -> None:
    async with server(url) as where:
        print(f"Type a message and press Enter. Others join with: python -m examples.chat NAME {where}")
        await chat(where, "chat_123", name, typed())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
