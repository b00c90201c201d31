import random

from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from bench.traces import conversed, script, typed
from bench.yjs import Line, awareness, cursor, document, lines, moves, runs, state_vector, update

CLIENTS = st.integers(1, 2**32 - 1)


@given(st.lists(CLIENTS, min_size=1, max_size=6, unique=True), st.randoms())
def test_lines_typed_at_the_same_time_stay_apart_in_whatever_order_they_arrive(
    clients: list[int], rng: random.Random
) -> None:
    base, ends = lines(0, len(clients))
    updates = []
    for letter, (client, (before, after)) in zip("abcdef", zip(clients, ends, strict=True), strict=False):
        line = Line(client, before, after)
        updates.append([line.type(letter.encode()) for _ in range(200)])
    doc: Doc[Text] = Doc()
    doc.apply_update(base)
    while any(updates):
        doc.apply_update(rng.choice([own for own in updates if own]).pop(0))
    # The line that stands before each newline is empty: what is typed follows its own newline.
    want = "".join("\n" + letter * 200 for letter, _ in zip("abcdef", clients, strict=False))
    assert str(doc.get("content", type=Text)) == want


@given(CLIENTS, st.integers(1, 300))
def test_the_runs_of_an_update_are_what_was_typed(client: int, count: int) -> None:
    _, ends = lines(0, 2)
    line = Line(client, *ends[0])
    assert [list(runs(line.type(b"x"))) for _ in range(count)] == [[(client, i, 1)] for i in range(count)]


def test_a_large_document_arrives_whole_and_in_its_size() -> None:
    doc: Doc[Text] = Doc()
    updates = list(document(300_000))
    for change in updates:
        doc.apply_update(change)
    encoded = doc.get_update()
    assert 0.95 * 300_000 < len(encoded) < 1.05 * 300_000
    assert sum(length for _, _, length in runs(encoded)) == sum(state_vector(doc.get_state()).values())


def test_a_cursor_s_number_is_read_from_its_state_not_from_its_clock() -> None:
    state = cursor(300, "Ana", (5, 1))
    assert list(moves(awareness(2**32 - 1, 7, state))) == [(2**32 - 1, 300)]
    assert list(moves(awareness(1, 7, "null"))) == []


def test_made_up_traces_lead_to_their_ends() -> None:
    alone = script("b4", typed(300))
    doc: Doc[Text] = Doc()
    for step in alone.steps:
        doc.apply_update(step.update)
    assert str(doc.get("content", type=Text)) == alone.end

    both = script("friends", conversed(300))
    replicas: list[Doc[Text]] = [Doc(), Doc()]
    for replica, order in zip(replicas, (both.steps, both.steps[::-1]), strict=True):
        for step in order:
            replica.apply_update(step.update)
    assert {str(replica.get("content", type=Text)) for replica in replicas} == {both.end}
    assert both.writers == 2


def test_an_update_of_one_struct_is_read_by_a_yjs_library() -> None:
    doc: Doc[Text] = Doc()
    base, _ = lines(5, 3)
    doc.apply_update(base)
    doc.apply_update(update((9, 0), b"\xc4\x05\x01\x05\x02\x02hi"))
    assert str(doc.get("content", type=Text)) == "\n\nhi\n"
