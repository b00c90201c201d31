"""Admission, decided from the head of a request, on the scopes of any ASGI server."""

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
from collab.access.revocations import Revocations
from collab.rooms.authorization import Authorization
from collab.server.admission import Admission, own_path
from collab.server.key_fetcher import KeyFetcher
from collab.storage.memory import MemoryStorage
from collab.wire.realtime.messages import Hello

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
    asked = hooks or Hooks()
    storage = MemoryStorage()
    rights = Authorization(asked, lambda collection: {}, storage.children)
    authenticator = Authenticator(settings.all_keys, settings.all_issuers)
    return Admission(
        settings, authenticator, KeyFetcher(authenticator, print), Revocations(), asked, rights, _nothing_known
    )


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
    settings = Settings(api_key=KEY, allowed_hosts=["localhost", "127.0.0.1"])
    with pytest.raises(PermissionDenied):
        admission(settings).read(scope(host="rebound.evil.com:8000"))
    assert admission(settings).read(scope(host="localhost:8000")).headers["host"] == "localhost:8000"
    assert admission().read(scope(host="any.example")).headers["host"] == "any.example"


def local(**changes: Any) -> dict[str, Any]:
    head = changes.pop("head", {})
    return scope(**{"host": "localhost:8000", **head}) | {"client": ("127.0.0.1", 50000)} | changes


@pytest.mark.parametrize(
    "asked",
    [
        local(client=("203.0.113.7", 50000)),
        local(client=("172.17.0.1", 50000)),
        local(client=("::ffff:203.0.113.7", 50000)),
        local(client=None),
        local(client=("testclient", 50000)),
        local(head={"x_forwarded_for": "203.0.113.7"}),
        local(head={"x_forwarded_for": "127.0.0.1, 203.0.113.7"}),
        local(head={"x_forwarded_for": "unknown"}),
        local(head={"host": "app.example.com"}),
        local(head={"host": "rebound.evil.com:8000"}),
        local(head={"origin": "https://evil.com"}),
        local(head={"origin": "null"}),
        local(head={"origin": "http://localhost.evil.com:8000"}),
    ],
)
def test_without_credentials_only_this_machine_is_served(
    asked: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    guarded = admission(Settings())
    for _ in range(3):
        with pytest.raises(PermissionDenied):
            guarded.read(asked)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "asked",
    [
        local(),
        local(client=("::1", 50000)),
        local(client=("127.8.8.8", 50000)),
        local(client=("::ffff:127.0.0.1", 50000)),
        local(head={"x_forwarded_for": "::1, 127.0.0.1:4444"}),
        local(head={"host": "[::1]:8000"}),
        local(head={"origin": "http://localhost:5173"}),
        local(head={"origin": "http://127.0.0.1:3000"}),
        local(head={"origin": "http://[::1]:3000"}),
        local(head={"origin": "http://localhost"}),
        local(head={"origin": "https://localhost:5173"}),
    ],
)
def test_without_credentials_this_machine_and_its_pages_are_served(asked: dict[str, Any]) -> None:
    assert admission(Settings()).read(asked).token is None


def test_who_is_told_to_be_open_serves_everybody() -> None:
    everybody = admission(Settings(open=True))
    assert everybody.read(scope(host="any.example")).client == "203.0.113.7"
    with pytest.raises(PermissionDenied):
        everybody.read(scope(origin="https://evil.com"))


def test_an_application_that_asks_for_credentials_itself_is_not_open() -> None:
    class Members(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            return Identity("default", user_id="ada")

    assert admission(Settings(), Members()).read(scope()).client == "203.0.113.7"
    with pytest.raises(PermissionDenied):
        admission(Settings(), Members()).read(scope(origin="http://localhost:5173"))


def test_any_port_of_an_allowed_origin_may_be_meant() -> None:
    settings = Settings(api_key=KEY, allowed_origins=["http://localhost:*", "https://editor.example:*"])
    for origin in ("http://localhost:5173", "https://editor.example", "https://editor.example:8443"):
        assert admission(settings).read(scope(origin=origin)).token is None
    for origin in ("https://localhost:5173", "http://editor.example:8443", "http://localhost.evil.com:1"):
        with pytest.raises(PermissionDenied):
            admission(settings).read(scope(origin=origin))


def test_a_refused_page_is_told_once_with_what_lets_it_in(caplog: pytest.LogCaptureFixture) -> None:
    guarded = admission()
    for origin in ("https://a.example", "https://a.example", "https://b.example\n"):
        with pytest.raises(PermissionDenied):
            guarded.read(scope(origin=origin))
    assert [message[:35] for message in caplog.messages] == [
        "refused a page of 'https://a.exampl",
        "refused a page of 'https://b.exampl",
    ]
    assert all("--allowed-origins" in message and "\n" not in message for message in caplog.messages)


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


async def test_strikes_count_for_one_client_and_not_for_its_neighbours() -> None:
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
def test_n2_a_path_with_escapes_names_nothing(path: str, raw: bytes) -> None:
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
    request = door.read(local())
    ada = await door.admit_session(request, Hello(user_id="ada", api_key="whatever-it-is"))
    assert (ada.project, ada.user_id, ada.verified) == ("default", "ada", False)
    for _ in range(3):
        door.enter(ada)
    door.leave(ada)
    with pytest.raises(AuthenticationFailed):
        await door.admit_session(request, Hello(project_id="proj_abc123"))
    with pytest.raises(AuthenticationFailed):
        await door.admit_session(request, Hello(user_id="x" * 1000))


async def test_nobody_can_have_the_name_under_which_the_inspector_writes() -> None:
    class Knows(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            return Identity("default", "collab:inspector")

    claimed = admission(Settings(jwt_secret=SECRET)).read(
        scope(authorization=f"Bearer {token(sub='collab:inspector')}")
    )
    for door in (admission(Settings(jwt_secret=SECRET)), admission(hooks=Knows())):
        with pytest.raises(AuthenticationFailed, match="collab:inspector"):
            await door.identify(claimed)
    everybodys = admission(Settings())
    with pytest.raises(AuthenticationFailed, match="collab:inspector"):
        await everybodys.admit_session(everybodys.read(local()), Hello(user_id="collab:inspector"))


async def test_an_api_key_in_hello_stands_without_the_token_of_the_handshake() -> None:
    door = admission(Settings(jwt_secret=SECRET, keys=[ApiKey(key=KEY, project="p", rules={"*/*": "read"})]))
    request = door.read(scope(authorization=f"Bearer {token()}"))
    assert (await door.admit_session(request, Hello())).user_id == "ada"
    assert (await door.admit_session(request, Hello(api_key=KEY))).project == "p"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "elsewhere"}, "its issuer 'elsewhere' is not configured"),
        ({"aud": "others"}, "its audience 'others' is not collab"),
        ({"sub": None}, "sub"),
        ({"exp": 1}, "the token has expired"),
        ({"project": "a b"}, "claim project"),
    ],
)
async def test_the_log_says_once_why_a_token_was_refused_and_never_shows_it(
    claims: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    door = admission(Settings(jwt_secret=SECRET))
    shown = token(**claims)
    for _ in range(3):
        with pytest.raises(AuthenticationFailed) as refused:
            await door.identify(door.read(scope(authorization=f"Bearer {shown}")))
    assert "elsewhere" not in refused.value.message
    (told,) = caplog.messages
    assert told.startswith("refused a credential: ")
    assert reason in told
    assert not any(part in told for part in shown.split("."))


async def test_the_log_says_that_something_is_no_token_without_showing_it(caplog: pytest.LogCaptureFixture) -> None:
    door = admission(Settings(jwt_secret=SECRET))
    with pytest.raises(AuthenticationFailed):
        await door.identify(door.read(scope(authorization="Bearer the-secret-key-of-somebody")))
    assert caplog.messages == ["refused a credential: it is neither a configured API key nor a JSON web token"]
