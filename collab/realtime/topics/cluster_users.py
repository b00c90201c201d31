"""Who is connected to the other nodes of a cluster, told over the bus to the nodes where somebody wants to know.

A node that wants to know asks all of them each second. Those that have users of the project answer each second for as
long as somebody asks: first all users, then differences. Users are told as hashes of 8 bytes. Everything is counted in
ticks of a second, not by a clock: a process that slept takes nobody for gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial
from hashlib import blake2b
from itertools import count
from secrets import token_hex
from typing import Final, NamedTuple

import anyio
import msgspec

from collab.bus.base import Bus, Ending

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
SILENT_TICKS: Final = 5
"""A node that has told nothing for this long is gone."""
ASKED_TICKS: Final = 3
"""A node tells for this long after it was asked last."""
ASK_TOPIC: Final = "users"
_HASH_BYTES = 8


class ConnectedUsers(NamedTuple):
    """Who is connected to one node: verified users by hash, and the number of unverified connections."""

    users: Set[bytes]
    unverified: int


NOBODY: Final = ConnectedUsers(frozenset(), 0)


class UsersAsked(msgspec.Struct, array_like=True, frozen=True):
    """Who is there? ``whole`` names nodes that are to tell all their users; ``None`` means every node."""

    project: str
    whole: Sequence[str] | None


class UsersTold(msgspec.Struct, array_like=True, frozen=True):
    """Who is connected to ``node``: what changed since its message ``before``; all of them if that is 0.

    A node uses no ``number`` twice. If it counted anew after a while with nobody, a message that was lost then could go
    unnoticed.
    """

    node: str
    number: int
    before: int
    unverified: int
    came: Sequence[bytes]
    went: Sequence[bytes] = ()


_encoder = msgspec.msgpack.Encoder()
_ask_decoder = msgspec.msgpack.Decoder(UsersAsked)
_tell_decoder = msgspec.msgpack.Decoder(UsersTold)


def hash_user(user_id: str) -> bytes:
    """The hash of a user in the messages of all nodes."""
    return blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()


class OwnUsers:
    """What one node has told of one project, and what it tells next. ``numbers`` are those of all its messages."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self._told = NOBODY
        self._number = 0  # of the last message; 0: the next one tells all
        self._left = ASKED_TICKS

    def asked(self, *, whole: bool) -> None:
        """Go on for a while; with ``whole``, begin with all users."""
        self._left = ASKED_TICKS
        if whole:
            self._number = 0

    def tick(self) -> bool:
        """A second has passed. Returns whether anybody still asks."""
        self._left -= 1
        return self._left > 0

    def next(self, node: str, now: ConnectedUsers) -> UsersTold | None:
        """The next message; ``None`` if there is nobody, and was nobody before."""
        if now == self._told == NOBODY:
            self._number = 0
            return None
        users = frozenset(now.users)
        before, self._number = self._number, next(self._numbers)
        known = self._told.users if before else frozenset()
        self._told = ConnectedUsers(users, now.unverified)
        return UsersTold(node, self._number, before, now.unverified, [*(users - known)], [*(known - users)])


class _Node:
    def __init__(self) -> None:
        self.number = 0
        self.users: set[bytes] = set()
        self.unverified = 0
        self.silent = 0


class OtherUsers:
    """What the other nodes have told of one project."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self.incomplete: set[str] = set()
        """Nodes of which a message is missing: they are to tell all their users."""

    def hear(self, tell: UsersTold) -> bool:
        """Take a message. Returns whether the count may have changed."""
        node = self._nodes.get(tell.node)
        if not tell.before:
            node = self._nodes[tell.node] = _Node()
        elif node is None or tell.before != node.number:
            self.incomplete.add(tell.node)
            self._nodes.setdefault(tell.node, _Node()).silent = 0
            return False
        self.incomplete.discard(tell.node)
        changed = not tell.before or bool(tell.came) or bool(tell.went) or tell.unverified != node.unverified
        node.number, node.unverified, node.silent = tell.number, tell.unverified, 0
        node.users.difference_update(tell.went)
        node.users.update(tell.came)
        if not node.users and not node.unverified:
            del self._nodes[tell.node]
        return changed

    def tick(self) -> bool:
        """A second has passed. Returns whether a node is gone."""
        gone = []
        for name, node in self._nodes.items():
            node.silent += 1
            if node.silent > SILENT_TICKS:
                gone.append(name)
        for name in gone:
            del self._nodes[name]
            self.incomplete.discard(name)
        return bool(gone)

    def count(self, mine: ConnectedUsers) -> int:
        """The number of users and unverified connections, with those of this node."""
        users: set[bytes] = set(mine.users).union(*(node.users for node in self._nodes.values()))
        return len(users) + mine.unverified + sum(node.unverified for node in self._nodes.values())


class ClusterUsers:
    """The users of the other nodes, for projects that are watched here; :meth:`run` must be running.

    ``mine`` returns who is connected to this node, ``changed`` is called with a project whose other users changed.
    """

    def __init__(
        self,
        bus: Bus,
        mine: Callable[[str], ConnectedUsers],
        changed: Callable[[str], None],
        *,
        node: str | None = None,
        seconds: float = TICK_SECONDS,
    ) -> None:
        self._bus = bus
        self._mine = mine
        self._changed = changed
        self._node = token_hex(8) if node is None else node
        self._seconds = seconds
        self._watched: dict[str, OtherUsers] = {}
        self._ends: dict[str, Ending] = {}  # by project: of what is heard
        self._telling: dict[str, OwnUsers] = {}
        self._numbers = count(1)
        self._new = asyncio.Event()

    def watch(self, project: str) -> None:
        """Begin to ask who is connected elsewhere."""
        self._watched[project] = OtherUsers()
        if project in self._ends:  # it was watched until a moment ago
            self._ask(project, None)
        self._new.set()

    def unwatch(self, project: str) -> None:
        """Ask no longer."""
        del self._watched[project]
        self._new.set()

    def count(self, project: str) -> int:
        """The number of users in the cluster, as far as it is known; of this node alone if nobody watches."""
        return self._watched.get(project, OtherUsers()).count(self._mine(project))

    async def run(self) -> None:
        """Ask and answer until cancelled."""
        ends = [self._bus.watch(self._bus_changed), await self._bus.subscribe(ASK_TOPIC, self._asked)]
        try:
            while True:
                await self._follow_watched()
                with anyio.move_on_after(self._seconds):
                    while True:
                        await self._new.wait()
                        self._new.clear()
                        await self._follow_watched()
                if not self._bus.lost:  # otherwise nobody can tell anything: who was there last is the best guess
                    self._tick()
        finally:
            for end in [*ends, *self._ends.values()]:
                end()
            self._ends.clear()

    async def _follow_watched(self) -> None:
        """Hear what is watched and nothing else, and ask at once about what is new."""
        for project in self._ends.keys() - self._watched.keys():
            self._ends.pop(project)()
        for project in self._watched.keys() - self._ends.keys():
            self._ends[project] = await self._bus.subscribe(_topic(project), partial(self._heard, project))
            self._ask(project, None)

    def _tick(self) -> None:
        for project, told in self._watched.items():
            if told.tick():
                self._changed(project)
            self._ask(project, sorted(told.incomplete))
        for project, telling in list(self._telling.items()):
            if telling.tick():
                self._tell(project, telling)
            else:
                del self._telling[project]

    def _bus_changed(self, lost: bool) -> None:
        if not lost:
            for project in self._watched:
                self._ask(project, None)

    def _ask(self, project: str, whole: Sequence[str] | None) -> None:
        self._bus.publish(ASK_TOPIC, _encoder.encode(UsersAsked(project, whole)))

    def _tell(self, project: str, telling: OwnUsers) -> None:
        tell = telling.next(self._node, self._mine(project))
        if tell is not None:
            self._bus.publish(_topic(project), _encoder.encode(tell))

    def _asked(self, message: bytes) -> None:
        try:
            ask = _ask_decoder.decode(message)
        except msgspec.MsgspecError:
            log.warning("a question on the bus makes no sense")
            return
        telling = self._telling.get(ask.project)
        whole = ask.whole is None or self._node in ask.whole
        if telling is None:
            if self._mine(ask.project) == NOBODY:
                return
            telling = self._telling[ask.project] = OwnUsers(self._numbers)
            whole = True
        telling.asked(whole=whole)
        if whole:
            self._tell(ask.project, telling)

    def _heard(self, project: str, message: bytes) -> None:
        try:
            tell = _tell_decoder.decode(message)
        except msgspec.MsgspecError:
            log.warning("an answer on the bus makes no sense")
            return
        told = self._watched.get(project)
        if told is not None and tell.node != self._node and told.hear(tell):
            self._changed(project)


def _topic(project: str) -> str:
    return f"users/{project}"
