from collections.abc import Sequence

import pytest

from collab.access.handshake import (
    client_address,
    host_allowed,
    is_loopback,
    is_origin,
    origin_allowed,
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


def test_only_a_trusted_proxy_is_believed_about_the_address() -> None:
    proxies = ["10.0.0.0/8", "::1"]
    assert client_address("203.0.113.9", "1.2.3.4", proxies) == "203.0.113.9"
    assert client_address("10.1.2.3", "1.2.3.4", proxies) == "1.2.3.4"
    assert client_address("10.1.2.3", "6.6.6.6, 1.2.3.4", proxies) == "1.2.3.4", "the rest is the client's own word"
    assert client_address("10.1.2.3", "1.2.3.4, 10.9.9.9", proxies) == "1.2.3.4"
    assert client_address("::1", "2001:db8::7", proxies) == "2001:db8::7"
    assert client_address("10.1.2.3", "1.2.3.4:5678", proxies) == "1.2.3.4"
    assert client_address("10.1.2.3", "[2001:db8::7]:5678", proxies) == "2001:db8::7"
    assert client_address("10.1.2.3", None, proxies) == "10.1.2.3"
    assert client_address("10.1.2.3", "nonsense", proxies) == "10.1.2.3"
    assert client_address(None, "1.2.3.4", proxies) is None


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
