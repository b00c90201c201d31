"""What a request's head tells: the token, the origin, the caller's address. Pure functions over headers.

Header names are lower-case. Hosts and origins are compared as browsers write them (RFC 6454).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

COOKIE = "collab_token"

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class FoundToken(NamedTuple):
    """A token as it came. A browser adds cookies by itself, so one from there proves nothing about the page."""

    token: str | None
    from_cookie: bool


def token_from(headers: Mapping[str, str], query: Mapping[str, str], cookie: str = COOKIE) -> FoundToken:
    """The token of a request: ``Authorization: Bearer``, else the parameter ``token``, else the cookie."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return FoundToken(bearer.strip(), from_cookie=False)
    if query.get("token"):
        return FoundToken(query["token"], from_cookie=False)
    for part in headers.get("cookie", "").split(";"):
        name, separator, value = part.strip().partition("=")
        if separator and name == cookie and (value := value.strip('"')):
            return FoundToken(value, from_cookie=True)
    return FoundToken(None, from_cookie=False)


def origin_allowed(origin: str | None, host: str | None, allowlist: Sequence[str], token_from_cookie: bool) -> bool:
    """Whether a page of ``origin`` may talk to us at ``host`` (the headers of these names).

    The page's own host always may, and the exact origins of ``allowlist`` (``https://app.example.com``), or all
    with ``*``. A request without origin is not from a page: it may, unless only a cookie speaks for it.
    """
    if origin is None:
        return not token_from_cookie
    if "*" in allowlist:
        return True
    parsed = _parse_origin(origin)
    if parsed is None:
        return False
    if any(parsed == _parse_origin(allowed) for allowed in allowlist):
        return True
    scheme, name, port = parsed
    # behind a proxy that ends TLS the scheme is not ours to know: the origin's own decides the default port
    return host is not None and _split_host(host, _PORTS[scheme]) == (name, port)


def host_allowed(host: str | None, names: Sequence[str]) -> bool:
    """Whether we may be called by this ``Host``. Without ``names`` by any.

    A page whose name was pointed at the loopback address (DNS rebinding) still says its own name here.
    """
    if not names:
        return True
    split = _split_host(host or "", 0)
    return split is not None and split[0] in names


def is_origin(text: str) -> bool:
    """Whether ``text`` is an origin as browsers send it: scheme, host and perhaps port, nothing after it."""
    return _parse_origin(text) is not None


def client_address(peer: str | None, forwarded_for: str | None, proxies: Sequence[str]) -> str | None:
    """The caller's IP address: the peer's, unless that is one of ``proxies`` (addresses or networks).

    Then ``X-Forwarded-For`` is read from its end, and the first address that is no proxy of ours is the caller's.
    """
    address = peer
    hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
    while address is not None and hops and _is_within(address, proxies):
        address = _bare_address(hops.pop())
        if address is None:
            return peer
    return address


def _bare_address(hop: str) -> str | None:
    """The IP address in ``hop``, behind which some proxies write a port."""
    split = _split_host(hop, 0)
    for text in (hop, split[0] if split is not None else ""):
        try:
            return str(ip_address(text))
        except ValueError:
            continue
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host`` (a name or an address)."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _parse_origin(origin: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(origin)
        host = _split_host(parts.netloc, _PORTS[parts.scheme]) if parts.scheme in ("http", "https") else None
    except ValueError:
        return None
    if host is None or origin.lower() != f"{parts.scheme}://{parts.netloc}".lower():
        return None
    return (parts.scheme, *host)


def _split_host(host: str, default_port: int) -> tuple[str, int] | None:
    if "@" in host or host.endswith(":"):
        return None
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.netloc != host:
        return None
    return parts.hostname, default_port if port is None else port


def _is_within(address: str, networks: Sequence[str]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in ip_network(network, strict=False) for network in networks)
