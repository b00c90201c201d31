"""Named writes: they have effect once, for whoever named them and what they asked for."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Text

from collab import Access, Collab, Hooks, Identity, RoomKey, Rule, Settings
from collab.errors import IdempotencyKeyReused, InvalidRequest, NotFound, PermissionDenied
from collab.records.idempotency import digest_of
from collab.records.reads import Caller
from collab.storage.base import Append, CommitId, Committed, Fact, Storage, Version
from collab.storage.memory import MemoryStorage
from collab.storage.sqlite.storage import SqliteStorage
from tests.collab.records.operations import Operations
from tests.collab.records.test_records import caller, listen, running

ANN = caller("ann", (Rule("tasks/*", Access.WRITE), Rule("drafts/*", Access.WRITE)))
EVE = caller("eve", (Rule("tasks/*", Access.WRITE), Rule("junk/*", Access.WRITE)))


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MemoryStorage() if request.param == "memory" else SqliteStorage(tmp_path)


@pytest.fixture
async def collab(storage: Storage) -> AsyncIterator[Collab]:
    collab = Collab(Settings(), storage=storage)
    async with collab.lifespan():
        yield collab


async def test_the_same_name_of_two_users_is_two_writes(collab: Collab) -> None:
    tasks = Operations(collab.hub.records)
    for at_once in (True, False):
        name = f"name {at_once}"
        asked = [tasks.create(who, "tasks", {"of": who.identity.user_id}, request=name) for who in (ANN, EVE)]
        anns, eves = await asyncio.gather(*asked) if at_once else [await one for one in asked]
        assert (anns.data["of"], eves.data["of"]) == ("ann", "eve")
        assert (await tasks.create(EVE, "tasks", {"of": "eve"}, request=name)).data == eves.data
    assert await tasks.count(ANN, "tasks", {}) == 4


async def test_a_name_of_somebody_who_sees_nothing_tells_nothing(collab: Collab) -> None:
    tasks = Operations(collab.hub.records)
    for _ in range(20):
        made, told = await asyncio.gather(
            tasks.create(ANN, "drafts", {"card": "4111"}, request="order"),
            tasks.update(EVE, "junk", "nope", {}, request="order"),
            return_exceptions=True,
        )
        assert not isinstance(made, BaseException)
        assert isinstance(told, NotFound)


OTHERS: dict[str, Any] = {
    "another body": lambda tasks: tasks.update(ANN, "tasks", "t1", {"n": 3}, request="r"),
    "another type": lambda tasks: tasks.update(ANN, "tasks", "t1", {"n": "2"}, request="r"),
    "more fields": lambda tasks: tasks.update(ANN, "tasks", "t1", {"n": 2}, unset=["m"], request="r"),
    "another version": lambda tasks: tasks.update(ANN, "tasks", "t1", {"n": 2}, version=1, request="r"),
    "another entity": lambda tasks: tasks.update(ANN, "tasks", "t2", {"n": 2}, request="r"),
    "another collection": lambda tasks: tasks.update(ANN, "drafts", "t1", {"n": 2}, request="r"),
    "another operation": lambda tasks: tasks.delete(ANN, "tasks", "t1", request="r"),
    "a creation": lambda tasks: tasks.create(ANN, "tasks", {"n": 2}, entity="t3", request="r"),
    "a restoration": lambda tasks: tasks.restore(ANN, "tasks", "t1", version=1, request="r"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
async def test_the_same_name_for_something_else_is_refused_and_nothing_is_done(
    collab: Collab, other: str, at_once: bool
) -> None:
    tasks = Operations(collab.hub.records)
    for collection, entity in ("tasks", "t1"), ("tasks", "t2"), ("drafts", "t1"):
        await tasks.create(ANN, collection, {"n": 1, "m": 1}, entity=entity)
    events = listen(collab)
    first = asyncio.ensure_future(tasks.update(ANN, "tasks", "t1", {"n": 2}, request="r"))
    if at_once:
        await asyncio.sleep(0)
        assert not first.done()
    else:
        await first
    with pytest.raises(IdempotencyKeyReused) as refused:
        await OTHERS[other](tasks)
    assert (refused.value.http_status, refused.value.code) == (422, "INVALID_REQUEST")
    assert (await first).data["n"] == 2
    assert [(event.collection, event.id, event.version) for event in events] == [("tasks", "t1", 2)]


async def test_every_named_operation_is_answered_again_as_it_was(collab: Collab) -> None:
    tasks = Operations(collab.hub.records)
    asked: list[Any] = [
        lambda: tasks.create(ANN, "tasks", {"n": 1}, entity="t1", request="a"),
        lambda: tasks.update(ANN, "tasks", "t1", {"n": 2}, request="b"),
        lambda: tasks.delete(ANN, "tasks", "t1", request="c"),
        lambda: tasks.restore(ANN, "tasks", "t1", request="d"),
        lambda: tasks.restore(ANN, "tasks", "t1", version=1, request="e"),
        lambda: tasks.update(EVE, "tasks", "t1", {"n": 4}, request="f"),
        lambda: tasks.update(ANN, "tasks", "t1", {"n": 5}, version=1, request="f"),
    ]
    first = [await ask() for ask in asked]
    await tasks.update(EVE, "tasks", "t1", {"n": 6})
    assert [await ask() for ask in asked] == first
    assert len(first[-1].conflicts) == 1


async def write_text(collab: Collab, text: str) -> None:
    async with collab.room("tasks/t1").edit(user="ann") as doc:
        body = doc.get("body", type=Text)
        body.clear()
        body += text


async def test_a_repeated_restoration_of_contents_takes_back_no_later_edit(collab: Collab) -> None:
    tasks = Operations(collab.hub.records)
    await tasks.create(ANN, "tasks", {"n": 1}, entity="t1")
    await write_text(collab, "later")
    restored = await tasks.restore(ANN, "tasks", "t1", version=1, request="r")
    assert await collab.room("tasks/t1").text("body") == ""
    await write_text(collab, "of somebody else")
    assert await tasks.restore(ANN, "tasks", "t1", version=1, request="r") == restored
    assert await collab.room("tasks/t1").text("body") == "of somebody else"


async def test_what_was_deleted_is_restored_to_a_version_with_one_event(collab: Collab) -> None:
    tasks = Operations(collab.hub.records)
    await tasks.create(ANN, "tasks", {"n": 1}, entity="t1")
    await write_text(collab, "later")
    await tasks.update(ANN, "tasks", "t1", {"n": 2})
    await tasks.delete(ANN, "tasks", "t1")
    events = listen(collab)
    restored = await tasks.restore(ANN, "tasks", "t1", version=1, request="r")
    assert [(event.type, event.data["n"]) for event in events] == [("restored", 1)]
    assert await collab.room("tasks/t1").text("body") == ""
    await write_text(collab, "of somebody else")
    assert await tasks.restore(ANN, "tasks", "t1", version=1, request="r") == restored
    assert (restored.data["n"], await collab.room("tasks/t1").text("body")) == (1, "of somebody else")


async def test_names_outlive_the_process(tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        collab = Collab(Settings(), storage=SqliteStorage(tmp_path))
        async with collab.lifespan():
            tasks = Operations(collab.hub.records)
            answers.append(await tasks.create(ANN, "tasks", {"n": 1}, request="r"))
            with pytest.raises(IdempotencyKeyReused):
                await tasks.create(ANN, "tasks", {"n": 2}, request="r")
    assert answers[0].data == answers[1].data


async def test_a_write_that_its_caller_left_uncommitted_is_not_made_again() -> None:
    class Gated(MemoryStorage):
        def __init__(self) -> None:
            super().__init__()
            self.reached, self.gate = asyncio.Event(), asyncio.Event()

        async def commit(
            self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
        ) -> Committed:
            self.reached.set()
            await self.gate.wait()
            return await super().commit(batch, facts, commit_id=commit_id)

    storage = Gated()
    collab = Collab(Settings(), storage=storage)
    async with collab.lifespan():
        tasks = Operations(collab.hub.records)
        events = listen(collab)
        left = asyncio.ensure_future(tasks.create(ANN, "tasks", {"n": 1}, request="r"))
        await storage.reached.wait()
        left.cancel()
        await asyncio.wait((left,))
        again = asyncio.ensure_future(tasks.create(ANN, "tasks", {"n": 1}, request="r"))
        await asyncio.sleep(0.05)
        storage.gate.set()
        made = await again
        assert [event.id for event in events] == [made.data["id"]]


async def test_credentials_that_speak_for_no_user_have_names_of_their_own(collab: Collab) -> None:
    tasks = Operations(collab.hub.records)
    rules = (Rule("*/*", Access.WRITE),)
    first, second = (Caller(Identity("default", rules=rules, credential=name), name) for name in "ab")
    one = await tasks.create(first, "tasks", {"n": 1}, request="r")
    other = await tasks.create(second, "tasks", {"n": 2}, request="r")
    assert one.data["id"] != other.data["id"]


async def test_an_answer_is_given_again_only_to_who_may_see_it() -> None:
    async with running() as collab:
        tasks = Operations(collab.hub.records)
        await tasks.create(ANN, "tasks", {"n": 1}, entity="t1", request="r")
        less = Caller(Identity("default", "ann", rules=(Rule("drafts/*", Access.READ),)), "another session")
        with pytest.raises(PermissionDenied):
            await tasks.create(less, "tasks", {"n": 1}, entity="t1", request="r")


class Late(Hooks):
    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked = 0

    async def authorize(self, identity: Identity, key: RoomKey) -> Access:
        self.asked += 1
        await self.go_on.wait()
        return identity.access_to(key)


async def test_who_comes_while_it_is_under_way_is_asked_for_rights_too_and_may_try_what_failed() -> None:
    hooks = Late()
    less = Caller(Identity("default", "ann", rules=(Rule("drafts/*", Access.READ),)), "another session")
    for first, second in ((ANN, less), (less, ANN)):
        async with running(hooks=hooks) as collab:
            tasks = Operations(collab.hub.records)
            hooks.go_on.clear()
            asked = [
                asyncio.ensure_future(tasks.create(who, "tasks", {"n": 1}, entity="t1", request="r"))
                for who in (first, second)
            ]
            await asyncio.sleep(0)
            hooks.go_on.set()
            done = dict(zip((first, second), await asyncio.gather(*asked, return_exceptions=True), strict=True))
            assert isinstance(done[less], PermissionDenied)
            assert not isinstance(done[ANN], BaseException)
            assert (await tasks.find_by_id(ANN, "tasks", "t1")).version == 1


class Trimmed(MemoryStorage):
    """A storage at the moment when old versions are gone, but not yet the names of their writes."""

    async def seq_at(self, key: RoomKey, *, version: int | None = None, at: float | None = None) -> tuple[int, Version]:
        raise NotFound(f"version {version} of {key} is no longer stored")


async def test_a_repeated_write_whose_version_is_no_longer_kept_is_answered_with_the_newest() -> None:
    async with running(Trimmed()) as collab:
        tasks = Operations(collab.hub.records)
        made = await tasks.create(ANN, "tasks", {"n": 1}, request="r")
        newest = await tasks.update(ANN, "tasks", made.data["id"], {"n": 2})
        again = await tasks.create(ANN, "tasks", {"n": 1}, request="r")
        assert (again.data, again.version) == (newest.data, newest.version)
        assert await tasks.count(ANN, "tasks", {}) == 1


@pytest.mark.parametrize("name", ["", "x" * 65, "é"])
async def test_a_name_is_a_short_ascii_string(collab: Collab, name: str) -> None:
    with pytest.raises(InvalidRequest, match="ASCII"):
        await Operations(collab.hub.records).create(ANN, "tasks", {}, request=name)


@pytest.mark.parametrize("value", ["\ud800", {(1, 2): 3}], ids=["a lone surrogate", "a tuple as a name"])
def test_a_request_that_json_cannot_express_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="JSON"):
        digest_of(["create", value])
