"""Unknown paths and malformed requests get the protocol's error format; request bodies are bounded in every way."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from collab import Collab, Settings
from tests.collab.server.http.api.conftest import KEY, SECRET, client, token
from tests.collab.serving import serving

TASKS = "/collections/tasks"


def refusal(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("path", ["/", "/nothing", "/collections", "/collections/", "/collections/tasks/t1/x"])
async def test_an_endpoint_that_is_not_there_is_not_found(api: httpx.AsyncClient, path: str) -> None:
    assert refusal(await api.get(path)) == (404, "NOT_FOUND")


async def test_a_method_that_an_endpoint_does_not_have_is_refused(api: httpx.AsyncClient) -> None:
    response = await api.put(f"{TASKS}/t1", json={})
    assert refusal(response) == (405, "INVALID_REQUEST")
    assert response.headers["allow"]


@pytest.mark.parametrize("collection", [".hidden", "a b", "x" * 129, "é"])
async def test_a_collection_that_cannot_be_is_refused(api: httpx.AsyncClient, collection: str) -> None:
    assert refusal(await api.get(f"/collections/{collection}")) == (404, "INVALID_REQUEST")


@pytest.mark.parametrize("path", ["/collections/tasks%2Ft1", "/collections/t%61sks", "/collections/tasks/%2e%2e"])
async def test_escapes_have_no_place_in_names(address: str, path: str) -> None:
    status = await asyncio.to_thread(request, address, f"GET /api/v1{path} HTTP/1.1\r\nAuthorization: Bearer {token()}")
    assert status == 404


def request(address: str, head: str) -> int:
    """The status of a request that no client library has tidied up."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        connection.setblocking(True)
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "JSON"),
        (b'{"a": NaN}', "JSON"),
        (b'{"a": "\xff"}', "JSON"),
        (b'{"a": "\\ud800"}', "JSON"),
        (b'{"a":' * 50_000, "JSON"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "32"),
        (b'{"a": 123456789012345678901234567890}', "64 bits"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(api: httpx.AsyncClient, body: bytes, reason: str) -> None:
    for path in (TASKS, "/events"):
        response = await api.post(path, content=body)
        assert refusal(response) == (400, "INVALID_REQUEST")
        assert reason in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    ['{"change": {}}', '{"changes": []}', '{"unset": "title"}', '{"version": "1"}', '{"onConflict": "win"}', "[]"],
)
async def test_a_change_of_another_form_is_refused(api: httpx.AsyncClient, body: str) -> None:
    assert refusal(await api.patch(f"{TASKS}/t1", content=body)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "body", ['{"whence": {}}', '{"where": []}', '{"limit": "1"}', '{"limit": -1}', '{"orderBy": 1}']
)
async def test_a_query_of_another_form_is_refused(api: httpx.AsyncClient, body: str) -> None:
    assert refusal(await api.post(f"{TASKS}/query", content=body)) == (400, "INVALID_REQUEST")


async def test_a_body_over_the_limit_is_refused(address: str, collab: Collab, api: httpx.AsyncClient) -> None:
    body = b'{"a": "' + b"x" * collab.settings.max_message_bytes + b'"}'
    assert refusal(await api.post(TASKS, content=body)) == (413, "INVALID_REQUEST")


async def test_a_fault_of_ours_tells_nothing_of_itself(
    api: httpx.AsyncClient, collab: Collab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("secret-canary")

    monkeypatch.setattr(collab.hub.records, "count", broken)
    response = await api.post(f"{TASKS}/count")
    assert refusal(response) == (500, "INTERNAL_ERROR")
    assert "canary" not in response.text


async def test_the_api_is_there_where_the_application_is_mounted(collab: Collab) -> None:
    outer = Starlette(routes=[Mount("/live", collab)], lifespan=collab.lifespan)
    async with serving(outer) as address, client(address) as api:
        url = f"http://{address}/live/api/v1{TASKS}"
        response = await api.post(url, json={"id": "t1"})
        assert response.status_code == 201
        assert response.headers["location"] == f"/live/api/v1{TASKS}/t1"
        assert (await api.get(f"{url}/t1")).status_code == 200
        assert refusal(await api.get(f"{url}/t1/nothing")) == (404, "NOT_FOUND")


async def test_a20_writes_over_the_rate_are_refused_with_when_to_come_again_and_nobody_else_is(tmp_path: Path) -> None:
    limited = Collab(Settings(data=str(tmp_path), jwt_secret=SECRET, api_key=KEY, writes_per_second=0.5))
    async with serving(limited) as address, client(address) as ada, client(address, token("bob")) as bob:
        for number in range(5):
            assert (await ada.post(TASKS, json={"id": f"t{number}"})).status_code == 201
        writes = [
            ada.post(TASKS, json={"id": "t9"}),
            ada.patch(f"{TASKS}/t1", json={"changes": {"n": 1}}),
            ada.delete(f"{TASKS}/t1"),
            ada.post(f"{TASKS}/t1/restore"),
            ada.post("/events", json={"type": "typing"}),
            ada.post("/permissions-changed"),
            ada.post(f"http://{address}/rooms/d", content=b"\0\0"),
        ]
        for write in writes:
            response = await write
            assert refusal(response) == (429, "RATE_LIMIT_EXCEEDED")
            assert response.json()["error"]["retryable"]
            assert 0 < response.json()["error"]["details"]["retryAfter"] <= int(response.headers["retry-after"]) <= 2
        assert len((await ada.get(TASKS)).json()["rows"]) == 5, "reading has no such limit"
        assert (await bob.post(TASKS, json={"id": "t9"})).status_code == 201
        # a key that speaks for no user is limited by address
        async with client(address, KEY) as service:
            answers = [await service.post(TASKS, json={}) for _ in range(6)]
            assert [answer.status_code for answer in answers] == [201] * 5 + [429]


async def test_a20_a37_each_of_several_writes_over_http_counts(tmp_path: Path) -> None:
    limited = Collab(Settings(data=str(tmp_path), jwt_secret=SECRET, writes_per_second=0.5))
    async with serving(limited) as address, client(address) as ada:
        writes = [{"type": "create", "collection": "tasks", "data": {}} for _ in range(20)]
        answer = await ada.post("/writes", json={"writes": writes})
        assert [result["version"] for result in answer.json()["results"]] == [1] * 20
        response = await ada.post(TASKS, json={})
        assert refusal(response) == (429, "RATE_LIMIT_EXCEEDED")
        assert int(response.headers["retry-after"]) >= 30


async def test_a20_bytes_that_are_written_over_http_have_a_rate_too(tmp_path: Path) -> None:
    limited = Collab(Settings(data=str(tmp_path), jwt_secret=SECRET, bytes_per_second=100.0))
    async with serving(limited) as address, client(address) as ada:
        assert (await ada.post(TASKS, json={"text": "x" * 2000})).status_code == 201
        response = await ada.post(TASKS, json={})
        assert refusal(response) == (429, "RATE_LIMIT_EXCEEDED")
        assert int(response.headers["retry-after"]) >= 5
