"""An operation in progress."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar, cast

from anyio import Event

from collab.client.background import Started
from collab.client.core.copies import own
from collab.errors import CollabError

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class Call(Started, Generic[T_co]):
    """An operation that is already under way. ``await`` it for its result; it proceeds if nobody does.

    Each ``await`` returns its own copy of the result, or raises its own copy of the error. If nobody is waiting
    when it fails, the error goes to ``on_error``, or else to the client's error callbacks; so does each error in the
    result of several writes. ``entity`` is the id of the
    entity that a write is about.
    """

    def __init__(
        self,
        read: Callable[[Any], T_co],
        *,
        failed: Callable[[CollabError], None],
        abandoned: Callable[[], None],
        entity: str | None = None,
    ) -> None:
        self.entity = entity
        self._read = read
        self._failed = failed
        self._abandoned = abandoned
        self._done = Event()
        self._result: T_co | None = None
        self._error: CollabError | None = None
        self._waiting = 0

    @property
    def done(self) -> bool:
        """Whether the result or an error has arrived."""
        return self._done.is_set()

    def converted(self, convert: Callable[[T_co], U]) -> Call[U]:
        """Return this call, with another result: ``convert`` gets the one that it would have."""
        read, call = self._read, cast("Call[Any]", self)
        call._read = lambda result: convert(read(result))
        return call

    def resolve(self, result: Any, error: CollabError | None) -> None:
        """Set the result or the error."""
        if error is None:
            try:
                self._result = self._read(result)
            except CollabError as unreadable:
                error = unreadable
        self._error = error
        self._done.set()
        if not self._waiting:
            for each in failures(self._result if error is None else error):
                self._failed(each)

    def cancel(self, error: CollabError) -> None:
        """Set an error for whoever awaits it later. It is reported to nobody."""
        self._error = error
        self._done.set()

    def __await__(self) -> Generator[Any, None, T_co]:
        return self._wait().__await__()

    async def _wait(self) -> T_co:
        self._waiting += 1
        try:
            await self._done.wait()
        finally:
            self._waiting -= 1
            if not self._done.is_set() and not self._waiting:
                self._abandoned()
        if self._error is not None:
            raise own(self._error)
        return own(self._result)  # type: ignore[return-value]  # the result itself may be None


def failures(result: object) -> Sequence[CollabError]:
    """Return the errors in a result: it is one, or it is the outcomes of several writes."""
    if isinstance(result, CollabError):
        return [result]
    return [each for each in result if isinstance(each, CollabError)] if isinstance(result, list) else []
