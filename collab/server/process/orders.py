"""The supervisor's instructions to its worker, as one JSON value."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from collab.names import RoomKey
from collab.storage.base import SetAside


@dataclass(frozen=True, slots=True)
class Orders:
    """``settings`` is JSON of :class:`collab.server.config.settings.Settings`; ``closed`` and ``banned`` contain
    seconds from now.

    ``sockets``, ``blackbox`` and ``ready`` are inherited file descriptors. All workers of a supervisor have the same
    ``node_name``. ``app`` names the ``Collab`` of a module, ``module:attribute``; without it, the worker creates one.
    ``deaths`` counts the workers that died in this one's place.
    """

    supervisor: int
    settings: str
    sockets: list[int]
    blackbox: int
    ready: int
    set_aside: list[SetAside]
    closed: list[tuple[RoomKey, float]]
    banned: list[tuple[str, float]]
    node_name: str
    app: str | None = None
    deaths: int = 0

    def to_json(self) -> bytes:
        """Serialise for :meth:`from_json`."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> Orders:
        """Read what :meth:`to_json` wrote. Raises :class:`msgspec.ValidationError`."""
        return msgspec.json.decode(data, type=cls)
