"""CPU cost of the gate, including reading fields and conflicts: the best of many rounds.

Updates come from pycrdt documents whose client ids are as long as those of Yjs; they are checked and committed in the
order in which they were made. Other work on the machine can only increase the time.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from time import process_time
from typing import Any

from pycrdt import Doc, Map, Text, XmlElement, XmlFragment, XmlText

from bench.result import Options, Result
from collab.gate.gate import Gate
from collab.gate.structs import decode

CLIENTS = (3_000_000_000, 3_500_000_000)
UPDATES = 1000
ROUNDS = 50
ROUNDS_LARGE = 7


class Writer:
    """A replica that keeps the updates it makes."""

    def __init__(self, client: int = CLIENTS[0]) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.made: list[bytes] = []
        self._observed = self.doc.observe(lambda event: self.made.append(event.update))


def setting(root: str) -> list[bytes]:
    """Set one of 50 entries of a map again and again."""
    writer = Writer()
    entries = writer.doc.get(root, type=Map)
    for n in range(UPDATES):
        entries[f"key{n % 50}"] = n
    return writer.made


def conflicting() -> list[bytes]:
    """Two writers repeatedly set the same field concurrently, and then merge."""
    writers = [Writer(client) for client in CLIENTS]
    updates = []
    for n in range(UPDATES // 2):
        for index, writer in enumerate(writers):
            writer.doc.get("fields", type=Map)[f"key{n % 50}"] = 2 * n + index
        both = [writer.made[-1] for writer in writers]
        for writer, other in zip(writers, both[::-1], strict=True):
            writer.doc.apply_update(other)
        updates += both
    return updates


def typing() -> list[bytes]:
    """Append characters to a text, one by one."""
    writer = Writer()
    text = writer.doc.get("content", type=Text)
    text += "lorem ipsum"
    for n in range(UPDATES):
        text.insert(5 + n, "a")
    return writer.made


def deleting() -> list[bytes]:
    """Delete every other character."""
    writer = Writer()
    text = writer.doc.get("content", type=Text)
    text += "a" * (2 * UPDATES)
    for n in range(UPDATES):
        del text[n]
    return writer.made


def paragraphs() -> list[bytes]:
    """Append elements with a text."""
    writer = Writer()
    xml = writer.doc.get("content", type=XmlFragment)
    for n in range(300):
        xml.children.append(XmlElement("p", {"id": str(n)}, [XmlText("a paragraph")]))
    return writer.made


def scattered_text(edits: int) -> bytes:
    """A text that one client edited in random places."""
    random = Random(1)
    doc = Writer().doc
    text = doc.get("content", type=Text)
    length = 0
    with doc.transaction():
        for _ in range(edits):
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


def rich_text(paragraphs: int) -> bytes:
    """Many paragraphs, each an element with a text."""
    random = Random(1)
    doc = Writer().doc
    xml = doc.get("content", type=XmlFragment)
    with doc.transaction():
        for n in range(paragraphs):
            words = XmlText(f"some words, enough to be real {n}")
            xml.children.insert(random.randint(0, n), XmlElement("p", {}, [words]))
    return doc.get_update()


def best(action: Callable[[], object], rounds: int) -> float:
    """Seconds of CPU."""
    found = float("inf")
    for _ in range(rounds):
        started = process_time()
        action()
        found = min(found, process_time() - started)
    return found


def through(updates: list[bytes]) -> int:
    """Check and commit. Returns the number of field writes that the gate reported."""
    gate = Gate()
    return sum(len(gate.commit(gate.check(update), live=True)) for update in updates)


def small(rounds: int) -> list[Result]:
    """Measure updates of typical sizes."""
    loads: dict[str, Callable[[], list[bytes]]] = {
        "keystroke": typing,
        "deletion": deleting,
        "field": lambda: setting("fields"),
        "field, written by two at once": conflicting,
        "entry of another map": lambda: setting("other"),
        "paragraph": paragraphs,
    }
    results = []
    for name, make in loads.items():
        updates = make()
        numbers = {
            "update_us": round(1e6 * best(lambda updates=updates: through(updates), rounds) / len(updates), 2),  # type: ignore[misc]
            "bytes": round(sum(map(len, updates)) / len(updates)),
            "field_writes": through(updates),
            "updates": len(updates),
        }
        results.append(Result("gate", name, numbers))
    return results


def large(rounds: int, scale: float) -> list[Result]:
    """Measure whole documents, and the gate's index of them."""
    results = []
    documents = {"scattered text": scattered_text(int(21_000 * scale)), "rich text": rich_text(int(6_000 * scale))}
    for name, update in documents.items():
        gate = Gate()
        gate.commit(gate.check(update))
        index = gate.index()
        actions: dict[str, Callable[[], object]] = {
            "read_ms": lambda update=update: decode(update),  # type: ignore[misc]
            "check_and_commit_ms": lambda update=update: through([update]),  # type: ignore[misc]
            "write_index_ms": gate.index,
            "open_from_index_ms": lambda index=index: Gate.from_index(index),  # type: ignore[misc]
        }
        numbers = {key: round(1e3 * best(action, rounds), 2) for key, action in actions.items()}
        numbers |= {
            "document_kb": round(len(update) / 1e3),
            "structs": len(decode(update)[0]),
            "index_kb": round(len(index) / 1e3),
        }
        results.append(Result("documents", name, numbers))
    return results


async def gate(options: Options) -> list[Result]:
    """Small updates, and large ones."""
    if options.quick:
        return [*small(2), *large(1, 0.02)]
    return [*small(ROUNDS), *large(ROUNDS_LARGE, 1.0)]
