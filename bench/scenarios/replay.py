"""Replay of recorded traces: one writer at full speed, two writers in causal order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter

from pycrdt import Text

from bench.measure import Stopwatch
from bench.result import Options, Result
from bench.servers import Running, start
from bench.session import Session
from bench.traces import FIRST_CLIENT, Script, Step, conversed, load, script, typed
from bench.waiting import until
from bench.yjs import ROOT

ROOM = "trace"
SLICE = 200
BACKLOG = 256 * 1024
PATIENCE = 10.0
"""Seconds without new messages at the reader after which the rest counts as lost."""


def text(session: Session) -> str:
    """Text of a watched session's document."""
    assert session.doc is not None
    return str(session.doc.get(ROOT, type=Text))


async def _newcomer(server: Running) -> Session:
    session, url = server.session(ROOM, watch=True)
    await session.connect(url)
    return session


async def _arrives(reader: Session, made: Script) -> bool:
    """Wait until a watched document contains all insertions. Returns false when it stops growing before that."""
    while True:
        before = reader.messages
        if await until(lambda: made.state.items() <= reader.state.items(), PATIENCE, 0.002):
            return True
        if reader.messages == before:
            return False


async def _reads(server: Running, made: Script) -> bool:
    """Whether a client that joins now reads the trace's end."""
    reader = await _newcomer(server)
    exact = await until(lambda: made.state.items() <= reader.state.items() and text(reader) == made.end, 5.0)
    reader.close()
    return exact


def size_on_disk(folder: Path) -> int:
    """Bytes of all files in a folder, except logs of the benchmark."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".log")


async def _after_restart(server: Running, made: Script, result: Result, options: Options) -> None:
    """Stop the server, measure its files, start it again and read the document."""
    await asyncio.sleep(server.server.settle)
    await server.stop()
    stored = size_on_disk(server.data)
    result.numbers["disk_kb"] = round(stored / 1e3, 1)
    result.numbers["disk_per_document"] = round(stored / made.encoded, 2)
    again = await start(server.server, options.core, server.data)
    try:
        exact = await _reads(again, made)
    finally:
        await again.stop()
    result.numbers["exact_after_restart"] = float(exact)
    if not exact:
        result.notes.append("the text after a restart is not the trace's end")


async def one_writer(name: str, server: Running, options: Options) -> Result:
    """Send a trace, one edit per message, as fast as the server reads, until a reader's document has all of it."""
    result = Result(name, server.server.name)
    trace = load(options.trace) if options.trace else typed(2_000 if options.quick else 100_000)
    made = script("b4", trace, progress=True)
    if not options.trace:
        result.notes.append("synthetic trace")
    writer, url = server.session(ROOM)
    await writer.connect(url)
    reader = await _newcomer(server)
    framing = writer.framing
    messages = [framing.update(step.update) for step in made.steps]
    watch = Stopwatch(server.tree, options.core)
    began = perf_counter()
    for first in range(0, len(messages), SLICE):
        if writer.ended:
            break
        for message in messages[first : first + SLICE]:
            writer.send(message)
        await asyncio.sleep(0)
        await writer.drained(BACKLOG)
    arrived = await _arrives(reader, made)
    # The last edits may be deletions, which state vectors do not include.
    exact = arrived and await until(lambda: text(reader) == made.end, 5.0, 0.002)
    cost = watch.stop()
    seconds = perf_counter() - began
    result.numbers = {
        "edits": len(messages),
        "edits_per_s": round(len(messages) / seconds),
        "cpu_per_edit_us": round(1e6 * cost.server / len(messages), 1),
        "document_kb": round(made.encoded / 1e3, 1),
        "exact": float(exact),
        "messages_to_reader": reader.messages,
        **cost.shares(),
    }
    result.invalid, notes = cost.objections()
    result.notes += [note for note in notes if note != "saturated"]  # saturation is intended
    result.numbers["exact_for_newcomer"] = float(await _reads(server, made))
    if not exact:
        result.notes.append("the reader's text is not the trace's end")
        ended = [
            f"the {who}'s connection ended: {s.ended}" for who, s in (("writer", writer), ("reader", reader)) if s.ended
        ]
        result.notes += ended
    writer.close()
    reader.close()
    if server.server.stored:
        await _after_restart(server, made, result, options)
    return result


class _Voice:
    """One of two writers. Sends a message once it has received the messages that it depends on."""

    def __init__(self, session: Session, steps: list[Step], other: int) -> None:
        self.session = session
        self.steps = steps
        self.next = 0
        self._other = other

    def speak(self) -> bool:
        """Send all messages that are due. Returns whether there were any."""
        began = self.next
        seen = self.session.state.get(self._other, 0)
        while self.next < len(self.steps) and self.steps[self.next].after <= seen and self.next - began < SLICE:
            self.session.edit(self.steps[self.next].update)
            self.next += 1
        return self.next > began


async def two_writers(name: str, server: Running, options: Options) -> Result:
    """Replay a trace of two writers through two clients, in causal order."""
    result = Result(name, server.server.name)
    trace = load(options.friends) if options.friends else conversed(500 if options.quick else 10_000)
    made = script("friends", trace, progress=True)
    if not options.friends:
        result.notes.append("synthetic trace")
    sessions = [await _newcomer(server) for _ in range(made.writers)]
    voices = [
        _Voice(session, [step for step in made.steps if step.writer == index], FIRST_CLIENT + 1 - index)
        for index, session in enumerate(sessions)
    ]
    watch = Stopwatch(server.tree, options.core)
    began = last = perf_counter()
    while any(voice.next < len(voice.steps) for voice in voices) and perf_counter() - last < 10:
        spoken = [voice.speak() for voice in voices]
        if any(spoken):
            last = perf_counter()
        await asyncio.sleep(0 if any(spoken) else 0.001)
    exact = await until(lambda: all(text(session) == made.end for session in sessions), 10.0, 0.005)
    cost = watch.stop()
    seconds = perf_counter() - began
    result.numbers = {
        "edits": len(made.steps),
        "edits_per_s": round(len(made.steps) / seconds),
        "cpu_per_edit_us": round(1e6 * cost.server / len(made.steps), 1),
        "exact": float(exact),
        **cost.shares(),
    }
    result.invalid, notes = cost.objections()
    result.notes += notes
    if not exact:
        said = [f"{voice.next} of {len(voice.steps)}" for voice in voices]
        result.notes.append(f"the texts are not the trace's end; sent {' and '.join(said)}")
    for session in sessions:
        session.close()
    if server.server.stored:
        await _after_restart(server, made, result, options)
    return result
