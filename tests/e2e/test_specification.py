"""Every feature of the application API, from Python, as its documentation shows it: each test reads like a snippet."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import jwt
import pytest

from collab import Collab, Settings
from collab.access.configuration import EVERYTHING, ApiKey
from collab.client import Crowd, Event, LumenizeClient, Rows
from collab.errors import CollabError
from collab.records.declaration import declaration
from collab.server.config.settings import secret_issuer
from tests.collab.client.world import Cable, behind, cable, until, world
from tests.collab.client.world import client as connecting

PROJECT = "proj_abc123"
KEY = "lum_live_xyz789"
SECRET = "a secret of the tests, of more than 32 bytes"

Connect = Callable[..., LumenizeClient]


def user_jwt_token(user: str, access: dict[str, Any] | None = None, **claims: Any) -> str:
    issuer = secret_issuer(SECRET)
    good = {
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "sub": user,
        "exp": datetime.now(UTC) + timedelta(hours=1),
        "project": PROJECT,
        "access": access or {"*/*": "write"},
    }
    return jwt.encode(good | claims, SECRET, algorithm="HS256")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Cable, Collab]]:
    """A server that knows the application's key and its users' tokens."""
    key = ApiKey(project=PROJECT, key_sha256=sha256(KEY.encode()).hexdigest(), rules=dict(EVERYTHING))
    async with world(tmp_path, keys=[key], jwt_secret=SECRET) as running:
        yield running


@pytest.fixture
def url(server: tuple[Cable, Collab]) -> str:
    return f"http://{server[0].address}"


@pytest.fixture
async def client(url: str) -> AsyncIterator[LumenizeClient]:
    async with LumenizeClient(url=url, project_id=PROJECT, api_key=KEY) as connected:
        yield connected


@pytest.fixture
async def somebody_else(url: str) -> AsyncIterator[LumenizeClient]:
    async with LumenizeClient(url=url, project_id=PROJECT, token=user_jwt_token("user_456")) as connected:
        yield connected


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


# WebSocket connections


async def test_establishing_a_connection(server: tuple[Cable, Collab], url: str) -> None:
    told: list[str] = []
    client = LumenizeClient(
        url=url, project_id=PROJECT, api_key=KEY, websocket={"auto_reconnect": True, "reconnect_interval": 10}
    )
    assert not client.is_connected()
    await client.connect()
    assert client.is_connected()

    client.on_connect(lambda: told.append("connected"))
    client.on_disconnect(lambda: told.append("disconnected"))
    client.on_reconnect(lambda: told.append("reconnected"))

    server[0].cut()
    await until(lambda: told == ["connected", "disconnected", "reconnected"])
    await client.disconnect()
    assert told[-1] == "disconnected"
    assert not client.is_connected()


async def test_connection_management(url: str) -> None:
    client = LumenizeClient(
        url=url,
        project_id=PROJECT,
        api_key=KEY,
        websocket={
            "auto_reconnect": True,
            "reconnect_interval": 1000,  # 1 second
            "max_reconnect_attempts": 10,
            "heartbeat_interval": 30_000,  # 30 seconds
        },
    )
    await client.connect()
    await client.disconnect()


async def test_a_connection_with_authentication(url: str) -> None:
    client = LumenizeClient(url=url, project_id=PROJECT, api_key=KEY)
    await client.connect(user_id="user_123", token=user_jwt_token("user_123"))
    events: list[Event] = []
    await client.tasks.subscribe("*", events.append).ready()
    await client.tasks.create({"title": "mine"})
    await until(lambda: [event.user_id for event in events] == ["user_123"])
    await client.disconnect()


# subscriptions


async def test_entity_subscriptions(client: LumenizeClient) -> None:
    lines: list[str] = []
    unsubscribe = client.tasks.subscribe("*", lambda event: lines.append(f"Task {event.id} was {event.type}"))

    def on_task(event: Event) -> None:
        match event.type:
            case "updated":
                lines.append(f"Task updated: {event.data['title']}")
            case "deleted":
                lines.append(f"Task deleted: {event.id}")

    await client.tasks.subscribe("task_123", on_task).ready()
    await client.tasks.create({"title": "first"}, id="task_123")
    await client.tasks.update("task_123", {"title": "second"})
    await client.tasks.delete("task_123")
    await until(
        lambda: (
            sorted(lines)
            == [
                "Task deleted: task_123",
                "Task task_123 was created",
                "Task task_123 was deleted",
                "Task task_123 was updated",
                "Task updated: second",
            ]
        )
    )
    unsubscribe()
    await client.tasks.restore("task_123")
    await client.tasks.update("task_123", {"title": "third"})
    await until(lambda: lines[-1] == "Task updated: third")
    assert "Task task_123 was restored" not in lines


async def test_query_subscriptions(client: LumenizeClient, somebody_else: LumenizeClient) -> None:
    shown: list[Rows] = []
    unsubscribe = client.tasks.subscribe(
        {
            "where": {"status": "pending", "assignedTo": "user_123"},
            "order_by": {"createdAt": "desc"},
            "limit": 10,
        },
        shown.append,
    )
    first = await somebody_else.tasks.create({"status": "pending", "assignedTo": "user_123"})
    await somebody_else.tasks.create({"status": "pending", "assignedTo": "user_456"})
    second = await somebody_else.tasks.create({"status": "pending", "assignedTo": "user_123"})
    await until(lambda: shown and ids(shown[-1]) == [second["id"], first["id"]])
    await somebody_else.tasks.update(first["id"], {"status": "done"})
    await until(lambda: ids(shown[-1]) == [second["id"]])
    unsubscribe()


async def test_complex_filters_and_points_in_time(client: LumenizeClient) -> None:
    orders: list[Rows] = []
    client.orders.subscribe(
        {
            "where": {
                "AND": [
                    {"status": {"in": ["pending", "processing"]}},
                    {"createdAt": {"gte": datetime(2024, 1, 1, tzinfo=UTC)}},
                    {"total": {"gte": 100}},
                ]
            }
        },
        orders.append,
    )
    await client.orders.create({"status": "pending", "total": 50})
    await client.orders.create({"status": "done", "total": 500})
    high = await client.orders.create({"status": "processing", "total": 100})
    await until(lambda: orders and ids(orders[-1]) == [high["id"]])


async def test_collection_subscriptions(client: LumenizeClient) -> None:
    notifications: list[str] = []
    dashboards: list[Rows] = []

    def on_user(event: Event) -> None:
        if event.type == "created":
            notifications.append(f"New user registered: {event.data['name']}")

    await client.users.subscribe("*", on_user).ready()
    client.projects.subscribe({"where": {"teamId": "team_456"}}, dashboards.append)
    user = await client.users.create({"name": "Ada"})
    await client.users.update(user["id"], {"name": "Ada L."})
    await client.projects.create({"teamId": "team_456", "name": "p"})
    await until(lambda: notifications == ["New user registered: Ada"])
    await until(lambda: dashboards and [row["name"] for row in dashboards[-1]] == ["p"])


# event types


async def test_standard_events(client: LumenizeClient) -> None:
    events: list[Event] = []
    await client.tasks.subscribe("*", events.append).ready()
    task = await client.tasks.create({"status": "pending"})
    await client.tasks.update(task["id"], {"status": "done"})
    await client.tasks.delete(task["id"])
    await client.tasks.restore(task["id"])
    await until(lambda: [event.type for event in events] == ["created", "updated", "deleted", "restored"])
    created, updated, deleted, restored = events
    assert created.data["status"] == "pending"
    assert updated.changes == {"status": {"from": "pending", "to": "done"}}
    assert updated.data["status"] == "done"
    assert deleted.id == task["id"]
    assert restored.data["status"] == "done"
    assert [event.version for event in events] == [1, 2, 3, 4]


async def test_custom_events(
    server: tuple[Cable, Collab], client: LumenizeClient, somebody_else: LumenizeClient
) -> None:
    notifications: list[str] = []
    others: list[dict[str, Any]] = []

    def on_completed(event: dict[str, Any]) -> None:
        notifications.append(f"Task completed by {event['data']['completedBy']}")

    await somebody_else.events.subscribe("task_completed", on_completed).ready()
    await client.events.subscribe("task_completed", others.append).ready()
    event = {
        "type": "task_completed",
        "taskId": "task_123",
        "data": {"completedBy": "user_456", "completedAt": datetime.now(UTC)},
        "channels": ["task_123", "user_456", "team_789"],
    }
    await client.events.emit(event)
    await until(lambda: notifications == ["Task completed by user_456"])
    assert others == [], "it is in none of the channels"

    await client.events.join("team_789")
    await client.events.emit(event)
    await until(lambda: others)
    assert others[0]["taskId"] == "task_123"

    # from the server's own side, to everybody
    server[1].events.emit(PROJECT, {"type": "task_completed", "data": {"completedBy": "the server"}})
    await until(lambda: notifications[-1] == "Task completed by the server")


async def test_system_events(server: tuple[Cable, Collab], client: LumenizeClient) -> None:
    schemas: list[str] = []
    resources: list[Any] = []

    async def on_schema(event: dict[str, Any]) -> None:
        await client.refresh_schema()
        schemas.append(event["entityName"])

    await client.system.subscribe("schema_updated", on_schema).ready()
    await client.system.subscribe("permissions_changed", lambda event: resources.append(event["resourceId"])).ready()
    await server[1].hub.declare("tasks", declaration(fields={"type": "object"}))
    await until(lambda: schemas == ["tasks"])
    assert client.schema is not None
    assert "tasks" in client.schema
    await server[1].permissions_changed(PROJECT, resource="tasks/task_123")
    await until(lambda: resources == ["tasks/task_123"])


async def test_a_schema_that_changed_with_a_restart_is_told_to_who_comes_back(tmp_path: Path) -> None:
    schemas: list[str] = []
    titled = {"type": "object", "required": ["title"]}
    async with cable() as link:
        async with behind(link, tmp_path, collections={"tasks": declaration()}):
            client = connecting(link.address)
            await client.connect()
            await client.system.subscribe("schema_updated", lambda event: schemas.append(event["entityName"])).ready()
        for fields in (titled, titled):  # the second time it is as it was
            async with behind(link, tmp_path, collections={"tasks": declaration(fields=fields)}):
                await until(client.is_connected)
                await client.system.subscribe("health", print).ready()
                await until(lambda: schemas == ["tasks"])
        await client.disconnect()


# patterns


async def test_live_chat(client: LumenizeClient, somebody_else: LumenizeClient) -> None:
    shown: list[Rows] = []
    typing: list[str] = []
    unsubscribe = client.messages.subscribe(
        {"where": {"chatId": "chat_123"}, "order_by": {"createdAt": "desc"}, "limit": 50}, shown.append
    )

    async def send_message(text: str) -> str:
        message = await somebody_else.messages.create({"chatId": "chat_123", "text": text, "authorId": "user_456"})
        return str(message["id"])

    def on_typing(event: dict[str, Any]) -> None:
        if event["chatId"] == "chat_123":
            typing.append(event["userId"])

    await client.events.subscribe("user_typing", on_typing).ready()
    somebody_else.events.emit({"type": "user_typing", "chatId": "chat_123", "userId": "user_456"})
    await until(lambda: typing == ["user_456"])
    await send_message("hello")
    await send_message("there")
    await until(lambda: shown and [message["text"] for message in shown[-1]] == ["there", "hello"])
    unsubscribe()


async def test_live_dashboard(client: LumenizeClient, somebody_else: LumenizeClient) -> None:
    widget = SimpleNamespace(users=0, orders=Rows([], []), revenue=0, health={})
    start_of_day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def on_orders(orders: Rows) -> None:
        widget.orders = orders
        widget.revenue = sum(order["total"] for order in orders)

    subscriptions = [
        client.analytics.subscribe("active_users", lambda count: setattr(widget, "users", count)),
        client.orders.subscribe(
            {"where": {"createdAt": {"gte": start_of_day}}, "order_by": {"createdAt": "desc"}}, on_orders
        ),
        client.system.subscribe("health", lambda health: setattr(widget, "health", health)),
    ]
    await somebody_else.orders.create({"total": 100})
    await somebody_else.orders.create({"total": 20})
    await until(lambda: widget.revenue == 120)
    await until(lambda: widget.users >= 1 and widget.health["state"] == "ok")
    for unsubscribe in subscriptions:
        unsubscribe()
    await somebody_else.orders.create({"total": 1})
    assert await client.orders.count() == 3
    assert len(widget.orders) == 2


async def test_collaborative_editing(client: LumenizeClient, somebody_else: LumenizeClient) -> None:
    document_id = "doc_123"
    await client.documents.create({"title": "draft", "body": ""}, id=document_id)
    applied: list[dict[str, Any]] = []

    def on_event(event: Event) -> None:
        if event.type == "updated" and event.user_id == "user_456":
            applied.append(event.changes)

    await client.documents.subscribe(document_id, on_event).ready()
    latest = await somebody_else.documents.find_by_id(document_id)
    await somebody_else.documents.update(document_id, {"title": "theirs"})
    await until(lambda: applied == [{"title": {"from": "draft", "to": "theirs"}}])

    # concurrent writes merge, and both sides are told
    conflicts: list[Any] = []
    client.on_conflict(conflicts.append)
    mine = await client.documents.update(document_id, {"title": "mine"}, version=latest.version)
    assert mine["title"] == "mine"
    assert [(conflict.field, conflict.theirs, conflict.user_id) for conflict in mine.conflicts] == [
        ("title", "theirs", "user_456")
    ]
    assert len(conflicts) == 1

    # whoever wants to resolve them asks for an error
    async def update_document(changes: dict[str, Any]) -> str:
        try:
            await client.documents.update(document_id, changes, version=latest.version, on_conflict="reject")
        except CollabError as error:
            if error.code == "CONFLICT":
                newest = await client.documents.find_by_id(document_id)
                return f"resolve {newest['title']} with {changes['title']}"
            return "revert"
        return "done"

    await somebody_else.documents.update(document_id, {"title": "theirs again"})
    assert await update_document({"title": "mine again"}) == "resolve theirs again with mine again"


async def test_presence_indicators(client: LumenizeClient, somebody_else: LumenizeClient) -> None:
    crowds: list[Crowd] = []
    client.presence.subscribe("doc_123", crowds.append)
    await somebody_else.presence.join("doc_123", {"userId": "user_456", "cursor": {"line": 10, "column": 5}})
    await until(lambda: crowds and [person.user_id for person in crowds[-1]] == ["user_456"])
    assert crowds[-1][0].state["cursor"] == {"line": 10, "column": 5}
    await somebody_else.presence.update("doc_123", {"cursor": {"line": 11, "column": 1}})
    await until(lambda: crowds[-1][0].state["cursor"] == {"line": 11, "column": 1})
    await somebody_else.presence.leave("doc_123")
    await until(lambda: crowds[-1] == [])


# optimizations


async def test_subscription_batching(client: LumenizeClient) -> None:
    shown: dict[str, Rows] = {}
    batch = client.create_subscription_batch()
    batch.add("tasks", {"where": {"assignedTo": "me"}}, lambda rows: shown.update(tasks=rows))
    batch.add("projects", {"where": {"teamId": "team"}}, lambda rows: shown.update(projects=rows))
    batch.add("notifications", {"where": {"userId": "me", "read": False}}, lambda rows: shown.update(notes=rows))
    unsubscribe_all = await batch.execute()
    await client.tasks.create({"assignedTo": "me"})
    await client.projects.create({"teamId": "team"})
    await client.notifications.create({"userId": "me", "read": False})
    await until(lambda: [len(shown.get(name, [])) for name in ("tasks", "projects", "notes")] == [1, 1, 1])
    unsubscribe_all()
    await client.tasks.create({"assignedTo": "me"})
    assert len(shown["tasks"]) == 1


async def test_selective_field_updates(client: LumenizeClient) -> None:
    statuses: list[str] = []
    seen: list[Event] = []
    await client.tasks.create({"status": "new", "title": "t"}, id="task_123")

    def on_task(event: Event) -> None:
        if event.changes.get("status"):
            statuses.append(f"Status changed to: {event.data['status']}")

    await client.tasks.subscribe("task_123", on_task, fields=["status", "updatedAt"]).ready()
    await client.users.create({"lastSeen": 1, "profile": {"city": "X"}, "secret": 1}, id="user_456")
    await client.users.subscribe("user_456", seen.append, fields=["lastSeen", "profile"]).ready()
    await client.tasks.update("task_123", {"title": "other"})
    await client.tasks.update("task_123", {"status": "done"})
    await client.users.update("user_456", {"secret": 2})
    await client.users.update("user_456", {"profile": {"city": "Y"}, "secret": 3})
    await until(lambda: statuses == ["Status changed to: done"] and seen)
    assert set(seen[0].changes) == {"profile"}
    assert seen[0].data["profile"] == {"city": "Y"}
    assert "secret" not in seen[0].data


async def test_conditional_subscriptions(client: LumenizeClient) -> None:
    now = SimpleNamespace(business_hours=False, role="guest")
    orders: list[Rows] = []
    new_users: list[str] = []
    await client.orders.subscribe(
        {"where": {"status": "pending"}, "condition": lambda: now.business_hours}, orders.append
    ).ready()
    await client.users.subscribe(
        "*", lambda event: new_users.append(event.data["name"]), condition=lambda: now.role == "admin"
    ).ready()
    everything: list[Event] = []
    await client.users.subscribe("*", everything.append).ready()
    await client.orders.create({"status": "pending"})
    await client.users.create({"name": "unseen"})
    await until(lambda: len(everything) == 1)
    now.business_hours, now.role = True, "admin"
    await client.orders.create({"status": "pending"})
    await client.users.create({"name": "seen"})
    await until(lambda: orders and len(orders[-1]) == 2)
    await until(lambda: new_users == ["seen"])


# error handling


async def test_connection_errors(server: tuple[Cable, Collab], url: str) -> None:
    screen: list[str] = []

    def on_error(error: CollabError) -> None:
        match error.type:
            case "CONNECTION_LOST":
                screen.append("banner")
            case "AUTHENTICATION_FAILED":
                screen.append("login")
            case "SUBSCRIPTION_FAILED":
                screen.append(f"subscription: {error.details['cause']}")

    token = user_jwt_token("user_123", access={"tasks/*": "read"})
    async with LumenizeClient(url=url, token=token, websocket={"initial_delay": 10}) as client:
        client.on_error(on_error)
        client.secrets.subscribe("*", print)
        await until(lambda: screen == ["subscription: PERMISSION_DENIED"])
        server[0].cut()
        await until(lambda: screen[1:] == ["banner"])

    stranger = LumenizeClient(url=url, token="nonsense")
    stranger.on_error(on_error)
    with contextlib.suppress(CollabError):
        await stranger.connect()
    assert screen[2:] == ["login"]


async def test_too_many_subscriptions_are_told(url: str) -> None:
    websocket = {"subscription_rate_limit": {"max_subscriptions": 1, "max_events_per_second": 1000}}
    async with LumenizeClient(url=url, project_id=PROJECT, api_key=KEY, websocket=websocket) as client:
        types: list[str] = []
        client.on_error(lambda error: types.append(error.type))
        first = client.tasks.subscribe("*", print)
        await first.ready()
        second = client.users.subscribe("*", print)
        await until(lambda: types and set(types) == {"RATE_LIMIT_EXCEEDED"})
        first()
        with anyio.fail_after(40):
            await second.ready()


async def test_subscription_errors(url: str) -> None:
    async with LumenizeClient(url=url, token=user_jwt_token("user_123", access={"users/*": "read"})) as client:
        codes: list[str] = []
        client.tasks.subscribe("*", print, on_error=lambda error: codes.append(error.code))
        await until(lambda: codes == ["PERMISSION_DENIED"])


async def test_the_reconnection_strategy(server: tuple[Cable, Collab], url: str) -> None:
    screen: list[str] = []
    client = LumenizeClient(
        url=url,
        project_id=PROJECT,
        api_key=KEY,
        websocket={
            "reconnect_strategy": "exponential",  # "linear", "exponential"
            "initial_delay": 10,
            "max_delay": 300,
            "backoff_factor": 2,
            "max_attempts": 3,
            "on_reconnect_failed": lambda: screen.append("offline mode"),
        },
    )
    await client.connect()
    target, server[0].target = server[0].target, None
    server[0].cut()
    await until(lambda: screen == ["offline mode"])
    assert not client.is_connected()
    server[0].target = target
    await client.connect()
    await client.disconnect()


# performance


async def test_cleanup(client: LumenizeClient) -> None:
    subscriptions: set[Callable[[], None]] = set()
    events: list[Event] = []

    def add_subscription(entity: str, query: Any, handler: Callable[[Any], None]) -> Callable[[], None]:
        unsubscribe = client.collection(entity).subscribe(query, handler)
        subscriptions.add(unsubscribe)
        return unsubscribe

    add_subscription("tasks", "*", events.append)
    add_subscription("tasks", {}, events.append)
    for unsubscribe in subscriptions:
        unsubscribe()
    subscriptions.clear()
    await client.tasks.create({"title": "t"})
    assert events == []


async def test_bandwidth_optimization(tmp_path: Path) -> None:
    async with world(tmp_path / "compressing", compression=True) as (link, _):
        websocket = {"compression": True, "binary_protocol": True}
        async with LumenizeClient(url=f"http://{link.address}", websocket=websocket) as client:
            shown: list[Rows] = []
            client.tasks.subscribe(
                {"where": {"assignedTo": "me"}},
                shown.append,
                fields=["id", "title", "status"],
                include_permissions=False,
            )
            task = await client.tasks.create({"assignedTo": "me", "title": "t", "status": "new", "large": "x" * 1000})
            await until(lambda: shown and shown[-1] == [{"id": task["id"], "title": "t", "status": "new"}])


async def test_the_settings_of_a_server_that_lets_everybody_in(tmp_path: Path) -> None:
    """Without credentials a user's id is the client's own word."""
    assert Settings(data=str(tmp_path)).keys == []
    events: list[Event] = []
    async with (
        world(tmp_path) as (link, _),
        LumenizeClient(url=f"http://{link.address}", user_id="user_123") as client,
    ):
        await client.tasks.subscribe("*", events.append).ready()
        await client.tasks.create({})
        await until(lambda: events)
        assert events[0].user_id == "user_123"
