"""Recorded keystrokes, and the updates that Yjs clients send for them.

The format is that of https://github.com/josephg/editing-traces: `txns` of `patches` (position, deleted,
inserted), `endContent`, and for traces of several writers `agent` and `parents` on each transaction.
Positions count Unicode code points.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycrdt import Doc, Text, TransactionEvent

from bench.yjs import ROOT, WORDS, state_vector

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench"
FORM = "2"
"""Version in the name of a cached script; increment it with every change of :class:`Step`."""
FIRST_CLIENT = 1_500_000_001
"""As long as the random client ids of Yjs, which are a large part of an update's bytes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One message of one writer, to send once ``after`` clocks of the other writer have arrived."""

    writer: int
    after: int
    update: bytes


@dataclass(slots=True)
class Script:
    """A trace as messages: steps in causal order, the final text, the size of the encoded document."""

    name: str
    end: str
    steps: list[Step] = field(default_factory=list)
    encoded: int = 0
    state: dict[int, int] = field(default_factory=dict)

    @property
    def writers(self) -> int:
        """Number of writers."""
        return max(step.writer for step in self.steps) + 1


Trace = dict[str, Any]


def load(file: str) -> Trace:
    """A trace from a JSON or JSON.gz file."""
    data = Path(file).read_bytes()
    found: Trace = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return found


def typed(edits: int, seed: int = 3) -> Trace:
    """Generate a trace of one writer: words, corrections, and jumps to other places."""
    rng = random.Random(seed)
    text: list[str] = []
    txns: list[dict[str, Any]] = []
    at = 0
    waiting = ""
    while len(txns) < edits:
        if not waiting:
            waiting = " " + " ".join(rng.choices(WORDS, k=rng.randrange(2, 12)))
            if rng.random() < 0.2 and text:
                at = rng.randrange(len(text))
        if rng.random() < 0.25 and at:
            at -= 1
            text.pop(at)
            txns.append({"patches": [[at, 1, ""]]})
        else:
            text.insert(at, waiting[0])
            txns.append({"patches": [[at, 0, waiting[0]]]})
            waiting = waiting[1:]
            at += 1
    return {"startContent": "", "endContent": "".join(text), "txns": txns}


def conversed(edits: int, seed: int = 4) -> Trace:
    """Generate a trace of two writers who merge now and then. Yjs determines its final text."""
    rng = random.Random(seed)
    txns: list[dict[str, Any]] = []
    heads: list[int | None] = [None, None]
    lengths = [0, 0]
    for index in range(edits):
        writer = rng.randrange(2) if index else 0
        own, other = heads[writer], heads[1 - writer]
        parents = [own] if own is not None else []
        if other is not None and (rng.random() < 0.1 or not parents):
            parents.append(other)
            lengths[writer] = 0  # unknown until merged; position 0 always exists
        at = rng.randrange(lengths[writer] + 1)
        txns.append({"agent": writer, "parents": parents, "patches": [[at, 0, rng.choice("etaoinshrdlu")]]})
        lengths[writer] += 1
        heads[writer] = index
    return {"numAgents": 2, "txns": txns}


def script(name: str, trace: Trace, progress: bool = False) -> Script:
    """Compute the messages of stock clients for a trace, cached on disk. Raises ``ValueError`` if the
    messages do not produce the trace's final text."""
    digest = hashlib.sha256((FORM + json.dumps(trace, sort_keys=True)).encode()).hexdigest()[:24]
    cached = CACHE / f"{digest}.pickle"
    if cached.exists():
        found: Script = pickle.loads(cached.read_bytes())
        return found
    made = _make(name, trace, progress)
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = cached.with_suffix(".new")
    fresh.write_bytes(pickle.dumps(made))
    fresh.rename(cached)
    return made


class _Writer:
    """One writer's replica while the messages are computed."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.doc: Doc[Any] = Doc(client_id=client)
        self.text: Text = self.doc.get(ROOT, type=Text)
        self.sent: list[tuple[bytes, int]] = []  # update, and the writer's clock after it
        self.merged = 0  # number of the other writer's messages that are merged
        self._out: list[bytes] = []
        self.doc.observe(self._observed)

    def _observed(self, event: TransactionEvent) -> None:
        self._out.append(event.update)

    def edit(self, patches: list[list[Any]]) -> bytes:
        self._out.clear()
        with self.doc.transaction():
            for at, deleted, inserted in patches:
                if deleted:
                    del self.text[at : at + deleted]
                if inserted:
                    self.text.insert(at, inserted)
        (update,) = self._out
        self.sent.append((update, state_vector(self.doc.get_state()).get(self.client, 0)))
        return update

    def merge(self, other: _Writer, count: int) -> None:
        for update, _ in other.sent[self.merged : count]:
            self.doc.apply_update(update)
        self.merged = max(self.merged, count)


def _make(name: str, trace: Trace, progress: bool) -> Script:
    txns = trace["txns"]
    if not trace.get("endContent", "").isascii() or not all(p[2].isascii() for t in txns for p in t["patches"]):
        raise ValueError("only traces in ASCII: pycrdt counts UTF-8 bytes, the trace code points")
    # Client ids in this order reproduce the trace's order of concurrent insertions.
    writers = [_Writer(FIRST_CLIENT + agent) for agent in range(trace.get("numAgents", 1))]
    if len(writers) > 2:
        raise ValueError("only traces of one or two writers")
    made = Script(name, "")
    if trace.get("startContent"):
        made.steps.append(Step(0, 0, writers[0].edit([[0, 0, trace["startContent"]]])))
    known: list[list[int]] = []  # per transaction: number of messages seen of each writer
    for index, txn in enumerate(txns):
        writer = writers[txn.get("agent", 0)]
        seen = [0] * len(writers)
        for parent in txn.get("parents", []):
            seen = [max(pair) for pair in zip(seen, known[parent], strict=True)]
        after = 0
        if len(writers) == 2:
            other = writers[1 - txn["agent"]]
            count = seen[1 - txn["agent"]]
            writer.merge(other, count)
            after = other.sent[writer.merged - 1][1] if writer.merged else 0
        made.steps.append(Step(txn.get("agent", 0), after, writer.edit(txn["patches"])))
        seen[txn.get("agent", 0)] = len(writer.sent)
        known.append(seen)
        if progress and index % 5000 == 0:
            print(f"\r  {name}: preparing {100 * index / len(txns):.0f} %", end="", file=sys.stderr, flush=True)
    if progress:
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    if len(writers) == 2:
        for writer, other in ((writers[0], writers[1]), (writers[1], writers[0])):
            writer.merge(other, len(other.sent))
    made.end = str(writers[0].text)
    if "endContent" in trace and made.end != trace["endContent"]:
        raise ValueError("the trace's messages do not lead to its end")
    made.encoded = len(writers[0].doc.get_update())
    made.state = state_vector(writers[0].doc.get_state())
    return made
