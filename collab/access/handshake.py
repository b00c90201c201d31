"""Read token, origin and client address from the headers of a request. Pure functions.

Header names are lower-case. Hosts and origins are compared as browsers send them (RFC 6454).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from collab.transport.addresses import bare_address, is_within, split_host

COOKIE = "collab_token"
BEARER_PREFIX = "collab.token."
"""Prefix of a WebSocket subprotocol that carries a token: browsers cannot set other headers of a handshake."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
LOOPBACK_ORIGINS = tuple(
    f"{scheme}://{name}:*" for scheme in ("http", "https") for name in ("localhost", "127.0.0.1", "[::1]")
)
"""Pages on this machine: those of a development server, on any port."""

_ANY_PORT = ":*"
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class FoundToken(NamedTuple):
    """A token and where it came from. Browsers add cookies by themselves, so a cookie proves nothing about the page."""

    token: str | None
    from_cookie: bool


def token_from(
    headers: Mapping[str, str], query: Mapping[str, str], cookie: str = COOKIE, subprotocols: Sequence[str] = ()
) -> FoundToken:
    """Find the token of a request.

    In this order: ``Authorization: Bearer``, the query parameter ``token``, an offered subprotocol
    ``collab.token.…``, the cookie.
    """
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return FoundToken(bearer.strip(), from_cookie=False)
    if query.get("token"):
        return FoundToken(query["token"], from_cookie=False)
    for offered in subprotocols:
        if offered.startswith(BEARER_PREFIX) and (token := offered.removeprefix(BEARER_PREFIX)):
            return FoundToken(token, from_cookie=False)
    for part in headers.get("cookie", "").split(";"):
        name, separator, value = part.strip().partition("=")
        if separator and name == cookie and (value := value.strip('"')):
            return FoundToken(value, from_cookie=True)
    return FoundToken(None, from_cookie=False)


def select_subprotocol(offered: Sequence[str]) -> str | None:
    """Choose the subprotocol to accept: the first offered one that is not a token, else the first.

    Clients fail the connection if they offered some and the server selects none, or another one (WHATWG WebSockets).
    """
    names = [name for name in offered if name]
    return next((name for name in names if not name.startswith(BEARER_PREFIX)), names[0] if names else None)


def origin_allowed(
    origin: str | None,
    host: str | None,
    allowlist: Sequence[str],
    token_from_cookie: bool,
    scheme: str | None = None,
) -> bool:
    """Whether a page of ``origin`` may connect to ``host`` (the headers of these names).

    Allowed are pages of the same host, the exact origins in ``allowlist`` (``https://app.example.com``; with ``:*``
    on any port), and every origin if it contains ``*``. A request without origin does not come from a page and is
    allowed, unless its only credential is a cookie. If browsers reach us by the ``scheme`` ``https``, a page of our
    host loaded over ``http`` is not trusted: anybody on the network may have written it.
    """
    if origin is None:
        return not token_from_cookie
    if "*" in allowlist:
        return True
    parsed = _parse_origin(origin)
    if parsed is None:
        return False
    said, name, port = parsed
    if any(_names(allowed, said, name, port) for allowed in allowlist):
        return True
    if scheme == "https" and said != "https":
        return False
    # with an unknown scheme (a proxy may end TLS) the origin's scheme decides the default port
    return host is not None and split_host(host, _PORTS[said]) == (name, port)


def host_allowed(host: str | None, names: Sequence[str]) -> bool:
    """Whether this ``Host`` header is one of ``names``; without ``names`` any is.

    In a DNS rebinding attack the page's own name is pointed at the loopback address; it still appears here.
    """
    if not names:
        return True
    split = split_host(host or "", 0)
    return split is not None and split[0] in names


def is_origin(text: str) -> bool:
    """Whether ``text`` is an origin as browsers send it: scheme, host and optional port, nothing after it."""
    return _parse_origin(text) is not None


def is_allowed_origin(text: str) -> bool:
    """Whether ``text`` is valid in an allowlist: an origin, one with ``:*`` as its port, or ``*``."""
    return text == "*" or is_origin(text) or is_origin(text.removesuffix(_ANY_PORT))


def _names(allowed: str, scheme: str, name: str, port: int) -> bool:
    """Whether an allowlist entry matches an origin."""
    parsed = _parse_origin(allowed.removesuffix(_ANY_PORT))
    return parsed is not None and parsed == (scheme, name, parsed[2] if allowed.endswith(_ANY_PORT) else port)


def public_scheme(configured: str, peer: str | None, forwarded: str | None, proxies: Sequence[str]) -> str | None:
    """Return the scheme by which browsers reach us, if known: as configured, or as a trusted proxy reports it.

    ``forwarded`` is ``X-Forwarded-Proto``; of several values the first is that of the client's own connection.
    """
    if configured != "unknown":
        return configured
    if forwarded and peer is not None and is_within(peer, proxies):
        return forwarded.split(",")[0].strip().lower()
    return None


def from_this_machine(peer: str | None, forwarded_for: str | None) -> bool:
    """Whether a request originates on this machine, even through a local proxy."""
    hops = [bare_address(hop.strip()) or "" for hop in (forwarded_for or "").split(",") if hop.strip()]
    return all(is_loopback(hop) for hop in (peer or "", *hops))


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host`` (a name or an address)."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _parse_origin(origin: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(origin)
        host = split_host(parts.netloc, _PORTS[parts.scheme]) if parts.scheme in ("http", "https") else None
    except ValueError:
        return None
    if host is None or origin.lower() != f"{parts.scheme}://{parts.netloc}".lower():
        return None
    return (parts.scheme, *host)
