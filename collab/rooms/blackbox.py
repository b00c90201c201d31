"""A note in memory shared with the supervisor: what a worker was doing when it died.

Before the worker passes bytes from outside to the CRDT library, it notes the document and the bytes; afterwards it
removes the note. If the library kills or hangs the process, the supervisor finds the note.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from tempfile import TemporaryFile
from time import monotonic
from typing import Protocol

from collab.names import RoomKey


class BlackBox(Protocol):
    """Where a room notes what it passes to the CRDT library."""

    def begin(self, key: RoomKey, update: bytes, seconds: float, seq: int = 0, who: str = "") -> None:
        """Note that ``update`` of ``who`` (log row ``seq``, 0 if live) is being applied and may take ``seconds``."""

    def end(self) -> None:
        """Remove the note."""


class NoBlackBox:
    """A black box for processes without a supervisor: it notes nothing."""

    def begin(self, key: RoomKey, update: bytes, seconds: float, seq: int = 0, who: str = "") -> None: ...

    def end(self) -> None: ...


_HEAD = struct.Struct("=QdQII")
_TURN = struct.Struct("=Q")
_PULSE = struct.Struct("=Q")
_KEY = _HEAD.size + _PULSE.size  # where the key begins
_KEY_MAX = 3 * 128 + 2  # three ASCII parts and two slashes, see collab.names
_WHO_MAX = 1024  # bytes; longer names are cut
_LEFT_OUT = 0xFFFFFFFF
_LARGE = 1024 * 1024  # bytes; freeing the memory of larger updates is worth a system call


@dataclass(frozen=True, slots=True)
class Note:
    """The update that was being applied; ``update`` is ``None`` if it was larger than the black box.

    ``deadline`` is on the clock of :func:`time.monotonic`, which all processes of a machine share on Linux. ``seq`` is
    the log row, 0 for a live frame; ``who`` sent it, ``""`` if unknown.
    """

    key: RoomKey
    update: bytes | None
    seq: int
    deadline: float
    who: str = ""


class SharedBlackBox:
    """A black box in memory that outlives the process which writes it.

    One process writes, another may read at any moment; both hold the same file descriptor. Layout, native byte order:
    ``turn`` u64, ``deadline`` f64, ``seq`` u64, ``key length`` u32, ``update length`` u32 (all ones: too large, left
    out), ``pulse`` u64, key (``project/collection/id``, a space, who), update. ``turn`` is odd while there is a note
    and even while there is none. It changes with every note, so a reader that sees the same odd number before and after
    has read one whole note. ``pulse`` rises while the writer performs its other duties. Only pages that an update
    reached take memory, and those of large updates are freed.
    """

    def __init__(self, fd: int) -> None:
        """Use the memory behind ``fd``, which the caller must close. Removes a note in it."""
        self.fd = fd
        size = os.fstat(fd).st_size
        self._capacity = size - _KEY - _KEY_MAX - 1 - _WHO_MAX
        if self._capacity < 0:
            raise ValueError("the file is too small for a black box")
        self._memory = mmap.mmap(fd, size)
        self._turn = 0
        self._stands = False
        self._large = False
        self.clear()

    @classmethod
    def create(cls, capacity: int) -> SharedBlackBox:
        """Create a black box for updates of up to ``capacity`` bytes. A child process may inherit its ``fd``."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("blackbox")
        else:
            with TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _KEY + _KEY_MAX + 1 + _WHO_MAX + capacity)
        return cls(fd)

    def begin(self, key: RoomKey, update: bytes, seconds: float, seq: int = 0, who: str = "") -> None:
        if self._stands:
            self.end()
        memory, name, size = self._memory, _name(key, who), len(update)
        start = _KEY + len(name)
        if size > self._capacity:
            size = _LEFT_OUT
        else:
            memory[start : start + size] = update
            self._large = size > _LARGE
        memory[_KEY:start] = name
        # even until the note is whole, then odd: the process may die between any two of these lines
        _HEAD.pack_into(memory, 0, self._turn, monotonic() + seconds, seq, len(name), size)
        _TURN.pack_into(memory, 0, self._turn | 1)
        self._stands = True

    def end(self) -> None:
        self._turn += 2
        _TURN.pack_into(self._memory, 0, self._turn)
        self._stands = False
        if self._large:
            self._large = False
            self._give_back()

    def _give_back(self) -> None:
        if hasattr(mmap, "MADV_REMOVE"):
            self._memory.madvise(mmap.MADV_REMOVE, mmap.PAGESIZE, len(self._memory) - mmap.PAGESIZE)

    def read(self) -> Note | None:
        """A copy of the current note, if there is one."""
        while True:
            turn, deadline, seq, name_size, size = _HEAD.unpack_from(self._memory, 0)
            if not turn & 1:
                return None
            start = _KEY + name_size
            name = self._memory[_KEY:start]
            update = None if size == _LEFT_OUT else self._memory[start : start + size]
            if _TURN.unpack_from(self._memory, 0)[0] == turn:
                text, _, who = name.decode(errors="replace").partition(" ")
                return Note(RoomKey(*text.split("/")), update, seq, deadline, who)

    def standing(self) -> tuple[int, float] | None:
        """The turn and the deadline of the current note; the turn differs from note to note."""
        turn, deadline, *_ = _HEAD.unpack_from(self._memory, 0)
        return (turn, deadline) if turn & 1 else None

    def beat(self) -> None:
        """Raise :attr:`pulse`, as a sign of life."""
        _PULSE.pack_into(self._memory, _HEAD.size, self.pulse + 1)

    @property
    def pulse(self) -> int:
        """The number of signs of life so far."""
        return int(_PULSE.unpack_from(self._memory, _HEAD.size)[0])

    def clear(self) -> None:
        """Remove the note of a dead writer, so that another can use the memory."""
        self._turn = _TURN.unpack_from(self._memory, 0)[0] | 1
        self._turn += 1
        _TURN.pack_into(self._memory, 0, self._turn)
        self._stands = False


@lru_cache(maxsize=1024)
def _name(key: RoomKey, who: str) -> bytes:
    return "/".join(key).encode() + b" " + who.encode()[:_WHO_MAX]
