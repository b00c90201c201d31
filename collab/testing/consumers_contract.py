"""Contract of event consumers. Part of :mod:`collab.testing.storage_contract`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from collab.storage.base import DeadLetter
from collab.testing.storage_case import KEY, OTHER, StorageCase, entry, fact


class ConsumersContract(StorageCase):
    """Webhook positions and dead letters."""

    async def test_a_webhook_goes_on_where_it_was(self, tmp_path: Path) -> None:
        """Events that it did not accept are kept."""
        letters = [
            DeadLetter("hook", fact(number, {"n": [number]}).event, "acme", f"status {number}", float(number))
            for number in range(1, 4)
        ]
        async with self.opened(tmp_path) as storage:
            assert await storage.webhook_position("hook", "acme") is None
            assert list(await storage.dead_letters("hook")) == []
            await storage.save_webhook("hook", "acme", 5)
            await storage.save_webhook("hook", "acme", 7, letters[:2])
            await storage.save_webhook("hook", "acme", 9, letters[2:])
            await storage.save_webhook("other", "acme", 0)
            await storage.save_webhook("hook", "other", 3)
            assert await storage.webhook_position("hook", "acme") == 9
            assert await storage.webhook_position("hook", "other") == 3
            assert await storage.webhook_position("other", "acme") == 0
            assert await storage.webhook_position("other", "other") is None
            assert list(await storage.dead_letters("hook")) == letters
            assert list(await storage.dead_letters("other")) == []

    async def test_an_event_that_a_webhook_did_not_accept_is_kept_once(self, tmp_path: Path) -> None:
        """The save is repeated if its answer was lost, perhaps with later events and at a later time."""

        def letter(number: int, project: str = "acme", *, at: float = 1.0) -> DeadLetter:
            event = fact(number, {"text": '\0\u2028"😀', "n": [number]}).event
            return DeadLetter("hook", event, project, "no answer", at)

        async with self.opened(tmp_path) as storage:
            for _ in range(2):
                await storage.save_webhook("hook", "acme", 7, [letter(1), letter(2)])
            await storage.save_webhook("hook", "acme", 9, [letter(number, at=2.0) for number in (1, 2, 3)])
            await storage.save_webhook("hook", "other", 2, [letter(1, "other")])
            kept = [letter(1), letter(2), letter(3, at=2.0), letter(1, "other")]
            assert list(await storage.dead_letters("hook")) == kept
            seconds = [replace(letter(1), webhook="second")]
            await storage.save_webhook("second", "acme", 9, seconds)
            assert list(await storage.dead_letters("second")) == seconds
            assert list(await storage.dead_letters("hook")) == kept

    async def test_dead_letters_of_an_erased_entity_are_erased(self, tmp_path: Path) -> None:
        """Those of other entities stay."""
        erased = DeadLetter("hook", fact(1).event, "acme", "no answer", 1.0)
        kept = DeadLetter(
            "hook", msgspec.structs.replace(fact(1, key=OTHER).event, position=2), "acme", "no answer", 1.0
        )
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"1", OTHER)], [fact(1, row=0), fact(1, key=OTHER, row=1)])
            await storage.save_webhook("hook", "acme", 2, [erased, kept])
            await storage.erase([KEY])
            assert list(await storage.dead_letters("hook")) == [kept]
