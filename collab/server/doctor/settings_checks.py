"""What may be wrong with settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

from collab.access.configuration import plain
from collab.access.handshake import is_loopback
from collab.server.config.settings import Settings
from collab.server.doctor.finding import Finding
from collab.server.doctor.weak_secrets import configured_secrets, shared, weakness
from collab.storage.location import is_postgres

_WIDEST_PREFIX = 8  # bits of a network that one may own
_UNLIMITED = (
    *("cpu_per_user", "cpu_per_address", "max_sockets_per_address", "max_connections_per_address"),
    *("messages_per_second", "bytes_per_second", "writes_per_second", "reads_per_second", "max_subscriptions"),
)


def check_settings(settings: Settings) -> list[Finding]:
    """The findings about settings that are valid."""
    return [*_doors(settings), *_pages(settings), *_proxies(settings), *_secrets(settings), *_rest(settings)]


def _doors(settings: Settings) -> Iterator[Finding]:
    area = "access"
    outside = not is_loopback(settings.host)
    if settings.open:
        yield Finding(
            "wrong",
            area,
            "the server is open: everybody who can connect may read and write everything",
            "set COLLAB_JWT_SECRET or COLLAB_API_KEY, or configure [[issuers]] or [[keys]], and remove `open`",
        )
    elif settings.is_open and outside:
        yield Finding(
            "wrong",
            area,
            f"no credentials are configured, but {settings.host} can be reached from outside: `serve` refuses",
            "set COLLAB_JWT_SECRET or COLLAB_API_KEY, or configure [[issuers]] or [[keys]], or listen on 127.0.0.1",
        )
    elif settings.is_open:
        yield Finding(
            "note",
            area,
            "no credentials are configured: everybody on this machine may read and write everything",
            "configure credentials before others use it",
        )
    if settings.inspect and outside and settings.public_scheme != "https" and not settings.trusted_proxies:
        yield Finding(
            "wrong",
            area,
            f"the inspector can be reached at {settings.host} without HTTPS: its secret can be read on the way",
            "serve it by HTTPS and set public_scheme or trusted_proxies, or use it through an SSH tunnel",
        )
    for issuer in settings.issuers:
        if any(_writes_all(pattern, rule) for pattern, rule in plain(issuer.rules).items()):
            yield Finding(
                "note",
                area,
                f"a token of {issuer.issuer} without the claim `access` may write everything in its project",
                "name collections in its `rules`, unless each user may write all",
            )
    for number, key in enumerate(settings.keys, 1):
        if key.user_id is None and any(_writes_all(pattern, rule) for pattern, rule in plain(key.rules).items()):
            yield Finding(
                "note",
                area,
                f"API key {number} may write everything in project {key.project}, and no user is named in events",
                "give it rules and a `user_id`, if it is not for a trusted server",
            )


def _writes_all(pattern: str, rule: object) -> bool:
    return pattern == "*/*" and rule == "write"


def _pages(settings: Settings) -> Iterator[Finding]:
    area = "pages"
    for origin in settings.allowed_origins:
        if origin == "*":
            yield Finding(
                "wrong",
                area,
                "allowed_origins is *: a page of any site may connect from the browsers of your users",
                "list the origins of your own pages, like https://app.example.com",
            )
        elif settings.public_scheme == "https" and origin.startswith("http://") and not is_loopback(_host_of(origin)):
            yield Finding(
                "note",
                area,
                f"pages of {origin} are loaded without encryption, and may connect",
                "serve them over https, and allow that origin instead",
            )
    if settings.public_scheme == "unknown" and not is_loopback(settings.host):
        yield Finding(
            "note",
            area,
            "public_scheme is unknown: pages of our own host may connect although they were loaded over http",
            "set public_scheme to https, if a proxy provides TLS",
        )


def _host_of(origin: str) -> str:
    return (urlsplit(origin).hostname or "").strip("[]")


def _proxies(settings: Settings) -> Iterator[Finding]:
    area = "proxy"
    for proxy in settings.trusted_proxies:
        network = ip_network(proxy, strict=False)
        if network.prefixlen < _WIDEST_PREFIX:
            yield Finding(
                "wrong",
                area,
                f"trusted_proxies has {proxy}: whoever connects may say in X-Forwarded-For that he is another",
                "list the addresses of your proxies alone",
            )
    if settings.public_scheme == "https" and not settings.trusted_proxies:
        yield Finding(
            "wrong",
            area,
            "browsers use https, so a proxy is in front, but trusted_proxies is empty: all clients share its limits",
            "set trusted_proxies to the address of the proxy, and let it send X-Forwarded-For",
        )


def _secrets(settings: Settings) -> Iterator[Finding]:
    area = "secrets"
    secrets = configured_secrets(settings)
    for place, secret in secrets.items():
        why = weakness(secret)
        if why is not None:
            yield Finding("wrong", area, f"{place} can be guessed: {why}", "take a random one: openssl rand -hex 32")
    for one, other in shared(secrets):
        yield Finding("wrong", area, f"{one} and {other} are the same: who knows one knows both", "give each its own")
    for webhook in settings.webhooks:
        if webhook.previous_secret is not None:
            yield Finding(
                "note",
                area,
                f"the webhook {webhook.name} still signs with its previous secret, too",
                "remove previous_secret once the receiver knows the new one",
            )


def _rest(settings: Settings) -> Iterator[Finding]:
    for webhook in settings.webhooks:
        url = urlsplit(webhook.url)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield Finding(
                "wrong",
                "webhooks",
                f"the webhook {webhook.name} is sent over http: who is on the way can read its events",
                "use https",
            )
    unlimited = [name for name in _UNLIMITED if getattr(settings, name) == 0]
    if unlimited and not settings.is_open:
        yield Finding(
            "note",
            "limits",
            f"no limit: {', '.join(unlimited)}",
            "leave the defaults, unless something in front of the server limits callers",
        )
    if settings.database is not None and is_postgres(settings.database):
        url = urlsplit(settings.database)
        host = url.hostname or "localhost"
        mode = parse_qs(url.query).get("sslmode", ["prefer"])[0]
        if not is_loopback(host) and not host.startswith("/") and mode not in ("require", "verify-ca", "verify-full"):
            yield Finding(
                "note",
                "database",
                f"the connection to the database on {host} may be unencrypted (sslmode={mode})",
                "append ?sslmode=verify-full to the URL",
            )
