"""Items get the position that Yjs gives them."""

from __future__ import annotations

from typing import Any

import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from collab.contents.replica import Replica
from collab.contents.tree import as_json, kind_of, node_of
from tests.attack.attacks import siblings

_WRITERS = 4


def read(updates: list[bytes]) -> Any:
    root = Replica.of(updates).root("m")
    return as_json(node_of(root, kind_of(root, "map")))


@given(
    st.lists(st.tuples(st.integers(0, _WRITERS - 1), st.sampled_from("ab"), st.booleans()), min_size=1, max_size=24),
    st.permutations(range(1, _WRITERS + 1)),
    st.randoms(use_true_random=False),
)
def test_writers_of_one_key_at_once_are_read_as_the_crdt_library_reads_them(
    writes: list[tuple[int, str, bool]], clients: list[int], random: Any
) -> None:
    docs: list[pycrdt.Doc[Any]] = [pycrdt.Doc(client_id=client) for client in clients]
    updates: list[bytes] = []
    kept = [doc.observe(lambda event: updates.append(event.update)) for doc in docs]
    for number, (writer, key, hears) in enumerate(writes):
        if hears:
            for other in docs:
                docs[writer].apply_update(other.get_update(docs[writer].get_state()))
        docs[writer].get("m", type=pycrdt.Map)[key] = float(number)
    assert kept
    whole: pycrdt.Doc[Any] = pycrdt.Doc()
    for doc in random.sample(docs, len(docs)):
        whole.apply_update(doc.get_update(whole.get_state()))
    expected = whole.get("m", type=pycrdt.Map).to_py()
    assert read([whole.get_update()]) == expected
    assert read(updates) == expected


@given(st.permutations(range(1, 30)))
def test_the_order_in_which_writers_of_one_key_arrive_does_not_matter(clients: list[int]) -> None:
    replica = Replica.of([siblings(client, 1) for client in clients])
    item = replica.root("m").entries["k"]
    found = [item.client]
    while item.left is not None:
        item = item.left
        found.append(item.client)
    assert found == sorted(clients, reverse=True)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 99), st.text("ab😀", min_size=1, max_size=4), st.integers(0, 9)),
        min_size=1,
        max_size=30,
    )
)
def test_characters_that_are_typed_one_by_one_are_read_as_the_crdt_library_reads_them(
    steps: list[tuple[int, int, str, int]],
) -> None:
    docs: list[pycrdt.Doc[Any]] = [pycrdt.Doc(client_id=client) for client in (7, 8, 9)]
    updates: list[bytes] = []
    kept = [doc.observe(lambda event: updates.append(event.update)) for doc in docs]
    whole: pycrdt.Doc[Any] = pycrdt.Doc()
    replica, read = Replica(), 0
    for writer, place, typed, kind in steps:
        text = docs[writer].get("t", type=pycrdt.Text)
        ends = [len(str(text)[:at].encode()) for at in range(len(str(text)) + 1)]
        at = ends[place % len(ends)]
        if kind < 2 and at < ends[-1]:
            del text[at : ends[ends.index(at) + 1]]
        else:
            for character in typed:
                text.insert(at, character)
                at += len(character.encode())
        if kind % 3 == 0:
            for other in docs:
                docs[writer].apply_update(other.get_update(docs[writer].get_state()))
        replica.extend(updates[read:])
        for update in updates[read:]:
            whole.apply_update(update)
        read = len(updates)
        if kind % 2:
            replica.begin()
        root = replica.root("t")
        shown = as_json(node_of(root, kind_of(root, "text")))
        assert shown == str(whole.get("t", type=pycrdt.Text))
        assert root.start is None or sum(each.length for each in root.stretches()) == len(shown.encode("utf-16-le")) / 2
    assert kept


def test_what_somebody_types_in_one_turn_becomes_few_items() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    updates: list[bytes] = []
    kept = doc.observe(lambda event: updates.append(event.update))
    for _ in range(1000):
        doc.get("t", type=pycrdt.Text).insert(0 if not updates else len(updates), "a")
    assert kept is not None
    assert Replica.of(updates).size < 10
