"""Writes to entity fields, compared with real documents and with vector clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, merge_updates

from collab.errors import InvalidRequest
from collab.gate.edit import encode_child, encode_fields
from collab.gate.fields import NESTED, Fields, Write
from collab.gate.gate import Gap, Gate
from collab.json_values import plain
from tests.fuzz.encode import ANY, BINARY, DELETED, STRING, TYPE, block, frame, item, uint

CLIENTS = (3_000_000_000, 7, 2**53 - 1, 70_000)
A, B, C = 5, 6, 7


def gate(*updates: bytes, mapped: tuple[str, ...] = ("tasks",)) -> Gate:
    made = Gate(mapped)
    for update in updates:
        made.commit(made.check(update))
    return made


def take(gate: Gate, update: bytes, *, live: bool = False) -> list[Write]:
    return list(gate.commit(gate.check(update), live=live))


def value(content: bytes, **where: Any) -> bytes:
    return item(ANY, b"\x01" + content, **where)


def number(n: int, **where: Any) -> bytes:
    return value(b"\x7d" + bytes([n]), **where)


class Replica:
    """A document that remembers the update of its last edit."""

    def __init__(self, client: int) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.fields: Map[Any] = self.doc.get("fields", type=Map)
        self.tasks: Map[Any] = self.doc.get("tasks", type=Map)
        self.text: Text = self.doc.get("t", type=Text)
        self.saw = [0] * len(CLIENTS)
        self.made: list[bytes] = []
        self._subscription = self.doc.observe(lambda event: self.made.append(event.update))

    def edited(self) -> bytes:
        """The updates since the last call as one."""
        made, self.made = self.made, []
        return made[0] if len(made) == 1 else merge_updates(*made)

    def apply(self, update: bytes) -> None:
        self.doc.apply_update(update)
        self.made.clear()


# concurrency


class Op(NamedTuple):
    client: int
    number: int
    saw: tuple[int, ...]  # how many operations of each client
    update: bytes
    key: str
    value: str | None  # None: a deletion
    over: str | None  # the value that its author replaced or deleted


@dataclass
class Known:
    """The vector clocks of one field at the server."""

    head: Op | None = None
    deletions: list[Op] = field(default_factory=list)  # of the head

    def was_seen_by(self, op: Op) -> bool:
        head = self.head
        if head is None:
            return True
        if op.saw[head.client] <= head.number:
            return False
        return not self.deletions or any(op.saw[old.client] > old.number for old in self.deletions)


STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 99)), min_size=1, max_size=80)


class Network:
    """Clients that edit, and exchange updates with each other and with a server in any causal order."""

    def __init__(self) -> None:
        self.clients = [Replica(client) for client in CLIENTS]
        self.server = Replica(1)
        self.ops: list[Op] = []
        self.gate = Gate()
        self.known = {key: Known() for key in "ab"}

    def edit(self, who: int, what: int) -> None:
        me = self.clients[who]
        key, deletes = "ab"[what % 2], what % 5 == 0
        over = me.fields.get(key)
        if deletes and over is None:
            return
        text = None if deletes else f"{who}.{me.saw[who]}"
        if text is None:
            del me.fields[key]
        else:
            me.fields[key] = text
        self.ops.append(Op(who, me.saw[who], tuple(me.saw), me.edited(), key, text, over))
        me.saw[who] += 1

    def deliver(self, to: Replica, which: int) -> None:
        ready = [
            op
            for op in self.ops
            if to.saw[op.client] == op.number and all(a <= b for a, b in zip(op.saw, to.saw, strict=True))
        ]
        if ready:
            op = ready[which % len(ready)]
            to.apply(op.update)
            to.saw[op.client] += 1
            if to is self.server:
                self.receive(op)

    def receive(self, op: Op) -> None:
        writes = take(self.gate, op.update, live=True)
        known = self.known[op.key]
        head = known.head.value if known.head is not None else None
        if op.value is None and op.over == head:
            if known.deletions:
                assert writes == []
            else:
                assert [write[2:7] for write in writes] == [(op.key, "delete", None, True, True)]
            known.deletions.append(op)
        elif op.value is None:
            assert [write[2:7] for write in writes] == [(op.key, "delete", None, False, False)]
        else:
            wins = self.server.fields.get(op.key) == op.value
            expected = Write("fields", None, op.key, "set", op.value, wins, known.was_seen_by(op), CLIENTS[op.client])
            assert writes == [expected]
            if wins:
                self.known[op.key] = Known(op)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_exactly_the_writes_that_are_concurrent_by_vector_clocks_are_reported(
    steps: list[tuple[int, int, int]],
) -> None:
    network = Network()
    for kind, who, what in steps:
        if kind < 4:
            network.edit(who, what)
        elif kind < 6:
            network.deliver(network.clients[who], what)
        else:
            network.deliver(network.server, what)
        if kind == 9 and what < 10:
            network.gate = Gate.from_index(network.gate.index())
    for _ in network.ops:
        network.deliver(network.server, 0)
    assert network.server.saw == [sum(op.client == who for op in network.ops) for who in range(len(CLIENTS))]


# values


@dataclass
class Mirror:
    """Fields and children according to the reported writes alone; nested types are read from ``doc``."""

    server: Replica
    fields: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, Any] = field(default_factory=dict)

    def take(self, writes: list[Write]) -> None:
        for write in writes:
            if not write.head:
                continue
            if write.root == "fields":
                self._put(self.fields, self.server.fields, write.key, write)
            elif write.key is None:
                assert write.child is not None
                self._put(self.tasks, self.server.tasks, write.child, write)
                if write.value is NESTED and isinstance(self.server.tasks.get(write.child), Map):
                    self.tasks[write.child] = {}
            else:
                assert write.child is not None
                self._put(self.tasks[write.child], self.server.tasks[write.child], write.key, write)

    @staticmethod
    def _put(mirror: dict[str, Any], real: Map[Any], key: str | None, write: Write) -> None:
        assert key is not None
        if write.kind == "delete":
            mirror.pop(key, None)
        elif write.value is NESTED:
            found = real[key]
            mirror[key] = plain(str(found) if isinstance(found, Text) else found.to_py())
        else:
            mirror[key] = write.value

    def check(self) -> None:
        assert self.fields == plain(self.server.fields.to_py())
        assert self.tasks == plain(self.server.tasks.to_py())


def _edit(me: Replica, what: int) -> None:
    """One of many edits of fields, children, nested types, and text."""
    key, child = "ab"[what % 2], "xyz"[what % 3]
    target: Map[Any] = me.fields
    if what % 7 < 3 and isinstance(me.tasks.get(child), Map):
        target = me.tasks[child]
    nested = target.get(key)
    match what % 11:
        case 0:
            me.tasks[child] = Map({"a": what, "b": Array([what])})
        case 1:
            me.tasks[child] = Map()
        case 2 if child in me.tasks:
            del me.tasks[child]
        case 3 if key in target:
            del target[key]
        case 4:
            target[key] = Array([what, Map({"n": what})])
        case 5:
            target[key] = Text("t")
        case 6:
            me.text += "x"
        case 7 if isinstance(nested, Array):
            text = Text("in")
            nested.append(text)
            text += "side"
            if len(nested) > 2:
                del nested[0]
        case 8:
            with me.doc.transaction():
                target[key] = "twice"
                target[key] = what
        case 9 if what % 5 == 0:
            me.tasks[child] = what
        case 9 | 10:
            with me.doc.transaction():
                for n, each in enumerate("ab"):
                    target[each] = what + n
        case _:
            kinds = (what, -what, what / 7, 2.0**40, "é😀", None, True, False, [what, {"k": []}], b"\x00\xff", "")
            target[key] = kinds[what // 11 % len(kinds)]


@settings(max_examples=300, deadline=None)
@given(STEPS, st.booleans())
def test_the_reported_writes_make_the_same_fields_as_the_document_has(
    steps: list[tuple[int, int, int]], live: bool
) -> None:
    server, clients, gate = Replica(1), [Replica(client) for client in CLIENTS], Gate(["tasks"])
    mirror = Mirror(server)

    def send(update: bytes) -> None:
        checked = gate.check(update)
        before = str(server.text)
        server.apply(update)
        mirror.take(list(gate.commit(checked, live=live)))
        mirror.check()
        assert checked.content or str(server.text) == before

    for kind, who, what in steps:
        me = clients[who]
        if kind < 6:
            _edit(me, what)
        elif kind < 8:
            send(me.doc.get_update(server.doc.get_state()))
        else:
            me.apply(server.doc.get_update(me.doc.get_state()))
        if kind == 7 and what < 20:
            index = gate.index()
            gate = Gate.from_index(index, ["tasks"])
            assert gate.index() == index
    for me in clients:
        send(me.doc.get_update(server.doc.get_state()))
    anew = Gate(["tasks"])
    mirror = Mirror(server)
    mirror.take(list(anew.commit(anew.check(server.doc.get_update()))))
    mirror.check()
    assert anew.heads("fields") == gate.heads("fields")
    assert anew.heads("tasks") == gate.heads("tasks")
    for child in server.tasks.keys():  # noqa: SIM118
        assert anew.heads("tasks", child) == gate.heads("tasks", child)


class TheLongWay(Fields):
    """An update that does not take the fast path."""

    def _replacements(self, *arguments: Any, **options: Any) -> None:
        return None


@settings(max_examples=500, deadline=None)
@given(STEPS, st.booleans())
def test_the_fast_path_reports_what_the_general_path_reports(steps: list[tuple[int, int, int]], live: bool) -> None:
    server, clients = Replica(1), [Replica(client) for client in CLIENTS]
    short, long = Gate(["tasks"]), Gate(["tasks"])
    long._fields = TheLongWay(["tasks"])
    for kind, who, what in steps:
        me = clients[who]
        if kind < 6:
            _edit(me, what)
            if kind < 3:
                continue  # it is sent along with the next
            update = me.edited() if me.made else me.doc.get_update(server.doc.get_state())
        elif kind < 8:
            update = me.doc.get_update(server.doc.get_state())
        else:
            me.apply(server.doc.get_update(me.doc.get_state()))
            continue
        try:
            checked, again = short.check(update), long.check(update)
        except Gap:
            continue
        server.apply(update)
        assert list(short.commit(checked, live=live)) == list(long.commit(again, live=live))
        assert checked.content == again.content
        assert short.index() == long.index()


@settings(max_examples=150, deadline=None)
@given(STEPS)
@pytest.mark.slow
def test_written_fields_pass_the_gate_and_are_read_back(steps: list[tuple[int, int, int]]) -> None:
    server, clients, gate = Replica(1), [Replica(client) for client in CLIENTS], Gate(["tasks"])
    clock = 0

    def send(update: bytes) -> list[Write]:
        checked = gate.check(update)
        server.apply(update)
        return list(gate.commit(checked))

    for kind, who, what in steps:
        me, child = clients[who], "xyz"[what % 3]
        if kind < 3:
            _edit(me, what)
            continue
        if kind < 5:
            send(me.doc.get_update(server.doc.get_state()))
            me.apply(server.doc.get_update(me.doc.get_state()))
            continue
        changes = {"a": what, "b": [None, {"x": "é😀", "y": -what / 3}], "new": 2**40 + what}
        if kind == 5:
            head = gate.head("tasks", child)
            writes = send(encode_child(99, clock, "tasks", child, changes, head))
            assert server.tasks[child].to_py() == changes
            assert writes[0] == Write("tasks", child, None, "set", NESTED, True, True, 99)
            clock += 4
        elif kind == 6 and child in server.tasks:
            send(encode_fields(99, clock, "tasks", {}, [child, "unknown"], gate.heads("tasks")))
            assert child not in server.tasks
        elif kind < 9:
            before = server.fields.to_py() or {}
            writes = send(encode_fields(99, clock, "fields", changes, ["c"], gate.heads("fields")))
            assert server.fields.to_py() == {**before, **changes}
            assert all(write.head and write.seen for write in writes)
            clock += 3
        elif isinstance(server.tasks.get(child), Map):
            heads = gate.heads("tasks", child)
            send(encode_fields(99, clock, "tasks", {"a": "set"}, ["b"], heads, gate.head("tasks", child)))
            assert server.tasks[child]["a"] == "set"
            assert "b" not in server.tasks[child]
            clock += 1
    for me in clients:
        me.apply(server.doc.get_update(me.doc.get_state()))
        server.apply(me.doc.get_update(server.doc.get_state()))
    for me in clients:
        me.apply(server.doc.get_update(me.doc.get_state()))
        assert me.fields.to_py() == server.fields.to_py()
        assert me.tasks.to_py() == server.tasks.to_py()


# single cases


FIRST = frame([block(A, 0, [number(1, parent="fields", key="k")])])


def test_the_larger_client_id_wins_and_the_loser_is_told_with_its_value() -> None:
    room = gate(FIRST)
    assert take(room, frame([block(C, 0, [number(2, origin=(A, 0))])], [(A, 0, 1)])) == [
        Write("fields", None, "k", "set", 2, True, True, C)
    ]
    assert take(room, frame([block(B, 0, [number(3, origin=(A, 0))])], [(A, 0, 1)])) == [
        Write("fields", None, "k", "set", 3, False, False, B)
    ]
    assert take(room, frame([block(B, 1, [number(4, origin=(C, 0))])], [(C, 0, 1)])) == [
        Write("fields", None, "k", "set", 4, True, True, B)
    ]


def test_a_writer_who_overtakes_half_of_somebody_elses_writes_cuts_them_off() -> None:
    room = gate(FIRST, *(frame([block(A, n, [number(n, origin=(A, n - 1))])]) for n in range(1, 6)))
    assert take(room, frame([block(B, 0, [number(9, origin=(A, 2))])])) == [
        Write("fields", None, "k", "set", 9, True, False, B)
    ]
    assert take(room, frame([block(A, 6, [number(8, origin=(A, 5))])])) == [
        Write("fields", None, "k", "set", 8, False, False, A)
    ]
    assert room.heads("fields") == {"k": (B, 0)}
    assert take(Gate.from_index(room.index()), frame([block(C, 0, [number(7, origin=(A, 6))])]))[0][5:7] == (
        False,
        False,
    )


def test_several_writes_of_one_field_in_one_update_are_one() -> None:
    overwritten = item(DELETED, uint(2), origin=(A, 0))
    update = frame([block(B, 0, [overwritten, number(4, origin=(B, 1))])], [(A, 0, 1), (B, 0, 2)])
    assert take(gate(FIRST), update) == [Write("fields", None, "k", "set", 4, True, True, B)]
    room = gate(FIRST, frame([block(C, 0, [number(2, origin=(A, 0))])]))
    assert take(room, update) == [Write("fields", None, "k", "set", 4, False, False, B)]


@pytest.mark.parametrize("edits", [1, 2, 3])
@pytest.mark.parametrize("behind", [0, 1])
def test_edits_that_are_sent_together_are_one_write_also_if_somebody_else_wrote_meanwhile(
    behind: int, edits: int
) -> None:
    mine, theirs = Replica(B), Replica(A + 2 * behind)
    mine.fields["x"] = 0
    begun = mine.edited()
    theirs.apply(begun)
    server = gate(begun)
    theirs.fields["x"] = 9
    take(server, theirs.edited())
    for n in range(1, edits + 1):
        mine.fields["x"] = n
    (write,) = take(server, mine.edited(), live=True)
    assert (write.value, write.seen, write.head, write.client) == (edits, False, not behind, B)
    mine.fields["x"] = 4
    assert [(write.value, write.head) for write in take(server, mine.edited(), live=True)] == [(4, not behind)]


def test_what_is_set_and_deleted_in_one_update_is_deleted() -> None:
    update = frame([block(B, 0, [item(DELETED, uint(1), origin=(A, 0))])], [(A, 0, 1), (B, 0, 1)])
    assert take(gate(FIRST), update) == [Write("fields", None, "k", "delete", None, True, True, B)]


def test_a_huge_entry_that_is_deleted_costs_nothing() -> None:
    room = gate(frame([block(A, 0, [item(DELETED, uint(2**30), parent="fields", key="k")])], [(A, 0, 2**30)]))
    assert room.heads("fields") == {"k": (A, 2**30 - 1)}
    assert take(room, frame([block(B, 0, [number(1, origin=(A, 5))])]))[0].seen is False
    assert room.heads("fields") == {"k": (B, 0)}


def test_a_repeated_deletion_is_no_news() -> None:
    room = gate(FIRST)
    deletion = frame([], [(A, 0, 1)])
    assert take(room, deletion) == [Write("fields", None, "k", "delete", None, True, True, 0)]
    for live in (True, False):
        assert take(room, deletion, live=live) == []


def test_a_write_over_a_value_that_was_deleted_meanwhile_is_concurrent_if_the_update_is_live() -> None:
    update = frame([block(B, 0, [number(2, origin=(A, 0))])], [(A, 0, 1)])
    for live in (True, False):
        room = gate(FIRST, frame([], [(A, 0, 1)]))
        assert take(room, update, live=live) == [Write("fields", None, "k", "set", 2, True, not live, B)]
    seen = frame([block(B, 0, [number(2, origin=(A, 0))])])
    assert take(gate(FIRST, frame([], [(A, 0, 1)])), seen, live=True)[0].seen


def test_a_copy_of_the_document_tells_nothing_about_old_deletions() -> None:
    doc: Doc[Any] = Doc()
    fields = doc.get("fields", type=Map)
    for n in range(3):
        fields["k"] = n
    room = gate(doc.get_update())
    assert take(room, doc.get_update(), live=True) == []


def test_deleting_a_child_or_a_nested_type_is_one_write() -> None:
    me = Replica(A)
    me.tasks["x"] = Map({"a": 1, "b": Array([1, 2])})
    me.fields["list"] = Array([1, 2])
    room = gate(me.edited())
    with me.doc.transaction():
        del me.tasks["x"]
        del me.fields["list"]
    assert [write[:4] for write in take(room, me.edited())] == [
        ("tasks", "x", None, "delete"),
        ("fields", None, "list", "delete"),
    ]
    assert room.heads("tasks", "x").keys() == {"a", "b"}
    assert room.heads("tasks", "x", ["b", "c"]) == {"b": room.heads("tasks", "x")["b"]}
    assert room.heads("tasks", "unknown") == {}


def test_a_write_into_a_deleted_child_is_concurrent_with_the_deletion() -> None:
    me, other = Replica(A), Replica(B)
    me.tasks["x"] = Map({"a": 1})
    first = me.edited()
    other.apply(first)
    room = gate(first)
    del me.tasks["x"]
    take(room, me.edited())
    other.tasks["x"]["a"] = 2
    assert take(room, other.edited()) == [Write("tasks", "x", "a", "set", 2, False, False, B)]


def test_what_changes_inside_a_field_is_told_at_any_depth() -> None:
    me = Replica(A)
    me.fields["deep"] = Map({"list": Array([Map({"text": Text("a")})])})
    room = gate(me.edited())
    text = me.fields["deep"]["list"][0]["text"]
    text += "b"
    inside = [Write("fields", None, "deep", "inside", NESTED, True, True, A)]
    assert take(room, me.edited()) == inside
    room = Gate.from_index(room.index())
    del text[0]
    assert take(room, me.edited()) == [inside[0]._replace(client=0)]


def test_content_is_everything_outside_of_fields() -> None:
    me = Replica(A)
    room = gate()

    def changes_content() -> bool:
        checked = room.check(me.edited())
        room.commit(checked)
        return checked.content

    me.text += "hello"
    assert changes_content()
    me.fields["a"] = Array([1])
    assert not changes_content()
    me.fields["a"].append(2)
    assert not changes_content()
    me.tasks["x"] = Map({"a": 1})
    assert not changes_content()
    me.text.insert(0, "x")
    assert changes_content()
    del me.text[0]
    assert changes_content()
    del me.text[0:2]
    assert changes_content()
    del me.fields["a"]
    assert not changes_content()
    with me.doc.transaction():
        me.fields["a"] = 1
        me.text += "y"
    assert changes_content()


def test_a_mapped_root_is_content_to_those_who_do_not_map_it() -> None:
    me = Replica(A)
    me.tasks["x"] = Map({"a": 1})
    update = me.edited()
    unmapped = gate(mapped=())
    checked = unmapped.check(update)
    assert unmapped.commit(checked) == ()
    assert checked.content
    with pytest.raises(ValueError, match="other mapped roots"):
        Gate.from_index(unmapped.index(), ["tasks"])
    assert Gate.from_index(unmapped.index()).index() == unmapped.index()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (item(BINARY, b"\x02\x00\xff", parent="fields", key="k"), "AP8="),
        (item(STRING, b"\x01x", parent="fields", key="k"), "x"),
        (item(TYPE, b"\x00", parent="fields", key="k"), NESTED),
        (value(b"\x77\x02hi", parent="fields", key="k"), "hi"),
    ],
)
def test_any_content_that_an_entry_may_have_is_a_value(content: bytes, expected: Any) -> None:
    (write,) = take(gate(), frame([block(A, 0, [content])]))
    assert write.value == expected


def test_list_elements_of_the_fields_root_are_not_fields() -> None:
    room = gate()
    assert take(room, frame([block(A, 0, [number(1, parent="fields"), item(TYPE, b"\x01", parent="fields")])])) == []
    assert take(room, frame([block(A, 2, [number(1, parent=(A, 1), key="k")])])) == []
    assert take(room, frame([], [(A, 0, 1)])) == []


@pytest.mark.parametrize("bad", [{"a": 2**53}, {"a": {"__proto__": 1}}, {"k" * 5000: 1}, {"a": "\ud800"}, {"a": {1}}])
def test_values_that_are_not_json_are_not_written(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        encode_fields(A, 0, "fields", bad, [], {})
    with pytest.raises(InvalidRequest):
        encode_child(A, 0, "tasks", "x", bad)


def test_a_plain_value_in_a_mapped_root_is_replaced_on_the_fast_path() -> None:
    made = gate(frame([block(A, 0, [number(1, parent="tasks", key="x")])]))
    (write,) = take(made, frame([block(B, 0, [number(2, origin=(A, 0))])], [(A, 0, 1)]), live=True)
    assert (write.root, write.child, write.key, write.kind, write.value) == ("tasks", "x", None, "set", 2)


def test_a_writer_that_replaces_its_own_new_value_at_once_writes_the_last() -> None:
    made = gate(frame([block(A, 0, [number(1, parent="fields", key="k")])]))
    twice = frame([block(B, 0, [number(2, origin=(A, 0)), number(3, origin=(B, 0))])], [(A, 0, 1), (B, 0, 1)])
    (write,) = take(made, twice)
    assert (write.key, write.kind, write.value, write.head) == ("k", "set", 3, True)
