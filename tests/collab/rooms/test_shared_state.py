import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from collab.rooms.merge import merge
from collab.rooms.shared_state import SharedState

EMPTY = b"\x00"


class Source:
    """A document whose encodings are counted."""

    def __init__(self, **options: float) -> None:
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.text = self.doc.get("t", type=pycrdt.Text)
        self.encodings = 0
        self.shared = SharedState(self._encode, **options)  # type: ignore[arg-type]

    def _encode(self, state_vector: bytes) -> bytes:
        self.encodings += 1
        return self.doc.get_update(state_vector)

    def write(self, text: str) -> None:
        before = self.doc.get_state()
        self.text += text
        self.shared.accepted(self.doc.get_update(before))

    def joiner(self, now: float = 0.0) -> str:
        doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        for update in self.shared.diff(EMPTY, now):
            doc.apply_update(update)
        return str(doc.get("t", type=pycrdt.Text))


def test_joiners_of_a_quiet_document_share_one_encoding() -> None:
    source = Source()
    source.write("hello")
    states = {id(source.shared.diff(EMPTY, 0.0)[0]) for _ in range(150)}
    assert len(states) == 1
    assert source.encodings == 1


def test_joiners_share_one_encoding_also_while_others_edit() -> None:
    source = Source()
    source.write("hello")
    for n in range(100):
        source.write(str(n % 10))
        assert source.joiner() == str(source.text)
    assert source.encodings == 1


def test_an_encoding_that_edits_have_outgrown_is_made_anew() -> None:
    source = Source(slack=64)
    source.write("hello")
    for _ in range(50):
        source.write("x" * 10)
        assert source.joiner() == str(source.text)
    assert 1 < source.encodings < 30


def test_an_encoding_that_nobody_uses_is_let_go() -> None:
    source = Source()
    source.write("hello")
    source.joiner(now=0.0)
    source.shared.expire(now=11.0)
    source.write(" again")
    assert source.joiner(now=12.0) == "hello again"
    assert source.encodings == 2


@given(st.lists(st.tuples(st.sampled_from(["write", "join", "expire"]), st.integers(1, 30)), max_size=40))
def test_a_joiner_always_gets_the_whole_document(steps: list[tuple[str, int]]) -> None:
    source = Source(slack=40)
    now = 0.0
    for step, size in steps:
        now += size
        if step == "write":
            source.write("é" * size)
        elif step == "expire":
            source.shared.expire(now)
        else:
            assert source.joiner(now) == str(source.text)


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
