"""The contract of a storage, as a test class to inherit from. Needs pytest and pytest-asyncio.

::

    class TestMyStorage(StorageContract):
        def make(self, where: Path) -> Storage:
            return MyStorage(where)

``make`` is called several times with one empty folder per test; each time the storage must find the data that the
previous one left there, unless the class sets ``durable = False``.
"""

from __future__ import annotations

from collab.testing.access_contract import AccessContract
from collab.testing.consumers_contract import ConsumersContract
from collab.testing.documents_contract import DocumentsContract
from collab.testing.entities_contract import EntitiesContract
from collab.testing.history_contract import HistoryContract
from collab.testing.queries_contract import QueriesContract
from collab.testing.search_contract import SearchContract


class StorageContract(
    DocumentsContract,
    HistoryContract,
    EntitiesContract,
    QueriesContract,
    SearchContract,
    ConsumersContract,
    AccessContract,
):
    """All parts. Inherit, and implement :meth:`make`."""
