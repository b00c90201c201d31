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
