"""Configuration of a webhook, and its signed requests (https://www.standardwebhooks.com)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import digest
from typing import Annotated, get_args
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta

from collab.access.rules import glob_matches
from collab.event import EntityEvent, EventType
from collab.names import DEFAULT_PROJECT, is_part

SHORTEST_SECRET, LONGEST_SECRET = 24, 64  # bytes

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9_.:*-]{1,128}", re.ASCII)
_PREFIX = "whsec_"


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver of a project's events over HTTP.

    Its progress is saved under ``name`` (1-64 of ``A-Z a-z 0-9 _ -``). ``secret`` is ``whsec_`` followed by the base64
    of 24-64 random bytes; during rotation ``previous_secret`` signs as well. ``collections`` are globs, ``types`` event
    types; empty means all. An event is given up after ``attempts``. Each attempt may take ``timeout_seconds``;
    ``concurrency`` attempts run at a time. The ``repr`` shows no secrets. Raises :class:`ValueError`.
    """

    name: str
    url: str
    secret: str
    previous_secret: str | None = None
    project: str = DEFAULT_PROJECT
    collections: tuple[str, ...] = ()
    types: tuple[EventType, ...] = ()
    attempts: Annotated[int, Meta(ge=1, le=100)] = 12
    timeout_seconds: Annotated[float, Meta(gt=0, le=120)] = 20.0
    concurrency: Annotated[int, Meta(ge=1, le=100)] = 8

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("the name of a webhook must be 1-64 characters of [A-Za-z0-9_-]")
        if not is_part(self.project):
            raise ValueError("project must be 1-128 characters of [A-Za-z0-9_.:-]")
        if not all(_PATTERN.fullmatch(pattern) for pattern in self.collections):
            raise ValueError("collections must be names, in which * stands for any characters")
        if not set(self.types) <= set(get_args(EventType)):
            raise ValueError(f"types must be some of {', '.join(get_args(EventType))}")
        _check_url(self.url)
        for secret in self.secrets:
            read_secret(secret)

    def __repr__(self) -> str:
        return f"<Webhook {self.name} of project {self.project}>"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets to sign with."""
        return (self.secret,) if self.previous_secret is None else (self.secret, self.previous_secret)

    def conceal(self, text: str) -> str:
        """Remove from ``text`` what may be secret in the URL (all but the host), and put the rest on one line."""
        parts = urlsplit(self.url)
        found = (self.url, parts.netloc.rpartition("@")[0], parts.password, parts.username, parts.query, parts.path)
        for hidden in sorted({part for part in found if part and part != "/"}, key=len, reverse=True):
            text = text.replace(hidden, "…").replace(unquote(hidden), "…")
        return " ".join(text.split())

    def wants(self, project: str, event: EntityEvent) -> bool:
        """Whether it should receive this event."""
        return (
            project == self.project
            and (not self.types or event.type in self.types)
            and (not self.collections or any(glob_matches(glob, event.collection) for glob in self.collections))
        )


def message_id(epoch: str, project: str, position: int) -> str:
    """The id of an event's message; receivers use it to detect duplicates.

    It must not contain a full stop, which separates it from the rest of the signed content.
    """
    return f"evt_{epoch}_{project.replace('.', '~')}_{position}"


def body_of(project: str, event: EntityEvent) -> bytes:
    """The request body: ``{"type": "tasks.updated", "timestamp": …, "project": …, "data": <the event>}`` as JSON."""
    return msgspec.json.encode(
        {"type": f"{event.collection}.{event.type}", "timestamp": event.at, "project": project, "data": event}
    )


def signed(body: bytes, message: str, timestamp: int, secrets: Sequence[str]) -> dict[str, str]:
    """The headers that sign ``body``; ``timestamp`` is in seconds since the epoch."""
    content = f"{message}.{timestamp}.".encode() + body
    signatures = (b64encode(digest(read_secret(secret), content, sha256)).decode() for secret in secrets)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def read_secret(secret: str) -> bytes:
    """Decode a secret. Raises :class:`ValueError`."""
    try:
        key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(_PREFIX) or not SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
        raise ValueError(f"a secret must be {_PREFIX} and base64 of {SHORTEST_SECRET}-{LONGEST_SECRET} random bytes")
    return key


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not url.isascii() or not url.isprintable() or " " in url or "#" in url:
        raise ValueError("url must be like https://example.com/events")
