"""The client of an application."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pycrdt

from collab.client.background import Background
from collab.client.calls import Call
from collab.client.collection import Collection, ErrorCallback, OnConflict
from collab.client.credentials import Credentials, Token
from collab.client.documents import Document
from collab.client.engine import Engine
from collab.client.options import WebSocketOptions, read_options
from collab.client.subscription import Subscription
from collab.client.told import Met
from collab.client.topics import Analytics, Events, Presence, System
from collab.client.writes import WriteMessage
from collab.errors import CollabError, InvalidRequest
from collab.wire import realtime

_PATH = "/realtime"


class LumenizeClient:
    """A client of one project. ``async with`` connects it and disconnects it; so do its methods, from any task.

    Every collection is an attribute (``client.tasks``), or ``client.collection("tasks")``. ``url`` is that of the
    server. ``token`` says which user this is, ``api_key`` which application; ``token`` may be a function, also an
    async one, that gives the present token: it is called for each connection, and before a token ends.
    ``conflicts="reject"`` is the ``on_conflict`` of updates that do not say it themselves.
    ``websocket`` are options, see :class:`collab.client.options.WebSocketOptions`; all times are milliseconds.
    It is not thread-safe. Callbacks may be async; what they raise is logged. Raises :class:`InvalidRequest`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        project_id: str | None = None,
        api_key: str | None = None,
        user_id: str | None = None,
        token: Token | None = None,
        websocket: WebSocketOptions | Mapping[str, Any] | None = None,
        conflicts: OnConflict = "merge",
    ) -> None:
        if conflicts not in ("merge", "reject"):
            raise InvalidRequest(f"conflicts: must be 'merge' or 'reject', not {conflicts!r}")
        self._engine = Engine(
            _socket_url(url), read_options(websocket), Credentials(project_id, api_key, user_id, token)
        )
        self._parts = _Parts(self._engine, conflicts)
        self._collections: dict[str, Collection] = {}
        self.schema: dict[str, Any] | None = None
        self.events = Events(self._parts)
        self.system = System(self._parts)
        self.analytics = Analytics(self._parts)
        self.presence = Presence(self._parts)

    # connecting

    async def connect(self, *, user_id: str | None = None, token: Token | None = None, wait: bool = True) -> None:
        """Connect, as this user if one is given.

        Without ``wait`` this goes on in the background until it succeeds, also when the server cannot be reached.
        Raises :class:`collab.errors.ConnectionLost` if the first attempt fails, and what the server refuses it with.
        """
        credentials = self._engine.credentials
        credentials.user_id = user_id if user_id is not None else credentials.user_id
        credentials.token = token if token is not None else credentials.token
        await self._engine.start()
        if wait:
            try:
                await self._engine.connected()
            except BaseException:
                await self._engine.stop()
                raise

    async def disconnect(self) -> None:
        """End the connection. Requests and writes without an answer raise :class:`collab.errors.ConnectionLost`.

        Subscriptions stay, for the next :meth:`connect`.
        """
        await self._engine.stop()

    def is_connected(self) -> bool:
        """Whether there is a session now."""
        return self._engine.is_connected()

    async def authenticate(self, token: str) -> None:
        """Show the next token of the same user before the last one ends. Raises what the server says of it."""
        await self._engine.authenticate(token)
        if not self._engine.credentials.renewable:
            self._engine.credentials.token = token

    async def __aenter__(self) -> LumenizeClient:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    # what happens; each returns a function that ends it

    def on_connect(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call when a session begins that is not a reconnect; at once, if there is one."""
        if self.is_connected():
            self._engine.background.call(callback)
        return self._engine.on("connect", callback)

    def on_disconnect(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call when a session has ended."""
        return self._engine.on("disconnect", callback)

    def on_reconnect(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call when there is a session again."""
        return self._engine.on("reconnect", callback)

    def on_error(self, callback: ErrorCallback) -> Callable[[], None]:
        """Call with every error that nothing else takes: of the connection, of subscriptions, of writes."""
        return self._engine.on("error", callback)

    def on_conflict(self, callback: Callable[[Met], object]) -> Callable[[], None]:
        """Call when an own write has met others that this client had not seen."""
        return self._engine.on("conflict", callback)

    # entities

    def collection(self, name: str) -> Collection:
        """The entities of one kind."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = Collection(self._parts, name)
        return found

    def __getattr__(self, name: str) -> Collection:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.collection(name)

    @property
    def pending(self) -> int:
        """How many own writes are not known to be saved."""
        return self._engine.state.pending

    async def saved(self) -> None:
        """Return once no own write is pending: each is committed, or was refused."""
        await self._engine.changed.until(lambda: not self.pending)

    def create_subscription_batch(self) -> SubscriptionBatch:
        """Several subscriptions that are asked for together."""
        return SubscriptionBatch(self)

    async def refresh_schema(self) -> dict[str, Any]:
        """The declared collections, kept in ``schema``: ``{collection: {"schema", "content", "version"}}``."""
        message = realtime.Schema(id=self._parts.ticket())
        got: dict[str, Any] = await self._parts.ask(message, lambda result: result, None)
        self.schema = got
        return got


class SubscriptionBatch:
    """Subscriptions to begin together, in one message."""

    def __init__(self, client: LumenizeClient) -> None:
        self._client = client
        self._wanted: list[tuple[str, str | Mapping[str, Any], Callable[[Any], object], dict[str, Any]]] = []

    def add(
        self,
        collection: str,
        target: str | Mapping[str, Any],
        callback: Callable[[Any], object],
        *,
        fields: Sequence[str] | None = None,
        include_permissions: bool = False,
        condition: Callable[[], object] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> None:
        """One more, as of :meth:`Collection.subscribe`."""
        options = {
            "fields": fields,
            "include_permissions": include_permissions,
            "condition": condition,
            "on_error": on_error,
        }
        self._wanted.append((collection, target, callback, options))

    async def execute(self) -> Callable[[], None]:
        """Begin them all; returns what ends them all, once each has its answer.

        One that is refused tells its ``on_error``; the others are in force.
        """
        wanted, self._wanted = self._wanted, []
        begun = [
            self._client.collection(collection).subscribe(target, callback, **options)
            for collection, target, callback, options in wanted
        ]

        def end() -> None:
            for subscription in begun:
                subscription()

        try:
            for subscription in begun:
                try:
                    await subscription.ready()
                except CollabError as error:
                    if subscription.error is not error:
                        raise
        except BaseException:
            end()
            raise
        return end


class _Parts:
    """What the parts of the API see of the engine."""

    def __init__(self, engine: Engine, conflicts: OnConflict) -> None:
        self._engine = engine
        self.conflicts: OnConflict = conflicts
        self.background: Background = engine.background

    def ticket(self) -> int:
        return self._engine.state.ticket()

    def ask(self, message: realtime.Asked, read: Callable[[Any], Any], on_error: ErrorCallback | None) -> Call[Any]:
        call = self._call(message.id, read, on_error, None)
        self._engine.call(call, message)
        return call

    def write(
        self, message: WriteMessage, read: Callable[[Any], Any], on_error: ErrorCallback | None, at: str
    ) -> Call[Any]:
        call = self._call(message.id, read, on_error, message.entity)
        self._engine.write(call, message, at)
        return call

    def _call(
        self, ticket: int, read: Callable[[Any], Any], on_error: ErrorCallback | None, entity: str | None
    ) -> Call[Any]:
        def failed(error: CollabError) -> None:
            if on_error is not None:
                self.background.call(on_error, error)
            else:
                self._engine.trouble(error)

        # nobody waits for it any more: a read is given up, a write is made all the same
        abandoned = (lambda: self._engine.forget(ticket)) if entity is None else (lambda: None)
        return Call(read, failed=failed, abandoned=abandoned, entity=entity)

    def subscribe(
        self,
        target: realtime.AnyTarget,
        callback: Callable[[Any], object] | None,
        *,
        newest: bool,
        condition: Callable[[], object] | None,
        on_error: ErrorCallback | None,
        on_resync: Callable[[], object] | None,
    ) -> Subscription:
        subscription = Subscription(
            self._engine,
            self.ticket(),
            callback,
            newest=newest,
            buffered=self._engine.options.max_buffered,
            condition=condition,
            on_error=on_error,
            on_resync=on_resync,
        )
        self._engine.subscribe(subscription, target)
        return subscription

    def open_document(self, name: str, doc: pycrdt.Doc[Any] | None) -> Document:
        document = Document(self._engine, self._engine.address(name), doc)
        self._engine.open_document(document)
        return document


def _socket_url(url: str) -> str:
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise InvalidRequest(f"not the address of a server: {url!r}")
    path = parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path if path.endswith(_PATH) else path + _PATH, parts.query, ""))
