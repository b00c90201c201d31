from __future__ import annotations

from typing import Any

import pytest

from collab.errors import InvalidRequest, SubscriptionFailed
from collab.realtime.topics.system import ProjectHealth, SystemEvents
from tests.collab.realtime.virtual_time import VirtualTime

Told = list[dict[str, Any]]


class Server:
    """The source of the server's health."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.health = ProjectHealth(3, 2, 100)
        self.asked: list[str] = []
        self.system = SystemEvents(self.probe, clock=self.time.clock, later=self.time.later)

    def probe(self, project: str) -> ProjectHealth:
        self.asked.append(project)
        return self.health


def test_v1_health_is_told_at_once() -> None:
    server, told = Server(), Told()
    server.system.subscribe("p", "health", told.append)
    assert told == [
        {
            "type": "health",
            "state": "ok",
            "reasons": [],
            "connections": 3,
            "rooms": 2,
            "pendingBytes": 100,
            "at": "1970-01-01T00:16:40.000Z",
        }
    ]


def test_v1_health_is_told_every_ten_seconds() -> None:
    server, told = Server(), Told()
    server.system.subscribe("p", "health", told.append)
    server.time.pass_by(9.5)
    assert len(told) == 1
    server.health = ProjectHealth(4, 2, 0)
    server.time.pass_by(1)
    assert [event["connections"] for event in told] == [3, 4]
    server.time.pass_by(20)
    assert len(told) == 4


def test_v1_health_is_told_when_its_state_changes() -> None:
    server, told = Server(), Told()
    server.system.subscribe("p", "health", told.append)
    server.health = ProjectHealth(3, 2, 100, ("storage does not accept writes",))
    server.time.pass_by(1)
    assert told[-1]["state"] == "degraded"
    assert told[-1]["reasons"] == ["storage does not accept writes"]
    server.health = ProjectHealth(3, 2, 100)
    server.system.look()
    assert [event["state"] for event in told] == ["ok", "degraded", "ok"]


def test_a_second_subscriber_gets_its_own_first_word() -> None:
    server, one, two = Server(), Told(), Told()
    server.system.subscribe("p", "health", one.append)
    close = server.system.subscribe("p", "health", two.append)
    assert len(one) == len(two) == 1
    close()
    server.time.pass_by(15)
    assert len(one) == 2
    assert len(two) == 1


def test_nobody_is_asked_how_it_does_when_nobody_wants_to_know() -> None:
    server = Server()
    close = server.system.subscribe("p", "health", lambda event: None)
    close()
    close()
    server.asked.clear()
    server.time.pass_by(60)
    assert not server.asked
    assert not server.time.waiting


def test_v2_an_announcement_reaches_its_project_and_type_only() -> None:
    server, mine, other, theirs = Server(), Told(), Told(), Told()
    server.system.subscribe("p", "schema_updated", mine.append)
    server.system.subscribe("p", "permissions_changed", other.append)
    server.system.subscribe("q", "schema_updated", theirs.append)
    server.system.announce("p", server.system.schema_event("tasks", 3))
    assert mine == [
        {"type": "schema_updated", "entityName": "tasks", "version": 3, "at": "1970-01-01T00:16:40.000Z"},
    ]
    assert not other
    assert not theirs


def test_v3_changed_permissions_are_told_to_whom_they_concern() -> None:
    server, ada, bob, nobody = Server(), Told(), Told(), Told()
    server.system.subscribe("p", "permissions_changed", ada.append, user_id="ada")
    server.system.subscribe("p", "permissions_changed", bob.append, user_id="bob")
    server.system.subscribe("p", "permissions_changed", nobody.append)
    server.system.permissions_changed("p", "tasks/t1", user_id="ada")
    assert [event["resourceId"] for event in ada] == ["tasks/t1"]
    assert not bob
    assert not nobody
    server.system.permissions_changed("p")
    assert len(ada) == 2
    assert len(bob) == len(nobody) == 1


def test_a_subscription_that_was_closed_hears_nothing() -> None:
    server, told = Server(), Told()
    server.system.subscribe("p", "schema_updated", told.append)()
    server.system.announce("p", server.system.schema_event("tasks", 1))
    assert not told


def test_a_type_that_there_is_not_is_refused() -> None:
    server = Server()
    with pytest.raises(SubscriptionFailed):
        server.system.subscribe("p", "weather", lambda event: None)
    for event in ({"type": "health"}, {"type": "weather"}, {"type": ["schema_updated"]}, {}):
        with pytest.raises(InvalidRequest):
            server.system.announce("p", event)
