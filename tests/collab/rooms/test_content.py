from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from pycrdt import Text

from collab import Collab, Settings
from collab.event import EntityEvent
from collab.rooms import content
from collab.sandbox import Sandbox
from collab.storage.memory import MemoryStorage


async def test_a_process_that_starts_slowly_is_not_what_a_document_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    skipped = 0.0

    class Slow(Sandbox):
        """Its child starts once, which takes a quarter of an hour."""

        started = False

        async def prepare_changes(self) -> None:
            nonlocal skipped
            if not self.started:
                skipped += 900.0
                self.started = True

        async def changes(
            self, base: Sequence[bytes], turns: Sequence[Sequence[bytes]], roots: Any, seconds: float
        ) -> list[dict[str, dict[str, Any]]]:
            await self.prepare_changes()
            return await super().changes(base, turns, roots, seconds)

    monkeypatch.setattr(content, "monotonic", lambda: time.monotonic() + skipped)
    monkeypatch.setattr("collab.server.app.Sandbox", Slow)
    collab = Collab(Settings(content_event_seconds=0.05), storage=MemoryStorage())
    async with collab.lifespan(), asyncio.timeout(60):
        events: list[EntityEvent] = []
        collab.feed.subscribe(lambda project, event: events.append(event))
        for number, letter in enumerate("ab"):
            async with collab.room("d").edit(user="ann") as doc:
                doc.get("text", type=Text).insert(0, letter)
            while not any(event.changes == {"text": {"delta": [{"insert": letter}]}} for event in events):
                await asyncio.sleep(0.01)
            assert len(events) == number + 2
