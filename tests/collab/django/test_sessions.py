"""Whoever is logged in to Django is known to Collab, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from collab import Access, Identity, Request
from tests.collab.client.world import until
from tests.collab.django.world import change, project
from tests.collab.serving import editor


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def request(cookie: str | None = None, token: str | None = None, **headers: str) -> Request:
    said = headers | ({} if cookie is None else {"cookie": cookie})
    return Request(token, {name.replace("_", "-"): value for name, value in said.items()}, {}, "127.0.0.1")


async def test_who_is_logged_in_is_known_by_id_name_and_rules_until_the_session_expires(tmp_path: Path) -> None:
    async with project(tmp_path) as site:
        await change("ada", first_name="Ada", last_name="Lovelace")
        cookie = (await site.login())["cookie"]
        identity = await site.collab.hooks.authenticate(request(f"a=b; {cookie}; c=d"))
        assert isinstance(identity, Identity)
        assert (identity.project, identity.name, identity.verified) == ("default", "Ada Lovelace", True)
        assert identity.user_id is not None
        assert identity.user_id.isdigit()
        assert identity.expires_at is not None
        assert identity.issued_at is not None
        assert identity.expires_at - identity.issued_at == pytest.approx(14 * 86_400, abs=60)
        key = cookie.partition("=")[2]
        assert key not in repr(identity), "the key of a session is a credential"
        assert await site.collab.access(identity, "notes/n") is Access.WRITE
        assert await site.collab.access(identity, "tasks/t") is Access.NONE


@pytest.mark.parametrize("cookie", [None, "", "sessionid=", "sessionid=unknown", "sessionid", "other=x", 'a="\x00;;,'])
async def test_nobody_is_known_without_a_session(cookie: str | None, tmp_path: Path) -> None:
    async with project(tmp_path) as site:
        assert await site.collab.hooks.authenticate(request(cookie)) is None
        assert await site.status({} if cookie is None or "\x00" in cookie else {"cookie": cookie}) == 401


async def test_a_session_of_nobody_is_not_enough(tmp_path: Path) -> None:
    async with project(tmp_path) as site:
        from django.contrib.sessions.backends.db import SessionStore

        store = SessionStore()
        await store.asave(must_create=True)
        assert await site.status({"cookie": f"sessionid={store.session_key}"}) == 401


@pytest.mark.parametrize("fields", [{"is_active": False}, {"password": "another"}])
async def test_a_user_who_is_blocked_or_changes_the_password_is_out(fields: dict[str, Any], tmp_path: Path) -> None:
    async with project(tmp_path) as site:
        await change("bob", password="analytical", is_active=True)
        bob = await site.login("bob")
        assert await site.status(bob) == 200
        await change("bob", **fields)
        assert await site.status(bob) == 401


async def test_a_token_is_left_to_the_configured_credentials(tmp_path: Path) -> None:
    async with project(tmp_path, api_key="a-key-of-the-tests") as site:
        ada = await site.login()
        assert await site.status({"authorization": "Bearer a-key-of-the-tests"}) == 200
        assert await site.status({"authorization": "Bearer another"} | ada) == 401
        assert await site.status({"x-api-key": "another-key-of-tests"} | ada) == 401
        assert await site.status(ada) == 200


async def test_pages_of_other_sites_cannot_use_the_session(tmp_path: Path) -> None:
    async with project(tmp_path) as site:
        ada = await site.login()
        assert await site.status(ada | {"origin": "https://evil.example"}) == 403
        with pytest.raises(InvalidStatus):
            async with connect(
                f"ws://{site.address}/collab/rooms/notes/n",
                additional_headers=ada,
                origin=Origin("https://evil.example"),
            ):
                pass
        assert await site.status(ada | {"origin": f"http://{site.address}"}) == 200


async def test_a_logout_ends_what_is_open_and_only_that(tmp_path: Path) -> None:
    async with project(tmp_path) as site:
        other = await site.login()
        site.http.cookies.clear()
        ada = await site.login()
        async with (
            editor(site.address, "notes/n", prefix="/collab", additional_headers=ada) as hers,
            editor(site.address, "notes/n", prefix="/collab", additional_headers=other) as elsewhere,
        ):
            assert (await site.http.post("/logout")).text == "goodbye"
            with pytest.raises(ConnectionClosed):
                while True:
                    await hers.socket.recv()
            assert hers.socket.close_code == 4401
            await elsewhere.type("still logged in here")
        assert (await site.status(ada), await site.status(other)) == (401, 200)


async def test_a_user_who_is_logged_out_everywhere_may_log_in_again(tmp_path: Path) -> None:
    async with project(tmp_path) as site:
        ada = await site.login()
        identity = await site.collab.hooks.authenticate(request(ada["cookie"]))
        assert isinstance(identity, Identity)
        await site.collab.revoke(user_id=identity.user_id)
        assert await site.status(ada) == 401

        async def again() -> bool:
            site.http.cookies.clear()
            return await site.status(await site.login()) == 200

        for _ in range(40):
            if await again():
                break
            await until(lambda: True)
        else:
            pytest.fail("the user cannot log in again")


async def test_rules_name_the_user(tmp_path: Path) -> None:
    rules = {"notes/*": {"access": "write", "where": {"owner": "$userId"}}}
    async with project(tmp_path, rules=rules) as site:
        ada = await site.login()
        identity = await site.collab.hooks.authenticate(request(ada["cookie"]))
        assert isinstance(identity, Identity)
        mine = site.collab.collection("notes", identity=identity)
        made = await mine.create({"owner": identity.user_id})
        assert made.version == 1
        assert await site.status(ada, "collections/notes") == 200
