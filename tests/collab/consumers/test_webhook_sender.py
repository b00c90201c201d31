from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from collab import Collab, Settings
from collab.consumers import delivery, webhook_sender
from collab.consumers.delivery import Deliveries, Parcel
from collab.consumers.webhook import Webhook, signed
from collab.consumers.webhook_sender import CountDelivery, Webhooks
from collab.entities.feed import Feed
from collab.event import EntityEvent, EventType
from collab.names import RoomKey
from collab.storage.base import EntityRow, Fact, StorageError
from collab.storage.sqlite.storage import SqliteStorage
from tests.collab.consumers.receiver import ERROR, OK, Delivery, Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Record:
    """A record in which things happen."""

    def __init__(self, storage: SqliteStorage) -> None:
        self.storage = storage
        self.feed = Feed()
        self.versions: Counter[RoomKey] = Counter()

    async def happens(self, *ids: str, collection: str = "tasks", kind: EventType = "updated") -> None:
        """One commit with one event for each of these entities."""
        facts = [self._fact(RoomKey("default", collection, name), kind) for name in ids]
        committed = await self.storage.commit([], facts)
        for position, fact in zip(committed.positions, facts, strict=True):
            event = EntityEvent(**{**_members(fact.event), "position": position})
            self.feed.publish("default", event)

    def _fact(self, key: RoomKey, kind: EventType) -> Fact:
        self.versions[key] += 1
        version = self.versions[key]
        data = {"id": key.id, "n": version}
        row = EntityRow(key, version, data, deleted=False, heads=b"", content_seq=0)
        event = EntityEvent(
            position=0,
            type="created" if version == 1 else kind,
            collection=key.collection,
            id=key.id,
            version=version,
            data=data,
            changes={},
            user_id=None,
            at="2024-01-31T12:00:00.000Z",
        )
        return Fact(row, event, 1706702400.0)


def _members(event: EntityEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


@asynccontextmanager
async def recorded(data: Path, versions: Counter[RoomKey] | None = None) -> AsyncIterator[Record]:
    """The record, as it is after a start of the server."""
    storage = SqliteStorage(data)
    await storage.open()
    record = Record(storage)
    record.versions = versions if versions is not None else record.versions
    record.feed.begin(await storage.positions())
    try:
        yield record
    finally:
        await storage.close()


@asynccontextmanager
async def receiving(answer: Callable[[Delivery], bytes | None] = lambda delivery: OK) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


@asynccontextmanager
async def sending(
    record: Record, *webhooks: Webhook, count: CountDelivery = lambda webhook, outcome, kind: None
) -> AsyncIterator[None]:
    """Send, from the moment on at which every webhook knows where it begins."""
    task = asyncio.create_task(Webhooks(record.storage, record.feed, webhooks, count=count, random=lambda: 0.5).run())
    with anyio.fail_after(40):
        for webhook in webhooks:
            while await record.storage.webhook_position(webhook.name, webhook.project) is None:
                await anyio.sleep(0.01)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def hook(receiver: Receiver, **more: Any) -> Webhook:
    return Webhook(**{"name": "crm", "url": receiver.url, "secret": SECRET, **more})


async def saved(record: Record, position: int, name: str = "crm") -> None:
    with anyio.fail_after(40):
        while await record.storage.webhook_position(name, "default") != position:
            await anyio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_FIRST_SECONDS", 0.01)


async def test_h1_events_are_sent_and_signed(tmp_path: Path) -> None:
    async with recorded(tmp_path) as record, receiving() as receiver, sending(record, hook(receiver)):
        await record.happens("t1")
        await record.happens("t1")
        await receiver.until("t1/1", "t1/2")
        first, second = receiver.came
        assert first.headers["content-type"] == "application/json"
        assert (first.event["type"], second.event["type"]) == ("created", "updated")
        for came in (first, second):
            message, at = came.headers["webhook-id"], came.headers["webhook-timestamp"]
            proof = signed(came.body, message, int(at), (SECRET,))["webhook-signature"]
            assert came.headers["webhook-signature"] == proof
        assert first.headers["webhook-id"] != second.headers["webhook-id"]
        await saved(record, 2)


async def test_h1_each_webhook_is_sent_what_it_wants(tmp_path: Path) -> None:
    async with recorded(tmp_path) as record, receiving() as receiver, receiving() as other:
        notes, tasks = hook(receiver, collections=("no*",)), hook(other, name="other", types=("created",))
        async with sending(record, notes, tasks):
            await record.happens("t1", "t2")
            await record.happens("n1", collection="notes")
            await record.happens("t1")
            await receiver.until("n1/1")
            await other.until("t1/1", "t2/1", "n1/1")
            with anyio.fail_after(40):  # the last event, which it does not want, need not be saved
                while (await record.storage.webhook_position("other", "default") or 0) < 3:
                    await anyio.sleep(0.01)
        assert receiver.taken == ["n1/1"]
        assert sorted(other.taken) == ["n1/1", "t1/1", "t2/1"]


async def test_h6_a_new_webhook_is_not_told_the_past(tmp_path: Path) -> None:
    async with recorded(tmp_path) as record, receiving() as receiver:
        await record.happens("t1")
        async with sending(record, hook(receiver)):
            await record.happens("t1")
            await receiver.until("t1/2")
        assert receiver.taken == ["t1/2"]


async def test_h6_a_webhook_that_is_registered_misses_nothing_until_it_begins(tmp_path: Path) -> None:
    async with recorded(tmp_path) as record, receiving() as receiver:
        await record.happens("t1")
        first = hook(receiver)
        webhooks = Webhooks(record.storage, record.feed, [first])
        await webhooks.register(await record.storage.positions())
        await record.happens("t1")
        await webhooks.register(await record.storage.positions())  # another node starts
        async with sending(record, first):
            await receiver.until("t1/2")
        assert receiver.taken == ["t1/2"]


async def test_h6_a_server_that_has_started_has_registered_its_webhooks(tmp_path: Path) -> None:
    webhook = Webhook(name="crm", url="http://127.0.0.1:9/", secret=SECRET)
    collab = Collab(Settings(data=str(tmp_path), webhooks=[webhook], open=True))
    await collab.startup()
    assert await collab._storage.webhook_position("crm", "default") == 0
    await collab.shutdown()


async def test_h6_what_happens_while_the_server_is_away_is_sent_when_it_is_back(tmp_path: Path) -> None:
    async with receiving() as receiver:
        async with recorded(tmp_path) as record:
            async with sending(record, hook(receiver)):
                await record.happens("t1", "t2")
                await receiver.until("t1/1", "t2/1")
                await saved(record, 2)
            await record.happens("t1", "t2", "t1")
        async with recorded(tmp_path) as record, sending(record, hook(receiver)):
            await receiver.until("t1/2", "t2/2", "t1/3")
            await saved(record, 5)
        assert sorted(receiver.taken) == ["t1/1", "t1/2", "t1/3", "t2/1", "t2/2"]


async def test_h6_what_was_under_way_at_the_end_is_sent_again_under_the_same_name(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.held = asyncio.Event()
        async with recorded(tmp_path) as record, sending(record, hook(receiver)):
            await record.happens("t1", "t1")
            await receiver.until_came(1)
        receiver.held.set()
        receiver.held = None
        async with recorded(tmp_path) as record, sending(record, hook(receiver)):
            await receiver.until("t1/1", "t1/2")
        first, again, _ = receiver.came
        assert first.headers["webhook-id"] == again.headers["webhook-id"]
        assert receiver.taken == ["t1/1", "t1/2"]


async def test_h3_an_entity_that_fails_keeps_its_order_and_holds_up_no_other(tmp_path: Path) -> None:
    failures = Counter[str]()

    def answer(came: Delivery) -> bytes:
        failures[came.name] += 1
        return ERROR if came.event["id"] == "bad" and failures[came.name] < 4 else OK

    async with recorded(tmp_path) as record, receiving(answer) as receiver, sending(record, hook(receiver)):
        for _ in range(3):
            await record.happens("bad", "good")
        await receiver.until("good/3", "bad/3")
        assert [name for name in receiver.taken if name.startswith("bad")] == ["bad/1", "bad/2", "bad/3"]
        assert [name for name in receiver.taken if name.startswith("good")] == ["good/1", "good/2", "good/3"]
        order = [came.name for came in receiver.came if came.event["id"] == "bad"]
        assert order == ["bad/1"] * 4 + ["bad/2"] * 4 + ["bad/3"] * 4
        await saved(record, 6)


async def test_h5_what_is_never_taken_is_kept_and_what_follows_goes_on(tmp_path: Path) -> None:
    def answer(came: Delivery) -> bytes:
        return ERROR if came.name == "t1/1" else OK

    async with recorded(tmp_path) as record, receiving(answer) as receiver:
        async with sending(record, hook(receiver, attempts=3)):
            await record.happens("t1", "t1", "t2")
            await receiver.until("t1/2", "t2/1")
            await saved(record, 3)
        assert Counter(came.name for came in receiver.came) == {"t1/1": 3, "t1/2": 1, "t2/1": 1}
        [letter] = await record.storage.dead_letters("crm")
        assert (letter.project, letter.event.id, letter.event.version) == ("default", "t1", 1)
        assert letter.reason == "HTTP status 500"
        async with sending(record, hook(receiver, attempts=3)):
            await record.happens("t1")
            await receiver.until("t1/3")
        assert len(await record.storage.dead_letters("crm")) == 1


async def test_h4_a_receiver_that_does_not_answer_is_tried_again(tmp_path: Path) -> None:
    answers: list[bytes | None] = [
        None,
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhal",
        b"no HTTP at all\r\n\r\n",
        OK,
    ]

    async with (
        recorded(tmp_path) as record,
        receiving(lambda came: answers.pop(0)) as receiver,
        sending(record, hook(receiver, timeout_seconds=0.2)),
    ):
        await record.happens("t1")
        await receiver.until_came(4)
        await saved(record, 1)
        assert not answers


async def test_a_webhook_that_fails_is_counted_and_told_when_it_begins_and_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[bytes | None] = [ERROR, ERROR, OK, OK]
    counted = Counter[tuple[str, str, str | None]]()

    def count(webhook: str, outcome: str, kind: str | None) -> None:
        counted[webhook, outcome, kind] += 1

    async with (
        recorded(tmp_path) as record,
        receiving(lambda came: answers.pop(0)) as receiver,
        sending(record, hook(receiver), count=count),
    ):
        name = hook(receiver).name
        await record.happens("t1")
        await receiver.until("t1/1")
        await record.happens("t1")
        await receiver.until("t1/2")
        await saved(record, 2)
    assert counted == {(name, "failed", "5xx"): 2, (name, "taken", None): 2}
    told = [record.getMessage() for record in caplog.records if record.name == "collab.consumers.webhook_sender"]
    assert len(told) == 2
    assert told[0].startswith(f"webhook {name} fails and will be retried: HTTP status 500")
    assert told[1] == f"webhook {name} works again"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "timeout"),
        (b"no HTTP at all\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "3xx"),
        (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "4xx"),
        (b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n", "5xx"),
    ],
)
async def test_the_kind_of_a_failure_is_counted(tmp_path: Path, answer: bytes | None, kind: str) -> None:
    counted = Counter[tuple[str, str | None]]()

    def count(webhook: str, outcome: str, kind: str | None) -> None:
        counted[outcome, kind] += 1

    async with (
        recorded(tmp_path) as record,
        receiving(lambda came: answer) as receiver,
        sending(record, hook(receiver, attempts=1, timeout_seconds=0.3), count=count),
    ):
        await record.happens("t1")
        await saved(record, 1)
    assert counted == {("given_up", kind): 1}


async def test_a_webhook_that_fails_for_one_entity_only_is_told_once_and_so_are_its_dead_letters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counted = Counter[str]()

    def count(webhook: str, outcome: str, kind: str | None) -> None:
        counted[outcome] += 1

    async with (
        recorded(tmp_path) as record,
        receiving(lambda came: OK if "ok" in came.name else ERROR) as receiver,
        sending(record, hook(receiver, attempts=2), count=count),
    ):
        for _ in range(3):
            await record.happens("bad", "ok")
        await saved(record, 6)
    assert counted == {"taken": 3, "failed": 3, "given_up": 3}
    told = [one.getMessage() for one in caplog.records if one.name == "collab.consumers.webhook_sender"]
    assert [line for line in told if " fails " in line] == ["webhook crm fails and will be retried: HTTP status 500"]
    assert [line for line in told if " gave up " in line] == [
        "webhook crm gave up version 1 of tasks/bad: HTTP status 500"
    ]


async def test_a_webhook_goes_on_after_an_error_of_ours_which_is_counted_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read, faults = SqliteStorage.events, ["reading"]

    async def events(storage: SqliteStorage, *arguments: Any, **more: Any) -> Sequence[EntityEvent]:
        if faults:
            raise RuntimeError(f"a fault of ours while {faults.pop()}")
        return await read(storage, *arguments, **more)

    monkeypatch.setattr(SqliteStorage, "events", events)
    counted = Counter[tuple[str, str]]()

    def count(webhook: str, outcome: str, kind: str | None) -> None:
        counted[webhook, outcome] += 1

    async with recorded(tmp_path) as record, receiving() as receiver, sending(record, hook(receiver), count=count):
        await record.happens("t1")
        await saved(record, 1, "crm")
    assert counted == {("crm", "stopped"): 1, ("crm", "taken"): 1}
    assert "a fault of ours while reading" in caplog.text


async def test_an_event_that_cannot_be_settled_for_an_error_of_ours_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, faults = Deliveries.sent, ["settling"]

    def settle(deliveries: Deliveries, parcel: Parcel) -> None:
        if faults:
            raise RuntimeError(f"a fault of ours while {faults.pop()}")
        sent(deliveries, parcel)

    monkeypatch.setattr(Deliveries, "sent", settle)
    async with recorded(tmp_path) as record, receiving() as receiver, sending(record, hook(receiver)):
        await record.happens("t1")
        await saved(record, 1, "crm")


async def test_a_delivery_that_fails_for_an_error_of_ours_is_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(httpx.AsyncClient):
        def stream(self, method: str, url: Any, **more: Any) -> Any:
            raise RuntimeError("a fault of ours")

    monkeypatch.setattr(webhook_sender, "sending_client", Broken)
    webhook = Webhook(name="crm", url="https://crm.example/in", secret=SECRET, attempts=1)
    async with recorded(tmp_path) as record, sending(record, webhook):
        await record.happens("t1")
        await saved(record, 1, "crm")
        [letter] = await record.storage.dead_letters("crm")
    assert letter.reason == "RuntimeError: a fault of ours"


async def test_neither_the_log_nor_a_dead_letter_shows_what_is_secret_in_the_url(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Leaky(httpx.AsyncClient):
        """Fails as a transport might, with the whole request in its error."""

        def stream(self, method: str, url: Any, **more: Any) -> Any:
            raise httpx.ConnectError(f"no route to {url} for {urlsplit(url).path}\n{more['headers']}")

    monkeypatch.setattr(webhook_sender, "sending_client", Leaky)
    webhook = Webhook(
        name="chat", url="https://bot:hunter2@chat.example/T0/B0/sesame?key=sk_live_9", secret=SECRET, attempts=2
    )
    async with recorded(tmp_path) as record, sending(record, webhook):
        await record.happens("t1")
        await saved(record, 1, "chat")
        [letter] = await record.storage.dead_letters("chat")
    for text in (caplog.text, letter.reason):
        assert "no route to …" in text
        for secret in ("hunter2", "sesame", "sk_live_9", SECRET):
            assert secret not in text


async def test_h6_a_storage_that_is_away_is_told_once_and_delays_events(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "_STORAGE_SECONDS", 0.01)
    failures = [StorageError("no route") for _ in range(3)]
    read = SqliteStorage.events

    async def events(storage: SqliteStorage, project: str, after: int, *, limit: int) -> Sequence[EntityEvent]:
        if failures:
            raise failures.pop()
        return await read(storage, project, after, limit=limit)

    monkeypatch.setattr(SqliteStorage, "events", events)
    async with recorded(tmp_path) as record, receiving() as receiver, sending(record, hook(receiver)):
        await record.happens("t1")
        await receiver.until("t1/1")
    assert not failures
    told = [record.getMessage() for record in caplog.records if record.name == "collab.consumers.webhook_sender"]
    assert told == ["webhook crm waits for the storage: no route"]


async def test_h4_a_receiver_that_restarts_misses_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as record, receiving() as receiver, sending(record, hook(receiver)):
        await record.happens("t1")
        await receiver.until("t1/1")
        await receiver.stop()
        await record.happens("t1", "t2")
        await record.happens("t1")
        await receiver.start()
        await receiver.until("t1/2", "t2/1", "t1/3")
        await saved(record, 4)
        assert [name for name in receiver.taken if name.startswith("t1")] == ["t1/1", "t1/2", "t1/3"]


async def test_h7_redirects_are_not_followed(tmp_path: Path) -> None:
    async with recorded(tmp_path) as record, receiving() as inner:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {inner.url}\r\ncontent-length: 0\r\n\r\n".encode()
        async with receiving(lambda came: moved) as receiver, sending(record, hook(receiver, attempts=2)):
            await record.happens("t1")
            await saved(record, 1)
        assert not inner.came
        [letter] = await record.storage.dead_letters("crm")
        assert letter.reason == "HTTP status 307"


async def test_h7_an_answer_without_end_is_read_only_so_far(tmp_path: Path) -> None:
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 200_000
    async with (
        recorded(tmp_path) as record,
        receiving(lambda came: endless) as receiver,
        sending(record, hook(receiver, timeout_seconds=60)),
    ):
        await record.happens("t1", "t1")
        await receiver.until("t1/1", "t1/2")
        await saved(record, 2)


async def test_h8_only_so_many_are_under_way(tmp_path: Path) -> None:
    async with recorded(tmp_path) as record, receiving() as receiver, sending(record, hook(receiver, concurrency=3)):
        receiver.held = asyncio.Event()
        await record.happens(*(f"t{number}" for number in range(20)))
        await receiver.until_came(3)
        receiver.held.set()
        await receiver.until(*(f"t{number}/1" for number in range(20)))
        assert receiver.most_under_way == 3


async def test_h8_more_events_than_are_held_at_a_time_are_all_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MOST_OPEN", 7)
    async with recorded(tmp_path) as record, receiving() as receiver, sending(record, hook(receiver)):
        await record.happens(*(f"t{number % 5}" for number in range(60)))
        await receiver.until(*(f"t{number}/12" for number in range(5)))
        assert len(receiver.taken) == len(set(receiver.taken)) == 60
        await saved(record, 60)


def test_two_webhooks_of_one_name_are_refused(tmp_path: Path) -> None:
    one = hook(Receiver(port=1))
    with pytest.raises(ValueError, match="same name"):
        Webhooks(SqliteStorage(tmp_path), Feed(), [one, one])


async def test_a_position_that_the_record_does_not_have_does_not_stop_a_webhook(tmp_path: Path) -> None:
    async with recorded(tmp_path) as record, receiving() as receiver:
        await record.storage.save_webhook("crm", "default", 1000)
        async with sending(record, hook(receiver)):
            await saved(record, 0)
            await record.happens("t1")
            await receiver.until("t1/1")
