"""The description is valid OpenAPI, tells every operation, and every answer is as it says."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from jsonschema.validators import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from collab.server.http.api.openapi import describe
from collab.server.http.api.operations import OPERATIONS
from collab.server.http.api.routes import PREFIX

TASKS = "/collections/tasks"
DESCRIPTION = describe(OPERATIONS, PREFIX)


def test_the_description_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(DESCRIPTION).iter_errors()) == []


async def test_the_description_is_served_to_everybody(address: str) -> None:
    async with httpx.AsyncClient(timeout=40) as nobody:
        assert (await nobody.get(f"http://{address}{PREFIX}/openapi.json")).json() == DESCRIPTION


def test_every_operation_has_a_name_of_its_own_and_says_what_is_in_its_path() -> None:
    described = [each for methods in DESCRIPTION["paths"].values() for each in methods.values()]
    assert len({each["operationId"] for each in described}) == len(OPERATIONS)
    for path, methods in DESCRIPTION["paths"].items():
        for each in methods.values():
            inside = {said["name"] for said in each["parameters"] if said["in"] == "path"}
            assert inside == set(re.findall(r"{(\w+)}", path))


def check(name: str, response: httpx.Response) -> None:
    """The answer is as the operation's description says."""
    operation = next(each for each in OPERATIONS if each.name == name)
    answers = DESCRIPTION["paths"][operation.path][operation.method.lower()]["responses"]
    answer = answers.get(str(response.status_code), answers["default"])
    (schema,) = (content["schema"] for content in answer["content"].values())
    whole = {**schema, "components": DESCRIPTION["components"]}
    Draft202012Validator(whole).validate(response.json())
    for header in answer.get("headers", {}) if response.is_success else ():
        assert header in response.headers or name == "read"


STEPS: list[tuple[str, str, str, Any, int]] = [
    ("create", "POST", TASKS, {"id": "t1", "title": "Write"}, 201),
    ("create", "POST", TASKS, {"id": "t1"}, 409),
    ("create", "POST", "/collections/todos", {"title": 1}, 422),
    ("update", "PATCH", f"{TASKS}/t1", {"changes": {"title": "Read"}}, 200),
    ("update", "PATCH", f"{TASKS}/t1", {"changes": {"title": "Late"}, "version": 1}, 200),
    ("update", "PATCH", f"{TASKS}/t1", {"changes": {"title": "No"}, "version": 1, "onConflict": "reject"}, 409),
    ("read", "GET", f"{TASKS}/t1?includePermissions=1", None, 200),
    ("read", "GET", f"{TASKS}/t1?content=1", None, 200),
    ("read", "GET", f"{TASKS}/t1?version=1", None, 200),
    ("read", "GET", f"{TASKS}/t9", None, 404),
    ("list", "GET", f"{TASKS}?limit=1&includePermissions=1", None, 200),
    ("query", "POST", f"{TASKS}/query", {"where": {"title": "Late"}}, 200),
    ("count", "POST", f"{TASKS}/count", {}, 200),
    ("aggregate", "POST", f"{TASKS}/aggregate", {"groupBy": ["title"], "sum": "rank"}, 200),
    ("aggregate", "POST", f"{TASKS}/aggregate", {"order": "title"}, 400),
    ("listGroups", "GET", f"{TASKS}/aggregate?groupBy=title&min=rank", None, 200),
    ("history", "GET", f"{TASKS}/t1/history", None, 200),
    ("delete", "DELETE", f"{TASKS}/t1", None, 200),
    ("read", "GET", f"{TASKS}/t1", None, 410),
    ("restore", "POST", f"{TASKS}/t1/restore", {}, 200),
    (
        "writeMany",
        "POST",
        "/writes",
        {
            "writes": [
                {"type": "update", "collection": "tasks", "entity": "t1", "changes": {"title": "Far"}, "version": 1},
                {"type": "create", "collection": "tasks", "data": {"id": "t1"}},
            ]
        },
        200,
    ),
    ("writeMany", "POST", "/writes", {"writes": [{}]}, 400),
    (
        "transaction",
        "POST",
        "/transaction",
        {"writes": [{"type": "update", "collection": "tasks", "entity": "t1", "changes": {"n": 1}}]},
        200,
    ),
    (
        "transaction",
        "POST",
        "/transaction",
        {"writes": [{"type": "create", "collection": "tasks", "data": {"id": "t1"}}]},
        409,
    ),
    ("emit", "POST", "/events", {"type": "done"}, 200),
    ("emit", "POST", "/events", {}, 400),
    ("permissionsChanged", "POST", "/permissions-changed", {"userId": "bob"}, 202),
    ("present", "GET", "/presence/tasks/t1", None, 200),
    ("sessions", "GET", "/sessions?limit=5", None, 200),
    ("disconnect", "POST", "/disconnect", {"userId": "bob", "reason": "bye"}, 200),
    ("disconnect", "POST", "/disconnect", {}, 400),
    ("revoke", "POST", "/revoke", {"tokenId": "t1", "seconds": 60}, 200),
    ("revoke", "POST", "/revoke", {"user": "bob"}, 400),
    ("schema", "GET", "/schema", None, 200),
    ("health", "GET", "/health", None, 200),
]


async def test_every_answer_is_as_the_description_says(api: httpx.AsyncClient) -> None:
    for name, method, path, body, status in STEPS:
        response = await api.request(method, path, **({} if body is None else {"json": body}))
        assert response.status_code == status, (name, path, response.text)
        check(name, response)
    assert {name for name, *_ in STEPS} | {"subscribe"} == {operation.name for operation in OPERATIONS}


@pytest.mark.parametrize("name", ["Written", "Found", "FoundMany", "EntityEvent", "FieldConflict", "Error"])
def test_what_the_protocol_has_a_message_for_is_described_by_its_name(name: str) -> None:
    assert name in DESCRIPTION["components"]["schemas"]
