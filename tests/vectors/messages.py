"""One message of each kind and with each member, for the golden vectors."""

from __future__ import annotations

from typing import Any

import msgspec

from collab.event import FieldConflict
from collab.wire.realtime import messages as r
from collab.wire.realtime import values as wire

TASK = {"id": "t1", "title": "Tëst 😀", "done": False, "rank": 1.5, "tags": ["a", None, {"x": -1}]}
CONFLICT = FieldConflict(
    field="title", base="a", theirs="b", yours="c", winner="yours", user_id="u2", at="2024-01-31T12:00:00.000Z"
)
EVENT: dict[str, Any] = {
    "position": 7,
    "type": "updated",
    "collection": "tasks",
    "id": "t1",
    "version": 2,
    "data": TASK,
    "changes": {"done": {"from": True, "to": False}},
    "userId": None,
    "at": "2024-01-31T12:00:00.000Z",
    "conflicts": [],
}

CLIENT: list[r.Message] = [
    r.Hello(),
    r.Hello(protocol=2),
    r.Hello(
        project_id="proj_abc123",
        api_key="lum_live_xyz789",
        user_id="user_123",
        token="a.b.c",
        max_subscriptions=100,
        max_events_per_second=1000,
    ),
    r.Authenticate(id=1, token="a.b.c", user_id="user_123"),
    r.Ping(),
    r.Create(id=2**53 - 1, collection="tasks", data=TASK, entity="t1", request="r1"),
    r.Update(id=3, collection="tasks", entity="t1", changes={"done": True}),
    r.Update(
        id=3,
        collection="tasks",
        entity="t1",
        changes={"done": None},
        unset=("rank",),
        version=300,
        on_conflict="reject",
        request="r2",
    ),
    r.Delete(id=4, collection="tasks", entity="t1", request="r3"),
    r.Restore(id=5, collection="tasks", entity="t1", version=1, request="r4"),
    r.WriteMany(
        id=17,
        writes=(
            wire.CreateOne(collection="tasks", data=TASK, entity="t1", request="r1"),
            wire.CreateOne(collection="tasks", data={}),
            wire.UpdateOne(collection="tasks", entity="t1", changes={"done": True}),
            wire.UpdateOne(
                collection="tasks",
                entity="t1",
                changes={},
                unset=("rank",),
                version=300,
                on_conflict="reject",
                request="r2",
            ),
            wire.DeleteOne(collection="tasks", entity="t1", request="r3"),
        ),
    ),
    r.Transaction(
        id=18,
        writes=(
            wire.CreateOne(collection="tasks", data=TASK, entity="t1"),
            wire.UpdateOne(collection="users", entity="u1", changes={"tasks": 1}, version=4, on_conflict="reject"),
            wire.DeleteOne(collection="drafts", entity="d1"),
        ),
        request="r1",
    ),
    r.FindById(id=6, collection="tasks", entity="t1", content=True, version=1, include_permissions=True),
    r.FindById(id=6, collection="tasks", entity="t1", at="2024-01-31T12:00:00Z"),
    r.FindMany(
        id=7,
        collection="tasks",
        query={"where": {"done": False, "rank": {"gte": 1}}, "orderBy": {"rank": "desc"}, "limit": 10},
        fields=("title",),
        include_permissions=True,
    ),
    r.Count(id=8, collection="tasks", query={"where": {"done": True}}),
    r.Aggregate(id=20, collection="tasks"),
    r.Aggregate(
        id=20,
        collection="tasks",
        query={"where": {"done": True}, "groupBy": ["owner", "customer.city"], "sum": "rank", "max": ["rank"]},
    ),
    r.History(id=9, collection="tasks", entity="t1", limit=10, before=70_000),
    r.Schema(id=10),
    r.Subscribe(
        id=11,
        subscriptions=(
            r.Subscription(sub=1, target=wire.Entities(collection="tasks")),
            r.Subscription(
                sub=2,
                target=wire.Entities(
                    collection="tasks", entity="t1", fields=("done",), include_permissions=True, cursor="c1"
                ),
            ),
            r.Subscription(
                sub=3,
                target=wire.Rows(collection="tasks", query={"where": {}}, fields=("id",), include_permissions=True),
            ),
            r.Subscription(sub=9, target=wire.Aggregated(collection="tasks", query={"groupBy": "done"})),
            r.Subscription(sub=4, target=wire.Custom(event="task_completed", cursor="c2")),
            r.Subscription(sub=5, target=wire.System(event="health")),
            r.Subscription(sub=8, target=wire.System(event="schema_updated", cursor="c3")),
            r.Subscription(sub=6, target=wire.Analytics(metric="active_users")),
            r.Subscription(sub=7, target=wire.Presence(room="documents/d1")),
        ),
    ),
    r.Unsubscribe(id=12, subs=(1, 200)),
    r.Emit(id=13, event={"type": "user_typing", "channels": ["team_1"], "data": {"a": [1, 2.5, None]}}),
    r.Emit(id=19, event={"type": "order_paid"}, request="emit-order-7"),
    r.JoinChannel(id=14, channel="team_1"),
    r.LeaveChannel(id=15, channel="team_1"),
    r.JoinPresence(id=16, room="d1", state={"cursor": {"line": 10, "column": 5}}),
    r.UpdatePresence(id=17, room="d1", state={"typing": True}),
    r.LeavePresence(id=18, room="d1"),
]
CLIENT += [
    msgspec.structs.replace(one, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    for one in {type(asked): asked for asked in CLIENT if isinstance(asked, r.Asked)}.values()
]

SERVER: list[r.Message] = [
    r.Welcome(
        protocol=1,
        project_id="default",
        user_id=None,
        session="s",
        cursor="c",
        heartbeat_seconds=15.5,
        limits=wire.Limits(max_subscriptions=0, max_events_per_second=1000, max_message_bytes=16_777_216),
        at="2026-05-01T10:00:00.000Z",
    ),
    r.Pong(),
    r.Reply(id=1),
    r.Reply(id=1, result=0),
    r.Reply(id=2, result=wire.Written(data=TASK, version=2, conflicts=(CONFLICT,))),
    r.Reply(id=3, result=wire.Found(data=TASK, version=2, permissions={"read": True, "write": False})),
    r.Reply(id=4, result=wire.FoundMany(rows=[TASK], versions=[2], next="n")),
    r.Reply(
        id=20,
        result=wire.Groups(
            groups=[{"id": '["u1"]', "group": {"owner": "u1"}, "count": 2, "sum": {"rank": 0.3}, "avg": {"rank": None}}]
        ),
    ),
    r.Reply(
        id=5,
        result=[
            wire.Subscribed(sub=1, cursor="c"),
            wire.Subscribed(sub=2, cursor="c", recovered=False),
            wire.Subscribed(sub=3, error=wire.Error(code="PERMISSION_DENIED", message="no")),
        ],
    ),
    r.Reply(
        id=6,
        result=[
            wire.WriteResult(data=TASK, version=2, conflicts=(CONFLICT,)),
            wire.WriteResult(error=wire.Error(code="CONFLICT", message="tasks/t1 already exists")),
        ],
    ),
    r.Failure(error=wire.Error(code="UNAVAILABLE", message="later", retryable=True)),
    r.Failure(
        error=wire.Error(code="RATE_LIMIT_EXCEEDED", message="slow", details={"retryAfter": 0.5}, retryable=True), id=1
    ),
    r.Failure(error=wire.Error(code="PERMISSION_DENIED", message="no"), sub=1),
    r.Event(subs=(1, 2), cursor="c", event=EVENT, permissions={"read": True, "write": True}),
    r.RowsAre(sub=1, rows=[TASK], versions=[2], permissions=[{"read": True, "write": False}]),
    r.RowsAre(
        sub=1,
        rows=[TASK],
        versions=[2],
        included={
            "owner": wire.Included(
                collection="users",
                by="ownerId",
                member="id",
                one=True,
                rows={"u1": [{"id": "u1"}]},
                versions={"u1": [3]},
            ),
            "comments": wire.Included(collection="comments", by="id", member="taskId", rows={}, versions={}),
        },
    ),
    r.RowsChanged(
        sub=1,
        steps=[],
        included=[
            wire.IncludedSteps(
                relation="owner", key="u1", steps=[wire.Step(op="change", id="u1", set={"name": "Ada"}, version=4)]
            ),
            wire.IncludedSteps(relation="comments", key="t1", steps=[], fresh=True),
        ],
    ),
    r.RowsChanged(
        sub=1,
        steps=[
            wire.Step(op="enter", id="t1", index=0, data=TASK, version=1, permissions={"read": True, "write": True}),
            wire.Step(op="change", id="t1", set={"done": True}, unset=("rank",), version=2),
            wire.Step(op="move", id="t1", index=0),
            wire.Step(op="leave", id="t1"),
        ],
    ),
    r.CustomEvent(subs=(4,), cursor="c", event={"type": "x", "at": "2024-01-31T12:00:00.000Z", "userId": "u1"}),
    r.SystemEvent(
        subs=(5,),
        cursor="c",
        event={"type": "schema_updated", "entityName": "tasks", "version": 2, "at": "2024-01-31T12:00:00.000Z"},
    ),
    r.SystemEvent(subs=(5,), event={"type": "health", "state": "ok", "at": "2024-01-31T12:00:00.000Z"}),
    r.Metric(subs=(6,), value=3),
    r.People(
        subs=(7,),
        count=2,
        people=[wire.Person(key="k", user_id="u1", name="Ada", state={"cursor": 1}, states=[{"cursor": 1}, {}])],
        left=("j",),
        complete=True,
    ),
]
