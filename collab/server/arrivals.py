"""Reads the head of a handshake or HTTP request, and turns away what no page or host of ours has sent."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.types import Scope

from collab.access.handshake import client_address, host_allowed, origin_allowed, token_from
from collab.errors import PermissionDenied
from collab.rooms.hooks import Request
from collab.server.settings import Settings

_SAFE = ("GET", "HEAD", "OPTIONS")  # a foreign page may cause these requests, but cannot read the answers


def read_request(scope: Scope, settings: Settings) -> Request:
    """What the head of a request says of its sender.

    Raises :class:`PermissionDenied` if it names a host that is not ours, or comes from a page that may not.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    found = token_from(headers, query, settings.token_cookie)
    host = headers.get("host")
    if not host_allowed(host, settings.allowed_hosts):
        raise PermissionDenied("this server is not called by that host name")
    safe = scope["type"] == "http" and scope["method"] in _SAFE
    if not origin_allowed(headers.get("origin"), host, settings.allowed_origins, found.from_cookie and not safe):
        raise PermissionDenied("this origin is not allowed")
    client = scope.get("client")
    peer = client_address(client[0] if client else None, headers.get("x-forwarded-for"), settings.trusted_proxies)
    return Request(found.token, headers, query, peer)
