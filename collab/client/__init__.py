"""The Python client of the application API. Needs the extra ``client``.

``core`` is pure: it decides and never waits. ``engine`` and ``link`` do the I/O and decide nothing. The other modules
are the public API.
"""

from typing import TYPE_CHECKING

from collab.lazy import attributes as _attributes

if TYPE_CHECKING:
    from collab.client.client import BaseClient, LumenizeClient, SubscriptionBatch
    from collab.client.collection import Collection
    from collab.client.core.effects import Met
    from collab.client.core.options import RateLimit, WebSocketOptions
    from collab.client.core.values import Entity, Rows
    from collab.client.core.views import Crowd, Event
    from collab.client.documents import Document
    from collab.client.subscription import Subscription
    from collab.client.transaction import Transaction
    from collab.client.typed import TypedCollection

__all__ = [
    "BaseClient",
    "Collection",
    "Crowd",
    "Document",
    "Entity",
    "Event",
    "LumenizeClient",
    "Met",
    "RateLimit",
    "Rows",
    "Subscription",
    "SubscriptionBatch",
    "Transaction",
    "TypedCollection",
    "WebSocketOptions",
]

_HOME = {
    "BaseClient": "collab.client.client",
    "LumenizeClient": "collab.client.client",
    "SubscriptionBatch": "collab.client.client",
    "Transaction": "collab.client.transaction",
    "TypedCollection": "collab.client.typed",
    "Collection": "collab.client.collection",
    "Document": "collab.client.documents",
    "RateLimit": "collab.client.core.options",
    "WebSocketOptions": "collab.client.core.options",
    "Subscription": "collab.client.subscription",
    "Met": "collab.client.core.effects",
    "Entity": "collab.client.core.values",
    "Rows": "collab.client.core.values",
    "Crowd": "collab.client.core.views",
    "Event": "collab.client.core.views",
}


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:
    __getattr__ = _attributes(__name__, _HOME)
