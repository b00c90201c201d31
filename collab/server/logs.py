"""Formatting of log records: one line each, whatever clients put into their paths, names and origins."""

from __future__ import annotations

import logging
from types import TracebackType

_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROLS |= {number: f"\\u{number:04x}" for number in (0x2028, 0x2029)}
_FORM = "%(asctime)s %(levelname)s %(message)s"


def escaped(text: str) -> str:
    """Escape control characters and line breaks."""
    return text.translate(_CONTROLS)


class OneLine(logging.Formatter):
    """Escapes control characters in messages, and indents tracebacks, so that nobody can forge log lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Format the first line."""
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(  # noqa: N802
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Format the lines after it."""
        return "\n".join(f"  {escaped(line)}" for line in super().formatException(ei).split("\n"))


def log_to_stderr(level: str) -> None:
    """Log to standard error. ``level`` is the minimum severity, like ``info``."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(_FORM))
    logging.basicConfig(level=level.upper(), handlers=[handler])
