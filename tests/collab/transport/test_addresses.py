from __future__ import annotations

from collab.transport.addresses import client_address


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
