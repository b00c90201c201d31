"""Who is let in, decided from the head of a request: on scopes as any ASGI server makes them."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from collab import (
    Access,
    AuthenticationFailed,
    Hooks,
    Identity,
    InternalError,
    InvalidName,
    PermissionDenied,
    RateLimitExceeded,
    Request,
    RoomKey,
    Settings,
)
from collab.access.configuration import ApiKey
from collab.access.credentials import Authenticator
from collab.server.admission import Admission, own_path
from collab.wire.realtime import Hello

SECRET = "a secret of the tests, of more than 32 bytes"
KEY = "the-key-of-a-service"


def scope(kind: str = "websocket", path: str = "/rooms/d", method: str = "GET", **headers: str) -> dict[str, Any]:
    head = {"host": "app.example.com"} | {name.replace("_", "-"): value for name, value in headers.items()}
    made: dict[str, Any] = {
        "type": kind,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in head.items()],
        "client": ("203.0.113.7", 50000),
    }
    return made | ({"method": method} if kind == "http" else {})


def admission(settings: Settings | None = None, hooks: Hooks | None = None) -> Admission:
    settings = settings or Settings(api_key=KEY)
    return Admission(settings, Authenticator.from_settings(settings), hooks or Hooks(), _nothing_known)


async def _nothing_known(key: RoomKey) -> None:
    """No entity has any data."""


def token(**claims: Any) -> str:
    good = {"iss": "collab", "aud": "collab", "sub": "ada", "exp": time.time() + 60, "access": {"*/*": "write"}}
    return jwt.encode(good | claims, SECRET, algorithm="HS256")


# pages


@pytest.mark.parametrize("origin", ["https://evil.com", "null", "https://app.example.com.evil.com"])
@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_foreign_pages_are_refused_whatever_they_present(origin: str, kind: str) -> None:
    with pytest.raises(PermissionDenied):
        admission().read(scope(kind, origin=origin, authorization=f"Bearer {KEY}"))


@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_our_own_and_allowed_pages_are_not(kind: str) -> None:
    settings = Settings(api_key=KEY, allowed_origins=["https://editor.example"])
    for origin in ("https://app.example.com", "https://editor.example"):
        assert admission(settings).read(scope(kind, origin=origin)).token is None


def test_a_cookie_without_an_origin_opens_no_socket_and_writes_nothing() -> None:
    cookie = {"cookie": f"collab_token={KEY}"}
    with pytest.raises(PermissionDenied):
        admission().read(scope(**cookie))
    with pytest.raises(PermissionDenied):
        admission().read(scope("http", method="POST", **cookie))
    assert admission().read(scope("http", **cookie)).token == KEY, "a page's own GET has no origin"
    assert admission().read(scope(origin="https://app.example.com", **cookie)).token == KEY


def test_a_name_that_is_not_ours_is_refused_if_ours_are_configured() -> None:
    settings = Settings(allowed_hosts=["localhost", "127.0.0.1"])
    with pytest.raises(PermissionDenied):
        admission(settings).read(scope(host="rebound.evil.com:8000"))
    assert admission(settings).read(scope(host="localhost:8000")).headers["host"] == "localhost:8000"
    assert admission(Settings()).read(scope(host="any.example")).headers["host"] == "any.example"


def test_the_callers_address_comes_from_a_trusted_proxy_only() -> None:
    forwarded = scope(x_forwarded_for="198.51.100.1")
    assert admission().read(forwarded).client == "203.0.113.7"
    trusting = Settings(api_key=KEY, trusted_proxies=["203.0.113.0/24"])
    assert admission(trusting).read(forwarded).client == "198.51.100.1"


# credentials


async def test_the_same_name_is_another_document_for_another_project() -> None:
    settings = Settings(
        keys=[
            ApiKey(key=f"{project}-0123456789abcdef", project=project, rules={"*/*": "write"})
            for project in ("acme", "globex")
        ]
    )
    gate = admission(settings)
    keys = [
        (await gate.admit(Request(f"{project}-0123456789abcdef", {}, {}, None), "d")).key
        for project in ("acme", "globex")
    ]
    assert keys == [RoomKey("acme", "documents", "d"), RoomKey("globex", "documents", "d")]


async def test_a_document_that_may_not_be_read_is_refused_before_anything_is_loaded() -> None:
    gate = admission(Settings(jwt_secret=SECRET))
    request = Request(token(access={"tasks/*": "read"}), {}, {}, None)
    assert (await gate.admit(request, "tasks/1")).access is Access.READ
    with pytest.raises(PermissionDenied):
        await gate.admit(request, "documents/1")
    with pytest.raises(InvalidName):
        await gate.admit(request, "tasks/../1")
    with pytest.raises(AuthenticationFailed):
        await gate.admit(Request(None, {}, {}, None), "tasks/1")


async def test_a_name_is_not_looked_at_before_the_credential() -> None:
    with pytest.raises(AuthenticationFailed):
        await admission().admit(Request(None, {}, {}, None), "no/such/name")


async def test_a_hook_that_does_not_know_the_caller_opens_nothing() -> None:
    class Members(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            return None

    with pytest.raises(AuthenticationFailed):
        await admission(Settings(), Members()).admit(Request(None, {}, {}, None), "d")
    admitted = await admission(Settings(api_key=KEY), Members()).admit(Request(KEY, {}, {}, None), "d")
    assert admitted.access is Access.WRITE, "the configured keys decide"


async def test_a_hook_that_fails_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Hooks):
        async def authorize(self, identity: Identity, key: RoomKey) -> Access:
            raise RuntimeError("no database")

    with pytest.raises(InternalError) as refusal:
        await admission(Settings(), Broken()).admit(Request(None, {}, {}, None), "d")
    assert "database" not in str(refusal.value)
    assert "a hook failed" in caplog.messages


async def test_a_token_in_a_message_comes_before_that_of_the_handshake() -> None:
    gate = admission(Settings(jwt_secret=SECRET))
    request = Request(token(sub="ada"), {}, {}, None)
    assert (await gate.admit_token(request, None, "d")).identity.user_id == "ada"
    assert (await gate.admit_token(request, token(sub="bob"), "d")).identity.user_id == "bob"
    with pytest.raises(AuthenticationFailed):
        await gate.admit_token(request, "nonsense", "d")


# numbers


def test_an_address_has_so_many_sockets_and_gets_them_back() -> None:
    gate = admission(Settings(max_sockets_per_address=1))
    request = Request(None, {}, {}, "203.0.113.7")
    gate.connect(request)
    with pytest.raises(RateLimitExceeded):
        gate.connect(request)
    gate.connect(Request(None, {}, {}, "203.0.113.8"))
    gate.disconnect(request)
    gate.connect(request)


def test_a_verified_user_has_so_many_sessions_and_nobody_is_not_a_user() -> None:
    gate = admission(Settings(max_sockets_per_user=1))
    ada, other = Identity("acme", "ada"), Identity("globex", "ada")
    gate.enter(ada)
    with pytest.raises(RateLimitExceeded):
        gate.enter(ada)
    gate.enter(other)
    gate.leave(ada)
    gate.enter(ada)
    for _ in range(3):
        gate.enter(Identity("acme"))


async def test_case_37_strikes_count_for_one_client_and_not_for_its_neighbours() -> None:
    gate = admission(Settings(jwt_secret=SECRET))
    ada, bob = (Request(token(sub=user), {}, {}, "203.0.113.7") for user in ("ada", "bob"))
    admitted = await gate.admit(ada, "d")
    for _ in range(5):
        gate.check_strikes(ada, admitted)
        gate.strike(ada, admitted)
    with pytest.raises(RateLimitExceeded):
        gate.check_strikes(ada, admitted)
    gate.check_strikes(bob, await gate.admit(bob, "d"))
    gate.check_strikes(ada, await gate.admit(ada, "another"))


# paths


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/rooms/a/b", b"/rooms/a%2Fb"),
        ("/rooms/ab", b"/rooms/%61b"),
        ("/rooms/a\0", b"/rooms/a%00"),
        ("/rooms/a\ufffd", b"/rooms/a%ff"),
        ("/rooms/caf\u00e9", b"/rooms/caf%C3%A9"),
        ("/rooms/cafe\u0301", b"/rooms/cafe%CC%81"),
        ("/rooms/../a", b"/rooms/%2e%2e/a"),
        ("/rooms/a%2Fb", b"/rooms/a%252Fb"),
    ],
)
def test_case_55_a_path_with_escapes_names_nothing(path: str, raw: bytes) -> None:
    with pytest.raises(InvalidName):
        own_path({"type": "websocket", "path": path, "raw_path": raw})


def test_a_mounted_application_sees_its_own_part_of_the_path() -> None:
    for root, path in (("", "/rooms/d"), ("/collab", "/collab/rooms/d")):
        made = {"type": "websocket", "path": path, "raw_path": path.encode(), "root_path": root}
        assert own_path(made) == "/rooms/d"


# sessions of the application protocol


async def test_a_session_is_who_its_token_says_in_the_project_of_its_key() -> None:
    settings = Settings(jwt_secret=SECRET, keys=[ApiKey(key=KEY, project="p", rules={"*/*": "read"})])
    door, request = admission(settings), admission().read(scope())
    application = await door.admit_session(request, Hello(api_key=KEY, project_id="p"))
    assert (application.project, application.user_id) == ("p", None)
    user = await door.admit_session(request, Hello(api_key=KEY, token=token(project="p"), user_id="ada"))
    assert (user.project, user.user_id) == ("p", "ada")
    for wrong in (
        Hello(api_key=KEY, token=token()),
        Hello(api_key=KEY, project_id="default"),
        Hello(api_key=KEY, user_id="ada"),
        Hello(token=token(), user_id="bob"),
        Hello(token="nonsense"),
        Hello(api_key="nonsense-nonsense"),
        Hello(),
    ):
        with pytest.raises(AuthenticationFailed):
            await door.admit_session(request, wrong)


async def test_only_where_nobody_is_asked_a_users_word_stands_and_counts_as_nobodys() -> None:
    door = admission(Settings(max_sockets_per_user=1))
    request = door.read(scope())
    ada = await door.admit_session(request, Hello(user_id="ada", api_key="whatever-it-is"))
    assert (ada.project, ada.user_id, ada.verified) == ("default", "ada", False)
    for _ in range(3):
        door.enter(ada)
    door.leave(ada)
    with pytest.raises(AuthenticationFailed):
        await door.admit_session(request, Hello(project_id="proj_abc123"))
    with pytest.raises(AuthenticationFailed):
        await door.admit_session(request, Hello(user_id="x" * 1000))


async def test_an_api_key_in_hello_stands_without_the_token_of_the_handshake() -> None:
    door = admission(Settings(jwt_secret=SECRET, keys=[ApiKey(key=KEY, project="p", rules={"*/*": "read"})]))
    request = door.read(scope(authorization=f"Bearer {token()}"))
    assert (await door.admit_session(request, Hello())).user_id == "ada"
    assert (await door.admit_session(request, Hello(api_key=KEY))).project == "p"
