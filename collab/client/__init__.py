"""The Python client of the application API. Needs the extra ``client``.

``state`` and what it consists of (``writes``, ``overlay``, ``subscriptions``, ``views``, ``document_sync``) decide and
never wait; ``engine`` and ``link`` wait and never decide; the rest is what an application sees.
"""

from collab.client.client import LumenizeClient, SubscriptionBatch
from collab.client.collection import Collection
from collab.client.documents import Document
from collab.client.options import RateLimit, WebSocketOptions
from collab.client.subscription import Subscription
from collab.client.told import Met
from collab.client.values import Entity, Rows
from collab.client.views import Crowd, Event

__all__ = [
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
    "WebSocketOptions",
]
