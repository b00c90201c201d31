"""What the reason of a quarantined entry tells of its release: that it is asked for beside a server, or failed. Pure.

Whoever asks and the server that answers share only the record. The reason is what both can write, and what an operator
reads.
"""

from __future__ import annotations

from typing import Final

ASKED: Final = " [to be released]"
_FAILED = " [not released: "
_LONGEST = 500  # characters of a failure


def asked(reason: str) -> str:
    """The reason of an entry whose release is asked for."""
    return original(reason) + ASKED


def failed(reason: str, why: str) -> str:
    """The reason of an entry that could not be released."""
    return f"{original(reason)}{_FAILED}{why[:_LONGEST]}]"


def failure_in(reason: str) -> str | None:
    """Why an entry could not be released; ``None`` if that was not tried."""
    _, mark, why = reason.partition(_FAILED)
    return why.removesuffix("]") if mark else None


def original(reason: str) -> str:
    """The reason for which an entry was quarantined."""
    return reason.removesuffix(ASKED).partition(_FAILED)[0]
