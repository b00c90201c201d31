import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from collab.gate.structs import decode
from collab.rooms.live.delete_set import DeleteSet

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), max_size=12)


def _document(deleted: list[tuple[int, int]]) -> tuple[bytes, set[int]]:
    doc: pycrdt.Doc[pycrdt.Array[int]] = pycrdt.Doc(client_id=7)
    array = doc.get("a", type=pycrdt.Array)
    array.extend(list(range(50)))
    gone: set[int] = set()
    for start, length in deleted:
        for value in range(start, min(start + length, 50)):
            if value not in gone:
                del array[value - sum(other < value for other in gone)]
                gone.add(value)
    return doc.get_update(), gone


@given(spans, spans)
def test_it_covers_exactly_what_is_deleted(deleted: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    update, gone = _document(deleted)
    deletes = [(7, clock, length) for clock, length in asked]
    wanted = {clock for start, length in asked for clock in range(start, start + length)}
    assert DeleteSet(update).covers(deletes) == (wanted <= gone)


def test_it_covers_itself_and_nothing_of_another_client() -> None:
    update, _ = _document([(3, 4), (20, 1)])
    assert DeleteSet(update).covers(decode(update)[1])
    assert not DeleteSet(update).covers([(8, 3, 1)])
    assert DeleteSet(b"\x00\x00").covers([])


def test_ranges_that_touch_or_overlap_are_one() -> None:
    deletes = DeleteSet(b"\x00\x01\x07\x03" + bytes((0, 5, 3, 4, 7, 1)))  # client 7: 0-4, 3-6, 7
    assert deletes.covers([(7, 0, 8)])
    assert not deletes.covers([(7, 0, 9)])
