"""Stock Yjs editors and applications see the same facts about the same fields."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.e2e.application import application, fields, follow, until_found
from tests.e2e.node import KINDS, Client, Kind, Node
from tests.e2e.server import Server

kinds = pytest.mark.parametrize("kind", KINDS)


def parts(room: str) -> tuple[str, str]:
    collection, _, name = room.partition("/")
    return collection, name


async def editor(node: Node, server: Server, room: str, name: str = "editor", kind: Kind = "hocuspocus-4") -> Client:
    client = await node.client(name, kind, server, room)
    await client.wait(synced=True)
    return client


@kinds
async def test_what_an_editor_does_to_fields_an_application_is_told_as_events(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    collection, name = parts(room)
    async with application(shared_server) as app:
        told = await follow(app, collection, name)
        writer = await editor(node, shared_server, room, kind=kind)
        await writer.change(("set", ["fields", "title"], "draft"), ("set", ["fields", "done"], False))
        (created,) = await told.count(1)
        assert (created.type, created.version) == ("created", 1)
        assert fields(created.data) == {"title": "draft", "done": False}
        assert created.changes == {"title": {"to": "draft"}, "done": {"to": False}}

        await writer.set("title", "final")
        updated = (await told.count(2))[1]
        assert updated.changes == {"title": {"from": "draft", "to": "final"}}
        assert fields(updated.data) == {"title": "final", "done": False}
        assert updated.conflicts == ()

        await writer.change(("delete", ["fields", "done"]))
        removed = (await told.count(3))[2]
        assert removed.changes == {"done": {"from": False}}
        assert fields(removed.data) == {"title": "final"}

        await writer.undo()
        back = (await told.count(4))[3]
        assert back.changes == {"done": {"to": False}}
        await writer.undo()
        assert (await told.count(5))[4].changes == {"title": {"from": "final", "to": "draft"}}
        await writer.redo()
        assert (await told.count(6))[5].changes == {"title": {"from": "draft", "to": "final"}}

        found = await app.collection(collection).find_by_id(name)
        assert fields(found) == await writer.values() == {"title": "final", "done": False}
        assert found.version == 6
        assert [event.version for event in told.events] == [1, 2, 3, 4, 5, 6]
        assert all(event.conflicts == () for event in told.events), "one writer alone has no conflicts"


@kinds
async def test_what_an_application_writes_an_editor_sees(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    collection, name = parts(room)
    async with application(shared_server) as app:
        tasks = app.collection(collection)
        await tasks.create({"title": "mine", "nested": {"list": [1, {"a": None}]}, "n": 2**40}, id=name)
        reader = await editor(node, shared_server, room, kind=kind)
        await reader.holds({"title": "mine", "nested": {"list": [1, {"a": None}]}, "n": 2**40})
        await tasks.update(name, {"title": "yours", "more": -1.5}, unset=["n"])
        await reader.holds({"title": "yours", "nested": {"list": [1, {"a": None}]}, "more": -1.5})
        await reader.change(("set", ["fields", "title"], "theirs"))
        await until_found(lambda: tasks.find_by_id(name), lambda found: found["title"] == "theirs")
        await tasks.update(name, {"title": "ours"})
        await reader.holds({"title": "ours", "nested": {"list": [1, {"a": None}]}, "more": -1.5})
        history = await tasks.history(name)
        assert [event.version for event in history] == [4, 3, 2, 1]
        assert all(event.conflicts == () for event in history), "each had seen the other's writes"


async def test_j4_shared_types_inside_fields_are_values_of_these_fields(
    node: Node, shared_server: Server, room: str
) -> None:
    collection, name = parts(room)
    async with application(shared_server) as app:
        told = await follow(app, collection, name)
        writer = await editor(node, shared_server, room)
        await writer.change(
            ("set", ["fields", "tags"], {"$array": ["a", {"$map": {"k": {"$text": "deep"}}}]}),
            ("set", ["fields", "meta"], {"$map": {"owner": "ada", "sizes": {"$array": [1, 2]}}}),
            ("set", ["fields", "note"], {"$text": "hello"}),
        )
        (created,) = await told.count(1)
        first = {"tags": ["a", {"k": "deep"}], "meta": {"owner": "ada", "sizes": [1, 2]}, "note": "hello"}
        assert fields(created.data) == first
        steps: list[tuple[tuple[Any, ...], str, Any]] = [
            (("insert", ["fields", "tags"], 2, ["b"]), "tags", ["a", {"k": "deep"}, "b"]),
            (("type", ["fields", "tags", 1, "k"], 4, "er 😀"), "tags", ["a", {"k": "deeper 😀"}, "b"]),
            (("cut", ["fields", "tags"], 0, 1), "tags", [{"k": "deeper 😀"}, "b"]),
            (("set", ["fields", "meta", "owner"], "bob"), "meta", {"owner": "bob", "sizes": [1, 2]}),
            (("insert", ["fields", "meta", "sizes"], 0, [0]), "meta", {"owner": "bob", "sizes": [0, 1, 2]}),
            (("delete", ["fields", "meta", "owner"]), "meta", {"sizes": [0, 1, 2]}),
            (("type", ["fields", "note"], 5, ", world"), "note", "hello, world"),
            (("cut", ["fields", "note"], 0, 7), "note", "world"),
            (("set", ["fields", "note"], "plain"), "note", "plain"),
        ]
        before = dict(first)
        for number, (edit, field, value) in enumerate(steps, 2):
            await writer.change(edit)
            event = (await told.count(number))[number - 1]
            assert event.changes == {field: {"from": before[field], "to": value}}
            before[field] = value
            assert fields(event.data) == before
        # an application replaces a whole type by a plain value
        await app.collection(collection).update(name, {"meta": {"plain": True}}, unset=["tags"])
        await writer.holds({"meta": {"plain": True}, "note": "plain"})
        assert fields((await told.count(len(steps) + 2))[-1].data) == await writer.values()


async def test_several_keys_of_one_transaction_are_one_event_and_content_is_another(
    node: Node, shared_server: Server, room: str
) -> None:
    collection, name = parts(room)
    async with application(shared_server) as app:
        told = await follow(app, collection, name)
        writer = await editor(node, shared_server, room, kind="y-websocket-3")
        await writer.change(*[("set", ["fields", f"f{n}"], n) for n in range(50)])
        (created,) = await told.count(1)
        assert len(created.changes) == 50
        await writer.insert("words")
        content = (await told.count(2))[1]
        assert content.changes == {"content": {"delta": [{"insert": "words"}]}}
        assert fields(content.data) == fields(created.data)
        found = await app.collection(collection).find_by_id(name, content=True)
        assert found.content == {"content": "words"}


async def test_who_wrote_is_the_verified_user_in_both_directions(node: Node, guarded_server: Server, room: str) -> None:
    collection, name = parts(room)
    async with application(guarded_server, guarded_server.token("bob")) as app:
        told = await follow(app, collection, name)
        ada = await node.client("ada", "hocuspocus-3", guarded_server, room, token=guarded_server.token("ada"))
        await ada.wait(synced=True)
        await ada.set("title", "by ada")
        await told.count(1)
        await app.collection(collection).update(name, {"title": "by bob"})
        await ada.holds({"title": "by bob"})
        await ada.insert("text of ada")
        events = await told.count(3)
        assert [event.user_id for event in events] == ["ada", "bob", "ada"]


@pytest.mark.parametrize("seed", range(4))
async def test_at_quiet_the_record_is_what_every_client_holds(
    node: Node, shared_server: Server, room: str, seed: int
) -> None:
    collection, name = parts(room)
    random = Random(seed)
    async with application(shared_server) as app:
        tasks = app.collection(collection)
        told = await follow(app, collection, name)
        writers: list[Client] = []
        for number, kind in enumerate(("y-websocket-3", "hocuspocus-4", "hocuspocus-3")):
            writers.append(await editor(node, shared_server, room, f"w{number}", kind))  # type: ignore[arg-type]
        await tasks.create({"title": "begin"}, id=name)
        away: set[Client] = set()
        for step in range(80):
            writer = random.choice(writers)
            await writer.edit_fields(seed * 1000 + step, random.randint(1, 4))
            chance = random.random()
            if writer in away and chance < 0.4:
                await writer.connect()
                away.discard(writer)
            elif writer not in away and chance < 0.2:
                await writer.disconnect()
                away.add(writer)
            elif chance < 0.25:
                await writer.terminate()
            if chance > 0.85:
                await tasks.update(name, {random.choice(["title", "meta", "tags"]): step})
            elif chance > 0.8:
                await tasks.update(name, {}, unset=[random.choice(["title", "meta", "tags"])])
        for writer in away:
            await writer.connect()
        await node.converge(writers)
        held = [await writer.values() for writer in writers]
        assert held[0] == held[1] == held[2]
        found = await until_found(lambda: tasks.find_by_id(name), lambda found: fields(found) == held[0])
        last = await told.last(lambda event: event.version == found.version)
        assert fields(last.data) == held[0]

        # the story is whole: changes lead from each version to the next, whatever was in conflict
        assert [event.version for event in told.events] == list(range(1, found.version + 1))
        state: dict[str, Any] = {}
        for event in told.events:
            for field, change in event.changes.items():
                assert state.get(field) == change.get("from"), f"{event.version}: {field}"
                if "to" in change:
                    state[field] = change["to"]
                else:
                    state.pop(field)
            assert fields(event.data) == state
