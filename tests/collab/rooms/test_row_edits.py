"""Edits of users whose rights depend on rows: no forbidden edit is applied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, TypeAlias

import anyio
import pycrdt
import pytest
from pycrdt import Array, Doc, Map, Text

from collab import Access, Collab, Hooks, Identity, RoomKey
from collab.access.rules import parse_rules
from collab.errors import CollabError, InvalidRequest, PermissionDenied, RateLimitExceeded, Unavailable
from collab.records.declaration import CollectionDeclaration, Mapped
from collab.rooms.live.framing import YjsFraming
from collab.rooms.live.room import Room
from collab.rooms.live.session import Session
from collab.rooms.row_edits import MOST_WAITING, Guard, RowEdits
from collab.sandbox.client import Child, SandboxError
from collab.wire import yjs
from tests.collab.records.operations import Operations
from tests.collab.records.test_records import caller, listen, running

Change: TypeAlias = Callable[[Doc[Any]], object]

RULES = {"tasks/*": {"access": "write", "where": {"owner": "$userId", "approved": False}}}
ADMIN = caller("admin")


def who(rules: Mapping[str, Any] = RULES, user: str = "alice") -> Identity:
    return Identity("default", user, rules=parse_rules(rules, user))


def is_asked_about(session: Session) -> bool:
    """Whether an edit of a session waits for an answer."""
    return isinstance(session.guard, Guard) and session.guard.busy


class Editor:
    """A y-websocket session, with a replica of the document."""

    def __init__(self, collab: Collab, room: Room, identity: Identity) -> None:
        self.errors: list[CollabError] = []
        self.room = room
        self.doc: Doc[Any] = Doc()
        self.doc.apply_update(room.diff())
        self.session = Session(
            identity,
            Access.WRITE,
            YjsFraming(),
            ready=lambda: None,
            close=self.errors.append,
            outbox_bytes=1 << 20,
        )
        collab._registry.edits.watch(self.session, room)
        room.join(self.session)

    def edit(self, change: Change, *, step: int = 2) -> None:
        before = self.doc.get_state()
        with self.doc.transaction():
            change(self.doc)
        update = self.doc.get_update(before)
        self.say(yjs.Update(update) if step == 0 else yjs.SyncStep2(update))

    def say(self, message: yjs.Message) -> None:
        self.room.receive(self.session, message, monotonic())

    async def settled(self) -> None:
        with anyio.fail_after(40):
            while is_asked_about(self.session):
                await asyncio.sleep(0.005)


async def editor(collab: Collab, name: str = "tasks/t1", identity: Identity | None = None) -> Editor:
    key = RoomKey("default", *name.split("/"))
    return Editor(collab, await collab._registry.open(key), identity or who())


def fields(doc: Doc[Any]) -> Any:
    return doc.get("fields", type=Map)


def put(**values: Any) -> Change:
    return lambda doc: fields(doc).update(values)


def drop(name: str) -> Change:
    return lambda doc: fields(doc).pop(name)


def both(*changes: Change) -> Change:
    return lambda doc: [change(doc) for change in changes]


def type_text(doc: Doc[Any]) -> None:
    text = doc.get("body", type=Text)
    text += "x"


def clear_text(doc: Doc[Any]) -> None:
    doc.get("body", type=Text).clear()


FORBIDDEN: dict[str, Change] = {
    "approves it": put(approved=True),
    "gives it away": put(owner="bob"),
    "takes its owner off": drop("owner"),
    "all at once": both(put(owner="bob", approved=True, n=9), type_text),
    "there and back": both(put(owner="alice"), put(owner="bob")),
    "as a shared type": lambda doc: fields(doc).update({"owner": Map({"a": 1})}),
}


@pytest.mark.parametrize("step", [0, 2], ids=["live", "handshake"])
@pytest.mark.parametrize("name", FORBIDDEN)
async def test_e11_an_edit_that_moves_a_row_out_of_its_authors_rights_is_refused(name: str, step: int) -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(
            ADMIN, "tasks", {"owner": "alice", "approved": False, "n": 1}, entity="t1"
        )
        alice = await editor(collab)
        watcher = await editor(collab, identity=who({"*/*": "write"}, "watcher"))
        watcher.session.synced = True
        events, logged = listen(collab), alice.room.log.rows
        alice.edit(FORBIDDEN[name], step=step)
        await alice.settled()
        assert [type(error) for error in alice.errors] == [PermissionDenied]
        assert (await collab.room("tasks/t1").json())["fields"] == {"owner": "alice", "approved": False, "n": 1}
        assert not events
        assert alice.room.log.rows == logged
        assert not alice.room.drain(watcher.session)
        with pytest.raises(PermissionDenied):
            await collab.room("tasks/t1").apply(alice.doc.get_update(), "alice", identity=who())
        assert not events


ALLOWED: dict[str, Change] = {
    "another field": put(n=2),
    "the same value": put(owner="alice", approved=False),
    "there and back": both(put(owner="bob"), put(owner="alice")),
    "a field is removed": drop("n"),
    "text": type_text,
    "a field and text": both(put(n=3), type_text),
    "a list in a field": lambda doc: fields(doc).update({"tags": Array(["a"])}),
}


@pytest.mark.parametrize("step", [0, 2], ids=["live", "handshake"])
@pytest.mark.parametrize("name", ALLOWED)
async def test_an_edit_is_applied_if_the_row_may_be_written_before_and_after(name: str, step: int) -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(
            ADMIN, "tasks", {"owner": "alice", "approved": False, "n": 1}, entity="t1"
        )
        alice = await editor(collab)
        alice.edit(ALLOWED[name], step=step)
        await alice.settled()
        assert not alice.errors
        assert alice.room.diff() == alice.doc.get_update()
        await collab.room("tasks/t1").apply(alice.doc.get_update(), "alice", identity=who())


async def test_e5_later_messages_of_a_session_wait_and_keep_their_order() -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice, other = await editor(collab), await editor(collab, identity=who({"*/*": "write"}, "other"))
        for n in range(5):
            alice.edit(put(n=n), step=0)
            alice.edit(type_text, step=0)
            other.edit(lambda doc: fields(doc).update({"of": "other"}), step=0)
        assert "n" not in (await collab.room("tasks/t1").json())["fields"] or not alice.session.guard
        await alice.settled()
        assert not alice.errors + other.errors
        document = await collab.room("tasks/t1").json()
        assert document["fields"] == {"owner": "alice", "approved": False, "n": 4, "of": "other"}
        assert document["body"] == "xxxxx"


async def test_after_a_refusal_nothing_of_the_session_is_applied() -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice = await editor(collab)
        alice.edit(put(owner="bob"), step=0)
        alice.edit(put(secret=1), step=0)
        alice.edit(type_text, step=0)
        await alice.settled()
        assert [type(error) for error in alice.errors] == [PermissionDenied]
        assert await collab.room("tasks/t1").json() == {"fields": {"owner": "alice", "approved": False}}


async def test_messages_received_before_the_socket_was_lost_are_applied() -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice = await editor(collab)
        alice.edit(put(n=1), step=0)
        alice.edit(type_text, step=0)
        alice.room.leave(alice.session, monotonic())
        await alice.settled()
        document = await collab.room("tasks/t1").json()
        assert (document["fields"]["n"], document["body"]) == (1, "x")
        assert not alice.room.holds


async def test_too_much_that_waits_ends_the_session() -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice = await editor(collab)
        with pytest.raises(RateLimitExceeded):
            for n in range(MOST_WAITING + 1):
                alice.edit(put(n=n), step=0)


async def test_a_user_with_equal_rights_on_every_row_is_not_checked() -> None:
    async with running() as collab:
        ann = await editor(collab, identity=who({"tasks/*": "write"}, "ann"))
        assert ann.session.guard is None
        collab._registry.edits.watch(ann.session, ann.room)
        ann.session.identity = who()
        collab._registry.edits.watch(ann.session, ann.room)
        assert ann.session.guard is not None
        assert not ann.session.guard.busy
        ann.session.identity = who({"tasks/*": "write"})
        collab._registry.edits.watch(ann.session, ann.room)
        assert ann.session.guard is None


class Asked(Hooks):
    """Answers slowly; only admin writes locked rows."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked = 0

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        if identity.user_id == "admin":
            return Access.WRITE
        self.asked += 1
        await self.go_on.wait()
        return Access.READ if data is not None and data.get("locked") else Access.WRITE


async def test_a_row_that_changes_meanwhile_is_checked_again() -> None:
    hooks = Asked()
    async with running(hooks=hooks) as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ADMIN, "tasks", {"n": 0}, entity="t1")
        alice = await editor(collab)
        alice.edit(put(n=1), step=0)
        while not hooks.asked:
            await asyncio.sleep(0.005)
        await tasks.update(ADMIN, "tasks", "t1", {"locked": True})
        hooks.go_on.set()
        await alice.settled()
        assert [type(error) for error in alice.errors] == [PermissionDenied]
        assert (await collab.room("tasks/t1").json())["fields"] == {"n": 0, "locked": True}


# entities that live inside documents

CARDS = {"cards": CollectionDeclaration(mapped=Mapped(collection="boards", root="cards"))}
BY_CARD = {
    "boards/*": "write",
    "cards/*": {"access": "write", "where": {"locked": False}},
    "cards/b:*": "read",
}


def card(name: str, **values: Any) -> Change:
    def change(doc: Doc[Any]) -> None:
        cards = doc.get("cards", type=Map)
        if name in cards and isinstance(cards[name], pycrdt.Map):
            cards[name].update(values)
        else:
            cards[name] = Map(values)

    return change


def remove(name: str) -> Change:
    return lambda doc: doc.get("cards", type=Map).pop(name)


CARD_EDITS: dict[str, tuple[Change, bool]] = {
    "an open card": (card("open", n=2), True),
    "a new open card": (card("new", locked=False), True),
    "an open card is removed": (remove("open"), True),
    "the board's own field": (put(title="x"), True),
    "text on the board": (type_text, True),
    "a locked card": (card("shut", n=2), False),
    "a locked card is opened": (card("shut", locked=False), False),
    "a card is locked": (card("open", locked=True), False),
    "a new locked card": (card("new", locked=True), False),
    "a locked card is removed": (remove("shut"), False),
    "a locked card is replaced": (
        lambda doc: doc.get("cards", type=Map).update({"shut": Map({"locked": False})}),
        False,
    ),
    "a locked card is no card any more": (lambda doc: doc.get("cards", type=Map).update({"shut": 1}), False),
    "both": (both(card("open", n=2), card("shut", n=2)), False),
}


@pytest.mark.parametrize("name", CARD_EDITS)
async def test_e11_entities_inside_a_document_are_written_under_their_own_rules(name: str) -> None:
    change, allowed = CARD_EDITS[name]
    async with running(collections=CARDS) as collab:
        for key, locked in ("open", False), ("shut", True):
            await Operations(collab.hub.records).create(ADMIN, "cards", {"locked": locked, "n": 1}, entity=f"b:{key}")
        before = await collab.room("boards/b").json()
        alice = await editor(collab, "boards/b", who(BY_CARD))
        alice.edit(change, step=0)
        await alice.settled()
        assert [type(error) for error in alice.errors] == ([] if allowed else [PermissionDenied])
        assert (await collab.room("boards/b").json() == before) is not allowed


OPENING = [
    ({"boards/*": "write", "cards/*": "none"}, Access.NONE),
    ({"boards/*": "write"}, Access.NONE),
    ({"boards/*": "none", "cards/*": "write"}, Access.NONE),
    ({"boards/*": "write", "cards/*": "read"}, Access.WRITE),
    ({"boards/*": "read", "cards/*": "write"}, Access.READ),
    ({"boards/*": "write", "cards/b:*": "write"}, Access.WRITE),
    ({"boards/*": "write", "cards/c:*": "write"}, Access.NONE),
    ({"boards/*": "write", "cards/b:secret": "none", "cards/*": "write"}, Access.NONE),
    ({"boards/*": "write", "cards/c:secret": "none", "cards/*": "write"}, Access.WRITE),
    ({"boards/*": "write", "cards/*secret": "none", "cards/*": "write"}, Access.NONE),
    ({"boards/*": "write", "cards/*": {"access": "write", "where": {"n": 1}}}, Access.NONE),
    (BY_CARD, Access.WRITE),
]


@pytest.mark.parametrize(("rules", "access"), OPENING)
async def test_e12_opening_a_document_requires_reading_every_entity_that_could_be_inside(
    rules: Mapping[str, Any], access: Access
) -> None:
    async with running(collections=CARDS) as collab:
        try:
            found = (await collab.admission.admit_identity(who(rules), "boards/b")).access
        except PermissionDenied:
            found = Access.NONE
        assert found == access


async def test_a_card_is_not_created_in_a_board_that_its_writer_may_not_write() -> None:
    async with running(collections=CARDS) as collab:
        tasks = Operations(collab.hub.records)
        rules = parse_rules({"cards/*": "write", "boards/*": "read"})
        with pytest.raises(PermissionDenied):
            await tasks.create(caller("eve", rules), "cards", {"n": 1}, entity="b:c1")
        assert not (await tasks.find_many(ADMIN, "cards", {})).rows
        await tasks.create(ADMIN, "cards", {"n": 1}, entity="b:c1")
        await tasks.create(caller("eve", rules), "cards", {"n": 1}, entity="b:c2")


class ByCard(Hooks):
    """Only admin reads secret rows."""

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        secret = data is not None and data.get("secret") and identity.user_id != "admin"
        return Access.NONE if secret else Access.WRITE


async def test_an_application_is_asked_about_each_entity_inside_a_document() -> None:
    async with running(hooks=ByCard(), collections=CARDS) as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ADMIN, "cards", {"n": 1}, entity="b:c1")
        alice = await editor(collab, "boards/b")
        assert (await collab.admission.admit_identity(who(), "boards/b")).access == Access.WRITE
        await tasks.update(ADMIN, "cards", "b:c1", {"secret": True})
        with anyio.fail_after(40):
            while not alice.errors:
                await asyncio.sleep(0.005)
        assert isinstance(alice.errors[0], PermissionDenied)
        with pytest.raises(PermissionDenied):
            await collab.admission.admit_identity(who(), "boards/b")


# large edits

MANY = {f"f{number}": number for number in range(3000)}


async def taken_in(one: Editor) -> None:
    with anyio.fail_after(30):
        while one.session.waiting is not None or is_asked_about(one.session):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("way", ["session", "python"])
@pytest.mark.parametrize("name", FORBIDDEN)
async def test_nothing_of_a_forbidden_large_edit_is_applied(name: str, way: str) -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(
            ADMIN, "tasks", {"owner": "alice", "approved": False, "n": 1}, entity="t1"
        )
        alice = await editor(collab)
        events, logged = listen(collab), alice.room.log.rows
        change = both(put(**MANY), FORBIDDEN[name], type_text)
        if way == "session":
            alice.edit(change)
            assert alice.session.waiting is not None
            await taken_in(alice)
            assert [type(error) for error in alice.errors] == [PermissionDenied]
        else:
            with alice.doc.transaction():
                change(alice.doc)
            with pytest.raises(PermissionDenied):
                await collab.room("tasks/t1").apply(alice.doc.get_update(), "alice", identity=who())
        assert (await collab.room("tasks/t1").json())["fields"] == {"owner": "alice", "approved": False, "n": 1}
        assert alice.room.log.rows == logged
        assert not events


@pytest.mark.parametrize("way", ["session", "python"])
async def test_an_allowed_large_edit_is_applied_and_checked_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice = await editor(collab)
        asked = 0
        require = RowEdits.require

        async def counted(self: RowEdits, *args: Any) -> None:
            nonlocal asked
            asked += 1
            await require(self, *args)

        monkeypatch.setattr(RowEdits, "require", counted)
        change = both(put(n=2), put(**MANY), type_text)
        if way == "session":
            alice.edit(change)
            await taken_in(alice)
        else:
            with alice.doc.transaction():
                change(alice.doc)
            await collab.room("tasks/t1").apply(alice.doc.get_update(), "alice", identity=who())
        assert not alice.errors
        assert asked == 1
        held = await collab.room("tasks/t1").json()
        assert held["fields"] == {"owner": "alice", "approved": False, "n": 2, **MANY}
        assert held["body"] == "x"


async def test_a_large_edit_stops_once_its_author_may_no_longer_write_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice = await editor(collab)
        taken = Room.take_in
        pieces = 0

        def approve() -> None:
            doc: Doc[Any] = Doc()
            doc.apply_update(alice.room.diff())
            before = doc.get_state()
            fields(doc)["approved"] = True
            alice.room.edit(doc.get_update(before), "admin", monotonic(), lambda: None)

        def approve_after_the_first(room: Room, *args: Any, **how: Any) -> None:
            nonlocal pieces
            pieces += 1
            taken(room, *args, **how)
            if pieces == 1:
                asyncio.get_running_loop().call_soon(approve)

        monkeypatch.setattr(Room, "take_in", approve_after_the_first)
        alice.edit(put(**MANY))
        await taken_in(alice)
        assert {type(error) for error in alice.errors} == {PermissionDenied}
        held = (await collab.room("tasks/t1").json())["fields"]
        assert pieces == 1
        assert held["approved"] is True
        assert len(held) < len(MANY)


async def test_edits_after_a_large_edit_are_checked_against_its_result() -> None:
    rules = {"tasks/*": {"access": "write", "where": {"NOT": {"a": 1, "b": 1}}}}
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"a": 0, "b": 0}, entity="t1")
        alice = await editor(collab, identity=who(rules))
        alice.edit(both(put(**MANY), put(a=1)))
        alice.edit(put(b=1))
        alice.edit(put(c=1))
        await taken_in(alice)
        assert [type(error) for error in alice.errors] == [PermissionDenied]
        held = (await collab.room("tasks/t1").json())["fields"]
        assert (held["a"], held["b"], held["f2999"]) == (1, 0, 2999)


class Restless(Hooks):
    """Whenever it is asked about somebody else, an administrator changes the row."""

    def __init__(self) -> None:
        self.room: Room | None = None
        self.n = 0

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        if self.room is not None and identity.user_id != "admin":
            doc: Doc[Any] = Doc()
            doc.apply_update(self.room.diff())
            before = doc.get_state()
            self.n += 1
            fields(doc)["changed"] = self.n
            self.room.edit(doc.get_update(before), "admin", monotonic(), lambda: None)
        return Access.WRITE


@pytest.mark.parametrize("size", ["small", "large"])
async def test_rows_that_change_faster_than_they_are_checked_refuse_the_edit_for_now(size: str) -> None:
    hooks = Restless()
    async with running(hooks=hooks) as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"n": 0}, entity="t1")
        alice = await editor(collab)
        hooks.room = alice.room
        alice.edit(put(n=1) if size == "small" else put(**MANY))
        with anyio.fail_after(40):
            while not alice.errors:
                await asyncio.sleep(0.005)
        hooks.room = None
        assert [type(error) for error in alice.errors] == [Unavailable]
        assert (await collab.room("tasks/t1").json())["fields"] == {"n": 0, "changed": hooks.n}


async def test_an_edit_whose_effect_cannot_be_computed_is_refused_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Child):
        async def read(self, *args: Any, **options: Any) -> Any:
            raise SandboxError("the child has ended")

    monkeypatch.setattr("collab.sandbox.client.Child", Failing)
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice = await editor(collab)
        alice.edit(put(n=1))
        await alice.settled()
        assert [type(error) for error in alice.errors] == [Unavailable]
        assert fields(alice.room.doc).to_py() == {"owner": "alice", "approved": False}


async def test_a_malformed_edit_is_refused_by_the_room_without_a_check() -> None:
    async with running() as collab:
        alice = await editor(collab)
        with pytest.raises(InvalidRequest):
            alice.say(yjs.Update(b"\xff"))
        assert not is_asked_about(alice.session)


async def test_edits_of_a_user_who_only_reads_by_now_are_not_checked_but_refused() -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice = await editor(collab)
        alice.session.access = Access.READ
        alice.edit(put(n=1), step=0)
        assert not is_asked_about(alice.session)
        assert (await collab.room("tasks/t1").json())["fields"] == {"owner": "alice", "approved": False}


async def test_messages_behind_a_large_edit_that_waited_for_a_check_keep_their_order() -> None:
    async with running() as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"owner": "alice", "approved": False}, entity="t1")
        alice = await editor(collab)
        alice.edit(put(n=1), step=0)
        assert is_asked_about(alice.session)
        alice.edit(put(**MANY), step=0)
        alice.edit(put(n=2), step=0)
        await alice.settled()
        await taken_in(alice)
        await alice.settled()
        assert not alice.errors
        expected = {"owner": "alice", "approved": False, **MANY, "n": 2}
        assert (await collab.room("tasks/t1").json())["fields"] == expected


@pytest.mark.parametrize("rebuilt", [False, True])
async def test_a_message_whose_room_breaks_while_it_is_checked_reaches_the_next_room(rebuilt: bool) -> None:
    hooks = Asked()
    async with running(hooks=hooks) as collab:
        await Operations(collab.hub.records).create(ADMIN, "tasks", {"n": 0}, entity="t1")
        alice = await editor(collab)
        alice.edit(put(n=1), step=0)
        while not hooks.asked:
            await asyncio.sleep(0.005)
        alice.room.broken = True
        if not rebuilt:
            hooks.go_on.set()
            await alice.settled()
        collab._registry.broken(alice.room, RuntimeError("a fault"), None)
        with anyio.fail_after(40):
            while alice.room.successor is None:
                await asyncio.sleep(0.005)
            hooks.go_on.set()
            while (await collab.room("tasks/t1").json())["fields"] != {"n": 1}:
                await asyncio.sleep(0.005)
        assert not alice.errors
