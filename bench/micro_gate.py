"""What the gate costs: python -m bench.micro_gate

Updates come from pycrdt documents whose client id is as long as those of Yjs; each is checked and committed in the
order in which it was made. CPU time, the best of many rounds: other work on the machine only ever adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from time import process_time
from typing import Any

from pycrdt import Doc, Map, Text, XmlElement, XmlFragment, XmlText

from collab.wire.update import Gate, decode

CLIENT = 3_000_000_000
ROUNDS = 50


def recorded(doc: Doc[Any]) -> list[bytes]:
    """The updates that a document makes from now on."""
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    return updates


def typing() -> list[bytes]:
    doc: Doc[Any] = Doc(client_id=CLIENT)
    text = doc.get("t", type=Text)
    text += "lorem ipsum"
    updates = [doc.get_update()]
    live = recorded(doc)
    for n in range(1000):
        text.insert(5 + n, "a")
    return updates + live


def setting() -> list[bytes]:
    doc: Doc[Any] = Doc(client_id=CLIENT)
    fields = doc.get("m", type=Map)
    live = recorded(doc)
    for n in range(1000):
        fields["key"] = n % 50
    return live


def deleting() -> list[bytes]:
    doc: Doc[Any] = Doc(client_id=CLIENT)
    text = doc.get("t", type=Text)
    text += "a" * 2000
    updates = [doc.get_update()]
    live = recorded(doc)
    for n in range(1000):
        del text[n]
    return updates + live


def paragraphs() -> list[bytes]:
    doc: Doc[Any] = Doc(client_id=CLIENT)
    xml = doc.get("x", type=XmlFragment)
    live = recorded(doc)
    for n in range(300):
        xml.children.append(XmlElement("p", {"id": str(n)}, [XmlText("a paragraph")]))
    return live


def scattered_text() -> bytes:
    """A text that one client edited in random places."""
    random = Random(1)
    doc: Doc[Any] = Doc(client_id=CLIENT)
    text = doc.get("t", type=Text)
    length = 0
    with doc.transaction():
        for _ in range(21_000):
            at = random.randint(0, length)
            if random.random() < 0.8:
                word = "abcdefghijklmnopqrst"[: random.randint(1, 10)]
                text.insert(at, word)
                length += len(word)
            else:
                end = min(length, at + 4)
                if end > at:
                    del text[at:end]
                length -= end - at
    return doc.get_update()


def rich_text() -> bytes:
    """Thousands of paragraphs, each an element with a text."""
    random = Random(1)
    doc: Doc[Any] = Doc(client_id=CLIENT)
    xml = doc.get("x", type=XmlFragment)
    with doc.transaction():
        for n in range(6_000):
            xml.children.insert(
                random.randint(0, n), XmlElement("p", {}, [XmlText(f"some words, enough to be real {n}")])
            )
    return doc.get_update()


def best(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds of CPU."""
    found = float("inf")
    for _ in range(rounds):
        started = process_time()
        action()
        found = min(found, process_time() - started)
    return found


def through(updates: list[bytes]) -> None:
    gate = Gate()
    for update in updates:
        gate.commit(gate.check(update))


def small() -> Iterator[str]:
    for make in (typing, setting, deleting, paragraphs):
        updates = make()
        seconds = best(lambda updates=updates: through(updates)) / len(updates)  # type: ignore[misc]
        size = sum(map(len, updates)) / len(updates)
        yield f"{make.__name__:12} {seconds * 1e6:8.2f} µs an update of {size:.0f} bytes, check and commit"


def large() -> Iterator[str]:
    for make in (scattered_text, rich_text):
        update = make()
        structs, _ = decode(update)
        gate = Gate()
        gate.commit(gate.check(update))
        index = gate.index()
        for name, action in {
            "read": lambda update=update: decode(update),
            "check and commit": lambda update=update: through([update]),
            "write the index": gate.index,
            "open from the index": lambda index=index: Gate.from_index(index),
        }.items():
            yield f"{make.__name__:14} {best(action, 7) * 1e3:8.1f} ms  {name}"  # type: ignore[arg-type]
        size = f"{len(update) / 1024:8.0f} KiB in {len(structs)} structs, index {len(index) / 1024:.0f} KiB"
        yield f"{make.__name__:14} {size}"


if __name__ == "__main__":
    for line in (*small(), *large()):
        print(line)
