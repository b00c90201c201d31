"""Takes what is settled out of a record: dead letters that were delivered, quarantined entries that were released.

A server may use the record meanwhile: it keeps none of these rows in memory, and each change is one short transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from collab.storage.location import check_driver, is_postgres
from collab.storage.reading import NumberedAside, NumberedLetter


async def settle_letters(location: str, letters: Sequence[NumberedLetter]) -> None:
    """Delete these dead letters. Raises :class:`collab.storage.base.StorageError`."""
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.settling import delete_letters

        await delete_letters(location, letters)
        return
    from collab.storage.sqlite.settling import delete_letters as delete_letters_from_file

    await asyncio.to_thread(delete_letters_from_file, Path(location), letters)


async def mark_aside(location: str, aside: NumberedAside, reason: str) -> bool:
    """Give a quarantined entry another reason, unless somebody else has changed it. Returns whether it has that now.

    Raises :class:`collab.storage.base.StorageError`.
    """
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.settling import change_reason

        return await change_reason(location, aside, reason)
    from collab.storage.sqlite.settling import change_reason as change_reason_in_file

    return await asyncio.to_thread(change_reason_in_file, Path(location), aside, reason)


async def settle_aside(location: str, aside: NumberedAside, why: str) -> None:
    """Delete a quarantined entry, or, if the number of its log row would be assigned again, its bytes.

    ``why`` is the reason that is left then. Raises :class:`collab.storage.base.StorageError`.
    """
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.settling import delete_aside

        await delete_aside(location, aside, why)
        return
    from collab.storage.sqlite.settling import delete_aside as delete_aside_from_file

    await asyncio.to_thread(delete_aside_from_file, Path(location), aside, why)
