"""One person types in the middle of a large document that another person reads."""

from __future__ import annotations

import asyncio
from time import perf_counter

from pycrdt import Text

from bench.load import LETTERS, play, schedule
from bench.measure import Stopwatch, percentile
from bench.result import Options, Result
from bench.scenarios.joins import push
from bench.servers import Running
from bench.session import Session
from bench.waiting import until
from bench.yjs import ROOT, runs

ROOM = "large"
RATE = 5.0
WARM_UP = 2.0
CALM = 0.02
"""CPU seconds a second of a server that has nothing to do."""


class Writer:
    """A person with a real document, whose cursor stands in its middle; ``sent[n]`` is when edit ``n`` left."""

    def __init__(self, session: Session) -> None:
        assert session.doc is not None
        self.session = session
        self.sent: list[float] = []
        self._text = session.doc.get(ROOT, type=Text)
        self._place = len(self._text) // 2
        self._made: list[bytes] = []
        self._observing = session.doc.observe(lambda event: self._made.append(event.update))

    @property
    def client(self) -> int:
        """Its Yjs client id."""
        assert self.session.doc is not None
        return self.session.doc.client_id

    def act(self) -> None:
        """Type one character."""
        self._made.clear()
        self._text.insert(self._place, LETTERS[len(self.sent) % len(LETTERS)].decode())
        self._place += 1
        (update,) = self._made
        self.sent.append(perf_counter())
        self.session.send(self.session.framing.update(update))


async def _joined(server: Running, state: dict[int, int]) -> Session:
    """A client with the whole document. Raises ``TimeoutError``."""
    session, url = server.session(ROOM, watch=True)
    await session.connect(url)
    if not await until(lambda: state.items() <= session.state.items(), 30.0):
        raise TimeoutError("the server did not store the whole document")
    return session


async def _settles(server: Running, seconds: float) -> bool:
    """Wait until the server has digested what it got. Returns whether it did within ``seconds``."""
    deadline = perf_counter() + seconds
    while perf_counter() < deadline:
        before = server.tree.cpu()
        await asyncio.sleep(1.0)
        if server.tree.cpu() - before < CALM:
            return True
    return False


def _arrivals(reader: Session, client: int) -> dict[int, float]:
    """When each edit of a client arrived."""
    arrived: dict[int, float] = {}
    for at, update in reader.updates:
        for author, clock, length in runs(update):
            if author == client:
                for edit in range(clock, clock + length):
                    arrived.setdefault(edit, at)
    return arrived


async def large(name: str, size: int, server: Running, options: Options) -> Result:
    """Type in a document of ``size`` bytes. What the server spends on the same room at rest is not the edits' cost."""
    result = Result(name, server.server.name)
    author, state, encoded = await push(server, ROOM, min(size, 50_000) if options.quick else size)
    writing, reader = await _joined(server, state), await _joined(server, state)
    author.close()
    writer = Writer(writing)
    reader.updates.clear()
    warm_up = 0.5 if options.quick else WARM_UP
    await play(schedule([(writer, RATE)], warm_up))
    settled = await _settles(server, 5.0 if options.quick else options.patience)

    watch = Stopwatch(server.tree, options.core)
    await asyncio.sleep(options.seconds)
    rest = watch.stop()
    first = len(writer.sent)
    watch.start()
    late = await play(schedule([(writer, RATE)], options.seconds, seed=9))
    await until(lambda: reader.state.get(writer.client) == len(writer.sent), 5.0, 0.002)
    cost = watch.stop()
    end = perf_counter()
    arrived = _arrivals(reader, writer.client)
    edits = range(first, len(writer.sent))
    times = sorted((arrived.get(edit, end) - writer.sent[edit]) * 1000 for edit in edits)
    spent = cost.server - rest.server / rest.seconds * cost.seconds
    result.numbers = {
        "document_mb": round(encoded / 1e6, 3),
        "edits": len(edits),
        "missing": sum(edit not in arrived for edit in edits),
        "cpu_per_edit_us": round(1e6 * spent / len(edits), 1),
        "p50_ms": round(percentile(times, 50), 2),
        "p99_ms": round(percentile(times, 99), 2),
        "at_rest_percent": round(100 * rest.server / rest.seconds, 2),
        "memory_mb": round(server.tree.pss() / 1e6, 1),
        "generator_late_p99_ms": round(percentile(sorted(late), 99) * 1000, 2),
        **cost.shares(),
    }
    result.invalid, result.notes = cost.objections()
    if not settled:
        result.notes.append("the server was still busy with the document when the typing began")
    for session in (writing, reader):
        if session.ended:
            result.notes.append(f"a connection ended: {session.ended}")
        session.close()
    return result
