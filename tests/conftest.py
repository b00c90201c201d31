"""Rules for all tests: their order, how they run side by side, and how failures are shown."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.postgres import PostgresServer
    from tests.schedule import BothEnds
    from tests.valkey import ValkeyProcess

# No test depends on the speed of the machine: hypothesis would let one fail whose example took 200 ms. Nor does one
# depend on chance: the same examples each time, so that a failure is of the change under test.
ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same examples", ANY_MACHINE, derandomize=True)
settings.register_profile("new examples", ANY_MACHINE, print_blob=True)
settings.load_profile("same examples")

GIVEN = "COLLAB_TEST_POSTGRES"
"""``postgresql://…`` of a server to use instead of starting one."""
WHOLE = ("attack", "bench", "browser", "chaos", "cluster", "docker", "e2e", "fuzz", "js", "packages", "website")
"""Folders whose tests start servers, browsers, Node or installations, and wait for them more than they compute."""
SLOW = (*WHOLE, "collab/client", "collab/contents", "collab/sandbox", "collab/server", "collab/transport")
"""Folders whose tests `dev.py test --quick` leaves out, and coverage too: they start servers and processes."""

pytest.register_assert_rewrite("tests.collab", *(f"tests.{folder}" for folder in WHOLE))  # helpers, too, show values


def pytest_configure(config: pytest.Config) -> None:
    if GIVEN in os.environ:  # hidden from the servers that tests start: they refuse unknown names with this prefix
        os.environ["TEST_POSTGRES"] = os.environ.pop(GIVEN)
    if config.getoption("numprocesses", None):  # of xdist, in the process that shows the progress
        config.pluginmanager.register(Failures(config), "failures")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A folder that is left out anyway is not even imported."""
    folder = collection_path.relative_to(Path(__file__).parent).as_posix()
    return True if config.option.markexpr == "not slow" and folder in SLOW else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of the whole come first: among them are the longest files."""
    items.sort(key=lambda item: item.nodeid.split("/")[1] not in WHOLE)
    measured = config.pluginmanager.hasplugin("_cov")
    for item in items:
        if item.nodeid.startswith(tuple(f"tests/{folder}/" for folder in SLOW)):
            item.add_marker("slow")
        if measured and item.get_closest_marker("slow"):
            item.add_marker("no_cover")
        if "postgres" in getattr(item, "fixturenames", ()):  # the server is slow to start, but costs no coverage
            item.add_marker("slow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> BothEnds:
    from tests.schedule import BothEnds

    return BothEnds(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, started when the first test asks for it."""
    from tests.postgres import serving

    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[ValkeyProcess]:
    """A Valkey that keeps nothing, started when the first test asks for it. Who kills one starts one of its own."""
    from tests.valkey import serving

    with serving() as server:
        yield server


class Failures:
    """Names each failed test at once: xdist shows dots, and tracebacks only at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write one line for a failed test."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"FAILED {report.nodeid} ({report.when}, {report.duration:.1f} s)", red=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make the report of a test with no garbage collection.

    A report parses source. A collection in the middle of that may find what a failed test left behind, of which a
    warning is made, which parses source too; CPython 3.11 ends the whole run with a SystemError then.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
