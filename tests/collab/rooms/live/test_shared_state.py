import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from collab.rooms.live.merge import merge
from collab.rooms.live.shared_state import SharedState

EMPTY = b"\x00"


class Source:
    """A document whose encodings are counted."""

    def __init__(self) -> None:
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.text = self.doc.get("t", type=pycrdt.Text)
        self.encodings = 0
        self.shared = SharedState(self._encode, self._encode_state_vector, entries=2)

    def _encode(self, state_vector: bytes) -> bytes:
        self.encodings += 1
        return self.doc.get_update(state_vector)

    def _encode_state_vector(self) -> bytes:
        self.encodings += 1
        return self.doc.get_state()

    def write(self, text: str) -> None:
        self.text += text
        self.shared.changed(deletes=False)

    def ask(self, state_vector: bytes, now: float = 0.0, address: str = "") -> bytes:
        return self.shared.answer(state_vector, address, bytes, now)

    def joiner(self, now: float = 0.0) -> str:
        doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        doc.apply_update(self.ask(EMPTY, now))
        return str(doc.get("t", type=pycrdt.Text))


def test_joiners_of_a_quiet_document_share_one_encoding() -> None:
    source = Source()
    source.write("hello")
    states = {id(source.ask(EMPTY)) for _ in range(150)}
    assert len(states) == 1
    assert source.encodings == 1


def test_joiners_of_another_address_get_an_answer_of_their_own() -> None:
    source = Source()
    source.write("hello")
    assert source.ask(EMPTY, address="a") == source.ask(EMPTY, address="b")
    assert source.shared.has(EMPTY, "a")
    assert not source.shared.has(EMPTY, "c")


def test_after_an_edit_the_answer_holds_it() -> None:
    source = Source()
    source.write("hello")
    source.joiner()
    source.write(" world")
    assert not source.shared.has(EMPTY, "")
    assert source.joiner() == "hello world"


def test_an_unused_encoding_is_dropped() -> None:
    source = Source()
    source.write("hello")
    source.joiner(now=0.0)
    source.shared.expire(now=9.0)
    assert source.shared.has(EMPTY, "")
    source.shared.expire(now=11.0)
    assert not source.shared.has(EMPTY, "")


def test_only_so_many_encodings_are_kept() -> None:
    source = Source()
    vectors = [EMPTY]
    for word in ("a", "b", "c"):
        source.write(word)
        vectors.append(source.doc.get_state())
    for vector in vectors:
        source.ask(vector)
    assert [source.shared.has(vector, "") for vector in vectors] == [False, False, True, True]


@given(st.integers(1, 200))
def test_merging_many_updates_has_the_effect_of_all_of_them(count: int) -> None:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = doc.get("t", type=pycrdt.Text)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    for n in range(count):
        text.insert(n // 2, "ab"[n % 2])
    doc.unobserve(subscription)
    other: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    other.apply_update(merge(updates))
    assert str(other.get("t", type=pycrdt.Text)) == str(text)


def test_the_state_vector_is_encoded_once_until_the_document_changes() -> None:
    source = Source()
    source.write("hello")
    vectors = [source.shared.state_vector for _ in range(100)]
    assert source.encodings == 1
    source.write(" world")
    assert source.shared.state_vector == source.doc.get_state() != vectors[0]
    assert source.encodings == 2


def test_repeated_reads_of_the_whole_document_share_one_encoding_until_it_changes() -> None:
    asked: list[bytes] = []

    def encode(state_vector: bytes) -> bytes:
        asked.append(state_vector)
        return b"update %d" % len(asked)

    shared = SharedState(encode, lambda: b"\x00")
    assert [shared.whole(0.0), shared.whole(1.0)] == [b"update 1", b"update 1"]
    shared.changed(deletes=False)
    assert shared.whole(2.0) == b"update 2"
