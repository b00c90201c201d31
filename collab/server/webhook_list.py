"""Lists webhooks: where they are, how far behind, and how many dead letters they have."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from collab.consumers.webhook import Webhook
from collab.storage.reading import RecordReader


async def webhook_rows(reader: RecordReader, configured: Sequence[Webhook]) -> list[dict[str, str | int | None]]:
    """Return values for JSON: the configured webhooks first, then those of which only the record knows.

    ``behind`` is in events. ``position`` and ``behind`` are ``None`` for a webhook that has not begun, ``url`` for one
    that is not configured any more.
    """
    known = {(each.name, each.project): each for each in await reader.webhooks()}
    positions = await reader.positions()
    urls = {(each.name, each.project): _address_of(each) for each in configured}
    rows: list[dict[str, str | int | None]] = []
    for name, project in dict.fromkeys([*urls, *known]):
        progress = known.get((name, project))
        position = None if progress is None else progress.position
        rows.append(
            {
                "name": name,
                "project": project,
                "url": urls.get((name, project)),
                "position": position,
                "behind": None if position is None else positions.of(project) - position,
                "deadLetters": 0 if progress is None else progress.dead,
            }
        )
    return rows


def _address_of(webhook: Webhook) -> str:
    """Where a webhook is, without what may be secret: user, password, query."""
    parts = urlsplit(webhook.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
