"""Answers that are encoded in slices say the same."""

import asyncio
from typing import Any

import msgspec
import pytest

from collab.realtime.sending.slices import encoded_in_slices, rows_in_slices
from collab.wire.realtime import encoding
from collab.wire.realtime.encoding import Format
from collab.wire.realtime.messages import Reply
from collab.wire.realtime.values import FoundMany


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize("count", [0, 100, 20_000])
async def test_many_rows_are_encoded_as_few_are_and_others_are_served_meanwhile(form: Format, count: int) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"r{n}", "n": n, "f": n / 3, "deep": {"é": [None, True, "😀"]}} for n in range(count)
    ]
    found = FoundMany(rows=rows, versions=[1] * count, next="x")
    served = 0

    async def others() -> None:
        nonlocal served
        while True:
            served += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    sliced = await rows_in_slices(found, form)
    task.cancel()
    assert served > 1 or count <= 100
    assert encoding.encode(Reply(id=1, result=sliced), form) == encoding.encode(Reply(id=1, result=found), form)
    if form == "json":
        assert msgspec.json.encode(sliced) == msgspec.json.encode(found)


async def test_one_turn_of_the_loop_encodes_no_more_than_a_stretch_and_a_value() -> None:
    values = [list(range(100_000)) for _ in range(30)]  # each takes longer than some of the stretches
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert len(await encoded_in_slices(values, "json")) == 30
    task.cancel()
    assert turns >= 2
