from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.names import RoomKey
from collab.rooms.blackbox import SharedBlackBox

KEY = RoomKey("default", "documents", "doc_1")
CAPACITY = 2_000_000


@pytest.fixture
def blackbox() -> Iterator[SharedBlackBox]:
    box = SharedBlackBox.create(CAPACITY)
    yield box
    os.close(box.fd)


def test_a_note_exists_between_begin_and_end(blackbox: SharedBlackBox) -> None:
    assert blackbox.read() is None
    before = monotonic()
    blackbox.begin(KEY, b"update", 5.0, seq=7)
    note = blackbox.read()
    assert note is not None
    assert (note.key, note.update, note.seq) == (KEY, b"update", 7)
    assert before + 5.0 <= note.deadline <= monotonic() + 5.0
    blackbox.end()
    assert blackbox.read() is None


names = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,127}", fullmatch=True)


@given(st.builds(RoomKey, names, names, names), st.binary(max_size=2000), st.integers(0, 2**63))
def test_every_note_is_read_back(key: RoomKey, update: bytes, seq: int) -> None:
    box = SharedBlackBox.create(CAPACITY)
    try:
        box.begin(key, update, 1.0, seq)
        note = box.read()
        assert note is not None
        assert (note.key, note.update, note.seq) == (key, update, seq)
    finally:
        os.close(box.fd)


def test_a_new_note_replaces_an_old_one(blackbox: SharedBlackBox) -> None:
    blackbox.begin(KEY, b"a long update", 1.0)
    first = blackbox.standing()
    blackbox.begin(KEY._replace(id="other"), b"short", 1.0)
    second = blackbox.standing()
    note = blackbox.read()
    assert note is not None
    assert (note.key.id, note.update) == ("other", b"short")
    assert first is not None
    assert second is not None
    assert first[0] != second[0]


def test_an_update_larger_than_the_black_box_is_noted_without_its_bytes(blackbox: SharedBlackBox) -> None:
    blackbox.begin(KEY, bytes(CAPACITY), 1.0)
    note = blackbox.read()
    assert note is not None
    assert note.update == bytes(CAPACITY)
    blackbox.begin(KEY, bytes(CAPACITY + 1), 1.0, seq=3)
    note = blackbox.read()
    assert note is not None
    assert (note.key, note.update, note.seq) == (KEY, None, 3)


def test_the_memory_of_a_large_update_is_given_back(blackbox: SharedBlackBox) -> None:
    blackbox.begin(KEY, b"x" * CAPACITY, 1.0)
    assert os.fstat(blackbox.fd).st_blocks * 512 > CAPACITY
    blackbox.end()
    assert os.fstat(blackbox.fd).st_blocks * 512 < 100_000
    blackbox.begin(KEY, b"y" * 100, 1.0)
    note = blackbox.read()
    assert note is not None
    assert note.update == b"y" * 100


WRITER = """
import os, sys
from collab.names import RoomKey
from collab.rooms.blackbox import SharedBlackBox
box = SharedBlackBox(int(sys.argv[1]))
box.begin(RoomKey("default", "documents", "doc_1"), b"first", 1.0)
box.end()
box.begin(RoomKey("default", "documents", "doc_1"), b"the last", 1.0, 9)
os.kill(os.getpid(), 9)
"""


def test_a_note_outlives_its_writer_until_it_is_cleared(blackbox: SharedBlackBox) -> None:
    for _ in range(2):
        writer = subprocess.run(
            [sys.executable, "-c", WRITER, str(blackbox.fd)],
            pass_fds=[blackbox.fd],
            cwd=Path(__file__).parents[3],
        )
        assert writer.returncode == -signal.SIGKILL
        note = blackbox.read()
        assert note is not None
        assert (note.key, note.update, note.seq) == (KEY, b"the last", 9)
        blackbox.clear()
        assert blackbox.read() is None


def test_a_file_that_is_too_small_is_refused() -> None:
    fd = os.memfd_create("small")
    try:
        os.ftruncate(fd, 100)
        with pytest.raises(ValueError, match="too small"):
            SharedBlackBox(fd)
    finally:
        os.close(fd)


def test_a_note_tells_who_sent_the_bytes(blackbox: SharedBlackBox) -> None:
    for who in ("user eve of default", "", "address ::1 of None", "user " + "é" * 2000):
        blackbox.begin(KEY, b"update", 5.0, who=who)
        note = blackbox.read()
        assert note is not None
        assert note.key == KEY
        assert note.update == b"update"
        assert note.who == who or (note.who and who.startswith(note.who.rstrip("\ufffd")))
        blackbox.end()
