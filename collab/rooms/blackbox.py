"""What a worker was doing when it died: a note in memory shared with the supervisor.

Before bytes from outside reach the CRDT library the worker notes the document and the bytes; afterwards it
strikes the note. If the library kills or hangs the process, the supervisor finds the note.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from tempfile import TemporaryFile
from time import monotonic
from typing import Protocol

from collab.names import RoomKey


class BlackBox(Protocol):
    """Where a room notes what it is about to hand to the CRDT library."""

    def begin(self, key: RoomKey, update: bytes, seconds: float, seq: int = 0) -> None:
        """Note that ``update`` (log row ``seq``, 0 if live) is being applied and may take ``seconds``."""

    def end(self) -> None:
        """Strike the note."""


class NoBlackBox:
    """For processes without a supervisor."""

    def begin(self, key: RoomKey, update: bytes, seconds: float, seq: int = 0) -> None:
        """Note nothing."""

    def end(self) -> None:
        """Strike nothing."""


_HEAD = struct.Struct("=QdQII")
_TURN = struct.Struct("=Q")
_PULSE = struct.Struct("=Q")
_KEY = _HEAD.size + _PULSE.size  # where the key begins
_KEY_MAX = 3 * 128 + 2  # three ASCII parts and two slashes, see collab.names
_LEFT_OUT = 0xFFFFFFFF
_LARGE = 1024 * 1024  # bytes of an update whose memory is worth a system call


@dataclass(frozen=True, slots=True)
class Note:
    """What was being applied. ``update`` is ``None`` if it was larger than the black box.

    ``deadline`` is on the clock of :func:`time.monotonic`, which all processes of a machine share on Linux.
    ``seq`` is the log row, 0 for a live frame.
    """

    key: RoomKey
    update: bytes | None
    seq: int
    deadline: float


class SharedBlackBox:
    """A black box in memory that outlives the process which writes it.

    One process writes, another may read at any moment; both hold the same file descriptor. Layout, native
    byte order: ``turn`` u64, ``deadline`` f64, ``seq`` u64, ``key length`` u32, ``update length`` u32 (all
    ones: too large, left out), ``pulse`` u64, key (``project/collection/id``), update. ``turn`` is odd while a
    note stands and even while none does; it changes with every note, so a reader that meets the same odd
    number before and after has read one whole note. ``pulse`` rises while the writer is alive to its other
    duties. Only pages that an update reached take memory, and those of large updates are given back.
    """

    def __init__(self, fd: int) -> None:
        """Use the memory behind ``fd``, which stays the caller's to close. A note in it is struck."""
        self.fd = fd
        size = os.fstat(fd).st_size
        self._capacity = size - _KEY - _KEY_MAX
        if self._capacity < 0:
            raise ValueError("the file is too small for a black box")
        self._memory = mmap.mmap(fd, size)
        self._turn = 0
        self._stands = False
        self._large = False
        self._key: RoomKey | None = None
        self._name = b""
        self.clear()

    @classmethod
    def create(cls, capacity: int) -> SharedBlackBox:
        """A new one that holds updates of up to ``capacity`` bytes. A child may inherit its ``fd``."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("blackbox")
        else:
            with TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _KEY + _KEY_MAX + capacity)
        return cls(fd)

    def begin(self, key: RoomKey, update: bytes, seconds: float, seq: int = 0) -> None:
        """Note that ``update`` (log row ``seq``, 0 if live) is being applied and may take ``seconds``."""
        if self._stands:
            self.end()
        if key is not self._key:
            self._key, self._name = key, "/".join(key).encode()
        memory, name, size = self._memory, self._name, len(update)
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
        """Strike the note."""
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
        """The note that stands now, if one does. Takes a copy."""
        while True:
            turn, deadline, seq, name_size, size = _HEAD.unpack_from(self._memory, 0)
            if not turn & 1:
                return None
            start = _KEY + name_size
            name = self._memory[_KEY:start]
            update = None if size == _LEFT_OUT else self._memory[start : start + size]
            if _TURN.unpack_from(self._memory, 0)[0] == turn:
                return Note(RoomKey(*name.decode().split("/")), update, seq, deadline)

    def standing(self) -> tuple[int, float] | None:
        """The turn and the deadline of the note that stands now; the turn differs from note to note."""
        turn, deadline, *_ = _HEAD.unpack_from(self._memory, 0)
        return (turn, deadline) if turn & 1 else None

    def beat(self) -> None:
        """Give a sign of life, to be seen in :attr:`pulse`."""
        _PULSE.pack_into(self._memory, _HEAD.size, self.pulse + 1)

    @property
    def pulse(self) -> int:
        """The number of signs of life so far."""
        return int(_PULSE.unpack_from(self._memory, _HEAD.size)[0])

    def clear(self) -> None:
        """Strike whatever a dead writer left, so that the memory can be given to the next."""
        self._turn = _TURN.unpack_from(self._memory, 0)[0] | 1
        self._turn += 1
        _TURN.pack_into(self._memory, 0, self._turn)
        self._stands = False
