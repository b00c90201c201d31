"""What a supervisor hands to the ``Collab`` of an application's module, which creates it without knowing of any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from collab.names import RoomKey
from collab.rooms.allocator import Leftovers
from collab.rooms.blackbox import BlackBox, NoBlackBox
from collab.storage.base import SetAside


@dataclass(frozen=True, slots=True)
class Supervision:
    """The arguments of :class:`collab.server.app.Collab` that come from a supervisor; by default there is none.

    ``deaths`` counts the workers that died in this one's place since the supervisor started; ``leftovers`` collects
    garbage in the worker.
    """

    blackbox: BlackBox
    quarantined: Sequence[SetAside] = ()
    closed: Callable[[RoomKey], bool] = lambda key: False
    banned: Callable[[str], bool] = lambda who: False
    node_name: str | None = None
    deaths: int = 0
    leftovers: Leftovers | None = None


class Offer:
    """Supervision for the first ``Collab`` that is created. ``taken``: it was."""

    __slots__ = ("_supervision", "taken")

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision
        self.taken = False

    def take(self) -> Supervision | None:
        """Return the supervision, once."""
        if self.taken:
            return None
        self.taken = True
        return self._supervision


_OFFER: ContextVar[Offer | None] = ContextVar("supervision", default=None)


@contextmanager
def offering(supervision: Supervision) -> Iterator[Offer]:
    """Offer supervision to what is created inside."""
    offer = Offer(supervision)
    token = _OFFER.set(offer)
    try:
        yield offer
    finally:
        _OFFER.reset(token)


def offered() -> Supervision:
    """Return the supervision that is offered here and that nobody has taken, or none."""
    offer = _OFFER.get()
    return (offer.take() if offer is not None else None) or Supervision(NoBlackBox())
