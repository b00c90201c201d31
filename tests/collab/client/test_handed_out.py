"""What applications are given is theirs: they may change it, and neither the client nor others notice."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from collab.client import Crowd, Event, Met, Rows
from collab.errors import CollabError, Conflict, NotFound
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.values import Person
from tests.collab.client.scripted import AT, Scripted, event, rows, written
from tests.collab.client.world import until


def conflict(field: str, theirs: Any) -> dict[str, Any]:
    return {
        "field": field,
        "base": None,
        "theirs": theirs,
        "yours": {"deep": [1]},
        "winner": "yours",
        "userId": "bob",
        "at": AT,
    }


async def test_each_listener_of_conflicts_gets_its_own_in_the_order_of_the_commits() -> None:
    server = Scripted()
    async with server.client() as made:
        spoilt: list[Met] = []
        met: list[Met] = []

        def spoil(each: Met) -> None:
            spoilt.append(each)
            each.data.clear()
            for found in each.conflicts:
                found.theirs.append("spoilt")
                found.yours["deep"].clear()

        made.on_conflict(spoil)
        made.on_conflict(met.append)
        first, second = made.tasks.update("a", {"x": 1}), made.tasks.update("b", {"x": 1})
        asked = await server.asked(realtime.Update, 2)
        server.reply(asked[1], written(5, conflict("z", ["b"]), conflict("a", ["b"]), id="b"))
        server.reply(asked[0], written(3, conflict("z", ["a"]), id="a"))
        found = (await first).conflicts + (await second).conflicts
        await until(lambda: len(met) == 2)
        assert [(each.id, each.data, [one.field for one in each.conflicts]) for each in met] == [
            ("b", {"id": "b"}, ["z", "a"]),
            ("a", {"id": "a"}, ["z"]),
        ]
        for each in (*found, *met[0].conflicts, *met[1].conflicts):
            assert each.theirs in (["a"], ["b"])
            assert each.yours == {"deep": [1]}
        assert len(spoilt) == 2


async def test_each_await_of_an_operation_raises_an_error_of_its_own() -> None:
    server = Scripted()
    async with server.client() as made:
        call = made.tasks.update("a", {"x": 1}, on_conflict="reject")
        [asked] = await server.asked(realtime.Update)
        server.refuse(asked, Conflict("met a newer write", data={"tags": ["a"]}))
        errors: list[Conflict] = []
        for _ in range(3):
            with pytest.raises(Conflict) as raised:
                try:
                    raise ZeroDivisionError
                except ZeroDivisionError:
                    await call
            errors.append(raised.value)
            assert raised.value.details == {"data": {"tags": ["a"]}}
            raised.value.details["data"]["tags"].append("spoilt")
        assert len(set(map(id, errors))) == 3
        assert len({len(_frames(error)) for error in errors}) == 1, "no traceback grows"
        assert len({id(error.__context__) for error in errors}) == 3


def _frames(error: BaseException) -> list[Any]:
    frames = []
    at = error.__traceback__
    while at is not None:
        frames.append(at)
        at = at.tb_next
    return frames


async def test_each_await_of_an_operation_returns_a_result_of_its_own() -> None:
    server = Scripted()
    async with server.client() as made:
        create, find, many = made.tasks.create({"id": "a"}), made.tasks.find_by_id("a"), made.tasks.find_many()
        await server.asked(realtime.FindMany)
        server.reply(server.all_of(realtime.Create)[0], written(1, id="a", tags=["x"]))
        server.reply(server.all_of(realtime.FindById)[0], {"data": {"id": "a", "tags": ["x"]}, "version": 1})
        server.reply(server.all_of(realtime.FindMany)[0], {"rows": [{"id": "a", "tags": ["x"]}], "versions": [1]})
        for _ in range(2):
            page = await many
            for entity in (await create, await find, page[0]):
                assert entity == {"id": "a", "tags": ["x"]}
                entity["tags"].append("spoilt")
            assert page.versions == [1]
            page.versions.clear()


async def test_listeners_of_errors_and_subscriptions_get_errors_of_their_own() -> None:
    server = Scripted()
    async with server.client() as made:
        told: list[CollabError] = []

        def spoil(error: CollabError) -> None:
            error.details["spoilt"] = True
            told.append(error)

        for _ in range(2):
            made.on_error(spoil)
        subscription = made.tasks.subscribe("*")
        await subscription.ready()
        refusal = NotFound("gone", why=["deleted"])
        server.say(realtime.Failure(sub=subscription.sub, error=wire.Error.of(refusal)))
        await until(lambda: len(told) == 2)
        for _ in range(2):
            with pytest.raises(NotFound) as raised:
                await subscription.ready()
            raised.value.details["why"].clear()
            with pytest.raises(NotFound) as raised:
                await anext(subscription)
            assert raised.value.details == {"why": ["deleted"]}
            assert subscription.error is not None
            subscription.error.details.clear()
        assert all(error.details == {"why": ["deleted"], "cause": "NOT_FOUND", "spoilt": True} for error in told)


async def test_subscribers_of_the_same_share_no_value() -> None:
    server = Scripted()
    async with server.client() as made:
        lists: list[Rows] = []
        people: list[Crowd] = []
        events: list[Event] = []
        customs: list[dict[str, Any]] = []

        def spoil(given: Any) -> None:
            if isinstance(given, Rows):
                given[0]["tags"].append("spoilt")
                given.versions.clear()
            elif isinstance(given, Crowd):
                given[0].state["cursor"].clear()
                given.clear()
            elif isinstance(given, Event):
                given.data["tags"].append("spoilt")
                given.conflicts[0].theirs.clear()
            else:
                given["list"].clear()

        subscriptions: list[list[Any]] = []
        for rows_, people_, events_, customs_ in [
            (spoil, spoil, spoil, spoil),
            (lists.append, people.append, events.append, customs.append),
            (None, None, None, None),
        ]:
            each: list[Any] = [
                made.tasks.subscribe({}, rows_),
                made.presence.subscribe("d", people_),
                made.tasks.subscribe("*", events_),
                made.events.subscribe("note", customs_),
            ]
            for subscription in each:
                await subscription.ready()
            subscriptions.append(each)
        row = {"id": "a", "tags": ["x"]}
        ada = Person(key="a", state={"cursor": {"at": 1}})
        subs = [tuple(subscription.sub for subscription in same) for same in zip(*subscriptions, strict=True)]
        met = event(1, *subs[2], tags=["x"])
        met.event["conflicts"] = [conflict("f", ["theirs"])]
        for _ in range(2):  # the client itself keeps nothing that was spoilt either
            server.say(*(rows(sub, row) for sub in subs[0]))
            server.say(realtime.People(subs=subs[1], count=1, people=[ada]))
            server.say(met, realtime.CustomEvent(subs=subs[3], cursor="1", event={"type": "note", "list": [1]}))
            await server.handled()
        iterated: list[Any] = [await anext(subscription) for subscription in subscriptions[2]]
        found: list[Any] = [lists[-1], people[-1], events[-1], customs[-1]]
        for given in (found, iterated):
            assert given[0] == [row]
            assert given[0].versions == [1]
            assert list(given[1]) == [ada]
            assert given[2].data["tags"] == ["x"]
            assert given[2].conflicts[0].theirs == ["theirs"]
            assert given[3]["list"] == [1]


async def test_the_schema_of_the_client_is_a_copy() -> None:
    server = Scripted()
    async with server.client() as made:
        assert made.schema is None
        async with anyio.create_task_group() as tasks:

            async def spoil() -> None:
                (await made.refresh_schema())["tasks"]["schema"].clear()

            tasks.start_soon(spoil)
            server.reply((await server.asked(realtime.Schema))[0], {"tasks": {"schema": {"type": "object"}}})
        for _ in range(2):
            schema: Any = made.schema
            assert schema == {"tasks": {"schema": {"type": "object"}}}
            schema.clear()


async def test_what_was_given_to_the_client_may_be_changed_afterwards() -> None:
    server = Scripted()
    options: dict[str, Any] = {"max_queued_writes": 5}
    made = server.client(options)
    await made.connect(wait=False)
    data, query, state = {"tags": ["x"]}, {"where": {"tags": ["x"]}}, {"cursor": [1]}
    batch = made.create_subscription_batch()
    batch.add("tasks", query, print)
    made.tasks.create(data)
    made.tasks.subscribe(query, print)
    made.presence.join("d", state)
    made.events.emit({"type": "note", "state": state})
    for given in (data["tags"], query["where"]["tags"], state["cursor"], options):
        given.clear()
    ended = await batch.execute()
    [create] = await server.asked(realtime.Create)
    [join] = await server.asked(realtime.JoinPresence)
    [emit] = await server.asked(realtime.Emit)
    assert (create.data, join.state, emit.event["state"]) == ({"tags": ["x"]}, {"cursor": [1]}, {"cursor": [1]})
    targets = [each.target for asked in server.all_of(realtime.Subscribe) for each in asked.subscriptions]
    assert [target.query for target in targets] == [{"where": {"tags": ["x"]}}] * 2
    ended()
    await made.disconnect()
