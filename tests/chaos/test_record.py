"""Entities and their events are exact, whatever happens to the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.chaos.deliveries import Deliveries, deliveries
from tests.chaos.durability import start
from tests.chaos.record import chaotic, compose, kill_rounds
from tests.e2e.server import Server
from tests.postgres import PostgresServer

pytestmark = pytest.mark.chaos


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Deliveries]:
    async with deliveries() as hook:
        yield hook


@pytest_asyncio.fixture
async def server(tmp_path: Path, hook: Deliveries) -> AsyncIterator[Server]:
    server = chaotic(tmp_path, hook)
    await start(server)
    yield server
    server.stop()


async def test_h6_ten_kills_under_writes_lose_nothing_double_nothing_and_leave_no_hole(
    server: Server, hook: Deliveries
) -> None:
    tally = await kill_rounds(server, hook, rounds=10, seed=10)
    assert tally.complaints == []
    assert tally.rounds == 10
    assert tally.acknowledged > 200
    assert tally.edits > 100
    assert tally.said_again > 20, "the kills came while writes had no answer"
    assert tally.delivered >= tally.events, "each was sent to the webhook"
    assert tally.snapshots > 0, "some came while documents were compacted"


async def test_h6_kills_of_a_server_on_postgresql_lose_nothing_double_nothing_and_leave_no_hole(
    tmp_path: Path, hook: Deliveries, postgres: PostgresServer
) -> None:
    with postgres.records() as lend:
        server = chaotic(tmp_path, hook, lend())
        await start(server)
        try:
            tally = await kill_rounds(server, hook, rounds=3, seed=4)
        finally:
            server.stop()
    assert tally.complaints == []
    assert tally.acknowledged > 50
    assert tally.said_again > 5, "the kills came while writes had no answer"
    assert tally.delivered >= tally.events, "each was sent to the webhook"


def test_deltas_compose_in_units_of_utf_16() -> None:
    changes: list[dict[str, Any]] = [
        {"delta": [{"insert": "a😀b"}]},
        {"delta": [{"retain": 3}, {"insert": "漢"}]},
        {"delta": [{"delete": 1}, {"retain": 2}, {"delete": 1}]},
    ]
    assert compose(changes) == "😀b"


def test_a_missing_change_is_noticed_even_if_what_it_inserted_was_deleted() -> None:
    missing: list[dict[str, Any]] = [{"delta": [{"insert": "ab"}]}, {"delta": [{"retain": 2}, {"delete": 1}]}]
    with pytest.raises(ValueError, match="longer text than 'ab'"):
        compose(missing)


def test_a_change_without_details_is_noticed() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        compose([{"delta": [{"insert": "ab"}]}, {"truncated": True}])


def test_the_audit_of_webhooks_finds_what_is_wrong() -> None:
    happened = [("tasks", "a", 1), ("tasks", "a", 2), ("tasks", "b", 1)]

    def complaints(*taken: tuple[int, str]) -> int:
        made = Deliveries()
        made.taken = [(happened[number], message) for number, message in taken]
        return len(made.audit(happened))

    assert complaints((0, "x"), (2, "z"), (1, "y")) == 0
    assert complaints((0, "x"), (0, "x"), (1, "y"), (2, "z")) == 0, "twice is allowed, under the same id"
    assert complaints((0, "x"), (1, "y")) == 1
    assert complaints((1, "y"), (0, "x"), (2, "z")) == 1
    assert complaints((0, "x"), (1, "x"), (2, "z")) == 1
    assert complaints((0, "x"), (0, "w"), (1, "y"), (2, "z")) == 1
