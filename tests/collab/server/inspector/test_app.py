"""No route of the inspector answers without its credential, and each answers with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from collab import Collab, InvalidRequest, Settings
from collab.server.inspector import app as inspector
from collab.server.inspector.questions import (
    OfDeleted,
    OfDocument,
    OfEntry,
    OfLetters,
    OfProject,
    Question,
    SendAgain,
    SendAway,
    from_parameters,
)
from tests.collab.server.inspector.world import KEY, SECRET, USERS, cookie, inspected, operator
from tests.collab.serving import serving

OPEN = {("GET", "/inspect/"), ("HEAD", "/inspect/"), ("POST", "/inspect/api/sign-in")}
"""What somebody without a credential gets: the form that signs in, and its answer."""


def routes_of(collab: Collab) -> list[tuple[str, str]]:
    """Every method and path of the inspector, found in the application that serves."""
    found = list(_walk(_starlette(collab.http).routes, ""))
    assert len(found) > 20
    return found


def _starlette(app: Any) -> Starlette:
    while not isinstance(app, Starlette):
        app = app._app
    return app


def _walk(routes: list[BaseRoute], prefix: str) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount) and route.path == "/inspect":
            yield from _walk(_starlette(route.app).routes, route.path)
        elif isinstance(route, Route) and prefix:
            yield from ((method, prefix + route.path) for method in sorted(route.methods or ()))
        elif isinstance(route, Mount) and prefix and route.path != "/door":
            yield "GET", f"{prefix}{route.path}/anything.js"


async def test_no_route_answers_without_the_credential(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        user = world.collab.mint("ada", access={"*/*": "write"})
        now = time()
        for method, path in routes_of(world.collab):
            if (method, path) in OPEN:
                continue
            for headers in (
                {},
                {"authorization": f"Bearer {user}"},
                {"authorization": f"Bearer {USERS}"},
                {"authorization": f"Bearer {SECRET}x"},
                {"authorization": f"Bearer {KEY.issue_session(now)}"},
                {"authorization": f"Bearer {KEY.issue_ticket('default', now)}"},
                {"x-api-key": SECRET},
                {"cookie": f"collab_token={SECRET}"},
                cookie(SECRET),
                cookie(KEY.issue_link("a link", now)),
                cookie(KEY.issue_session(now - 13 * 3600)),
                cookie("x" * 3000),
            ):
                answer = await world.http.request(method, path, headers=headers)
                assert answer.status_code in (401, 403, 429), (method, path, headers, answer.text)
                if method != "HEAD" and answer.status_code == 401:
                    assert answer.json()["error"]["code"] == "AUTHENTICATION_FAILED"
            token = await world.http.request(method, path, params={"token": SECRET})
            assert token.status_code == 401, (method, path)


async def test_a_cookie_counts_only_with_a_header_that_other_pages_cannot_send(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        session = KEY.issue_session(time())
        for method, path in routes_of(world.collab):
            if not path.startswith("/inspect/api/") or (method, path) in OPEN:
                continue
            answer = await world.http.request(method, path, headers=cookie(session, header=False))
            assert answer.status_code == 403, (method, path)
        assert (await world.http.get("/inspect/api/overview", headers=cookie(session))).status_code == 200
        foreign = {**cookie(session), "origin": "https://evil.example"}
        assert (await world.http.get("/inspect/api/overview", headers=foreign)).status_code == 403


async def test_pages_that_may_connect_are_no_pages_of_the_inspector(tmp_path: Path) -> None:
    async with inspected(tmp_path, allowed_origins=["https://app.example"]) as world:
        asked = {**cookie(KEY.issue_session(time())), "origin": "https://app.example"}
        assert (await world.http.get("/inspect/api/overview", headers=asked)).status_code == 403
        preflight = await world.http.options(
            "/inspect/api/overview", headers={**asked, "access-control-request-method": "GET"}
        )
        assert not [name for name in preflight.headers if name.startswith("access-control")]


ANSWERED: dict[str, dict[str, Any]] = {
    "OfProject": {"project": "default"},
    "OfSessions": {"project": "default"},
    "OfDocument": {"project": "default", "collection": "tasks", "id": "t1"},
    "OfDeleted": {"project": "default", "collection": "tasks"},
    "OfLetters": {"webhook": "crm"},
    "SendAway": {"project": "default", "userId": "nobody"},
    "SendAgain": {"webhook": "crm", "numbers": [1]},
    "OfEntry": {"number": 1},
}
MISSING = {"/replay", "/entry", "/discard"}
"""They name what is not there: the answer says so."""


async def test_each_operation_answers_with_the_credential_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        await world.collab.collection("tasks").create({"title": "a"}, id="t1")
        known = {each[1] for each in routes_of(world.collab)}
        operations = inspector.operations(*_views(world.collab))
        assert {f"/inspect/api{each.path}" for each in operations} <= known
        for each in operations:
            said = ANSWERED.get(each.asked.__name__, {})
            path = f"/inspect/api{each.path}"
            for more, expected in (({}, 404 if each.path in MISSING else 200), ({"nonsense": 1}, 400)):
                if each.method == "GET":
                    answer = await world.http.get(path, params={**said, **more}, headers=operator())
                else:
                    answer = await world.http.post(path, json={**said, **more}, headers=operator())
                assert answer.status_code == expected, (path, answer.text)
                assert answer.headers["cache-control"] == "no-store"
            if each.method == "POST":
                assert (await world.http.post(path, content=b"{", headers=operator())).status_code == 400
                assert (await world.http.post(path, content=b"[" * 60_000, headers=operator())).status_code == 400
                large = await world.http.post(path, content=b'{"a": "' + b"x" * 70_000 + b'"}', headers=operator())
                assert large.status_code == 413
            else:
                twice = await world.http.get(f"{path}?project=a&project=b", headers=operator())
                assert twice.status_code == 400


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (OfDeleted, {"project": "default", "collection": "a\0b"}),
        (OfDeleted, {"project": "default", "collection": "tasks", "after": "\0"}),
        (OfLetters, {"webhook": "\0"}),
    ],
)
def test_what_no_database_can_look_for_is_refused(kind: type[Question], given: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        from_parameters(kind, list(given.items()))


def _views(collab: Collab) -> Any:
    from collab.server.inspector.documents import DocumentViews
    from collab.server.inspector.live import LiveViews
    from collab.server.inspector.record import RecordViews

    make: Any = object.__new__
    return make(LiveViews), make(RecordViews), make(DocumentViews)


async def test_the_page_is_sealed(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        door = await world.http.get("/inspect/")
        page = await world.http.get("/inspect/", headers=cookie(KEY.issue_session(time())))
        assert (door.status_code, page.status_code) == (200, 200)
        assert 'id="sign-in"' in door.text
        assert 'id="views"' in page.text
        for answer in (door, page, await world.http.get("/inspect/api/overview")):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"
        for text in (door.text, page.text):
            assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", text)
            assert not re.search(r"""(src|href)="(https?:)?//""", text)


async def test_the_files_of_the_page_need_the_credential_and_those_of_the_door_do_not(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        session = cookie(KEY.issue_session(time()))
        door, page = await world.http.get("/inspect/"), await world.http.get("/inspect/", headers=session)
        for file in re.findall(r'(?:src|href)="\./([^"]+)"', door.text):
            assert (await world.http.get(f"/inspect/{file}")).status_code == 200
        files = re.findall(r'(?:src|href)="\./([^"]+)"', page.text)
        assert files
        for file in files:
            assert (await world.http.get(f"/inspect/{file}")).status_code == 401
            assert (await world.http.get(f"/inspect/{file}", headers=session)).status_code == 200
        assert (await world.http.get("/inspect/door/")).status_code == 404
        assert (await world.http.get("/inspect/assets/", headers=session)).status_code == 404
        for path in ("assets/none.js", "assets/../index.html", "assets/%2e%2e/index.html", "door/../index.html"):
            raw = httpx.URL(f"http://{world.address}").copy_with(raw_path=f"/inspect/{path}".encode())
            answer = await world.http.get(raw)
            assert answer.status_code in (401, 404), path


async def test_without_the_setting_there_is_nothing(tmp_path: Path) -> None:
    for secret in (None, SECRET):
        collab = Collab(Settings(data=str(tmp_path / "data"), jwt_secret=USERS, inspect_secret=secret))
        async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
            for path in ("/inspect", "/inspect/", "/inspect/api/overview", "/inspect/door/door.js"):
                assert (await http.get(path, headers=operator())).status_code == 404
            ticket = {"authorization": f"Bearer {KEY.issue_ticket('default', time())}"}
            assert (await http.get("/api/v1/collections/tasks", headers=ticket)).status_code == 401


def test_an_inspector_without_a_secret_does_not_start() -> None:
    with pytest.raises(ValueError, match="inspect needs inspect_secret"):
        Collab(Settings(inspect=True))


async def test_it_works_below_the_path_of_another_application(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "data"), inspect=True, inspect_secret=SECRET, jwt_secret=USERS)
    collab = Collab(settings)
    app = Starlette(routes=[Mount("/collab", collab)], lifespan=collab.lifespan)
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as http:
        assert (await http.get("/collab/inspect")).headers["location"] == "/collab/inspect/"
        signed = await http.post("/collab/inspect/api/sign-in", json={"secret": SECRET})
        assert "Path=/collab/inspect;" in signed.headers["set-cookie"] + ";"
        assert (await http.get("/collab/inspect/api/overview", headers=operator())).status_code == 200


def test_the_names_of_the_questions_are_those_that_this_test_answers() -> None:
    for kind in (OfProject, OfDocument, OfLetters, SendAgain, OfEntry, SendAway):
        assert kind.__name__ in ANSWERED
