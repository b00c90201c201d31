"""Whatever nodes do, in whatever order: a room has one owner, the dead change nothing, and events have no holes."""

import asyncio
from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.names import RoomKey
from collab.storage.base import CommitId
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import Fenced, Opens
from collab.testing.storage_case import entry, fact, updates

KEYS = [RoomKey(project, "documents", name) for project in ("a", "b") for name in ("1", "2")]

nodes = st.integers(0, 3)
rooms = st.sampled_from(KEYS)
steps = st.one_of(
    st.tuples(st.just("open"), nodes, st.sampled_from(["join", "join", "join", "take over"])),
    st.tuples(st.just("close"), nodes, st.none()),
    st.tuples(st.just("beat"), nodes, st.none()),
    st.tuples(st.just("acquire"), nodes, rooms),
    st.tuples(st.just("acquire"), nodes, rooms),
    st.tuples(st.just("release"), nodes, rooms),
    st.tuples(st.just("write"), nodes, rooms),
    st.tuples(st.just("write"), nodes, rooms),
    st.tuples(st.just("repeat"), nodes, st.none()),
    st.tuples(st.just("declare"), nodes, nodes),
)


class Process:
    """What one process believes, which may be wrong: what it owns, and what is in its rooms."""

    def __init__(self, record: MemoryRecord, opens: Opens) -> None:
        self.storage = MemoryStorage(record=record, opens=opens)
        self.rooms: dict[RoomKey, list[bytes]] = {}
        self.commits = 0
        self.last: tuple[Any, ...] = ()


@given(st.lists(steps, max_size=60))
def test_whatever_nodes_do_a_room_has_one_owner_and_nothing_is_lost(history: list[tuple[str, int, Any]]) -> None:
    asyncio.run(follow(history))


async def follow(history: list[tuple[str, int, Any]]) -> None:
    record = MemoryRecord()
    processes: dict[int, Process] = {}
    written: dict[RoomKey, list[bytes]] = defaultdict(list)  # what was answered, in order
    numbers: list[int] = []
    alive: set[int] = set()
    for what, who, argument in history:
        if what == "open" and who not in processes:
            process = processes[who] = Process(record, argument)
            await process.storage.open()
            numbers.append(process.storage.nid)
            alive = {process.storage.nid} | (set() if argument == "take over" else alive)
            continue
        if who not in processes:
            continue
        process = processes[who]
        me = process.storage.nid
        try:
            await act(what, argument, process, processes, written)
        except Fenced:
            assert me not in alive, "who lives is not refused"
            continue
        if what == "close":
            alive.discard(me)
            del processes[who]
        elif what == "declare":
            alive = {node.nid for node in await process.storage.nodes() if not node.dead} & alive
        else:
            assert me in alive, "the dead change nothing"
        owned = [key for one in processes.values() if one.storage.nid in alive for key in one.rooms]
        assert len(owned) == len(set(owned)), "two own one room"
    assert numbers == sorted(set(numbers))
    reader = MemoryStorage(record=record, opens="to read")
    assert {node.nid for node in await reader.nodes() if not node.dead} == alive
    for key in KEYS:
        assert updates(await reader.load(key)) == written[key]
        events = await reader.events(key.project, 0, limit=1000)
        assert [event.position for event in events] == list(range(1, len(events) + 1))
        assert sum(event.id == key.id for event in events) == len(written[key])


async def act(
    what: str, argument: Any, process: Process, processes: dict[int, Process], written: dict[RoomKey, list[bytes]]
) -> None:
    storage = process.storage
    if what == "close":
        await storage.close()
    elif what == "beat":
        await storage.beat()
    elif what == "acquire":
        if await storage.acquire(argument) == storage.nid:
            found = updates(await storage.load(argument))
            assert found == written[argument], "a new owner sees every commit of the last one"
            process.rooms.setdefault(argument, found)
        else:
            assert argument not in process.rooms
    elif what == "release":
        await storage.release([argument])
        process.rooms.pop(argument, None)
    elif what == "declare" and argument in processes:
        other = processes[argument].storage.nid
        beats = next((node.beats for node in await storage.nodes() if node.nid == other), 0)
        await storage.declare_dead(other, beats)
    elif what == "repeat" and process.last:
        batch, facts, commit_id, answer = process.last
        assert await storage.commit(batch, facts, commit_id=commit_id) == answer
    elif what == "write" and argument in process.rooms:
        known = process.rooms[argument]
        process.commits += 1
        update = b"%d/%d" % (storage.nid, process.commits)
        batch, facts = [entry(update, argument)], [fact(len(known) + 1, key=argument, row=0)]
        commit_id = CommitId(f"w{storage.nid}", process.commits)
        answer = await storage.commit(batch, facts, commit_id=commit_id)
        process.last = batch, facts, commit_id, answer
        assert written[argument] == known, "an owner knows all that is in its room"
        known.append(update)
        written[argument].append(update)
    else:
        await storage.beat()  # nothing to do, but it must live
