"""Everything an operator can set: one frozen value, read from flags, environment and a TOML file.

Each option is described once, on its field; the reader, ``collab serve --help`` and the documentation follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from collab.access.configuration import EVERYTHING, ApiKey, Issuer
from collab.access.handshake import COOKIE, is_origin
from collab.names import DEFAULT_PROJECT
from collab.realtime.schema import CollectionDeclaration, Schemas
from collab.realtime.webhook import Webhook

OWN_ISSUER = "collab"  # issuer and audience of tokens signed with ``jwt_secret``

MIB = 1024 * 1024


def _option(group: str, description: str, **limits: Any) -> Meta:
    return Meta(description=description, extra={"group": group}, **limits)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one server. Sizes in bytes, times in seconds. Raises :class:`ValueError`.

    Types and ranges of single options are checked by :mod:`collab.server.configure`, which reads them from text;
    what is checked here is what options say together. The ``repr`` tells no secrets.
    """

    host: Annotated[str, _option("Where", "Address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[int, _option("Where", "Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8000
    data: Annotated[str, _option("Where", "Folder of the database.", min_length=1)] = "data"
    pages: Annotated[str | None, _option("Where", "Folder of static files to serve at /.")] = None

    api_key: Annotated[
        str | None, _option("Who (secrets)", "A key that may write everything in project `default`.")
    ] = None
    jwt_secret: Annotated[
        str | None,
        _option(
            "Who (secrets)",
            "Secret of HS256 tokens with issuer and audience `collab`, for any project. At least 32 bytes.",
        ),
    ] = None
    keys: Annotated[list[ApiKey], _option("Who (secrets)", "API keys.")] = []
    issuers: Annotated[list[Issuer], _option("Who (secrets)", "Issuers of JSON web tokens.")] = []
    webhooks: Annotated[list[Webhook], _option("Who (secrets)", "Who is sent the events of the record by HTTP.")] = []

    allowed_origins: Annotated[
        list[str],
        _option("Who", "Origins of pages that may connect, besides our own host. * allows all."),
    ] = []
    allowed_hosts: Annotated[
        list[str],
        _option("Who", "Host names we may be called by. None: any; without credentials: those of loopback."),
    ] = []
    trusted_proxies: Annotated[
        list[str], _option("Who", "Addresses or networks of proxies whose X-Forwarded-For is believed.")
    ] = []
    token_cookie: Annotated[str, _option("Who", "Cookie in which a token may come.", min_length=1)] = COOKIE

    max_message_bytes: Annotated[int, _option("Limits", "Bytes of one message or request body.", ge=1024)] = 16 * MIB
    max_document_bytes: Annotated[int, _option("Limits", "Bytes of one document, history included.", ge=1024)] = (
        256 * MIB
    )
    messages_per_second: Annotated[
        float, _option("Limits", "Messages a second of one connection, on average. 0: no limit.", ge=0)
    ] = 2000.0
    bytes_per_second: Annotated[
        float, _option("Limits", "Bytes a second of one connection, on average. 0: no limit.", ge=0)
    ] = 16.0 * MIB
    writes_per_second: Annotated[
        float,
        _option(
            "Limits",
            "Writes and emitted events a second of one /realtime session, or of one user over HTTP. 0: no limit.",
            ge=0,
        ),
    ] = 500.0
    max_subscriptions: Annotated[
        int, _option("Limits", "Subscriptions of one /realtime session. 0: no limit.", ge=0)
    ] = 1000
    max_events_per_second: Annotated[
        int, _option("Limits", "Events a second to one /realtime session; more are gathered. 0: no limit.", ge=0)
    ] = 1000
    presence_sample: Annotated[
        int, _option("Limits", "People of one room who are listed to applications; of more, a count is told.", ge=1)
    ] = 50
    max_documents_per_socket: Annotated[int, _option("Limits", "Documents on one Hocuspocus socket.", ge=1)] = 100
    max_sockets_per_address: Annotated[
        int, _option("Limits", "Open WebSockets from one IP address. 0: no limit.", ge=0)
    ] = 5000
    max_sockets_per_user: Annotated[int, _option("Limits", "Sessions of one verified user. 0: no limit.", ge=0)] = 500
    pre_auth_seconds: Annotated[
        float, _option("Limits", "Seconds until a Hocuspocus socket must have shown a valid token.", gt=0)
    ] = 10.0
    pre_auth_bytes: Annotated[int, _option("Limits", "Bytes that may wait for a token to be checked.", ge=0)] = 5 * MIB
    pre_auth_messages: Annotated[int, _option("Limits", "Messages that may wait for a token to be checked.", ge=0)] = (
        1000
    )
    outbox_bytes: Annotated[
        int, _option("Limits", "Bytes that may wait for one slow reader before it gets one diff instead.", ge=1024)
    ] = MIB
    max_pending_bytes: Annotated[
        int, _option("Limits", "Bytes that may wait to be committed before edits are refused.", ge=1024)
    ] = 64 * MIB

    heartbeat_seconds: Annotated[
        float, _option("Pace", "Seconds of silence after which a client is sent a sign of life.", gt=0, le=25)
    ] = 15.0
    ping_interval: Annotated[float, _option("Pace", "Seconds between two WebSocket pings. 0: none.", ge=0)] = 20.0
    ping_timeout: Annotated[
        float, _option("Pace", "Seconds until a pinged peer that stays silent is dropped.", gt=0)
    ] = 20.0
    stall_seconds: Annotated[float, _option("Pace", "Seconds until a client that does not read is dropped.", gt=0)] = (
        30.0
    )
    room_idle_seconds: Annotated[float, _option("Pace", "Seconds until a room that nobody is in is closed.", ge=0)] = (
        30.0
    )
    flush_shortest: Annotated[
        float, _option("Pace", "Least seconds between two relays of a busy room.", ge=0, le=1)
    ] = 0.010
    flush_longest: Annotated[float, _option("Pace", "Most seconds between two relays of a busy room.", ge=0, le=10)] = (
        0.250
    )
    compression: Annotated[bool, _option("Pace", "Whether permessage-deflate is spoken: less traffic, more CPU.")] = (
        False
    )

    collections: Annotated[dict[str, CollectionDeclaration], _option("Record", "Declared collections, by name.")] = {}
    strict_collections: Annotated[bool, _option("Record", "Whether collections that are not declared are refused.")] = (
        False
    )
    max_entity_bytes: Annotated[int, _option("Record", "Bytes of the fields of one entity, as JSON.", ge=1024)] = MIB
    content_event_seconds: Annotated[
        float,
        _option("Record", "Seconds until changes of content become an event. 0: they never do.", ge=0, le=3600),
    ] = 1.0
    history_days: Annotated[
        float, _option("Record", "Days for which events and old versions are kept. 0: none are.", ge=0)
    ] = 30.0

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _option("Logging", "Least severity that is logged.")
    ] = "info"
    access_log: Annotated[bool, _option("Logging", "Whether each request is logged (never with its query).")] = False

    def __post_init__(self) -> None:
        if self.flush_shortest > self.flush_longest:
            raise ValueError("flush_shortest is at most flush_longest")
        for origin in self.allowed_origins:
            if origin != "*" and not is_origin(origin):
                raise ValueError("allowed_origins are like https://app.example.com or http://localhost:5173, or *")
        for network in self.trusted_proxies:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError("trusted_proxies are IP addresses or networks, like 10.0.0.0/8") from None
        # their own checks say what is wrong with these
        self.all_keys  # noqa: B018
        self.all_issuers  # noqa: B018
        Schemas(self.collections)

    def __repr__(self) -> str:
        return f"<Settings for {self.host}:{self.port}, data in {self.data}>"

    @property
    def all_keys(self) -> Sequence[ApiKey]:
        """``keys``, and ``api_key``."""
        if self.api_key is None:
            return self.keys
        return [*self.keys, ApiKey(key=self.api_key, project=DEFAULT_PROJECT, rules=dict(EVERYTHING))]

    @property
    def all_issuers(self) -> Sequence[Issuer]:
        """``issuers``, and the one of ``jwt_secret``."""
        if self.jwt_secret is None:
            return self.issuers
        return [*self.issuers, secret_issuer(self.jwt_secret)]

    @property
    def is_open(self) -> bool:
        """Whether no credential is configured: then everybody may do everything."""
        return self.api_key is None and self.jwt_secret is None and not self.keys and not self.issuers

    def to_json(self) -> str:
        """For :meth:`from_json`, secrets included."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings that :meth:`to_json` wrote. Raises :class:`msgspec.ValidationError`."""
        return msgspec.json.decode(text, type=cls)


def secret_issuer(secret: str) -> Issuer:
    """The issuer that ``jwt_secret`` stands for. Raises :class:`ValueError`."""
    return Issuer(issuer=OWN_ISSUER, audience=OWN_ISSUER, algorithm="HS256", secret=secret, projects=["*"])
