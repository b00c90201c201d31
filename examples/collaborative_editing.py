"""Two people edit one document: its text merges, its title conflicts, and each sees where the other is.

    python -m examples.collaborative_editing [URL of a server]

The text is a CRDT: both write at once, and nothing is lost. The title is a field: the later write wins, and its author
learns which value it replaced. The program prints each step.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from pycrdt import Text

from collab.client import Crowd, Document, Event, LumenizeClient, Met
from collab.errors import Conflict
from examples.own_server import server

DOCUMENT = "doc_123"


def text_of(document: Document) -> Text:
    found: Text = document.doc.get("content", type=Text)
    return found


async def edit_together(url: str, show: Callable[[str], None] = print) -> str:
    """Run all steps; return the final text."""
    async with LumenizeClient(url=url, user_id="ada") as ada, LumenizeClient(url=url, user_id="bob") as bob:

        def on_people(people: Crowd) -> None:
            cursors = [f"{one.state['userId']} at {one.state['cursor']}" for one in people if "cursor" in one.state]
            show(f"here: {', '.join(cursors) or 'nobody'}")

        def on_event(event: Event) -> None:
            show(f"{event.user_id}: {event.type} {event.changes}")

        def on_conflict(met: Met) -> None:
            for conflict in met.conflicts:
                show(f"ada's {conflict.yours!r} conflicts with {conflict.user_id}'s {conflict.theirs!r}")

        await ada.presence.subscribe(DOCUMENT, on_people).ready()
        await ada.documents.subscribe(DOCUMENT, on_event).ready()
        ada.on_conflict(on_conflict)
        await ada.presence.join(DOCUMENT, {"userId": "ada", "cursor": {"line": 1, "column": 1}})
        await bob.presence.join(DOCUMENT, {"userId": "bob", "cursor": {"line": 10, "column": 5}})

        async with ada.documents.open(DOCUMENT) as hers, bob.documents.open(DOCUMENT) as his:
            her_text, his_text = text_of(hers), text_of(his)
            her_text += "Ada writes. "
            his_text += "Bob writes. "  # at the same time
            await hers.until_saved()
            await his.until_saved()
            await hers.changed.until(lambda: "Bob" in str(her_text))
            show(f"Ada has: {her_text}")

        seen = await ada.documents.update(DOCUMENT, {"title": "Draft"})
        await bob.documents.update(DOCUMENT, {"title": "Bob's title"})
        # she has not seen his title: hers wins, and on_conflict is called
        await ada.documents.update(DOCUMENT, {"title": "Ada's title"}, version=seen.version)
        try:
            await bob.documents.update(DOCUMENT, {"title": "No, mine"}, version=seen.version, on_conflict="reject")
        except Conflict as conflict:
            show(f"bob asked for an error: {conflict}; the title is {conflict.details['data']['title']!r}")
        return str(her_text)


async def main(url: str | None = None) -> None:
    async with server(url) as where:
        await edit_together(where)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
