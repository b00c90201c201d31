"""A change can be followed from the message of a client to the webhook that hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pycrdt
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from websockets.asyncio.client import connect

from collab import Collab, Settings
from collab.access.configuration import ApiKey
from collab.client import LumenizeClient
from collab.consumers.webhook import Webhook
from collab.storage.base import Committed
from collab.storage.sqlite.storage import SqliteStorage
from collab.wire import yjs
from collab.wire.realtime import messages as realtime
from collab.wire.realtime.messages import Failure
from tests.collab.consumers.receiver import Receiver
from tests.collab.server.sockets.test_realtime import joined
from tests.collab.server.tracing.spans import Told, Traces
from tests.collab.serving import serving

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
IDS = {"collab.project": "default", "collab.collection": "tasks", "collab.entity": "t1"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@asynccontextmanager
async def traced(folder: Path, traces: Traces, **settings: Any) -> AsyncIterator[str]:
    app = Collab(Settings(data=str(folder), **settings), tracer_provider=traces.provider)
    async with serving(app) as address:
        yield address


async def created(address: str, name: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        body = {"id": name, "data": {"title": "secret words"}}
        return await client.post("/api/v1/collections/tasks", json=body, headers=headers)


class Held(SqliteStorage):
    """A storage that commits nothing before ``goes_on`` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waits, self.goes_on = anyio.Event(), anyio.Event()

    async def commit(self, *arguments: Any, **options: Any) -> Committed:
        self.waits.set()
        await self.goes_on.wait()
        return await super().commit(*arguments, **options)


def update_of(title: str) -> bytes:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.get("fields", type=pycrdt.Map)["title"] = title
    return doc.get_update()


def is_about(span: Told) -> bool:
    return {**span.attributes, **IDS} == span.attributes


async def test_h9_a41_a_write_over_http_goes_on_with_the_trace_of_its_caller_to_the_webhook(tmp_path: Path) -> None:
    traces, receiver = Traces(), Receiver()
    await receiver.start()
    webhook = Webhook(name="crm", url=receiver.url, secret=SECRET)
    async with traced(tmp_path, traces, webhooks=[webhook]) as address:
        assert (await created(address, "t1", traceparent=SAMPLED, tracestate="a=b", baggage="a=b")).status_code == 201
        request = await traces.one("POST /api/v1/collections/{collection}")
        gate, commit, event, told = [
            await traces.one(f"collab.{name}") for name in ("gate", "commit", "event", "webhook")
        ]
    await receiver.stop()
    assert f"{request.trace:032x}" == TRACE
    assert f"{request.parent:016x}" == SPAN
    assert {gate.trace, commit.trace, event.trace, told.trace} == {request.trace}
    assert (gate.parent, commit.parent, event.parent, told.parent) == (request.id, request.id, request.id, event.id)
    assert event.links == (commit.id,)
    assert all(map(is_about, (gate, event, told)))
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/v1/collections/{collection}",
        "http.response.status_code": 201,
        "collab.project": "default",
        "collab.collection": "tasks",
    }
    assert not receiver.came[0].headers.keys() & {"tracestate", "baggage"}
    assert receiver.came[0].headers["traceparent"] == f"00-{told.trace:032x}-{told.id:016x}-01"


async def test_a41_the_client_says_of_each_request_in_which_trace_it_is(tmp_path: Path) -> None:
    traces, now = Traces(), [SAMPLED]

    def traceparent() -> str | None:
        if now[0] == "":
            raise ValueError("no span runs")
        return now[0] if now[0] != "none" else None

    async with (
        traced(tmp_path, traces) as address,
        LumenizeClient(f"http://{address}", traceparent=traceparent) as client,
    ):
        await client.tasks.create({"id": "t1"})
        create = await traces.one("realtime create")
        assert (f"{create.trace:032x}", f"{create.parent:016x}") == (TRACE, SPAN)
        await client.tasks.find_by_id("t1")
        assert f"{(await traces.one('realtime findById')).trace:032x}" == TRACE
        for now[0] in ("none", "", "junk"):
            await client.tasks.update("t1", {"title": now[0]})
        assert len({span.trace for span in traces.named("realtime update")} - {create.trace}) == 3


async def test_the_edit_of_an_editor_links_to_the_span_in_which_it_connected(tmp_path: Path) -> None:
    traces = Traces()
    async with traced(tmp_path, traces) as address:
        async with connect(f"ws://{address}/rooms/tasks/t1", additional_headers={"traceparent": SAMPLED}) as socket:
            await socket.send(yjs.update(update_of("secret words")))
            event = await traces.one("collab.event")
        opened, edit, gate, commit = [
            await traces.one(f"collab.{name}") for name in ("connect", "edit", "gate", "commit")
        ]
    assert (f"{opened.trace:032x}", f"{opened.parent:016x}") == (TRACE, SPAN)
    assert opened.attributes == {"collab.endpoint": "rooms"}
    assert edit.parent is None
    assert edit.links == (opened.id,)
    assert (gate.parent, commit.parent, event.parent) == (edit.id, edit.id, edit.id)
    assert event.links == (commit.id,)
    assert all(map(is_about, (edit, gate, event)))


async def test_a41_a10_a_request_of_realtime_goes_on_with_the_trace_that_it_names(tmp_path: Path) -> None:
    traces = Traces()
    async with traced(tmp_path, traces) as address, joined(address) as client:
        what = {"collection": "tasks", "entity": "t1", "data": {"title": "secret words"}, "request": "r"}
        first = await client.result(realtime.Create, **what, traceparent=SAMPLED)
        # the name of a write stands for the same write, whoever traces it
        assert await client.result(realtime.Create, **what, traceparent="junk") == first
        refused = await client.ask(realtime.FindById, collection="tasks", entity="t2")
        named, unnamed = traces.named("realtime create")
        event, asked = await traces.one("collab.event"), await traces.one("realtime findById")
    assert isinstance(refused, Failure)
    assert (f"{named.trace:032x}", f"{named.parent:016x}") == (TRACE, SPAN)
    assert unnamed.parent is None
    assert event.parent == named.id
    assert named.attributes == IDS
    assert asked.attributes["error.type"] == "NOT_FOUND"
    assert not asked.failed, "a server is not at fault for what a client asks"


async def test_a_commit_of_many_edits_links_to_them_and_each_event_to_the_commit(tmp_path: Path) -> None:
    traces, storage = Traces(), Held(tmp_path)
    async with serving(Collab(Settings(), storage=storage, tracer_provider=traces.provider)) as address:
        async with anyio.create_task_group() as group:
            for name in ("first", "t1", "t2", "t3"):
                group.start_soon(created, address, name)
                if name == "first":
                    await storage.waits.wait()
            with anyio.fail_after(40):
                while len(traces.named("collab.gate")) < 4:
                    await anyio.sleep(0.01)
            storage.goes_on.set()
        commits = traces.named("collab.commit")
        requests = {span.id: span for span in traces.named("POST /api/v1/collections/{collection}")}
        events = traces.named("collab.event")
    joint = next(commit for commit in commits if commit.attributes["collab.changes"] == 3)
    assert joint.parent in requests
    assert len({joint.parent, *joint.links}) == 3
    assert set(joint.links) < requests.keys()
    of_joint = [event for event in events if event.links == (joint.id,)]
    assert {event.parent for event in of_joint} == {joint.parent, *joint.links}


async def test_what_the_caller_does_not_sample_makes_no_span_and_the_webhook_is_told_so(tmp_path: Path) -> None:
    traces = Traces(sampler=ParentBased(ALWAYS_OFF))
    async with traced(tmp_path, traces) as address:
        assert (await created(address, "t1", traceparent=UNSAMPLED)).status_code == 201
        assert (await created(address, "t2")).status_code == 201
        assert not traces.all
        assert (await created(address, "t3", traceparent=SAMPLED)).status_code == 201
        await traces.one("collab.event")


@pytest.mark.parametrize("junk", ["", "junk", f"00-{'0' * 32}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01", "x" * 5000])
async def test_a41_a_malformed_traceparent_begins_a_trace(tmp_path: Path, junk: str) -> None:
    traces = Traces()
    async with traced(tmp_path, traces) as address:
        assert (await created(address, "t1", traceparent=junk)).status_code == 201
        assert (await traces.one("POST /api/v1/collections/{collection}")).parent is None


async def test_no_span_holds_content_or_a_credential(tmp_path: Path) -> None:
    traces = Traces()
    key = ApiKey(key="lum_live_a-key-of-the-tests", project="default", rules={"*/*": "write"})
    async with traced(tmp_path, traces, keys=[key]) as address:
        bearer = {"authorization": f"Bearer {key.key}", "tracestate": "who=secret", "baggage": "who=secret"}
        assert (await created(address, "t1", traceparent=SAMPLED, **bearer)).status_code == 201
        assert (await created(address, "t1", traceparent=SAMPLED, **bearer)).status_code == 409
        assert (await created(address, "t1", authorization="Bearer secret")).status_code == 401
        async with connect(f"ws://{address}/rooms/tasks/t1?token={key.key}") as socket:
            await socket.send(yjs.update(b"secret words"))
            with pytest.raises(Exception, match="44"):
                await socket.recv()
                await socket.recv()
                await socket.recv()
    said = repr(traces.all)
    assert "collab.edit" in said
    assert "secret" not in said
    assert "a-key-of-the-tests" not in said


async def test_an_application_that_has_begun_a_span_is_followed(tmp_path: Path) -> None:
    traces = Traces()
    app = Collab(Settings(data=str(tmp_path)), tracer_provider=traces.provider)
    await app.startup()
    with traces.provider.get_tracer("app").start_as_current_span("of the application"):
        await app.collection("tasks").create({"title": "a"}, id="t1")
    outer, event = await traces.one("of the application"), await traces.one("collab.event")
    await app.shutdown()
    assert event.parent == outer.id


def test_a_server_without_tracing_makes_rooms_and_commits_without_a_tracer(tmp_path: Path) -> None:
    app = Collab(Settings(data=str(tmp_path)))
    assert app._observed.tracer is None
