from collections.abc import Sequence

import pytest

from collab.access.handshake import (
    host_allowed,
    is_loopback,
    is_origin,
    origin_allowed,
    public_scheme,
    select_subprotocol,
    token_from,
)

HOST = "app.example.com"


def test_a_token_comes_from_header_query_or_cookie_in_this_order() -> None:
    headers = {"authorization": "Bearer from-header", "cookie": "a=b; collab_token=from-cookie; c=d"}
    query = {"token": "from-query"}
    assert token_from(headers, query) == ("from-header", False)
    assert token_from({"cookie": headers["cookie"]}, query) == ("from-query", False)
    assert token_from({"cookie": headers["cookie"]}, {}) == ("from-cookie", True)
    assert token_from({}, {}) == (None, False)


def test_o5_a_token_may_come_as_an_offered_sub_protocol() -> None:
    offered = ["app", "collab.token.", "collab.token.a.b-c_d"]
    assert token_from({"cookie": "collab_token=from-cookie"}, {}, subprotocols=offered) == ("a.b-c_d", False)
    assert token_from({}, {"token": "from-query"}, subprotocols=offered).token == "from-query"
    assert token_from({}, {}, subprotocols=["app", "token.abc"]) == (None, False)


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None),
        ([""], None),
        (["one", "two"], "one"),
        (["collab.token.abc", "two", "three"], "two"),
        (["collab.token.abc"], "collab.token.abc"),
    ],
)
def test_o5_one_of_the_offered_sub_protocols_is_selected_preferably_no_token(
    offered: Sequence[str], selected: str | None
) -> None:
    assert select_subprotocol(offered) == selected


@pytest.mark.parametrize(
    "cookie",
    ["", "collab_token", "collab_token=", 'collab_token=""', "xcollab_token=a", "collab_token_=a", "a=collab_token"],
)
def test_a_cookie_of_another_name_or_without_value_is_no_token(cookie: str) -> None:
    assert token_from({"cookie": cookie}, {}) == (None, False)


def test_the_name_of_the_cookie_is_the_operators() -> None:
    assert token_from({"cookie": 'sid="abc"'}, {}, "sid") == ("abc", True)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "from-header"])
def test_other_authorization_is_no_token(header: str) -> None:
    assert token_from({"authorization": header}, {}) == (None, False)


def test_the_scheme_of_the_header_is_case_insensitive() -> None:
    assert token_from({"authorization": "bearer  abc"}, {}).token == "abc"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://app.example.com", HOST),
        ("http://app.example.com", HOST),  # behind a proxy that ends TLS both are the same host to us
        ("https://app.example.com", "app.example.com:443"),
        ("https://app.example.com:8443", "app.example.com:8443"),
        ("https://APP.example.com", HOST),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_our_own_pages_may_connect(origin: str, host: str) -> None:
    assert origin_allowed(origin, host, [], token_from_cookie=True)


FOREIGN = [
    "null",
    "",
    "https://evil.com",
    "https://app.example.com.evil.com",
    "https://evilapp.example.com",
    "https://evil-app.example.com",
    "https://example.com",
    "https://sub.app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com@evil.com",
    "https://evil.com@app.example.com",
    "https://evil.com/app.example.com",
    "https://app.example.com/",
    "https://app.example.com?x",
    "https://app.example.com#x",
    "https://app.example.com.",
    "https://app.example.com ",
    "https://app.example.com\t",
    "https://app.example.com:",
    "https://app.example.com:443x",
    "https://app.example.com:99999",
    "https://app.example.com, https://evil.com",
    "https://evil.com https://app.example.com",
    "//app.example.com",
    "app.example.com",
    "ftp://app.example.com",
    "file://",
    "chrome-extension://app.example.com",
    "javascript:app.example.com",
    "https://[app.example.com",
    "https://app。example.com",
    "*",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_null_and_look_alike_origins_may_not(origin: str) -> None:
    allowlist: Sequence[str]
    for allowlist in ([], ["https://app.example.com"]):
        for from_cookie in (True, False):
            assert not origin_allowed(origin, "app.example.com", allowlist, from_cookie)


def test_a_default_port_left_empty_or_spelled_out_is_the_same_origin() -> None:
    assert origin_allowed("https://other.example", HOST, ["https://other.example:443"], True)
    assert not origin_allowed("http://other.example", HOST, ["https://other.example"], True)


def test_an_exact_origin_of_the_allowlist_may() -> None:
    allowlist = ["http://localhost:5173", "https://editor.example.com"]
    assert origin_allowed("http://localhost:5173", HOST, allowlist, True)
    assert origin_allowed("https://editor.example.com", HOST, allowlist, True)
    assert not origin_allowed("http://localhost:5174", HOST, allowlist, True)


def test_a_star_allows_every_page() -> None:
    assert origin_allowed("null", HOST, ["*"], True)


def test_no_origin_is_no_page_and_needs_more_than_a_cookie() -> None:
    assert origin_allowed(None, HOST, [], token_from_cookie=False)
    assert not origin_allowed(None, HOST, ["*"], token_from_cookie=True)


@pytest.mark.parametrize("host", [None, "", "a b", "user@app.example.com", "app.example.com/x", "app.example.com:x"])
def test_without_a_sound_host_no_page_is_our_own(host: str | None) -> None:
    assert not origin_allowed("https://app.example.com", host, [], False)


def test_a_rebound_name_is_not_one_of_our_hosts() -> None:
    names = ["localhost", "127.0.0.1", "::1"]
    for ours in ("localhost:8000", "127.0.0.1", "LOCALHOST", "[::1]:8000"):
        assert host_allowed(ours, names)
    for rebound in ("evil.com:8000", "localhost.evil.com", "", None, "localhost@evil.com"):
        assert not host_allowed(rebound, names)
    assert host_allowed("anything", [])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "[::1]", "localhost", "LocalHost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "", "127.1"])
def test_whatever_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_an_origin_has_scheme_host_and_perhaps_port() -> None:
    assert is_origin("https://app.example.com:8443")
    assert not is_origin("https://app.example.com/")
    assert not is_origin("*.example.com")


def test_where_browsers_come_by_https_a_page_of_our_host_that_came_by_http_is_not_ours() -> None:
    for scheme in ("https", "http", None):
        assert origin_allowed(f"https://{HOST}", HOST, [], True, scheme)
        assert origin_allowed(f"http://{HOST}", HOST, [], True, scheme) == (scheme != "https")
    assert origin_allowed("http://other.example", HOST, ["http://other.example"], True, "https")


def test_the_scheme_is_configured_or_told_by_a_proxy_of_ours() -> None:
    assert public_scheme("https", "10.0.0.1", "http", ["10.0.0.0/8"]) == "https"
    assert public_scheme("unknown", "10.0.0.1", "HTTPS, http", ["10.0.0.0/8"]) == "https"
    assert public_scheme("unknown", "192.0.2.1", "https", ["10.0.0.0/8"]) is None
    assert public_scheme("unknown", "10.0.0.1", None, ["10.0.0.0/8"]) is None
