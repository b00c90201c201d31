from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.node import Node
from tests.e2e.server import Server
from tests.e2e.specification import find_page

SECRET = "a secret of the tests, of more than 32 bytes"

_rooms = count()

# runs the snippets of the specification's page, if available: it is not part of the repository
collect_ignore = [] if find_page() else ["test_page.py"]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An open server shared by many tests, each with its own rooms."""
    yield from _running(Server(tmp_path_factory.mktemp("shared")))


@pytest.fixture(scope="session")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that requires tokens, shared by many tests, each with its own rooms."""
    yield from _running(Server(tmp_path_factory.mktemp("guarded"), secret=SECRET))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An open server for one test, which may stop, kill and start it."""
    yield from _running(Server(tmp_path))


def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def room() -> str:
    """A unique room name."""
    return f"documents/room-{next(_rooms)}"


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A process of stock clients; at the end none may have raised or logged an error."""
    node = await Node.start()
    try:
        yield node
        assert node.complaints == []
    finally:
        await node.stop()
