"""The sandbox: right answers, and what happens when a document hangs or ends the process that reads it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from random import Random
from typing import Any

import psutil
import pycrdt
import pytest
import pytest_asyncio
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from collab.errors import InvalidRequest
from collab.sandbox import Sandbox, SandboxError
from collab.wire.update import Gate
from presence.lib0 import encode_uint

# one emoji as text in a root "a"; read as an array it never comes to an end
EMOJI = bytes.fromhex("010101000401016104f09f988000")
# a block of no length: once it is in, the document cannot be encoded any more
ZERO_LENGTH = bytes.fromhex("01010701000000")
SECONDS = 20.0


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    await sandbox.close()


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie is one too
            if "collab.sandbox" in child.cmdline():
                found.append(child)
    return found


def recorded(edit: Callable[[Doc[Any]], None], *, client: int = 1) -> tuple[Doc[Any], list[bytes]]:
    """A document and the updates that its edits made."""
    doc: Doc[Any] = Doc(client_id=client)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    edit(doc)
    doc.unobserve(subscription)
    return doc, updates


def typing(seed: int, edits: int) -> Callable[[Doc[Any]], None]:
    def edit(doc: Doc[Any]) -> None:
        random = Random(seed)
        text = doc.get("content", type=Text)
        fields = doc.get("fields", type=Map)
        for number in range(edits):
            length = len(str(text))
            if length > 10 and random.random() < 0.3:
                start = random.randrange(length - 3)
                del text[start : start + random.randrange(1, 4)]
            else:
                text.insert(random.randrange(length + 1), random.choice(["a", "word ", "\n"]))
            if number % 7 == 0:
                fields[random.choice("xyz")] = number

    return edit


async def test_a_document_is_shown_as_json(sandbox: Sandbox) -> None:
    doc: Doc[Any] = Doc()
    doc["text"] = Text("h\u00e9llo \U0001f600")
    doc["map"] = Map({"n": 1, "f": 1.5, "yes": True, "none": None, "nan": float("nan"), "b": b"\x01\x02"})
    doc["map"]["inner"] = Map({"list": Array([1, "two", {"three": 3}])})
    doc["array"] = Array([1, Text("two"), Map({"x": Array([])})])
    doc["xml"] = XmlFragment([XmlElement("p", {"class": "x"}, [XmlText("hi")])])
    kinds = {"text": "text", "map": "map", "array": "array", "xml": "xml"}
    assert await sandbox.read(doc.get_update(), kinds, "json", None, SECONDS) == {
        "text": "h\u00e9llo \U0001f600",
        "map": {
            "n": 1,
            "f": 1.5,
            "yes": True,
            "none": None,
            "nan": None,
            "b": "AQI=",
            "inner": {"list": [1, "two", {"three": 3}]},
        },
        "array": [1, "two", {"x": []}],
        "xml": '<p class="x">hi</p>',
    }


async def test_one_root_is_shown_alone(sandbox: Sandbox) -> None:
    doc: Doc[Any] = Doc()
    doc["a"], doc["b"], doc["m"] = Text("one"), XmlFragment([XmlElement("hr")]), Map({"k": "v"})
    update, kinds = doc.get_update(), {"a": "text", "b": "xml", "m": "map"}
    assert await sandbox.read(update, kinds, "text", "a", SECONDS) == "one"
    assert await sandbox.read(update, kinds, "text", "b", SECONDS) == "<hr></hr>"
    assert await sandbox.read(update, kinds, "text", "no such root", SECONDS) == ""
    assert await sandbox.read(update, kinds, "json", "m", SECONDS) == {"m": {"k": "v"}}
    with pytest.raises(InvalidRequest, match="m is a map"):
        await sandbox.read(update, kinds, "text", "m", SECONDS)


async def test_compaction_gives_the_same_document_and_a_gate_that_goes_on(sandbox: Sandbox) -> None:
    doc, updates = recorded(typing(1, 300))
    half = await sandbox.compact(None, updates[:150], SECONDS)
    compacted = await sandbox.compact(half.update, updates[150:], SECONDS, half.index)
    again: Doc[Any] = Doc()
    again.apply_update(compacted.update)
    assert str(again.get("content", type=Text)) == str(doc["content"])
    assert again.get("fields", type=Map).to_py() == doc["fields"].to_py()
    assert again.get_state() == doc.get_state()
    gate = Gate.from_index(compacted.index)
    straight = Gate()
    for update in updates:
        straight.commit(straight.check(update))
    assert gate.state == straight.state
    assert dict(gate.roots) == dict(straight.roots)
    assert len(compacted.update) < sum(map(len, updates))


async def test_compaction_does_without_the_index(sandbox: Sandbox) -> None:
    _, updates = recorded(typing(2, 100))
    half = await sandbox.compact(None, updates[:50], SECONDS)
    with_index = await sandbox.compact(half.update, updates[50:], SECONDS, half.index)
    without = await sandbox.compact(half.update, updates[50:], SECONDS)
    assert with_index.update == without.update


async def test_an_index_of_another_version_is_read_anew(sandbox: Sandbox) -> None:
    _, updates = recorded(typing(2, 100))
    half = await sandbox.compact(None, updates[:50], SECONDS)
    of_another_version = await sandbox.compact(half.update, updates[50:], SECONDS, b"of another version")
    mapped = await sandbox.compact(half.update, updates[50:], SECONDS, half.index, ["tasks"])
    assert of_another_version == await sandbox.compact(half.update, updates[50:], SECONDS)
    assert Gate.from_index(mapped.index, ["tasks"]).heads("fields") == Gate.from_index(mapped.index).heads("fields")


async def test_compacting_what_is_compact_changes_nothing(sandbox: Sandbox) -> None:
    _, updates = recorded(typing(3, 200))
    once = await sandbox.compact(None, updates, SECONDS)
    twice = await sandbox.compact(once.update, [], SECONDS, once.index)
    assert twice == once


async def test_case_7_a_log_with_a_gap_is_not_compacted(sandbox: Sandbox) -> None:
    _, updates = recorded(typing(4, 20))
    with pytest.raises(SandboxError, match="Gap"):
        await sandbox.compact(None, [*updates[:5], *updates[6:]], SECONDS)
    reordered = [updates[1], updates[0], *updates[2:]]
    with pytest.raises(SandboxError, match="Gap"):
        await sandbox.compact(None, reordered, SECONDS)


async def test_case_43_a_document_that_hangs_its_reader_costs_only_the_reader(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match=r"not done with after 1\.0 s"):
        await sandbox.read(EMOJI, {"a": "array"}, "json", None, 1.0)
    assert await sandbox.read(EMOJI, {"a": "text"}, "json", None, SECONDS) == {"a": "\U0001f600"}
    _, updates = recorded(typing(5, 5))
    await sandbox.compact(None, updates, SECONDS)


async def test_case_43_compaction_goes_on_while_a_reader_hangs(sandbox: Sandbox) -> None:
    _, updates = recorded(typing(6, 5))
    hanging = asyncio.create_task(sandbox.read(EMOJI, {"a": "array"}, "json", None, 600.0))
    for _ in range(5):
        await sandbox.compact(None, updates, SECONDS)
    assert not hanging.done()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert await sandbox.read(EMOJI, {"a": "text"}, "text", "a", SECONDS) == "\U0001f600"


async def test_case_42_a_document_that_wants_all_memory_is_refused(sandbox: Sandbox) -> None:
    for count in (2**26, 2**31, 2**35):  # blocks, or deletions, that the bytes claim to hold
        for hostile in (encode_uint(count), b"\x00" + encode_uint(count)):
            with pytest.raises(SandboxError):
                await sandbox.read(hostile, {"a": "text"}, "json", None, SECONDS)
    assert await sandbox.read(EMOJI, {"a": "text"}, "text", "a", SECONDS) == "\U0001f600"


async def test_a_reader_that_dies_is_an_error_and_is_replaced(sandbox: Sandbox) -> None:
    hanging = asyncio.create_task(sandbox.read(EMOJI, {"a": "array"}, "json", None, 600.0))
    while not children():
        await asyncio.sleep(0.01)
    (child,) = children()
    started = child.cpu_times().user
    while child.cpu_times().user < started + 1.0:
        await asyncio.sleep(0.01)
    child.send_signal(signal.SIGSEGV)
    with pytest.raises(SandboxError, match="SIGSEGV"):
        await hanging
    assert await sandbox.read(EMOJI, {"a": "text"}, "text", "a", SECONDS) == "\U0001f600"


async def test_a_reader_killed_between_two_requests_is_not_noticed(sandbox: Sandbox) -> None:
    for _ in range(3):
        assert await sandbox.read(EMOJI, {"a": "text"}, "text", "a", SECONDS) == "\U0001f600"
        (child,) = children()
        child.kill()
        while children():
            await asyncio.sleep(0.01)


async def test_a_panic_of_the_library_is_an_error_and_the_reader_is_not_trusted_any_more(
    sandbox: Sandbox,
) -> None:
    _, updates = recorded(typing(7, 5))
    await sandbox.compact(None, updates, SECONDS)
    (first,) = children()
    with pytest.raises(SandboxError, match="PanicException"):
        await sandbox.compact(ZERO_LENGTH, [], SECONDS, Gate().index())
    await sandbox.compact(None, updates, SECONDS)
    (second,) = children()
    assert first.pid != second.pid


async def test_malformed_bytes_are_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError):
        await sandbox.compact(None, [b"\xff\xff\xff"], SECONDS)
    with pytest.raises(SandboxError):
        await sandbox.compact(b"nonsense", [], SECONDS)
    with pytest.raises(SandboxError):
        await sandbox.compact(b"nonsense", [], SECONDS, b"no index")


async def test_requests_take_turns(sandbox: Sandbox) -> None:
    documents = []
    for number in range(20):
        doc: Doc[Any] = Doc()
        doc["t"] = Text(str(number) * (1 + number * 1000))
        documents.append(doc.get_update())
    answers = await asyncio.gather(*(sandbox.read(update, {"t": "text"}, "text", "t", SECONDS) for update in documents))
    assert answers == [str(number) * (1 + number * 1000) for number in range(20)]


async def test_a_large_document_passes(sandbox: Sandbox) -> None:
    doc: Doc[Any] = Doc()
    doc["t"] = Text("0123456789abcdef" * 400_000)
    compacted = await sandbox.compact(None, [doc.get_update()], SECONDS)
    assert len(compacted.update) > 6_000_000
    assert len(await sandbox.read(compacted.update, {"t": "text"}, "text", "t", SECONDS)) == 6_400_000


async def test_no_child_lives_before_the_first_request_or_after_idle_time() -> None:
    sandbox = Sandbox(idle_seconds=0.05)
    assert children() == []
    for _ in range(2):
        assert await sandbox.read(EMOJI, {"a": "text"}, "text", "a", SECONDS) == "\U0001f600"
        while children():
            await asyncio.sleep(0.01)
    await sandbox.close()


async def test_a_child_ends_with_its_parent() -> None:
    script = (
        "import asyncio, os, signal\n"
        "from collab.sandbox import Sandbox\n"
        "async def main():\n"
        "    sandbox = Sandbox()\n"
        f"    hostile = bytes.fromhex({EMOJI.hex()!r})\n"
        "    await sandbox.read(hostile, {'a': 'text'}, 'text', 'a', 20)\n"
        "    reading = asyncio.create_task(sandbox.read(hostile, {'a': 'array'}, 'json', None, 600))\n"
        "    await asyncio.sleep(0.1)\n"
        "    print(sandbox._reader._process.pid, flush=True)\n"
        "    await asyncio.sleep(0.1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=os.getcwd()
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert await parent.wait() == -signal.SIGKILL
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.01)


def test_the_library_still_hangs_on_what_these_tests_send() -> None:
    """If it no longer does, test_case_43 shows nothing; see that the bytes are at least what they claim to be."""
    doc: Doc[Any] = Doc()
    doc.apply_update(EMOJI)
    assert str(doc.get("a", type=Text)) == "\U0001f600"
    assert pycrdt.get_state(EMOJI) == doc.get_state()
