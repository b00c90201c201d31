"""PostgreSQL for the tests of storages: one server for the run, started when the first of them asks for it."""

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer, serving


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with serving() as server:
        yield server
