"""A malicious writer that knows the format: reproducible sequences of frames for one document.

Much of what it writes is what an honest replica might say, so that the document grows structure to attack. The rest
bends one thing or several: neighbours from elsewhere, parents that are none, ranges across borders, clocks that
repeat or leave out, lengths that lie, bytes flipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.fuzz import encode
from tests.fuzz.encode import ANY, BINARY, DELETED, EMBED, FORMAT, STRING, TYPE, Id

CLIENTS = (1, 200, 70_000, 2**28 + 5, 3_000_000_000, 2**32 - 3, 2**50 + 7, 2**53 - 1)
ROOTS = ("t", "m", "a", "x")

Place = str | Id
"""The parent of an element: a root, or the item with its type."""

_ROOT_KINDS = {"t": 2, "m": 1, "a": 0, "x": 4}
_KINDS = (0, 1, 2, 3, 4, 6)
_KEYED_SHARE = {0: 0.02, 1: 0.97, 2: 0.1, 3: 0.3, 4: 0.05, 6: 0.1}
_TEXTUAL = (STRING, STRING, STRING, STRING, FORMAT, EMBED, TYPE, DELETED)
_VALUES = (ANY, ANY, TYPE, BINARY, DELETED)
_FITTING = {0: _VALUES, 1: _VALUES, 2: _TEXTUAL, 3: (TYPE, TYPE, DELETED), 4: (TYPE, TYPE, DELETED), 6: _TEXTUAL}
_ALL = (STRING, ANY, TYPE, FORMAT, EMBED, DELETED, BINARY)

_WORDS = ("a", "b", "hello", "é", "中", "😀", "x😀y", "\n", "lorem ipsum", "\x00", "😀😀", "")
_JSON = ("true", "null", "1", '"x"', '{"a":[1,{"b":2}]}', "1e400", "{", '"\\ud800"', "9223372036854775808")
_FORMATS = ("bold", "link", "é")
_KEYS = ("k", "l", "m")
_PLAIN = (
    b"\x7f",
    b"\x7e",
    b"\x79",
    b"\x78",
    b"\x7b\x40" + b"\x00" * 7,
    b"\x7c\x7f\xc0\x00\x01",
    b"\x7d\x05",
    b"\x7d\xc1\x02",
)


@dataclass(frozen=True, slots=True)
class _Draft:
    client: int
    clock: int
    length: int
    place: Place | None  # None: garbage
    keyed: bool
    kind: int  # of the type that it contains, or -1


@dataclass
class Author:
    """Writes frames, and learns which were accepted.

    ``malice`` is the share of corrupted parts; at 0, replicas must agree on the result. Even a small share
    puts elements where no replica would; Yjs and Yrs may differ about those.
    """

    random: Random
    malice: float = 0.05
    blocks_of_one: bool = False  # mostly one struct or one deletion per frame
    clocks: dict[int, int] = field(default_factory=dict)
    _elements: dict[Id, tuple[Place | None, bool]] = field(default_factory=dict)
    _ids: list[Id] = field(default_factory=list)
    _lists: dict[tuple[Place, bool], list[Id]] = field(default_factory=dict)
    _types: dict[Id, int] = field(default_factory=dict)
    _places: list[Place] = field(default_factory=list)
    _drafts: list[_Draft] = field(default_factory=list)

    def write(self) -> bytes:
        """Return the next frame."""
        random = self.random
        self._drafts = []
        clocks = dict(self.clocks)
        roll = random.random()
        several = 0 if self.blocks_of_one else 0.15
        names = random.sample(CLIENTS, 0 if roll < 0.1 else 1 if roll < 1 - several else random.randint(2, 4))
        blocks = [self._block(client, clocks) for client in names]
        ranges = (0, 0, 1) if self.blocks_of_one else (0, 0, 0, 1, 1, 2, 5)
        deletes = [self._deletion(clocks) for _ in range(random.choice(ranges))]
        if not names and not deletes:
            deletes = [self._deletion(clocks)]
        if self._bends(0.2):
            blocks += blocks[:1]
        update = encode.frame(blocks, deletes)
        return self._mutate(update) if self._bends(1) else update

    def accepted(self) -> None:
        """The last frame was accepted: build on it."""
        for draft in self._drafts:
            for clock in range(max(draft.clock, self.clocks.get(draft.client, 0)), draft.clock + draft.length):
                element = (draft.client, clock)
                self._elements[element] = (draft.place, draft.keyed)
                self._ids.append(element)
                if draft.place is not None:
                    self._lists.setdefault((draft.place, draft.keyed), []).append(element)
                    if draft.kind in _KINDS:
                        self._types[element] = draft.kind
                        self._places.append(element)
            self.clocks[draft.client] = max(self.clocks.get(draft.client, 0), draft.clock + draft.length)

    def _bends(self, weight: float) -> bool:
        return self.random.random() < self.malice * weight

    # structs

    def _block(self, client: int, clocks: dict[int, int]) -> bytes:
        random = self.random
        clock = clocks.get(client, 0)
        if clock and random.random() < 0.06:
            clock -= random.randint(1, min(clock, 6))
        elif self._bends(0.3):
            clock += random.randint(1, 3)
        start = clock
        structs = []
        sizes = (1,) if self.blocks_of_one else (1, 1, 1, 2, 3, 6)
        for _ in range(0 if self._bends(0.1) else random.choice(sizes)):
            struct, length = self._struct(client, clock)
            structs.append(struct)
            clock += length
        clocks[client] = max(clock, clocks.get(client, 0))
        if self._bends(0.1):
            start = random.choice((2**31 - 1, 2**31, 2**32 - 1, 2**53 - 1))
        return encode.block(client, start, structs)

    def _struct(self, client: int, clock: int) -> tuple[bytes, int]:
        random = self.random
        if random.random() < 0.04:
            length = 0 if self._bends(0.5) else random.choice((1, 1, 2, 5))
            self._drafts.append(_Draft(client, clock, length, None, False, -1))
            return encode.filler(encode.SKIP if self._bends(1) else encode.GC, length), length
        place: Place = random.choice(self._places) if self._places and random.random() < 0.5 else random.choice(ROOTS)
        kind = _ROOT_KINDS[place] if isinstance(place, str) else self._types[place]
        keyed = random.random() < _KEYED_SHARE[kind]
        origin, right = self._neighbours(place, keyed)
        before = self._before(client, clock)
        if clock and before is not None and before[0] is not None and random.random() < 0.25:
            place, keyed = before[0], before[1]
            kind = _ROOT_KINDS[place] if isinstance(place, str) else self._types.get(place, 0)
            origin, right = (client, clock - 1), None
        parent: Place = place
        if self._bends(1):
            match random.randrange(4):
                case 0:
                    origin = self._any_id(client, clock)
                case 1:
                    right = self._any_id(client, clock)
                case 2:
                    origin = right = None
                    parent = self._any_id(client, clock)
                case 3:
                    keyed = not keyed
        ref, content, length = self._content(kind, keyed)
        self._drafts.append(_Draft(client, clock, length, place, keyed, content[0] if ref == TYPE else -1))
        key = random.choice(_KEYS) if keyed else None
        return encode.item(ref, content, origin, right, parent, key), length

    def _neighbours(self, place: Place, keyed: bool) -> tuple[Id | None, Id | None]:
        random = self.random
        siblings = self._lists.get((place, keyed), [])
        if not siblings or random.random() < 0.2:
            return None, None
        i = random.randrange(len(siblings))
        if keyed or not self.malice:
            return siblings[i], None
        origin = siblings[i] if random.random() < 0.8 else None
        step = random.choice((1, 1, 1, -1, 0, 5))
        right = siblings[max(0, min(len(siblings) - 1, i + step))] if random.random() < 0.6 else None
        return origin, right

    def _before(self, client: int, clock: int) -> tuple[Place | None, bool] | None:
        """Parent of the element before the next one."""
        if self._drafts and self._drafts[-1].client == client:
            return self._drafts[-1].place, self._drafts[-1].keyed
        return self._elements.get((client, clock - 1))

    def _any_id(self, client: int, clock: int) -> Id:
        random = self.random
        roll = random.random()
        if roll < 0.15:
            return (client, max(0, clock + random.randint(-2, 6)))
        if roll < 0.2 or not self._ids:
            return (random.choice(CLIENTS), random.randint(0, 60))
        if roll < 0.22:
            return (random.randint(0, 2**60), random.choice((0, 2**31, 2**32 - 1)))
        return random.choice(self._ids)

    # content

    def _content(self, kind: int, keyed: bool) -> tuple[int, bytes, int]:
        """Choose content, mostly of a valid kind; returns its bytes and its length."""
        random = self.random
        ref = random.choice(_ALL if self._bends(0.7) else _VALUES if keyed else _FITTING[kind])
        if self._bends(0.1):
            return encode.JSON, encode.uint(1) + encode.string("1"), 1
        if self._bends(0.1):
            return encode.DOC, encode.string("guid") + b"\x76\x00", 1
        match ref:
            case encode.STRING:
                text = random.choice(_WORDS if self._bends(0.5) else _WORDS[:-1])
                return ref, encode.string(text), len(text.encode("utf-16-le")) // 2
            case encode.ANY:
                n = 1 if keyed and not self._bends(1) else random.randint(1, 4)
                return ref, encode.uint(n) + b"".join(self._value(0) for _ in range(n)), n
            case encode.DELETED:
                n = random.choice((1, 1, 2, 3, 7))
                return ref, encode.uint(n), n
            case encode.BINARY:
                return ref, encode.string(b"\x00\xff"), 1
            case encode.EMBED:
                return ref, encode.string(self._json()), 1
            case encode.FORMAT:
                return ref, encode.string(random.choice(_FORMATS)) + encode.string(self._json()), 1
            case _:
                nested = random.choice((5, 7, 15, 200)) if self._bends(0.5) else random.choice(_KINDS)
                return TYPE, encode.uint(nested) + (encode.string("p") if nested in (3, 5) else b""), 1

    def _json(self) -> str:
        return self.random.choice(_JSON if self._bends(0.5) else _JSON[:5])

    def _value(self, depth: int) -> bytes:
        random = self.random
        roll = random.randrange(10)
        if roll < 3:
            return b"\x77" + encode.string(random.choice(_WORDS))
        if roll == 3 and depth < 3:
            n = random.randrange(3)
            return b"\x75" + encode.uint(n) + b"".join(self._value(depth + 1) for _ in range(n))
        if roll == 4 and depth < 3:
            return b"\x76\x01" + encode.string("k") + self._value(depth + 1)
        if self._bends(0.1):
            return b"\x75\x01" * random.choice((60, 70, 3000)) + b"\x7e"
        return random.choice(_PLAIN)

    # deletions, bytes

    def _deletion(self, clocks: dict[int, int]) -> tuple[int, int, int]:
        random = self.random
        client = random.choice(list(clocks)) if clocks else 1
        end = clocks.get(client, 0)
        if not end or self._bends(0.5):
            return (client, random.randint(0, 5), random.choice((0, 1, 2, 2**31)))
        clock = random.randrange(end)
        return (client, clock, min(end - clock, random.choice((1, 1, 2, 3, 10))) + self._bends(0.5))

    def _mutate(self, update: bytes) -> bytes:
        random = self.random
        data = bytearray(update)
        for _ in range(random.choice((1, 1, 2, 4))):
            at = random.randrange(len(data) + 1)
            match random.randrange(5):
                case 0 if at < len(data):
                    data[at] ^= 1 << random.randrange(8)
                case 1:
                    del data[at : at + random.randint(1, 3)]
                case 2:
                    data[at:at] = random.randbytes(random.randint(1, 3))
                case 3:
                    data[at : at + 1] = encode.uint(random.choice((0, 127, 2**31 - 1, 2**32, 2**53, 2**64)))
                case _:
                    del data[at:]
        return bytes(data)
