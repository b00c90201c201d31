"""Yjs itself sees what was wanted after a rewrite of what another editor of texts wrote."""

from __future__ import annotations

from typing import Any

import pycrdt
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.contents.replica import Replica
from collab.contents.rewrite import Meaning, rewrite
from collab.contents.tree import Embed, Node, Run, node_of
from collab.gate.gate import Gate

KNOWN = Meaning(
    lambda value: (repr(value),),
    lambda value: (repr(value),),
    lambda value: False,
    lambda mark: mark != "colour",
    lambda key, value: True,
)
MARKS = st.dictionaries(st.sampled_from(["b", "i"]), st.just(True), max_size=2)
RUNS = st.lists(st.builds(Run, st.text("ab 😀\n", min_size=1, max_size=6), MARKS), max_size=4)


def attributed(children: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(c, dict(run.marks)) for run in children for c in run.text]


def library(updates: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    """The text as the CRDT library reads it."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    for update in updates:
        doc.apply_update(update)
    return [(c, dict(marks or {})) for chunk, marks in doc.get("t", type=pycrdt.Text).diff() for c in chunk]


@settings(max_examples=150, deadline=None)
@given(st.lists(RUNS, min_size=2, max_size=4))
def test_a_text_has_exactly_the_wanted_characters_and_marks(states: list[list[Run]]) -> None:
    replica, gate, updates = Replica(), Gate(), list[bytes]()
    for n, runs in enumerate(states):
        update = rewrite(replica, "t", Node("text", children=list(runs)), KNOWN, n + 1)
        if update is not None:
            gate.commit(gate.check_all(update))
            replica.apply(update)
            updates.append(update)
        assert attributed(node_of(replica.root("t"), "text").children) == attributed(list(runs))
        assert library(updates) == attributed(list(runs))
        assert rewrite(replica, "t", Node("text", children=list(runs)), KNOWN, 99) is None


@settings(max_examples=100, deadline=None)
@given(RUNS, RUNS, RUNS)
def test_replicas_agree_after_simultaneous_rewrites(first: list[Run], one: list[Run], other: list[Run]) -> None:
    base = rewrite(Replica(), "t", Node("text", children=list(first)), KNOWN, 1)
    start = [base] if base is not None else []
    edits = [
        rewrite(Replica.of(start), "t", Node("text", children=list(runs)), KNOWN, client)
        for client, runs in ((2, one), (3, other))
    ]
    ahead, back = ([*start, *filter(None, order)] for order in (edits, edits[::-1]))
    shown = [node_of(Replica.of(updates).root("t"), "text").children for updates in (ahead, back)]
    assert shown[0] == shown[1]
    assert library(ahead) == library(back) == attributed(shown[0])


def test_marks_that_the_wanted_text_cannot_know_stay() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc.get("t", type=pycrdt.Text)
    text += "a red word"
    text.format(2, 5, {"colour": "red"})
    replica = Replica.of([doc.get_update()])
    update = rewrite(replica, "t", Node("text", children=[Run("a very ", {}), Run("red", {"b": True})]), KNOWN, 5)
    assert update is not None
    replica.apply(update)
    assert node_of(replica.root("t"), "text").children == [
        Run("a very ", {}),
        Run("red", {"colour": "red", "b": True}),
    ]


def test_elements_that_are_equal_stay_and_others_change_inside() -> None:
    def element(words: str, **entries: Any) -> Embed:
        return Embed(Node("element", "p", entries, [Embed(Node("xml_text", children=[Run(words, {})]), {})]), {})

    replica = Replica()
    for client, children in (
        (1, [element("one two", n=1), element("three four"), element("five")]),
        (2, [element("new"), element("one two", n=2), element("three for"), element("five")]),
    ):
        update = rewrite(replica, "x", Node("fragment", children=list(children)), KNOWN, client)
        assert update is not None
        replica.apply(update)
    shown = node_of(replica.root("x"), "fragment").children
    assert [child.value.entries for child in shown if isinstance(child, Embed)] == [{}, {"n": 2}, {}, {}]
    owners = [item.client for item in replica.root("x").items() if not item.deleted]
    assert owners == [2, 1, 1, 1]
