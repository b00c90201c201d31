"""Every operation of the application protocol can be asked for over HTTP, with the same meaning and the same errors."""

from __future__ import annotations

from typing import Any

import httpx
import pycrdt
import pytest

from collab import Collab
from collab.access.identity import Identity
from collab.access.rules import parse_rules
from tests.collab.server.http.api.conftest import KEY, client, token

TASKS = "/collections/tasks"


async def created(api: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await api.post(TASKS, json=fields)
    assert response.status_code == 201, response.text
    written: dict[str, Any] = response.json()
    return written


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# what is asked for


@pytest.mark.parametrize(
    ("method", "path", "complaint"),
    [
        ("GET", f"{TASKS}?status=open", "status: unknown parameter"),
        ("GET", f"{TASKS}?limt=1", "limt: unknown parameter; did you mean limit?"),
        ("GET", f"{TASKS}?Where=%7B%7D", "Where: unknown parameter; did you mean where?"),
        ("GET", f"{TASKS}?order_by=title", "order_by: unknown parameter; did you mean orderBy?"),
        (
            "GET",
            f'{TASKS}?orderBy={{"title":"desc"}}',
            "orderBy: must be fields, with - before a descending one, as in -title",
        ),
        (
            "GET",
            f"{TASKS}?orderBy=title%20desc",
            "orderBy: must be fields, with - before a descending one, as in -title",
        ),
        (
            "GET",
            f"{TASKS}?orderBy=n,title:ASC",
            "orderBy: must be fields, with - before a descending one, as in -title",
        ),
        ("GET", f"{TASKS}?limit=1&limit=5", "limit: given more than once"),
        ("GET", f"{TASKS}?where=%7B%7D&where=%7B%7D", "where: given more than once"),
        ("GET", f"{TASKS}/t1?versoin=1", "versoin: unknown parameter; did you mean version?"),
        ("GET", f"{TASKS}/t1?where=%7B%7D", "where: unknown parameter"),
        ("GET", f"{TASKS}/t1/history?after=3", "after: unknown parameter"),
        ("GET", f"{TASKS}/subscribe?entty=t1", "entty: unknown parameter; did you mean entity?"),
        ("GET", f"{TASKS}/subscribe?kind=rows&filter=x", "filter: unknown parameter"),
        ("GET", f"{TASKS}/subscribe?kind=rows&sum=n", "sum: requires kind=aggregate"),
        ("GET", f"{TASKS}/subscribe?kind=aggregate&limit=1", "limit: requires kind=rows"),
        ("GET", f"{TASKS}/subscribe?kind=aggregate&fields=n", "fields and includePermissions: groups have none"),
        ("GET", f"{TASKS}/subscribe?kind=aggregate&entity=t1", "entity requires kind=entities"),
        ("GET", f"{TASKS}/subscribe?kind=aggregate&sum=n,n", "sum[1]: 'n' appears twice"),
        ("GET", f"{TASKS}/subscribe?kind=aggregate&search=x", "search: tasks declares nothing to search"),
        ("GET", f"{TASKS}/subscribe?search=x", "search: requires kind=rows"),
        ("GET", f"{TASKS}/subscribe?kind=rows&where=%7B%22a%22:%7B%22eq%22:1%7D%7D", "where.a.eq: is not an operator"),
        ("GET", "/schema?collection=tasks", "collection: unknown parameter"),
        ("POST", f"{TASKS}/query?limit=1", "limit: unknown parameter"),
        ("POST", f"{TASKS}/count?where=%7B%7D", "where: unknown parameter"),
        ("POST", f"{TASKS}?request=r1", "request: unknown parameter"),
        ("PATCH", f"{TASKS}/t1?version=1", "version: unknown parameter"),
        ("DELETE", f"{TASKS}/t1?verison=1", "verison: unknown parameter"),
    ],
)
async def test_a_parameter_that_is_not_known_is_refused_with_the_nearest(
    api: httpx.AsyncClient, method: str, path: str, complaint: str
) -> None:
    await created(api, id="t1", status="open")
    response = await api.request(method, path, json={})
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert response.json()["error"]["message"].startswith(complaint)
    assert (await api.get(f"{TASKS}/t1")).json()["version"] == 1


@pytest.mark.parametrize("path", ["documents/d?fromat=text", "documents/d?format=text&rot=t", "documents/d?x=1"])
async def test_a_parameter_of_a_document_that_is_not_known_is_refused(api: httpx.AsyncClient, path: str) -> None:
    response = await api.get(f"{str(api.base_url).partition('/api/')[0]}/rooms/{path}")
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert "unknown parameter" in response.json()["error"]["message"]


async def test_a_token_may_come_as_a_parameter_with_every_operation(address: str) -> None:
    async with httpx.AsyncClient(timeout=40, base_url=f"http://{address}/api/v1") as nobody:
        assert (await nobody.get(f"{TASKS}?limit=1&token={token()}")).json() == {"rows": [], "versions": []}


@pytest.mark.parametrize("version", [-1, 2**53, 2**63])
async def test_a_version_that_no_entity_can_have_is_refused(api: httpx.AsyncClient, version: int) -> None:
    await created(api, id="t1")
    restoring = await api.post(f"{TASKS}/t1/restore", json={"version": version})
    changing = await api.patch(f"{TASKS}/t1", json={"changes": {"a": 1}, "version": version})
    assert refusal(restoring) == refusal(changing) == (400, "INVALID_REQUEST")


async def test_a_misspelt_member_of_a_body_is_refused_with_the_nearest(api: httpx.AsyncClient) -> None:
    for path, body, meant in (
        ("query", {"were": {"status": "open"}}, "where"),
        ("query", {"orderby": {"title": "asc"}}, "orderBy"),
        ("count", {"Where": {}}, "where"),
    ):
        response = await api.post(f"{TASKS}/{path}", json=body)
        assert refusal(response) == (400, "INVALID_REQUEST")
        assert response.json()["error"]["message"].endswith(f"did you mean {meant}?")


async def test_a_long_name_is_quoted_in_part_and_a_string_that_is_not_unicode_named(api: httpx.AsyncClient) -> None:
    for path, content, message in (
        (f"{TASKS}/query", b'{"where' + b"x" * 1_000_000 + b'":1}', "xxx…xxx"),
        (f"{TASKS}/query", b'{"where":{"' + b"x" * 1_000_000 + b'":{"$in":1}}}', "xxx…"),
        (f"{TASKS}/query", b'{"where":{"a":"\\ud83d"}}', "a string in it is not Unicode"),
        (TASKS, b'{"a":"\\udc00b"}', "a string in it is not Unicode"),
    ):
        response = await api.post(path, content=content)
        assert refusal(response) == (400, "INVALID_REQUEST")
        assert message in response.json()["error"]["message"]
        assert len(response.content) < 1000


async def test_what_javascript_could_not_read_is_refused_with_its_place(api: httpx.AsyncClient) -> None:
    for body in ('{"__proto__": 1}', '{"a": {"b": [{"__proto__": 1}]}}'):
        response = await api.post(TASKS, content=body)
        assert refusal(response)[0] in (400, 422)
        assert "__proto__" in response.json()["error"]["message"]
    response = await api.patch(f"{TASKS}/t1", content='{"changes": {"a": {"__proto__": 1}}}')
    assert "changes.a.__proto__" in response.json()["error"]["message"]
    response = await api.post("/events", content='{"type": "x", "a": {"__proto__": 1}}')
    assert "a.__proto__" in response.json()["error"]["message"]


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"'])
async def test_an_etag_that_a_proxy_made_weak_is_the_same_version(api: httpx.AsyncClient, etag: str) -> None:
    await created(api, id="t1", title="Write")
    response = await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Read"}}, headers={"if-match": etag})
    assert response.status_code == 200
    response = await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Sing"}}, headers={"if-match": etag})
    assert refusal(response) == (409, "CONFLICT")


# writing and reading


async def test_what_is_created_is_named_by_the_server_and_found_at_its_location(api: httpx.AsyncClient) -> None:
    response = await api.post(TASKS, json={"title": "Write"})
    written = response.json()
    assert response.status_code == 201
    assert response.headers["etag"] == '"1"'
    assert written["version"] == 1
    assert response.headers["location"] == f"/api/v1{TASKS}/{written['data']['id']}"
    found = await api.get(f"{TASKS}/{written['data']['id']}")
    assert found.json() == {"data": written["data"], "version": 1}
    assert found.headers["etag"] == '"1"'


async def test_an_entity_may_be_named_by_who_creates_it_and_once_only(api: httpx.AsyncClient) -> None:
    await created(api, id="t1", title="Write")
    assert refusal(await api.post(TASKS, json={"id": "t1"})) == (409, "CONFLICT")


async def test_fields_are_set_and_removed(api: httpx.AsyncClient) -> None:
    await created(api, id="t1", title="Write", status="open")
    response = await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Read"}, "unset": ["status"]})
    data = response.json()["data"]
    assert (data["title"], "status" in data) == ("Read", False)
    assert response.headers["etag"] == '"2"'


async def test_a_write_that_is_sent_again_under_its_name_has_effect_once(api: httpx.AsyncClient) -> None:
    named = {"idempotency-key": "create-1"}
    first = (await api.post(TASKS, json={"title": "Write"}, headers=named)).json()
    again = (await api.post(TASKS, json={"title": "Write"}, headers=named)).json()
    assert again["data"]["id"] == first["data"]["id"]
    assert (await api.post(f"{TASKS}/count")).json() == {"count": 1}


async def test_an_idempotency_key_is_its_callers_and_stands_for_one_body(api: httpx.AsyncClient, address: str) -> None:
    named = {"idempotency-key": "order-1"}
    first = await api.post(TASKS, json={"title": "mine"}, headers=named)
    assert refusal(await api.post(TASKS, json={"title": "another"}, headers=named)) == (422, "INVALID_REQUEST")
    entity = first.json()["data"]["id"]
    assert refusal(await api.delete(f"{TASKS}/{entity}", headers=named)) == (422, "INVALID_REQUEST")
    async with client(address, token("bob")) as bob:
        theirs = await bob.post(TASKS, json={"title": "mine"}, headers=named)
    assert theirs.status_code == 201
    assert theirs.json()["data"]["id"] != entity
    assert (await api.post(TASKS, json={"title": "mine"}, headers=named)).json() == first.json()


async def test_what_others_wrote_since_is_a_conflict_that_is_reported_and_no_error(api: httpx.AsyncClient) -> None:
    await created(api, id="t1", title="Write")
    await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Theirs"}})
    response = await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Mine"}, "version": 1})
    assert response.status_code == 200
    (conflict,) = response.json()["conflicts"]
    assert (conflict["field"], conflict["theirs"], conflict["yours"]) == ("title", "Theirs", "Mine")


@pytest.mark.parametrize("how", ["header", "body"])
async def test_if_match_and_on_conflict_reject_compare_before_they_set(api: httpx.AsyncClient, how: str) -> None:
    await created(api, id="t1", title="Write", status="open")
    await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Theirs"}})
    header = {"if-match": '"1"'} if how == "header" else {}
    said = {} if how == "header" else {"version": 1, "onConflict": "reject"}
    response = await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Mine"}, **said}, headers=header)
    assert refusal(response) == (409, "CONFLICT")
    details = response.json()["error"]["details"]
    assert (details["data"]["title"], details["version"]) == ("Theirs", 2)
    # nobody else has written this one
    kept = await api.patch(f"{TASKS}/t1", json={"changes": {"status": "done"}, **said}, headers=header)
    assert kept.json()["data"]["status"] == "done"


async def test_if_match_and_the_body_must_agree(api: httpx.AsyncClient) -> None:
    await created(api, id="t1")
    response = await api.patch(f"{TASKS}/t1", json={"changes": {}, "version": 2}, headers={"if-match": '"1"'})
    assert refusal(response) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("etag", ["W/1", "1", '"x"', '"-1"', "*", '"'])
async def test_an_if_match_that_is_no_version_is_refused(api: httpx.AsyncClient, etag: str) -> None:
    await created(api, id="t1")
    response = await api.patch(f"{TASKS}/t1", json={"changes": {"a": 1}}, headers={"if-match": etag})
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert "If-Match" in response.json()["error"]["message"]


async def test_what_is_deleted_is_gone_and_may_be_restored(api: httpx.AsyncClient) -> None:
    await created(api, id="t1", title="Write")
    assert (await api.delete(f"{TASKS}/t1")).json()["version"] == 2
    assert refusal(await api.get(f"{TASKS}/t1")) == (410, "NOT_FOUND")
    assert (await api.post(f"{TASKS}/t1/restore")).json()["data"]["title"] == "Write"
    assert (await api.get(f"{TASKS}/t1")).json()["version"] == 3


async def test_an_entity_may_be_brought_back_to_a_version(api: httpx.AsyncClient) -> None:
    await created(api, id="t1", title="Write")
    await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Read"}})
    restored = await api.post(f"{TASKS}/t1/restore", json={"version": 1})
    assert restored.json()["data"]["title"] == "Write"


async def test_the_past_can_be_read(api: httpx.AsyncClient) -> None:
    first = await created(api, id="t1", title="Write")
    await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Read"}})
    then = await api.get(f"{TASKS}/t1", params={"version": 1})
    assert then.json()["data"]["title"] == "Write"
    assert "etag" not in then.headers
    at = await api.get(f"{TASKS}/t1", params={"at": first["data"]["createdAt"]})
    assert at.json()["data"]["title"] == "Write"
    events = (await api.get(f"{TASKS}/t1/history")).json()["events"]
    assert [(event["version"], event["type"], event["userId"]) for event in events] == [
        (2, "updated", "ada"),
        (1, "created", "ada"),
    ]
    assert [e["version"] for e in (await api.get(f"{TASKS}/t1/history?limit=1&before=2")).json()["events"]] == [1]


async def test_content_comes_on_request(api: httpx.AsyncClient, collab: Collab) -> None:
    async with collab.room("tasks/t1").edit() as doc:
        doc.get("fields", type=pycrdt.Map)["title"] = "Write"
        doc.get("body", type=pycrdt.Text).insert(0, "Hello")
    assert "content" not in (await api.get(f"{TASKS}/t1")).json()
    found = await api.get(f"{TASKS}/t1", params={"content": "1", "includePermissions": "true"})
    assert found.json()["content"] == {"body": "Hello"}
    assert found.json()["permissions"] == {"read": True, "write": True}


# queries


async def test_a_list_takes_conditions_order_and_page_from_the_address(api: httpx.AsyncClient) -> None:
    for number in range(5):
        await created(api, id=f"t{number}", rank=number % 2, status="open" if number else "done")
    asked = {"where": '{"status": "open"}', "orderBy": "-rank,id", "limit": "3", "fields": "rank"}
    page = (await api.get(TASKS, params=asked)).json()
    assert [row["id"] for row in page["rows"]] == ["t1", "t3", "t2"]
    assert set(page["rows"][0]) == {"id", "rank"}
    rest = (await api.get(TASKS, params=asked | {"after": page["next"]})).json()
    assert [row["id"] for row in rest["rows"]] == ["t4"]
    assert [row["id"] for row in (await api.get(TASKS, params={"offset": "4"})).json()["rows"]] == ["t4"]


async def test_a_query_may_come_as_a_body(api: httpx.AsyncClient) -> None:
    for number in range(3):
        await created(api, id=f"t{number}", rank=number)
    query = {"where": {"rank": {"gte": 1}}, "orderBy": {"rank": "desc"}, "limit": 1}
    found = (await api.post(f"{TASKS}/query", json=query | {"fields": ["rank"], "includePermissions": True})).json()
    assert found["rows"] == [{"id": "t2", "rank": 2}]
    assert found["versions"] == [1]
    assert found["permissions"] == [{"read": True, "write": True}]
    assert (await api.post(f"{TASKS}/count", json={"where": query["where"]})).json() == {"count": 2}
    assert (await api.post(f"{TASKS}/count")).json() == {"count": 3}


async def test_an_aggregate_may_come_as_a_body_or_in_the_address(api: httpx.AsyncClient) -> None:
    for number in range(4):
        await created(api, id=f"t{number}", rank=number / 10, team="ab"[number % 2])
    asked = {"where": {"rank": {"gt": 0}}, "groupBy": "team", "sum": ["rank"], "max": "rank"}
    groups = [
        {"id": '["a"]', "group": {"team": "a"}, "count": 1, "sum": {"rank": 0.2}, "max": {"rank": 0.2}},
        {"id": '["b"]', "group": {"team": "b"}, "count": 2, "sum": {"rank": 0.4}, "max": {"rank": 0.3}},
    ]
    assert (await api.post(f"{TASKS}/aggregate", json=asked)).json() == {"groups": groups}
    said = {"where": '{"rank": {"gt": 0}}', "groupBy": "team", "sum": "rank", "max": "rank"}
    assert (await api.get(f"{TASKS}/aggregate", params=said)).json() == {"groups": groups}
    (all_,) = (await api.post(f"{TASKS}/aggregate")).json()["groups"]
    assert all_ == {"id": "[]", "group": {}, "count": 4}
    for wrong in ({"groupBy": ["a", "a"]}, {"sum": {"a": 1}}, {"limit": 1}):
        assert refusal(await api.post(f"{TASKS}/aggregate", json=wrong)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"where": "status"}, "where"),
        ({"where": "[]"}, "where"),
        ({"where": '{"a": NaN}'}, "where"),
        ({"where": "[" * 5_000}, "where"),
        ({"where": '{"a": {"lt": true}}'}, "lt"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "9" * 20}, "limit"),
        ({"limit": "\u0661"}, "limit"),
        ({"offset": "1.5"}, "offset"),
        ({"after": "nowhere"}, "after"),
        ({"orderBy": ","}, "orderBy"),
        ({"includePermissions": "yes"}, "includePermissions"),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_named(
    api: httpx.AsyncClient, params: dict[str, str], name: str
) -> None:
    response = await api.get(TASKS, params=params)
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert name in response.json()["error"]["message"]


# who may


async def test_without_a_credential_the_answer_is_401(address: str) -> None:
    async with httpx.AsyncClient(timeout=40, base_url=f"http://{address}/api/v1") as nobody:
        response = await nobody.get(TASKS)
        assert refusal(response) == (401, "AUTHENTICATION_FAILED")
        assert response.headers["www-authenticate"] == "Bearer"
        assert (await nobody.get("/health")).json() == {"status": "ok"}


async def test_an_api_key_may_come_alone_or_beside_a_users_token(address: str, api: httpx.AsyncClient) -> None:
    async with httpx.AsyncClient(
        timeout=40, base_url=f"http://{address}/api/v1", headers={"x-api-key": KEY}
    ) as program:
        assert (await program.post(TASKS, json={"id": "t1"})).status_code == 201
    async with client(address, KEY) as program:
        assert (await program.get(f"{TASKS}/t1")).status_code == 200
    async with client(address, token("bob", access={"tasks/*": "read"}), **{"x-api-key": KEY}) as bob:
        assert (await bob.get(f"{TASKS}/t1")).status_code == 200
        assert refusal(await bob.delete(f"{TASKS}/t1")) == (403, "PERMISSION_DENIED")
    async with client(address, **{"x-api-key": "another-application"}) as wrong:
        assert refusal(await wrong.get(TASKS)) == (401, "AUTHENTICATION_FAILED")
    async with client(address, token(project="acme"), **{"x-api-key": KEY}) as mixed:
        assert refusal(await mixed.get(TASKS)) == (401, "AUTHENTICATION_FAILED")


async def test_rules_on_rows_hold_for_reading_listing_and_writing(address: str, api: httpx.AsyncClient) -> None:
    await created(api, id="mine", owner="bob")
    await created(api, id="theirs", owner="eve")
    own = {"tasks/*": {"access": "write", "where": {"owner": "$userId"}}}
    async with client(address, token("bob", access=own)) as bob:
        assert [row["id"] for row in (await bob.get(TASKS)).json()["rows"]] == ["mine"]
        assert (await bob.post(f"{TASKS}/count")).json() == {"count": 1}
        assert (await bob.post(f"{TASKS}/aggregate")).json()["groups"][0]["count"] == 1
        assert (await bob.get(f"{TASKS}/mine")).status_code == 200
        assert (await bob.post(TASKS, json={"owner": "bob"})).status_code == 201
        for response in (
            await bob.get(f"{TASKS}/theirs"),
            await bob.get(f"{TASKS}/theirs/history"),
            await bob.patch(f"{TASKS}/theirs", json={"changes": {"owner": "bob"}}),
            await bob.patch(f"{TASKS}/mine", json={"changes": {"owner": "eve"}}),
            await bob.delete(f"{TASKS}/theirs"),
            await bob.post(TASKS, json={"owner": "eve"}),
            await bob.get("/collections/users"),
        ):
            assert refusal(response) == (403, "PERMISSION_DENIED"), response.request


async def test_one_project_does_not_see_another(address: str, api: httpx.AsyncClient) -> None:
    await created(api, id="t1")
    async with client(address, token(project="acme")) as other:
        assert refusal(await other.get(f"{TASKS}/t1")) == (404, "NOT_FOUND")
        assert (await other.get(TASKS)).json()["rows"] == []


# what is declared


async def test_a_write_that_does_not_fit_is_refused_with_each_field(api: httpx.AsyncClient) -> None:
    response = await api.post("/collections/todos", json={"title": 1, "profile": []})
    assert refusal(response) == (422, "VALIDATION_FAILED")
    assert {each["field"] for each in response.json()["error"]["details"]["errors"]} == {"title", "profile"}
    assert (await api.post("/collections/todos", json={"id": "a", "title": "Write"})).status_code == 201
    assert refusal(await api.patch("/collections/todos/a", json={"unset": ["title"]})) == (422, "VALIDATION_FAILED")


async def test_who_may_read_a_collection_is_told_its_schema(address: str, api: httpx.AsyncClient) -> None:
    described = (await api.get("/schema")).json()["collections"]
    assert described["todos"]["version"] == 1
    assert described["todos"]["schema"]["required"] == ["title"]
    async with client(address, token("bob", access={"tasks/*": "read"})) as bob:
        assert (await bob.get("/schema")).json() == {"collections": {}}


# events and permissions


class Hears:
    def __init__(self) -> None:
        self.identity = Identity("default", "eve", rules=parse_rules({"events/*": "read"}))
        self.channels: frozenset[str] = frozenset({"team_1"})
        self.events: list[dict[str, Any]] = []

    def custom(self, event: dict[str, Any], cursor: str) -> None:
        self.events.append(event)

    def missed(self) -> None:
        raise AssertionError


async def test_a_custom_event_is_told_in_the_senders_name(api: httpx.AsyncClient, collab: Collab) -> None:
    hears = Hears()
    collab.events.subscribe(hears, "task_completed")
    event = {"type": "task_completed", "taskId": "t1", "userId": "somebody", "channels": ["team_1"]}
    told = (await api.post("/events", json=event)).json()
    assert told == event | {"userId": "ada", "at": told["at"]}
    assert hears.events == [told]
    for name in ("once", "once"):
        sent = await api.post("/events", json=event | {"n": 1}, headers={"Idempotency-Key": name})
        assert sent.status_code == 200
    assert [one.get("n") for one in hears.events] == [None, 1]
    other = await api.post("/events", json=event, headers={"Idempotency-Key": "once"})
    assert refusal(other) == (422, "INVALID_REQUEST")


async def test_who_may_not_emit_events_of_a_type_is_refused(address: str) -> None:
    async with client(address, token("bob", access={"events/user_typing": "write"})) as bob:
        assert (await bob.post("/events", json={"type": "user_typing"})).status_code == 200
        assert refusal(await bob.post("/events", json={"type": "task_completed"})) == (403, "PERMISSION_DENIED")
        assert refusal(await bob.post("/events", json={"type": ["x"]})) == (400, "INVALID_REQUEST")


async def test_changed_permissions_are_announced_by_who_may_say_so(
    address: str, api: httpx.AsyncClient, collab: Collab
) -> None:
    heard: list[dict[str, Any]] = []
    collab.hub.system.subscribe("default", "permissions_changed", heard.append)
    said = {"resourceId": "tasks/t1"}
    assert (await api.post("/permissions-changed", json=said)).status_code == 202
    assert [(event["resourceId"], event["userId"]) for event in heard] == [("tasks/t1", None)]
    async with client(address, token("bob", access={"tasks/*": "write", "system/*": "read"})) as bob:
        assert refusal(await bob.post("/permissions-changed", json=said)) == (403, "PERMISSION_DENIED")
    assert len(heard) == 1


async def test_what_is_erased_is_gone_for_good_and_takes_a_right_of_its_own(address: str) -> None:
    async with client(address) as api, client(address, token(access={"tasks/*": "write"})) as writer:
        await created(api, id="t1", title="Write")
        assert refusal(await writer.delete(f"{TASKS}/t1?erase=true")) == (403, "PERMISSION_DENIED")
        assert (await writer.delete(f"{TASKS}/t1")).status_code == 200
        assert refusal(await writer.delete(f"{TASKS}/t1?erase=1")) == (403, "PERMISSION_DENIED")
        answer = await api.delete(f"{TASKS}/t1?erase=true")
        assert (answer.status_code, answer.json()["data"]) == (200, {"id": "t1"})
        assert refusal(await api.delete(f"{TASKS}/t1?erase=true")) == (404, "NOT_FOUND")
        assert refusal(await api.post(f"{TASKS}/t1/restore")) == (404, "NOT_FOUND")
        assert refusal(await api.delete(f"{TASKS}/t1?erase=perhaps")) == (400, "INVALID_REQUEST")


async def test_a37_several_writes_are_one_request_with_one_result_for_each(api: httpx.AsyncClient) -> None:
    await created(api, id="t1", n=1)
    writes = [
        {"type": "create", "collection": "tasks", "data": {"id": "t2", "n": 2}, "request": "once"},
        {"type": "create", "collection": "tasks", "data": {"id": "t1"}},
        {"type": "update", "collection": "tasks", "entity": "t1", "changes": {"n": 3}, "version": 1},
        {"type": "update", "collection": "todos", "entity": "none", "changes": {}},
        {"type": "create", "collection": "todos", "data": {"id": "x", "title": 7}},
        {"type": "delete", "collection": "tasks", "entity": "t1"},
    ]
    answer = await api.post("/writes", json={"writes": writes})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result.get("version", result.get("error", {}).get("code")) for result in results] == [
        1,
        "CONFLICT",
        2,
        "NOT_FOUND",
        "VALIDATION_FAILED",
        3,
    ]
    assert results[2]["data"]["n"] == 3
    again = await api.post("/writes", json={"writes": writes[:1]})
    assert again.json()["results"] == results[:1]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "missing required field `writes`"),
        ({"writes": [{"type": "erase", "collection": "tasks", "entity": "t1"}]}, "Invalid value 'erase'"),
        ({"writes": [{"type": "delete", "collection": "tasks"}]}, "missing required field `entity`"),
        (
            {"writes": [{"type": "update", "collection": "tasks", "entity": "t1", "onconflict": "reject"}]},
            "unknown field `onconflict`",
        ),
        ({"writes": [{"type": "delete", "collection": "tasks", "entity": "t1"}] * 1001}, "1001 writes"),
    ],
)
async def test_a37_a_malformed_write_refuses_the_request(
    api: httpx.AsyncClient, body: dict[str, Any], complaint: str
) -> None:
    await created(api, id="t1")
    answer = await api.post("/writes", json=body)
    assert refusal(answer) == (400, "INVALID_REQUEST")
    assert complaint in answer.json()["error"]["message"]
    assert (await api.get(f"{TASKS}/t1")).json()["version"] == 1


async def test_a38_a39_a_transaction_makes_all_of_its_writes_or_none_and_once(api: httpx.AsyncClient) -> None:
    await created(api, id="t1", n=1)
    await created(api, id="t2", n=1)
    writes = [
        {"type": "update", "collection": "tasks", "entity": "t1", "changes": {"n": 2}},
        {"type": "create", "collection": "todos", "data": {"title": "Write"}},
    ]
    refused = [*writes, {"type": "create", "collection": "tasks", "data": {"id": "t2"}}]
    answer = await api.post("/transaction", json={"writes": refused})
    assert refusal(answer) == (409, "CONFLICT")
    assert answer.json()["error"]["details"] == {"write": 2}
    assert (await api.get(f"{TASKS}/t1")).json()["version"] == 1
    once = {"Idempotency-Key": "once"}
    answers = [await api.post("/transaction", json={"writes": writes}, headers=once) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert [result["version"] for result in answers[0].json()["results"]] == [2, 1]
    assert len((await api.get("/collections/todos")).json()["rows"]) == 1
    other = await api.post("/transaction", json={"writes": writes[:1]}, headers=once)
    assert refusal(other) == (422, "INVALID_REQUEST")
    named = await api.post("/transaction", json={"writes": [{**writes[0], "request": "r"}]})
    assert refusal(named) == (400, "INVALID_REQUEST")
