"""What may be wrong on the way to a running server: asks at its public address, through its proxies."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from secrets import token_bytes
from urllib.parse import urlsplit

import httpx

from collab.access.handshake import is_loopback
from collab.server.config.settings import Settings
from collab.server.doctor.finding import Finding

_SECONDS = 10.0
_CLOCK_SECONDS = 5.0
_UPGRADE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
}


async def check_address(url: str, settings: Settings, clock: Callable[[], float]) -> list[Finding]:
    """The findings about a server at ``url`` (``https://host/prefix``)."""
    base = url.rstrip("/")
    area = "address"
    async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False) as client:
        try:
            health = await client.get(f"{base}/healthz")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            reason = str(error) or type(error).__name__
            return [
                Finding("wrong", area, f"nothing answers at {base}: {reason}", "start the server, or see the proxy")
            ]
        if health.status_code != 200 or health.text.strip() != "ok":
            return [
                Finding(
                    "wrong",
                    area,
                    f"{base}/healthz answers {health.status_code}, and not as Collab does",
                    "see whether the proxy passes this path on, and to which server",
                )
            ]
        findings = [*_date(health, clock()), *_proxy(health, settings)]
        ready = await client.get(f"{base}/readyz")
        if ready.status_code != 200:
            findings.append(
                Finding("wrong", area, f"the server is not ready: {ready.text.strip()[:200]}", "see its log")
            )
        host = urlsplit(base).hostname or ""
        metrics = await client.get(f"{base}/metrics")
        if metrics.status_code == 200 and not is_loopback(host):
            findings.append(
                Finding(
                    "wrong",
                    area,
                    "/metrics can be read by everybody: it asks for no credential",
                    "let the proxy refuse it: location = /metrics { return 404; }",
                )
            )
        findings += await _upgrade(client, base)
    return findings


def _date(answer: httpx.Response, now: float) -> list[Finding]:
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return []
    if abs(theirs - now) <= _CLOCK_SECONDS:
        return []
    return [
        Finding(
            "wrong",
            "clock",
            f"this machine and the server differ by {abs(theirs - now):.0f} s",
            "synchronise both (NTP): tokens are refused before their time, or accepted after it",
        )
    ]


def _proxy(answer: httpx.Response, settings: Settings) -> list[Finding]:
    proxy = answer.headers.get("via") or answer.headers.get("server")  # the server itself sends neither
    if proxy is None or settings.trusted_proxies:
        return []
    return [
        Finding(
            "wrong",
            "proxy",
            f"a proxy ({proxy[:60]}) answers, but trusted_proxies is empty: all clients share its address and limits",
            "set trusted_proxies to its address, and let it send X-Forwarded-For",
        )
    ]


async def _upgrade(client: httpx.AsyncClient, base: str) -> list[Finding]:
    """Whether a WebSocket passes, as a page of this address would open one."""
    parts = urlsplit(base)
    headers = {
        **_UPGRADE,
        "sec-websocket-key": b64encode(token_bytes(16)).decode(),
        "origin": f"{parts.scheme}://{parts.netloc}",
    }
    try:
        async with client.stream("GET", f"{base}/realtime", headers=headers) as answer:
            status = answer.status_code
    except (httpx.HTTPError, OSError) as error:
        return [
            Finding("wrong", "proxy", f"a WebSocket ended at once: {type(error).__name__}", "see the log of the proxy")
        ]
    if status == 101:
        return []
    if status == 403:
        return [
            Finding(
                "wrong",
                "proxy",
                f"pages of {parts.scheme}://{parts.netloc} are refused: the server sees another host name",
                "let the proxy pass it on: proxy_set_header Host $host; or add the origin to allowed_origins",
            )
        ]
    return [
        Finding(
            "wrong",
            "proxy",
            f"a WebSocket gets the status {status} instead of 101: the upgrade does not pass",
            'let the proxy pass it on: proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"',
        )
    ]
