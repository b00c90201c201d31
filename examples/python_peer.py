"""A Python program as another client of a document: pycrdt's own Provider over a WebSocket.

    python examples/python_peer.py ws://127.0.0.1:8000/rooms documents/hello "Hello from Python. "

It joins the document, appends to its text ``codemirror``, prints the text, and leaves.
"""

from __future__ import annotations

import sys

import anyio
from httpx_ws import AsyncWebSocketSession, aconnect_ws
from pycrdt import Doc, Provider, Text
from pycrdt.websocket.websocket import HttpxWebsocket


async def write(url: str, name: str, words: str) -> str:
    """Append ``words`` to the text of a document and return the whole text."""
    doc: Doc[Text] = Doc()
    text = doc.get("codemirror", type=Text)
    websocket: AsyncWebSocketSession
    async with aconnect_ws(f"{url}/{name}") as websocket, Provider(doc, HttpxWebsocket(websocket, name)) as provider:
        await provider.synced.wait()
        text += words
    return str(text)


if __name__ == "__main__":
    print(anyio.run(write, sys.argv[1], sys.argv[2], sys.argv[3]))
