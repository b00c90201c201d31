"""Addresses of callers, also behind proxies. Pure functions over headers."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


def client_address(peer: str | None, forwarded_for: str | None, proxies: Sequence[str]) -> str | None:
    """Return the client's IP address: the peer's, unless the peer is one of ``proxies`` (addresses or networks).

    Then ``X-Forwarded-For`` is read from its end; the first address that is not in ``proxies`` is the client's.
    """
    address = peer
    hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
    while address is not None and hops and is_within(address, proxies):
        address = bare_address(hops.pop())
        if address is None:
            return peer
    return address


def is_within(address: str, networks: Sequence[str]) -> bool:
    """Whether an IP address is one of ``networks`` (addresses or networks)."""
    if not networks:
        return False
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in ip_network(network, strict=False) for network in networks)


def bare_address(hop: str) -> str | None:
    """Parse the IP address in ``hop``; some proxies append a port."""
    split = split_host(hop, 0)
    for text in (hop, split[0] if split is not None else ""):
        try:
            return str(ip_address(text))
        except ValueError:
            continue
    return None


def split_host(host: str, default_port: int) -> tuple[str, int] | None:
    """Split a host as in URLs into name and port; ``None`` if it is malformed."""
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
