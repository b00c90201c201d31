"""Sends dead letters to their webhook again, beside a server or without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from collab.consumers.webhook import Webhook
from collab.consumers.webhook_sender import post, sending_client
from collab.errors import NotFound
from collab.nearest import did_you_mean
from collab.storage.location import reader_at
from collab.storage.reading import NumberedLetter
from collab.storage.settling import settle_letters


@dataclass(slots=True)
class Replayed:
    """How many dead letters were ``sent`` and taken, which ``failed`` and why, and how many had to wait for these."""

    sent: int = 0
    failed: list[tuple[NumberedLetter, str]] = field(default_factory=list)
    waiting: int = 0


def webhook_named(webhooks: Sequence[Webhook], name: str) -> Webhook:
    """The configured webhook with this name. Raises :class:`NotFound`."""
    for webhook in webhooks:
        if webhook.name == name:
            return webhook
    raise NotFound(f"no webhook {name} is configured{did_you_mean(name, [each.name for each in webhooks])}")


async def replay(
    location: str, webhook: Webhook, numbers: Sequence[int], *, progress: Callable[[int, int], object]
) -> Replayed:
    """Send dead letters again, those with ``numbers`` or all, oldest first; those that are taken are forgotten.

    What is taken is settled at once, so that a replay that is killed repeats one event at most. After an event that
    fails, later ones of the same entity wait: events of one entity stay in order. The events have the ``webhook-id``
    that they had before. ``progress`` is called with how many are done, and of how many. Raises :class:`NotFound` if
    there is no letter with one of ``numbers``.
    """
    async with reader_at(location) as reader:
        epoch = (await reader.positions()).epoch
        letters = [each for each in await reader.dead_letters(webhook.name) if each.letter.project == webhook.project]
    if numbers:
        missing = sorted(set(numbers) - {number for number, _ in letters})
        if missing:
            raise NotFound(f"webhook {webhook.name} has no dead letter {', '.join(map(str, missing))}")
        letters = [each for each in letters if each.number in numbers]
    done = Replayed()
    stuck: set[tuple[str, str]] = set()
    async with sending_client() as client:
        for number, each in enumerate(letters):
            progress(number, len(letters))
            event = each.letter.event
            if (event.collection, event.id) in stuck:
                done.waiting += 1
                continue
            reason = (await post(client, webhook, epoch, each.letter.project, event)).reason
            if reason is None:
                await settle_letters(location, [each])
                done.sent += 1
            else:
                stuck.add((event.collection, event.id))
                done.failed.append((each, reason))
    return done
