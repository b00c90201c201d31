"""Which addresses links and images may have."""

from __future__ import annotations

import re
from typing import Any

_LINKS = frozenset({"http", "https", "mailto", "tel", "sms", "xmpp", "ftp"})
_IMAGES = frozenset({"http", "https"})
_IGNORED = re.compile(r"[\x00-\x20\x7f-\xa0\xad\u200b-\u200f\u2028\u2029\u2060\ufeff]+")  # by browsers, or unseen
_SCHEME = re.compile(r"([^/?#:]*):")
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=]*", re.IGNORECASE)


def safe_link(address: Any) -> str | None:
    """The address of a link, if it is relative or has a scheme that runs nothing; else ``None``."""
    return _checked(address, _LINKS)


def safe_image(address: Any) -> str | None:
    """The address of an image, if it is relative, of the web, or a picture itself; else ``None``."""
    if isinstance(address, str) and _PICTURE.fullmatch(address.strip()):
        return address.strip()
    return _checked(address, _IMAGES)


def _checked(address: Any, schemes: frozenset[str]) -> str | None:
    if not isinstance(address, str):
        return None
    scheme = _SCHEME.match(_IGNORED.sub("", address))
    if scheme is not None and scheme[1].lower() not in schemes:
        return None
    return address.strip() or None
