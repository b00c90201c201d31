"""Markdown report on several nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report import framed, number, plain_verdict, sections
from bench.result import Result, find

_TYPING = ("p50_ms", "p95_ms", "p99_ms", "cpu_per_edit_us", "own_per_edit_us", "cpu_percent", "undelivered_percent",
           "generator_percent", "others_percent")  # fmt: skip
SECTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "distance": (
        "20 documents, two people type 5 characters a second in each: at the owner of the documents, and at another "
        "node. One more reader of each document is at the owner. *own*: the CPU of all processes but PostgreSQL's.",
        _TYPING,
    ),
    "bystanders": (
        "The same load at one node, by how many other nodes live that have none of these documents. *net*: own CPU "
        "without what all nodes use while nobody types (*idle own*).",
        ("net_per_edit_us", "own_per_edit_us", "idle_own_percent", "cpu_per_edit_us", "p50_ms", "p99_ms",
         "others_percent"),
    ),
    "workers": (
        "4,000 edits a second in 40 documents, by workers of one machine. Load, PostgreSQL and workers share the cores "
        "that there are.",
        ("edits_per_s", "cpu_per_edit_us", "own_per_edit_us", "cpu_percent", "p50_ms", "undelivered_percent",
         "generator_percent"),
    ),
    "commits": (
        "Acknowledged durable writes of tasks in one project, each writer waiting for each answer. *Through another "
        "node*: tasks are created at one node and updated at the other.",
        ("creates_per_s", "create_p50_ms", "create_p99_ms", "create_cpu_us", "create_own_us", "updates_per_s",
         "update_p50_ms", "update_p99_ms", "update_cpu_us", "update_own_us"),
    ),
    "failover": (
        "Seconds from the end of a document's owner until an edit of it, and a write of an entity, is acknowledged at "
        "another node, for a client that asks again at once. Stock clients wait longer between two attempts.",
        ("document_s", "document_most_s", "entity_s", "entity_most_s", "rounds"),
    ),
    "revocation": (
        "Seconds from the call that revokes all tokens of a user until the user's session ends, at the node that is "
        "called (*here*) and at two others, with Redis and while it is away.",
        ("here_s", "elsewhere_s", "elsewhere_most_s", "rounds"),
    ),
    "peers": (
        "20 documents with two people each, who type 5 characters a second, one at each of two nodes. Ours commits "
        "every edit to PostgreSQL, the other keeps documents in memory. Both speak the protocol of Hocuspocus.",
        _TYPING,
    ),
}  # fmt: skip
"""By the first word of a scenario: its description and its columns."""

FLAT = 1.2
RECOVERED = {"worker killed": 3.0, "node killed": 8.0, "node terminated": 1.0}
"""Goals in seconds."""
REVOKED = 2.0
"""As docs/people.md promises, in seconds."""


def goals(results: Sequence[Result]) -> list[list[str]]:
    """Goals, measured values, and verdicts."""
    rows = []
    for label, most in RECOVERED.items():
        if (found := find(results, "failover", label)) and found.numbers:
            value = found.numbers["document_most_s"]
            rows.append(
                [f"next acknowledgement, {label}", f"≤ {most:g} s", f"{value:g} s", plain_verdict(value <= most)]
            )
    for label in ("with Redis", "Redis is away"):
        if (found := find(results, "revocation", label)) and found.numbers:
            value = found.numbers["elsewhere_most_s"]
            what = f"revoked at all nodes, {label}"
            rows.append([what, f"≤ {REVOKED:g} s", f"{value:g} s", plain_verdict(value <= REVOKED)])
    net = [r.numbers["net_per_edit_us"] for r in results
           if r.scenario.startswith("bystanders ") and "net_per_edit_us" in r.numbers]  # fmt: skip
    if len(net) > 1:
        ratio = max(net) / min(net)
        measured = f"{ratio:.2f} x ({', '.join(map(number, net))} µs)"
        what = "CPU of an edit, whatever other nodes live"
        rows.append([what, f"≤ {FLAT:g} x the cheapest", measured, plain_verdict(ratio <= FLAT)])
    return rows


def render(meta: dict[str, Any], results: Sequence[Result], plots: Sequence[str] = ()) -> str:
    """The whole report."""
    return framed(meta, goals(results), sections(SECTIONS, results), plots, "cluster/")


def draw(results: Sequence[Result], folder: Path, name: str) -> list[str]:
    """Tables say it all: no plots."""
    return []
