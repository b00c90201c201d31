"""Markdown report on the application side, with goals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.report import framed, number, plain_verdict, sections
from bench.result import Result, find

SECTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "live": (
        "From a write to the event of a live query, by how many live queries there are. Each task that is written is "
        "in one of them; for the unmatched writes, in none.",
        ("event_p50_ms", "event_p99_ms", "answer_p50_ms", "answer_p99_ms", "matched_us", "unmatched_us",
         "unmatched_per_s", "subscribe_us", "memory_kb", "idle_percent", "others_percent"),
    ),
    "writers": (
        "Acknowledged durable writes, each writer waiting for each answer, beside what the disk does in the same run "
        "for one after the other: pages appended and synced, rows committed by SQLite (WAL, synchronous=FULL). "
        "*own*: the CPU of the server without its PostgreSQL.",
        ("creates_per_s", "create_p50_ms", "create_p99_ms", "create_cpu_us", "create_own_us", "updates_per_s",
         "update_p50_ms", "update_p99_ms", "update_cpu_us", "update_own_us", "fsyncs_per_s", "commits_per_s"),
    ),
    "memory": (
        "Resident memory of a subscription, of the second ten thousand on 20 connections (and of the first, with what "
        "is needed once only). No rows are held.",
        ("entity_subscription_kb", "live_query_kb", "entity_subscription_first_kb", "live_query_first_kb"),
    ),
    "find": (
        "100,000 tasks of 250 bytes. *few*: findMany of the ten with a value. *page*: findMany of the first 50 of the "
        "25,000 with a value, by another member. *counted*: count of these. *plain*: without indexes, *indexed*: with "
        "one of each member, *paired*: with one over both members of *page*, too.",
        ("plain_p50_ms", "plain_p99_ms", "plain_cpu_ms", "indexed_p50_ms", "indexed_p99_ms", "indexed_cpu_ms",
         "paired_p50_ms", "paired_p99_ms", "paired_cpu_ms"),
    ),
    "room": (
        "200 people type 5 characters a second in one document.",
        ("cpu_percent", "cpu_per_edit_us", "p50_ms", "p99_ms", "others_percent"),
    ),
    "gate": (
        "What a small update costs in the gate, with reading fields and conflicts.",
        ("update_us", "bytes", "updates", "field_writes"),
    ),
    "documents": (
        "What the gate costs for a whole document at once.",
        ("document_kb", "structs", "read_ms", "check_and_commit_ms", "index_kb", "write_index_ms",
         "open_from_index_ms"),
    ),
    "matching": (
        "What an event costs in the live queries, without sockets and storage.",
        ("event_us", "watcher_us", "memory_kb"),
    ),
}  # fmt: skip
"""By the first word of a scenario: its description and its columns."""
FLAT = 1.2
GATE_US = 15.0
OURS = "collab-json"
FIELDS = ("field", "field, written by two at once")


def goals(results: Sequence[Result]) -> list[list[str]]:
    """Goals, measured values, and verdicts."""
    rows = []
    costs = {
        "a write that no live query holds, CPU": [
            r.numbers["unmatched_us"]
            for r in results
            if r.scenario.startswith("live ") and r.server == OURS and "unmatched_us" in r.numbers
        ],
        "an event that no live query holds, inside": [
            r.numbers["event_us"]
            for r in results
            if r.scenario == "matching" and r.server.endswith("queries, none of which matches")
        ],
    }
    for what, found in costs.items():
        if len(found) > 1:
            ratio = max(found) / min(found)
            measured = f"{ratio:.2f} x ({', '.join(map(number, found))} µs)"
            rows.append([f"{what}: the dearest of all numbers of queries", f"≤ {FLAT:g} x the cheapest", measured,
                         plain_verdict(ratio <= FLAT)])  # fmt: skip
    for name in FIELDS:
        if result := find(results, "gate", name):
            value = result.numbers["update_us"]
            rows.append([f"gate: {name}", f"≤ {GATE_US:g} µs", f"{value:g} µs", plain_verdict(value <= GATE_US)])
    return rows


def render(meta: dict[str, Any], results: Sequence[Result], plots: Sequence[str] = ()) -> str:
    """The whole report."""
    return framed(meta, goals(results), sections(SECTIONS, results), plots, "record/")
