from collections.abc import Callable
from typing import Any

import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from collab.gate.gate import Gate
from collab.sandbox.past import restore

Doc = pycrdt.Doc[Any]


def texts(doc: Doc) -> Any:
    return doc.get("t", type=pycrdt.Text)


def check(build: Callable[[Doc], None], change: Callable[[Doc], None], read: Callable[[Doc], Any]) -> bytes | None:
    """Build a document, change it, and restore it; clients see the old state after an update that passes the gate."""
    doc: Doc = pycrdt.Doc()
    build(doc)
    then, wanted = doc.get_update(), read(doc)
    change(doc)
    update = restore(doc.get_update(), [then], ["fields"])
    if update is not None:
        gate = Gate()
        gate.commit(gate.check(doc.get_update()))
        gate.check(update)
        doc.apply_update(update)
    assert read(doc) == wanted
    return update


@given(st.text("aé🎉b", max_size=12), st.text("aé🎉b", max_size=12))
def test_plain_text_is_as_it_was(before: str, after: str) -> None:
    def change(doc: Doc) -> None:
        texts(doc).clear()
        texts(doc).insert(0, after)

    check(lambda doc: texts(doc).insert(0, before), change, lambda doc: str(texts(doc)))


def test_equal_content_is_not_written_again() -> None:
    def change(doc: Doc) -> None:
        texts(doc).insert(500, "X")

    update = check(lambda doc: texts(doc).insert(0, "a" * 1000), change, lambda doc: str(texts(doc)))
    assert update is not None
    assert len(update) < 100


def test_nothing_is_written_if_nothing_differs() -> None:
    assert check(lambda doc: texts(doc).insert(0, "same"), lambda doc: None, lambda doc: str(texts(doc))) is None


def test_formats_and_embedded_objects_come_back() -> None:
    def build(doc: Doc) -> None:
        texts(doc).insert(0, "héllo", {"bold": True})
        texts(doc).insert_embed(0, {"image": "x"})

    check(build, lambda doc: texts(doc).clear(), lambda doc: texts(doc).diff())


def test_trees_come_back_with_their_attributes_and_formats() -> None:
    def build(doc: Doc) -> None:
        root = doc.get("x", type=pycrdt.XmlFragment)
        root.children.append(pycrdt.XmlElement("h1", {"id": "a"}, [pycrdt.XmlText("Title")]))
        root.children.append(pycrdt.XmlElement("p", {}, [pycrdt.XmlText("one")]))
        root.children[1].children[0].format(0, 1, {"em": True})

    def change(doc: Doc) -> None:
        root = doc.get("x", type=pycrdt.XmlFragment)
        del root.children[0]
        root.children[0].children[0].insert(3, " more")

    check(build, change, lambda doc: str(doc.get("x", type=pycrdt.XmlFragment)))


def test_a_changed_paragraph_is_changed_from_the_inside() -> None:
    def build(doc: Doc) -> None:
        root = doc.get("x", type=pycrdt.XmlFragment)
        for text in ("one", "two", "three"):
            root.children.append(pycrdt.XmlElement("p", {}, [pycrdt.XmlText(text)]))

    def change(doc: Doc) -> None:
        doc.get("x", type=pycrdt.XmlFragment).children[1].children[0].insert(0, "!")

    update = check(build, change, lambda doc: str(doc.get("x", type=pycrdt.XmlFragment)))
    assert update is not None
    assert b"one" not in update


def test_nested_arrays_and_maps_come_back() -> None:
    def build(doc: Doc) -> None:
        doc.get("m", type=pycrdt.Map)["list"] = pycrdt.Array([1, pycrdt.Map({"a": pycrdt.Text("deep")}), None])
        doc.get("a", type=pycrdt.Array).extend([1, "two", {"three": 3}])

    def change(doc: Doc) -> None:
        del doc.get("m", type=pycrdt.Map)["list"]
        doc.get("m", type=pycrdt.Map)["new"] = True
        doc.get("a", type=pycrdt.Array).clear()

    def read(doc: Doc) -> Any:
        return doc.get("m", type=pycrdt.Map).to_py(), doc.get("a", type=pycrdt.Array).to_py()

    check(build, change, read)


def test_roots_that_hold_entities_are_left_alone() -> None:
    doc: Doc = pycrdt.Doc()
    doc.get("fields", type=pycrdt.Map)["n"] = 1
    then = doc.get_update()
    doc.get("fields", type=pycrdt.Map)["n"] = 2
    assert restore(doc.get_update(), [then], ["fields"]) is None


def test_a_root_that_was_not_there_is_emptied() -> None:
    check(lambda doc: None, lambda doc: texts(doc).insert(0, "new"), lambda doc: str(texts(doc)))
