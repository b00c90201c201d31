"""All settings of a server: one frozen value, read from flags, environment and a TOML file.

Each option is described once, on its field; the parser, ``collab serve --help`` and the documentation use it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from collab.access.configuration import EVERYTHING, ApiKey, Issuer
from collab.access.handshake import COOKIE, is_allowed_origin
from collab.access.inspection import check_secret
from collab.consumers.webhook import Webhook
from collab.names import DEFAULT_PROJECT
from collab.records.declaration import CollectionDeclaration
from collab.records.schema import Schemas
from collab.server.config.load import SettingsError, convert_value, options, read_values, unknown_variables
from collab.storage.location import is_postgres, shown
from collab.storage.nodes import NodeAddress

log = logging.getLogger(__name__)

OWN_ISSUER = "collab"  # issuer and audience of tokens signed with `jwt_secret`

MIB = 1024 * 1024
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _option(group: str, description: str, **limits: Any) -> Meta:
    return Meta(description=description, extra={"group": group}, **limits)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one server. Sizes in bytes, times in seconds. Raises :class:`ValueError`.

    :meth:`from_env` also reads the environment and the configuration file; the constructor takes only its arguments.
    Tables may be dicts. The ``repr`` shows no secrets.
    """

    host: Annotated[str, _option("Where", "Address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[int, _option("Where", "Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8000
    data: Annotated[str, _option("Where", "Folder of the SQLite database.", min_length=1)] = "data"
    database: Annotated[
        str | None,
        _option("Where", "URL of a PostgreSQL database to use instead, like postgresql://user@host:5432/name."),
    ] = None
    redis: Annotated[
        str | None,
        _option(
            "Where",
            "URL of a Redis or Valkey, like redis://host:6379: this server is one node of a cluster. Needs `database`.",
        ),
    ] = None
    node_url: Annotated[
        str | None,
        _option(
            "Where",
            "URL at which other nodes reach this one, like http://10.0.0.5:8000. None: `host`, or the address from "
            "which it connects to the database.",
        ),
    ] = None
    workers: Annotated[
        int,
        _option(
            "Where",
            "Processes that serve, to use several cores. Each is a node and needs `redis`; other nodes reach them at "
            "the ports after `port`, or after that of `node_url`.",
            ge=1,
            le=100,
        ),
    ] = 1
    pages: Annotated[str | None, _option("Where", "Folder of static files to serve at /.")] = None
    single_page: Annotated[
        bool, _option("Where", "Serve index.html of `pages` for every page without a file of its own.")
    ] = False

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
    webhooks: Annotated[list[Webhook], _option("Who (secrets)", "Receivers of events over HTTP.")] = []

    inspect_secret: Annotated[
        str | None,
        _option(
            "Who (secrets)",
            "What signs in to the inspector (see `inspect`). At least 32 bytes, and no other credential. None: `collab "
            "serve` makes one and prints a link that works once.",
        ),
    ] = None

    metrics_secret: Annotated[
        str | None,
        _option(
            "Who (secrets)",
            "What Prometheus shows to read /metrics, as a bearer token. At least 32 bytes, and no other credential. "
            "None: /metrics asks for nothing, and names no project.",
        ),
    ] = None

    inspect: Annotated[
        bool, _option("Who", "Serve the inspector at /inspect/: a page to see into this server, and to change it.")
    ] = False
    open: Annotated[bool, _option("Who", "Serve other machines even without credentials.")] = False
    allowed_origins: Annotated[
        list[str],
        _option("Who", "Origins of pages that may connect, besides our own host. * allows all, :* any port."),
    ] = []
    allowed_hosts: Annotated[
        list[str],
        _option("Who", "Accepted host names. None: any; without credentials: those of loopback."),
    ] = []
    trusted_proxies: Annotated[
        list[str], _option("Who", "Addresses or networks of proxies whose X-Forwarded-For is trusted.")
    ] = []
    public_scheme: Annotated[
        Literal["unknown", "http", "https"],
        _option("Who", "Scheme that browsers use. With https, our own pages loaded over http are refused."),
    ] = "unknown"
    token_cookie: Annotated[str, _option("Who", "Cookie that may contain a token.", min_length=1)] = COOKIE

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
    reads_per_second: Annotated[
        float, _option("Limits", "Reads a second of one user over HTTP. 0: no limit.", ge=0)
    ] = 500.0
    query_seconds: Annotated[
        float, _option("Limits", "Seconds that one query, count or history may take. 0: no limit.", ge=0)
    ] = 10.0
    max_subscriptions: Annotated[
        int, _option("Limits", "Subscriptions of one /realtime session. 0: no limit.", ge=0)
    ] = 1000
    max_events_per_second: Annotated[
        int, _option("Limits", "Events a second to one /realtime session; more are merged. 0: no limit.", ge=0)
    ] = 1000
    presence_sample: Annotated[
        int, _option("Limits", "People of one room that applications receive; beyond that, only the count.", ge=1)
    ] = 50
    presence_bytes: Annotated[
        int, _option("Limits", "Bytes of JSON of one presence state; larger ones are dropped.", ge=1024, le=MIB)
    ] = 64 * 1024
    max_documents_per_socket: Annotated[int, _option("Limits", "Documents on one Hocuspocus socket.", ge=1)] = 100
    max_sockets_per_address: Annotated[
        int, _option("Limits", "Open WebSockets from one IP address. 0: no limit.", ge=0)
    ] = 5000
    cpu_per_user: Annotated[
        float,
        _option("Limits", "Seconds of CPU a second that one verified user may use, on average. 0: no limit.", ge=0),
    ] = 0.25
    cpu_per_address: Annotated[
        float,
        _option(
            "Limits",
            "The same for one IP address without a verified user. 0, or `open`: no limit.",
            ge=0,
        ),
    ] = 0.5
    cpu_per_project: Annotated[float, _option("Limits", "The same for one project. 0: no limit.", ge=0)] = 0.0
    cpu_burst: Annotated[
        float, _option("Limits", "Seconds of CPU that a caller may save up and use at once.", gt=0)
    ] = 2.0
    max_sockets_per_user: Annotated[int, _option("Limits", "Sessions of one verified user. 0: no limit.", ge=0)] = 500
    max_connections_per_address: Annotated[
        int, _option("Limits", "Open connections from one IP address, WebSockets not counted. 0: no limit.", ge=0)
    ] = 2000
    anonymous_socket_bytes: Annotated[
        int, _option("Limits", "Bytes read from a WebSocket before it has shown a credential.", ge=1024)
    ] = 64 * 1024
    anonymous_bytes_per_address: Annotated[
        int, _option("Limits", "Memory for unauthenticated WebSockets of one IP address. 0: no limit.", ge=0)
    ] = 64 * MIB
    anonymous_bytes: Annotated[
        int, _option("Limits", "Memory for all unauthenticated connections. 0: no limit.", ge=0)
    ] = 84 * MIB
    pre_auth_seconds: Annotated[
        float,
        _option(
            "Limits",
            "Seconds in which a Hocuspocus socket must send a valid token, a /realtime session its hello.",
            gt=0,
        ),
    ] = 10.0
    pre_auth_bytes: Annotated[int, _option("Limits", "Bytes queued while a token is being checked.", ge=0)] = 5 * MIB
    pre_auth_messages: Annotated[int, _option("Limits", "Messages queued while a token is being checked.", ge=0)] = 1000
    outbox_bytes: Annotated[
        int, _option("Limits", "Bytes queued for a slow reader before it gets one diff instead.", ge=1024)
    ] = MIB
    max_pending_bytes: Annotated[int, _option("Limits", "Uncommitted bytes before edits are refused.", ge=1024)] = (
        64 * MIB
    )

    heartbeat_seconds: Annotated[
        float, _option("Pace", "Seconds of silence after which a client receives a heartbeat.", gt=0, le=25)
    ] = 15.0
    ping_interval: Annotated[float, _option("Pace", "Seconds between WebSocket pings. 0: none.", ge=0)] = 20.0
    ping_timeout: Annotated[
        float, _option("Pace", "Seconds after which a peer that does not answer a ping is dropped.", gt=0)
    ] = 20.0
    stall_seconds: Annotated[float, _option("Pace", "Seconds until a client that does not read is dropped.", gt=0)] = (
        30.0
    )
    room_idle_seconds: Annotated[float, _option("Pace", "Seconds until an empty room is closed.", ge=0)] = 30.0
    flush_shortest: Annotated[float, _option("Pace", "Minimum seconds between relays of a busy room.", ge=0, le=1)] = (
        0.010
    )
    flush_longest: Annotated[float, _option("Pace", "Maximum seconds between relays of a busy room.", ge=0, le=10)] = (
        0.250
    )
    compression: Annotated[bool, _option("Pace", "Use permessage-deflate: less traffic, more CPU.")] = False

    collections: Annotated[dict[str, CollectionDeclaration], _option("Record", "Declared collections, by name.")] = {}
    strict_collections: Annotated[bool, _option("Record", "Refuse collections that are not declared.")] = False
    max_entity_bytes: Annotated[int, _option("Record", "Bytes of one entity's fields, as JSON.", ge=1024)] = MIB
    keep_deleted: Annotated[
        list[str],
        _option(
            "Record",
            "Collections (globs) whose documents keep deleted content for Yjs snapshots. They grow forever.",
        ),
    ] = []
    content_event_seconds: Annotated[
        float,
        _option("Record", "Seconds until changes of content become an event. 0: never.", ge=0, le=3600),
    ] = 1.0
    history_days: Annotated[
        float, _option("Record", "Days for which events and old versions are kept. 0: not at all.", ge=0)
    ] = 30.0

    load_connections: Annotated[
        int, _option("Record", "PostgreSQL connections that load documents, at most.", ge=1, le=1000)
    ] = 4
    query_connections: Annotated[
        int,
        _option("Record", "PostgreSQL connections that query, at most. Two more write, one more beats.", ge=1, le=1000),
    ] = 4

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _option("Logging", "Minimum severity to log.")
    ] = "info"
    access_log: Annotated[bool, _option("Logging", "Log each request (never its query).")] = False
    metrics_projects: Annotated[
        int,
        _option(
            "Logging",
            "Projects with metrics of their own, the first to be active; the others share one.",
            ge=1,
            le=1000,
        ),
    ] = 100
    tracing: Annotated[
        bool,
        _option(
            "Logging",
            "Send traces to an OpenTelemetry collector, as the variables OTEL_… say. Needs the extra `otel`.",
        ),
    ] = False

    def __post_init__(self) -> None:
        for option in options(Settings):
            msgspec.structs.force_setattr(self, option.name, convert_value(option, getattr(self, option.name)))
        if self.open and not self.is_open:
            raise ValueError("open applies to servers without credentials, but credentials are configured")
        self._check_own("inspect_secret", self.inspect_secret, self.metrics_secret)
        self._check_own("metrics_secret", self.metrics_secret, self.inspect_secret)
        if self.flush_shortest > self.flush_longest:
            raise ValueError("flush_shortest must be at most flush_longest")
        if self.database is not None and not _is_url(self.database):
            raise ValueError("database must be like postgresql://user@host:5432/name; without it, SQLite is in `data`")
        if self.redis is not None and not _is_redis_url(self.redis):
            raise ValueError("redis must be like redis://host:6379, rediss://host:6379 or unix:///run/redis.sock")
        if self.redis is not None and self.database is None:
            raise ValueError("redis makes this server a node of a cluster, and nodes need a PostgreSQL `database`")
        if self.workers > 1 and self.redis is None:
            raise ValueError("more than one worker needs a PostgreSQL `database` and `redis`: each is a node")
        if self.node_url is not None and not _is_node_url(self.node_url):
            raise ValueError("node_url must be like http://10.0.0.5:8000")
        for origin in self.allowed_origins:
            if not is_allowed_origin(origin):
                raise ValueError("allowed_origins must be like https://app.example.com or http://localhost:*, or *")
        for network in self.trusted_proxies:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError("trusted_proxies must be IP addresses or networks, like 10.0.0.0/8") from None
        # Evaluate these so that invalid keys or issuers raise here.
        self.all_keys  # noqa: B018
        self.all_issuers  # noqa: B018
        Schemas(self.collections, reads_content=self.content_event_seconds > 0)

    def _check_own(self, name: str, secret: str | None, other: str | None) -> None:
        """A secret of the operator is long, and no other credential."""
        if secret is None:
            return
        check_secret(secret, name)
        others = {
            other,
            self.api_key,
            self.jwt_secret,
            *(key.key for key in self.keys),
            *(each.secret for each in self.issuers),
        }
        if secret in others or sha256(secret.encode()).hexdigest() in {key.key_sha256 for key in self.keys}:
            raise ValueError(
                f"{name} must not be a credential of clients, or another secret: it opens what they do not"
            )

    def __repr__(self) -> str:
        return f"<Settings for {self.host}:{self.port}, data in {shown(self.location)}>"

    @property
    def location(self) -> str:
        """Where the record is: the URL of a PostgreSQL database, or the folder of the SQLite database."""
        return self.database if self.database is not None else self.data

    @property
    def node_port(self) -> int:
        """The port by which other nodes reach the first of several workers. 0: any free one."""
        if self.node_url is not None:
            parts = urlsplit(self.node_url)
            return parts.port or (443 if parts.scheme == "https" else 80)
        return self.port + 1 if self.port else 0

    def at_node_port(self, port: int) -> Settings:
        """The settings of a worker that other nodes reach by this port of its own."""
        url = self.node_url
        if url is not None and self.workers > 1:
            parts = urlsplit(url)
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
            url = parts._replace(netloc=f"{host}:{port}").geturl()
        return msgspec.structs.replace(self, port=port, node_url=url)

    def joining(self, name: str) -> NodeAddress | None:
        """How this server joins a cluster under this name; ``None`` if it is alone."""
        if self.redis is None:
            return None
        url = self.node_url
        if url is None and self.host not in _ANY_ADDRESS:
            url = f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"
        return NodeAddress(name, url, self.port)

    @property
    def all_keys(self) -> Sequence[ApiKey]:
        """``keys`` and ``api_key``."""
        if self.api_key is None:
            return self.keys
        return [*self.keys, ApiKey(key=self.api_key, project=DEFAULT_PROJECT, rules=dict(EVERYTHING))]

    @property
    def all_issuers(self) -> Sequence[Issuer]:
        """``issuers``, and the issuer for ``jwt_secret``."""
        if self.jwt_secret is None:
            return self.issuers
        return [*self.issuers, secret_issuer(self.jwt_secret)]

    @property
    def is_open(self) -> bool:
        """Whether no credential is configured: everybody may do everything."""
        return self.api_key is None and self.jwt_secret is None and not self.keys and not self.issuers

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **values: Any) -> Settings:
        """Read the variables ``COLLAB_…`` and the file named by ``COLLAB_CONFIG``.

        ``values``, given by name, override both. Raises :class:`ValueError`. A variable that matches no setting is an
        error if the server would be open, else a warning. Under ``collab serve --app`` it returns what that command has
        read, flags included; variables that the module has set since (as ``load_dotenv`` does) fill in what the command
        left at its default.
        """
        reading = _GIVEN.get()
        if reading is not None and environ is None:
            reading.done = True
            since = {name: text for name, text in os.environ.items() if text != reading.environ.get(name)}
            read = read_values(cls, flags={}, environ=since)
            added = {name: value for name, value in read.items() if name in _defaults_of(reading.settings)}
            return msgspec.structs.replace(reading.settings, **{**added, **values})
        return cls.load(environ=os.environ if environ is None else environ, values=values)

    @classmethod
    def load(
        cls,
        *,
        environ: Mapping[str, str],
        flags: Mapping[str, str | None] | None = None,
        config: Path | None = None,
        values: Mapping[str, Any] | None = None,
        warn: Callable[[str], object] = log.warning,
    ) -> Settings:
        """As :meth:`from_env`, also with flags, as strings by option name. Raises :class:`SettingsError`."""
        read = read_values(cls, flags=flags or {}, environ=environ, config=config)
        try:
            settings = cls(**{**read, **(values or {})})
        except ValueError as error:
            raise SettingsError(str(error)) from None
        for complaint in unknown_variables(cls, environ):
            if settings.is_open and not settings.open:
                raise SettingsError(f"{complaint} (no credentials are configured: this may have been meant as one)")
            warn(complaint)
        return settings

    def to_json(self) -> str:
        """Serialise for :meth:`from_json`, including secrets."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read what :meth:`to_json` wrote. Raises :class:`msgspec.ValidationError`."""
        return msgspec.json.decode(text, type=cls)


class GivenSettings:
    """Settings that a command has read for :meth:`Settings.from_env`, from ``environ``. ``done``: it was called."""

    __slots__ = ("done", "environ", "settings")

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.environ = environ
        self.done = False


_GIVEN: ContextVar[GivenSettings | None] = ContextVar("settings", default=None)


@contextmanager
def given(settings: Settings) -> Iterator[GivenSettings]:
    """Inside, :meth:`Settings.from_env` returns these settings, and reads only variables that are set inside."""
    reading = GivenSettings(settings, dict(os.environ))
    token = _GIVEN.set(reading)
    try:
        yield reading
    finally:
        _GIVEN.reset(token)


def _defaults_of(settings: Settings) -> set[str]:
    """Return the names of the options that are at their default."""
    return {option.name for option in options(Settings) if getattr(settings, option.name) == option.default}


def _is_url(text: str) -> bool:
    try:
        return is_postgres(text)
    except ValueError:
        return False


def _is_redis_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.path if parts.scheme == "unix" else parts.scheme in ("redis", "rediss") and parts.hostname)
    except ValueError:
        return False


def _is_node_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query
    except ValueError:
        return False


def secret_issuer(secret: str) -> Issuer:
    """Return the issuer for ``jwt_secret``. Raises :class:`ValueError`."""
    return Issuer(issuer=OWN_ISSUER, audience=OWN_ISSUER, algorithm="HS256", secret=secret, projects=["*"])
