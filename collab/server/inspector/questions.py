"""What the inspector's page can ask: query parameters of a GET, or the body of a POST. All are bounded here."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from collab.errors import InvalidName, InvalidRequest, shortened
from collab.names import RoomKey, is_part

LARGEST_BODY = 64 * 1024
"""Bytes."""
MOST_ROWS = 500
"""Rows of one answer."""

_NO_NUL = r"^[^\0]*$"  # PostgreSQL has no text with one
ShortText = Annotated[str, Meta(min_length=1, max_length=512, pattern=_NO_NUL)]
Limit = Annotated[int, Meta(ge=1, le=MOST_ROWS)]
EntryNumber = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Question(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all; by itself, one without members."""


class OfProject(Question, frozen=True, kw_only=True):
    """About one project."""

    project: ShortText

    def __post_init__(self) -> None:
        if not is_part(self.project):
            raise InvalidName("a project is named by 1-128 characters of [A-Za-z0-9_.:-]")


class SignIn(Question, frozen=True, kw_only=True):
    """What a link contains, or the secret."""

    link: Annotated[str, Meta(max_length=2048)] | None = None
    secret: Annotated[str, Meta(max_length=2048)] | None = None


class OfSessions(OfProject, frozen=True, kw_only=True):
    """Sessions of a project, or of one user of it."""

    user_id: ShortText | None = None
    limit: Limit = 200


class SendAway(OfProject, frozen=True, kw_only=True):
    """End one session, or all of a user."""

    session: ShortText | None = None
    user_id: ShortText | None = None
    reason: Annotated[str, Meta(min_length=1, max_length=120)] = "sent away by an operator"


class OfDocument(OfProject, frozen=True, kw_only=True):
    """About one entity and its document."""

    collection: ShortText
    id: ShortText

    def __post_init__(self) -> None:
        if not all(map(is_part, self.key)):
            raise InvalidName("a document is named collection/id, each of [A-Za-z0-9_.:-], 128 characters at most")

    @property
    def key(self) -> RoomKey:
        """Its name."""
        return RoomKey(self.project, self.collection, self.id)


class OfDeleted(OfProject, frozen=True, kw_only=True):
    """Deleted entities of a collection, those after an id."""

    collection: ShortText
    after: Annotated[str, Meta(max_length=512, pattern=_NO_NUL)] = ""
    limit: Limit = 100


class OfProjects(Question, frozen=True, kw_only=True):
    """Projects, by name: those after one, or only ``project``."""

    project: ShortText | None = None
    after: Annotated[str, Meta(max_length=512, pattern=_NO_NUL)] = ""
    limit: Limit = 100


class OfMany(Question, frozen=True, kw_only=True):
    """A list."""

    limit: Limit = 200


class OfLetters(Question, frozen=True, kw_only=True):
    """Dead letters of a webhook, those after a number."""

    webhook: ShortText
    after: EntryNumber = 0
    limit: Annotated[int, Meta(ge=1, le=50)] = 20


class SendAgain(Question, frozen=True, kw_only=True):
    """Send these dead letters again."""

    webhook: ShortText
    numbers: Annotated[tuple[EntryNumber, ...], Meta(min_length=1, max_length=20)]


class OfQuarantine(Question, frozen=True, kw_only=True):
    """Quarantined edits, those after a number."""

    after: EntryNumber = 0
    limit: Limit = 100


class OfEntry(Question, frozen=True, kw_only=True):
    """One quarantined edit."""

    number: EntryNumber


QuestionT = TypeVar("QuestionT", bound=Question)


def from_parameters(kind: type[QuestionT], given: list[tuple[str, str]]) -> QuestionT:
    """Read query parameters. Raises :class:`InvalidRequest`."""
    if len({name for name, _ in given}) < len(given):
        raise InvalidRequest("a parameter is given more than once")
    return _convert(kind, dict(given), strict=False)


def from_body(kind: type[QuestionT], body: bytes) -> QuestionT:
    """Read a body of JSON. Raises :class:`InvalidRequest`."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest("the body is not JSON") from None
    return _convert(kind, value, strict=True)


def _convert(kind: type[QuestionT], value: Any, *, strict: bool) -> QuestionT:
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidRequest(shortened(str(error), 300)) from None
