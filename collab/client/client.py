"""The client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, overload
from urllib.parse import urlsplit, urlunsplit

from collab.client.collection import Collection
from collab.client.core.copies import own
from collab.client.core.effects import Met
from collab.client.core.options import WebSocketOptions, read_options
from collab.client.core.values import RowT
from collab.client.credentials import Credentials, Token
from collab.client.engine import Engine
from collab.client.requests import ErrorCallback, OnConflict, Requests
from collab.client.subscription import Subscription
from collab.client.topics import Analytics, Events, Presence, System
from collab.client.transaction import Transaction
from collab.client.typed import TypedCollection
from collab.errors import CollabError, InvalidRequest
from collab.wire.realtime import messages as realtime

_PATH = "/realtime"


class BaseClient:
    """A client of one project. ``async with`` connects and disconnects it; so do its methods, from any task.

    ``client.collection("tasks")`` is a collection. ``url`` is the server's. ``token`` identifies the user, ``api_key``
    the application. ``token`` may be a function, also async, that returns the current token; it is called for each
    connection and before a token expires. ``conflicts="reject"`` is the default ``on_conflict`` of updates.
    ``websocket`` takes the options of :class:`collab.client.core.options.WebSocketOptions`; all times are milliseconds.
    ``traceparent`` returns the W3C Trace Context of the running span, or ``None``; it is called for each read and
    write, which the server then makes in this trace. The client is not thread-safe. Callbacks may be async; their
    exceptions are logged. Raises :class:`InvalidRequest`.
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
        traceparent: Callable[[], str | None] | None = None,
    ) -> None:
        if conflicts not in ("merge", "reject"):
            raise InvalidRequest(f"conflicts: must be 'merge' or 'reject', not {conflicts!r}")
        self._engine = Engine(
            _socket_url(url), read_options(websocket), Credentials(project_id, api_key, user_id, token)
        )
        self._requests = Requests(self._engine, conflicts, traceparent)
        self._collections: dict[str, Collection] = {}
        self._schema: dict[str, Any] | None = None
        self.events = Events(self._requests)
        self.system = System(self._requests)
        self.analytics = Analytics(self._requests)
        self.presence = Presence(self._requests)

    # connecting

    async def connect(self, *, user_id: str | None = None, token: Token | None = None, wait: bool = True) -> None:
        """Connect, optionally as another user.

        With ``wait=False`` it returns at once and keeps trying in the background, even if the server is unreachable.
        Raises :class:`collab.errors.ConnectionLost` if the first attempt fails, or the server's refusal.
        """
        credentials = self._engine.credentials
        credentials.user_id = user_id if user_id is not None else credentials.user_id
        credentials.token = token if token is not None else credentials.token
        started = await self._engine.start()
        if wait:
            try:
                await self._engine.connected()
            except BaseException as error:
                if started:  # otherwise, others connected
                    await self._engine.stop(error if isinstance(error, CollabError) else None)
                raise

    async def disconnect(self) -> None:
        """Close the connection. Unanswered requests and writes raise :class:`collab.errors.ConnectionLost`.

        Subscriptions resume with the next :meth:`connect`.
        """
        await self._engine.stop()

    def is_connected(self) -> bool:
        """Whether a session is open."""
        return self._engine.is_connected()

    async def authenticate(self, token: str) -> None:
        """Renew the token of the same user before the last one expires. Raises the server's refusal."""
        await self._engine.authenticate(token)
        if not self._engine.credentials.renewable:
            self._engine.credentials.token = token

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    # callbacks; each method returns a function that unregisters

    def on_connect(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call when the first session opens; immediately, if one is open."""
        if self.is_connected():
            self._engine.background.call(callback)
        return self._engine.callbacks.add("connect", callback)

    def on_disconnect(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call when a session ends."""
        return self._engine.callbacks.add("disconnect", callback)

    def on_reconnect(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call when a session opens after a reconnect."""
        return self._engine.callbacks.add("reconnect", callback)

    def on_error(self, callback: ErrorCallback) -> Callable[[], None]:
        """Call with every error that nothing else handles: of the connection, of subscriptions, of writes."""
        return self._engine.callbacks.add("error", callback)

    def on_conflict(self, callback: Callable[[Met], object]) -> Callable[[], None]:
        """Call when one of this client's writes met writes that the client had not seen."""
        return self._engine.callbacks.add("conflict", callback)

    # entities

    @overload
    def collection(self, name: str) -> Collection: ...

    @overload
    def collection(
        self, name: str, row: type[RowT], *, related: Mapping[str, type] | None = None
    ) -> TypedCollection[RowT]: ...

    def collection(
        self, name: str, row: type[RowT] | None = None, *, related: Mapping[str, type] | None = None
    ) -> Collection | TypedCollection[RowT]:
        """Return the collection of that name; with ``row``, its rows are instances of that class.

        ``row`` is as for :class:`TypedCollection`, and so are the classes of ``related`` rows, by the name of the
        relation. Raises :class:`InvalidRequest` for another class.
        """
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = Collection(self._requests, name)
        return found if row is None else TypedCollection(found, row, related or {})

    def transaction(self) -> Transaction:
        """Return an empty transaction: writes of different entities, all of which are made, or none."""
        return Transaction(self._requests)

    @property
    def schema(self) -> dict[str, Any] | None:
        """A copy of what :meth:`refresh_schema` fetched last."""
        return own(self._schema)

    @property
    def pending(self) -> int:
        """Number of own writes that are not committed yet."""
        return self._engine.state.pending

    async def saved(self) -> None:
        """Wait until no own write is pending: each is committed or refused."""
        await self._engine.changed.until(lambda: not self.pending)

    def create_subscription_batch(self) -> SubscriptionBatch:
        """Return a batch of subscriptions to start in one message."""
        return SubscriptionBatch(self)

    async def refresh_schema(self) -> dict[str, Any]:
        """Fetch the declared collections into ``schema``: ``{collection: {"schema", "content", "version"}}``."""
        message = realtime.Schema(id=self._requests.ticket())
        got: dict[str, Any] = await self._requests.ask(message, lambda result: result, None)
        self._schema = own(got)
        return got


class LumenizeClient(BaseClient):
    """A client of one project of which every collection is an attribute, too: ``client.tasks``."""

    def __getattr__(self, name: str) -> Collection:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.collection(name)


class SubscriptionBatch:
    """Subscriptions that start together, in one message."""

    def __init__(self, client: BaseClient) -> None:
        self._client = client
        self._added: list[Callable[[], Subscription]] = []

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
        """Add one; arguments as for :meth:`Collection.subscribe`. Raises :class:`InvalidRequest`."""
        start: Callable[[], Subscription] = self._client.collection(collection).subscription(
            target,
            callback,
            fields=fields,
            include_permissions=include_permissions,
            condition=condition,
            on_error=on_error,
            on_resync=None,
        )
        self._added.append(start)

    async def execute(self) -> Callable[[], None]:
        """Start them and wait for each answer. Returns a function that ends them all.

        A refused one calls its ``on_error``; the others stay active.
        """
        added, self._added = self._added, []
        begun = [start() for start in added]

        def end() -> None:
            for subscription in begun:
                subscription()

        try:
            for subscription in begun:
                try:
                    await subscription.ready()
                except CollabError:
                    if subscription.error is None:  # it was not refused: the connection is over
                        raise
        except BaseException:
            end()
            raise
        return end


def _socket_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidRequest(f"not a server URL: {url!r}: {error}") from None
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise InvalidRequest(f"not a server URL: {url!r}")
    path = parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path if path.endswith(_PATH) else path + _PATH, parts.query, ""))
