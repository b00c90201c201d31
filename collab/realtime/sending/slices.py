"""Encode large answers in slices, so that others are served in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import msgspec

from collab.rooms.stint import Stint
from collab.wire.realtime.encoding import Format
from collab.wire.realtime.values import FoundMany, Included


async def encoded_in_slices(values: Iterable[object], form: Format) -> list[Any]:
    """Encode each value; embedding the results in a message only copies bytes.

    Encoding yields to the event loop after about 5 ms, or one value if that takes longer.
    """
    encode = encoder(form)
    stint = Stint()
    raw: list[Any] = []
    for value in values:
        raw.append(msgspec.Raw(encode(value)))
        await stint.pause_if_due()
    return raw


async def rows_in_slices(found: FoundMany, form: Format) -> FoundMany:
    """Return ``found`` with its rows encoded."""
    included = None if found.included is None else await included_in_slices(found.included, form)
    return msgspec.structs.replace(found, rows=await encoded_in_slices(found.rows, form), included=included)


async def included_in_slices(included: Mapping[str, Included], form: Format) -> dict[str, Included]:
    """Return what a query includes with its rows encoded."""
    every = (row for each in included.values() for rows in each.rows.values() for row in rows)
    raw = iter(await encoded_in_slices(every, form))
    return {
        name: msgspec.structs.replace(each, rows={key: list(islice(raw, len(rows))) for key, rows in each.rows.items()})
        for name, each in included.items()
    }


def encoder(form: Format) -> Any:
    """Return the encoding function of a format."""
    return msgspec.json.encode if form == "json" else msgspec.msgpack.encode
