"""Signing in: with a link, once, or with the secret; how often, and with which cookie."""

from __future__ import annotations

from pathlib import Path
from time import time

from collab.storage.nodes import Announcement
from tests.collab.server.inspector.world import KEY, SECRET, Inspected, cookie, inspected, operator


async def sign_in(world: Inspected, **said: str) -> int:
    return (await world.http.post("/inspect/api/sign-in", json=said)).status_code


async def test_a_link_signs_in_once(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        link = KEY.issue_link("first", time())
        answer = await world.http.post("/inspect/api/sign-in", json={"link": link})
        assert answer.status_code == 200
        said = answer.headers["set-cookie"].split("; ")
        name, _, value = said[0].partition("=")
        assert name == KEY.cookie
        assert {"HttpOnly", "SameSite=strict", "Path=/inspect"} <= set(said)
        assert (await world.http.get("/inspect/api/overview", headers=cookie(value))).status_code == 200
        assert await sign_in(world, link=link) == 401
        assert await sign_in(world, link=KEY.issue_link("second", time())) == 200


async def test_a_link_that_was_used_at_another_node_is_used(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        used = Announcement(None, "inspector_link_used", {"name": "there", "expires": time() + 100})
        await world.collab.hub.announcements.announce(used)
        assert await sign_in(world, link=KEY.issue_link("there", time())) == 401


async def test_a_link_from_before_the_start_or_of_another_server_does_not_sign_in(tmp_path: Path) -> None:
    before = KEY.issue_link("early", time())
    async with inspected(tmp_path) as world:
        assert await sign_in(world, link=before) == 401
        assert await sign_in(world, link=KEY.issue_session(time())) == 401
        assert await sign_in(world, link="nonsense") == 401


async def test_the_secret_signs_in_and_nothing_else_does(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        assert await sign_in(world, secret=SECRET) == 200
        assert await sign_in(world, secret=SECRET[:-1]) == 401
        assert await sign_in(world) == 400
        assert await sign_in(world, secret=SECRET, link="a") == 400
        foreign = await world.http.post(
            "/inspect/api/sign-in", json={"secret": SECRET}, headers={"origin": "https://evil.example"}
        )
        assert foreign.status_code == 403


async def test_guesses_are_bounded_also_the_right_one_and_do_not_keep_out_who_has_signed_in(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        session = KEY.issue_session(time())
        answers = [await sign_in(world, secret=f"{count:x<40}") for count in range(30)]
        assert set(answers) == {401, 429}
        guess = {"authorization": f"Bearer {'x' * 40}"}
        assert (await world.http.get("/inspect/api/overview", headers=guess)).status_code == 429
        assert (await world.http.get("/inspect/api/overview", headers=cookie(session))).status_code == 200
        assert (await world.http.get("/inspect/api/overview", headers=operator())).status_code == 429
        assert await sign_in(world, secret=SECRET) == 429


async def test_guesses_by_header_are_bounded_also_the_right_one(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        for count in range(30):
            guess = {"authorization": f"Bearer {count:x<40}"}
            last = (await world.http.get("/inspect/api/overview", headers=guess)).status_code
        assert last == 429
        assert (await world.http.get("/inspect/api/overview", headers=operator())).status_code == 429


async def test_requests_are_bounded(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        answers = {(await world.http.get("/inspect/api/refused", headers=operator())).status_code for _ in range(600)}
        assert answers == {200, 429}


async def test_behind_https_the_cookie_is_secure(tmp_path: Path) -> None:
    async with inspected(tmp_path, public_scheme="https") as world:
        answer = await world.http.post("/inspect/api/sign-in", json={"secret": SECRET})
        assert "Secure" in answer.headers["set-cookie"].split("; ")


async def test_signing_out_ends_the_cookie(tmp_path: Path) -> None:
    async with inspected(tmp_path) as world:
        answer = await world.http.post("/inspect/api/sign-out", headers=cookie(KEY.issue_session(time())))
        assert answer.status_code == 200
        assert "Max-Age=0" in answer.headers["set-cookie"].split("; ")


async def test_a_server_for_this_machine_alone_has_an_inspector_for_this_machine_alone(tmp_path: Path) -> None:
    async with inspected(tmp_path, jwt_secret=None) as world:
        assert (await world.http.get("/inspect/api/overview", headers=operator())).status_code == 200
        for more in ({"x-forwarded-for": "203.0.113.9"}, {"host": "evil.example"}):
            answer = await world.http.get("/inspect/api/overview", headers={**operator(), **more})
            assert answer.status_code == 403
